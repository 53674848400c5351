#!/usr/bin/env python3
"""Calls a process with Python's `varlink`, a client that isn't ours.

    varlink_client.py SOCKET [RECORDS]

GetInfo, every interface's description, and of io.procession.Journal: Info,
Wait for one record more than there is (somebody must publish meanwhile), and
Read with `more` from the beginning, at most RECORDS (default 10) records.
Prints one JSON object; exit code 1 with a message when anything fails.
"""

import json
import sys

import varlink


def read(journal, records_max):
    """Records and gaps of a Read that doesn't follow."""
    records, gaps = [], []
    for reply in journal.Read(_more=True, **{"from": 0, "count": records_max}):
        if reply.get("record") is not None:
            records.append(reply["record"])
        if reply.get("gap") is not None:
            gaps.append(reply["gap"])
    return records, gaps


def wrong_parameter(client):
    """The error for a call that Python's own check would not let through."""
    with client.open_connection() as connection:
        message = {"method": "io.procession.Journal.Wait", "parameters": {}}
        connection.sendall(json.dumps(message).encode() + b"\0")
        reply = b""
        while not reply.endswith(b"\0"):
            reply += connection.recv(8192)
    error = json.loads(reply[:-1])
    return {"name": error["error"], "parameter": error["parameters"]["parameter"]}


def main(socket, records_max):
    with varlink.Client("unix:" + socket) as client:
        with client.open("org.varlink.service") as service:
            info = service.GetInfo()
            for name in info["interfaces"]:
                text = service.GetInterfaceDescription(name)["description"]
                assert varlink.Interface(text).name == name
        with client.open("io.procession.Journal") as journal:
            marks = journal.Info()
            waited = journal.Wait(after=marks["committed"])
            records, gaps = read(journal, records_max)
        error = wrong_parameter(client)
    print(json.dumps({
        "info": info,
        "journal": marks,
        "waited": waited,
        "records": records,
        "gaps": gaps,
        "error": error,
    }))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 10)
