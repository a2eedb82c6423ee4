"""The command `fastrnn`: finds the subcommand, runs it, turns what a user can mend into one line.

Exit codes: 0 fine, 1 something the user can put right, 128 + signal number after an interrupt
(130 for Ctrl-C).

A subcommand is a module with a function `add_parser(commands)` that calls
`commands.add_parser(name, help=...)` and sets the default `run`, a function that takes the parsed
arguments and returns an exit code or None. To add one, put its module into COMMANDS.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from . import command_bench, command_eval, command_info, command_sample, command_train
from .errors import UserError

COMMANDS = (command_train, command_sample, command_eval, command_info, command_bench)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are UserErrors: one line, exit code 1."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # Abbreviated options would change their meaning when a new option is added.
        super().__init__(*args, **{**options, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    parser = _Parser(
        prog="fastrnn", description="Train, measure and sample recurrent character models."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default the process's own); returns the exit code."""
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
        if not hasattr(arguments, "run"):
            parser.print_help()
            return 0
        return arguments.run(arguments) or 0
    except BrokenPipeError:
        # The reader of our output has left (`fastrnn sample ... | head`). Python would fail
        # again when it flushes standard output at exit, so that goes nowhere from here on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nfastrnn: interrupted", file=sys.stderr)
        return 130
    except (UserError, OSError, FloatingPointError, MemoryError) as error:
        print(f"fastrnn: {_one_line(error)}", file=sys.stderr)
        return 1


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}"
    return " ".join(str(error).split())
