"""The command `fastrnn`: finds the subcommand, runs it, turns what a user can mend into one line.

Exit codes: 0 fine, 1 something the user can put right, 128 + signal number after an interrupt
(130 for Ctrl-C). FASTRNN_DEBUG=1 in the environment shows where an error comes from.

A subcommand is a module with a function `add_parser(commands)` that calls
`commands.add_parser(name, help=...)` and sets the default `run`, a function that takes the parsed
arguments and returns an exit code or None. To add one, put its module into COMMANDS.
"""

import argparse
import os
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from fastrnn.errors import UserError

from . import bench, convert, eval, info, inspect, output, sample, train

COMMANDS = (train, sample, eval, inspect, info, convert, bench)

DEBUG = "FASTRNN_DEBUG"
_LONGEST = 1000  # characters of a message, which may quote what was typed


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are UserErrors: one line, exit code 1."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # Abbreviated options would change their meaning when a new option is added.
        super().__init__(*args, **{**options, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: Any = None) -> None:
        output.out.write(message)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    parser = _Parser(
        prog="fastrnn",
        description="Train, measure and sample recurrent character models, and convert models of other systems.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default the process's own); returns the exit code."""
    output.start()
    try:
        with np.errstate(all="ignore"):  # what is not finite is an error of its own; a warning would be lines beside it
            return _run(argv)
    except KeyboardInterrupt:
        output.err.write("\n" * output.err.isatty())  # the terminal shows ^C there
        output.err.line("fastrnn: interrupted")
        return 130
    except Exception as error:  # whatever it is: the user gets a line, and a traceback only when asked for
        if os.environ.get(DEBUG, "0") not in ("", "0"):
            output.err.write("".join(traceback.format_exception(error)))
        output.err.line(f"fastrnn: {_one_line(error)}")
        return 1


def _run(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 0
    return arguments.run(arguments) or 0


# What the package raises where a caller is wrong: its message is for the user as it stands. Anything else is a fault
# of the program, and says so.
_FOR_THE_USER = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    ArithmeticError,
    MemoryError,
    ImportError,
    NotImplementedError,
)


def _one_line(error: Exception) -> str:
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        message = f"{os.fspath(error.filename)}: {error.strerror}"
    elif isinstance(error, FileNotFoundError) and error.errno is not None:
        message = "the current folder is gone; change to another one"  # only asking for its name fails without a name
    elif isinstance(error, KeyError) and error.args:
        message = str(error.args[0])  # its str is the repr
    elif isinstance(error, MemoryError):
        message = f"not enough memory: {error}" if message else "not enough memory"
    if not isinstance(error, _FOR_THE_USER) or not message:
        message = f"{type(error).__name__}: {message}; {DEBUG}=1 shows where"
    line = " ".join(message.split()).removeprefix("fastrnn: ")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
