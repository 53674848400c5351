#!/usr/bin/env python3
"""Prints what a recording of blocks holds, one operation a line, in the order of the chain.

    expected_operations.py RECORDING [--blocks-of FILE]

Reads both API forms, also gzip. With --blocks-of, only blocks that are in FILE as well, by their recorded
numbers, and transaction ids only where FILE has them, too. Blocks are numbered from 1 in RECORDING's order, as
hive-node plays them.
"""

import argparse

import lossless
import recording


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    parser.add_argument("--blocks-of", metavar="FILE")
    arguments = parser.parse_args()
    only = recording.recorded_ids(arguments.blocks_of) if arguments.blocks_of else None
    for operation in recording.operations(arguments.recording, only):
        print(lossless.dumps(numbered(operation)))


def numbered(operation):
    """Our own numbers in the form that the others have."""
    return {key: lossless.Number(value) if isinstance(value, int) else value for key, value in operation.items()}


if __name__ == "__main__":
    main()
