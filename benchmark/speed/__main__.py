"""Runs every section: `python -m benchmark.speed`, or those named after it."""

from __future__ import annotations

import subprocess
import sys

SECTIONS = ("features", "augment", "cores", "start", "memory", "train", "clip", "whole")


def main() -> None:
    for section in sys.argv[1:] or SECTIONS:
        subprocess.run([sys.executable, "-m", f"benchmark.speed.{section}"], check=True)


if __name__ == "__main__":
    main()
