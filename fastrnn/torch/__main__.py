"""`python -m fastrnn.torch SCRIPT ...` runs an unchanged program with its recurrent layers on fastrnn."""

from __future__ import annotations

import argparse
import os
import runpy
import sys

from fastrnn.torch import enable, report


def main() -> None:
    """Run the program that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m fastrnn.torch",
        description="Run a Python program, unchanged, with PyTorch's recurrent layers on fastrnn.",
    )
    parser.add_argument("--report", action="store_true", help="print at the end which calls ran where, to stderr")
    parser.add_argument("-m", dest="module", action="store_true", help="SCRIPT is the name of a module")
    parser.add_argument("script", metavar="SCRIPT", help="the program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its own arguments")
    given = parser.parse_args()
    sys.argv = [given.script, *given.arguments]
    sys.path[0] = "" if given.module else os.path.dirname(os.path.abspath(given.script))  # as Python itself does
    enable()
    try:
        if given.module:
            runpy.run_module(given.script, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(given.script, run_name="__main__")
    finally:
        if given.report:
            for name, counts in report().items():
                for way, count in counts.items():
                    print(f"{name}: {way}: {count}", file=sys.stderr)


if __name__ == "__main__":
    main()
