"""Errors while the command imports the package: one line, like every error of the command.

They come before the command's own code runs (`FASTRNN_ISA=nonsense`, a NumPy that does not load, Ctrl-C). A program
that imports the package gets the exception and sees its traceback as ever.
"""

import os
import re
import sys
from contextlib import suppress
from types import TracebackType


def is_running() -> bool:
    """Whether this process was started as `fastrnn` or as `python -m fastrnn`."""
    called = sys.argv[0] if getattr(sys, "argv", None) else ""
    if called != "-m":
        return os.path.basename(called) in ("fastrnn", "fastrnn.exe")
    # Python is still looking for the module: its name is the last word before the arguments, perhaps as `-Imfastrnn`.
    module = sys.orig_argv[-len(sys.argv)]
    return re.fullmatch(r"(-[A-Za-z]*m)?fastrnn(\.__main__)?", module) is not None


def print_one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What `sys.excepthook` calls."""
    words = "interrupted" if issubclass(kind, KeyboardInterrupt) else " ".join(str(error).split()) or kind.__name__
    line = f"fastrnn: {words.removeprefix('fastrnn: ')}"
    with suppress(Exception):  # there may be no standard error
        print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr)


if is_running() and os.environ.get("FASTRNN_DEBUG", "0") in ("", "0"):
    sys.excepthook = print_one_line
