#!/usr/bin/env python3
"""Prints the URLs of the new top-level posts in a recording of blocks, one a line, each post once.

    expected_posts.py RECORDING [--frontend URL]
"""

import argparse

import recording


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    parser.add_argument("--frontend", default="https://peakd.com", metavar="URL")
    arguments = parser.parse_args()
    for post in recording.posts(arguments.recording, arguments.frontend):
        print(post["url"])


if __name__ == "__main__":
    main()
