"""Runs every section: `python -m benchmark.speed`, or those named after it."""

from __future__ import annotations

import argparse
import subprocess
import sys

SECTIONS = ("features", "augment", "cores", "start", "memory", "train", "clip", "whole")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmark.speed", description=__doc__)
    names = ", ".join(SECTIONS)
    parser.add_argument(
        "sections", metavar="SECTION", nargs="*", choices=[[], *SECTIONS], help=f"all: {names}"
    )
    for section in parser.parse_args().sections or SECTIONS:
        subprocess.run([sys.executable, "-m", f"benchmark.speed.{section}"], check=True)


if __name__ == "__main__":
    main()
