#!/usr/bin/env python3
"""Prints what a recording of blocks holds, one operation a line, in the order of the chain.

    expected_operations.py RECORDING

Reads both API forms, also gzip. Blocks are numbered from 1 in the file's order, as hive-node plays them.
"""

import argparse

import lossless
import recording


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    arguments = parser.parse_args()
    for operation in recording.operations(arguments.recording):
        print(lossless.dumps(numbered(operation)))


def numbered(operation):
    """Our own numbers in the form that the others have."""
    return {key: lossless.Number(value) if isinstance(value, int) else value for key, value in operation.items()}


if __name__ == "__main__":
    main()
