"""`python -m fastrnn.torch SCRIPT ...` runs an unchanged program with its recurrent layers on fastrnn."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from importlib.machinery import SourceFileLoader
from pkgutil import get_importer
from types import ModuleType

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
    enable()
    try:
        if given.module:
            _run_module(given.script)
        else:
            _run_script(given.script)
    finally:
        if given.report:
            for name, counts in report().items():
                for way, count in counts.items():
                    print(f"{name}: {way}: {count}", file=sys.stderr)


def _run_module(name: str, alter_argv: bool = True) -> None:
    """As `python -m` does. runpy's public functions take the module away at the end, before threads and atexit ran."""
    sys.modules["__main__"] = ModuleType("__main__")
    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]


def _run_script(script: str) -> None:
    """As Python does: a file, or what has a `__main__` inside, a folder or an archive."""
    path = os.path.join(os.getcwd(), script)
    if get_importer(path) is not None:
        sys.path[:1] = [path, *sys.path[:1]] if sys.flags.safe_path else [path]
        _run_module("__main__", alter_argv=False)
        return
    if not os.path.exists(path):
        sys.exit(f"python -m fastrnn.torch: {script}: no such file")
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    loader = SourceFileLoader("__main__", path)
    program = ModuleType("__main__")
    program.__dict__.update(__file__=path, __loader__=loader, __cached__=None, __builtins__=__builtins__)
    sys.modules["__main__"] = program
    exec(loader.source_to_code(loader.get_data(path), path), program.__dict__)


if __name__ == "__main__":
    main()
