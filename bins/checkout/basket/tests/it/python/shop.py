#!/usr/bin/env python3
"""Fills a basket with Python's `varlink`, a client that isn't ours: `shop.py SOCKET`. Prints one JSON object."""

import json
import sys

import varlink


def main(socket):
    with varlink.Client("unix:" + socket) as client:
        with client.open("io.procession.checkout.Basket") as basket:
            basket.Start(session="1-1", lane=1, request="a")
            added = basket.AddItem(session="1-1", product="bananas", grams=500, request="b")
            basket.AddItem(session="1-1", product="milk", request="c")
            basket.RemoveItem(session="1-1", line=added["line"], request="d")
            try:
                basket.AddItem(session="1-1", product="unicorn", request="e")
                error = None
            except varlink.VarlinkError as refused:
                error = refused.error()
            basket.CheckOut(session="1-1", request="f")
            print(json.dumps({"basket": basket.Get(session="1-1"), "error": error}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
