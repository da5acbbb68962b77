"""Runs every section: `python -m benchmark.speed`, or those named after it."""

from __future__ import annotations

import argparse
import subprocess
import sys

SECTIONS = ("features", "augment", "cores", "folds", "start", "memory", "train", "clip", "whole", "grow")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmark.speed", description=__doc__)
    names = ", ".join(SECTIONS)
    parser.add_argument("sections", metavar="SECTION", nargs="*", help=f"all: {names}")
    chosen = parser.parse_args().sections or SECTIONS
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; choose from {names}")
    for section in chosen:
        subprocess.run([sys.executable, "-m", f"benchmark.speed.{section}"], check=True)


if __name__ == "__main__":
    main()
