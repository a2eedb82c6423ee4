"""Options that several subcommands share."""

import argparse
import os
from typing import Any

import fastrnn
from fastrnn.charlm import checkpoint
from fastrnn.charlm.text import DEFAULT_TEXT_NAME, default_text
from fastrnn.errors import UserError

from . import output
from .reading import STANDARD_INPUT, read_texts

# What `add_subparsers` returns has no public name.
Commands = Any


def add_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "text",
        nargs="*",
        help="UTF-8 files, joined in this order, also compressed by gzip, bz2 or xz; -: standard input; "
        f"none: {DEFAULT_TEXT_NAME}",
    )


def read_text(arguments: argparse.Namespace) -> tuple[str, str]:
    """The text that the command line names, and words for it."""
    if arguments.text:
        names = ["standard input" if name == STANDARD_INPUT else name for name in arguments.text]
        return read_texts(arguments.text), " ".join(names)
    text, files = default_text()
    return text, f"{DEFAULT_TEXT_NAME} ({files} files)"


def load_model(path: str) -> checkpoint.ModelFile:
    """The model file, and a warning if damage to it cannot be noticed."""
    model_file = checkpoint.load(path)
    if model_file.unchecked:
        output.err.line(f"fastrnn: warning: {path}: {model_file.unchecked}")
    return model_file


def file_name(word: str) -> str:
    """The argument of an option that names a file, as argparse takes types.

    An empty word comes from an unset variable of the shell, and would mean the current folder.
    """
    if not word or "\0" in word:
        raise argparse.ArgumentTypeError(f"is {word!r}; expected the name of a file")
    if word == "-":
        raise argparse.ArgumentTypeError("is '-'; expected a file, not standard input or output")
    if word.endswith(os.sep):
        raise argparse.ArgumentTypeError(f"is {word!r}, a folder; expected the name of a file")
    return word


def add_assumptions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--assume",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what a file of another system does not say, such as merge=sum; an error says what is needed",
    )


def assumptions(arguments: argparse.Namespace) -> dict[str, Any]:
    """What --assume says, each value as the word that it is: `fastrnn.convert` knows which are numbers."""
    found: dict[str, Any] = {}
    for words in arguments.assume:
        name, equals, value = words.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"--assume is {words!r}; expected NAME=VALUE")
        if name in found:
            raise UserError(f"--assume says {name} twice; expected it once")
        found[name] = value
    return found


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, metavar="INT", help="threads to compute with")


def set_threads(arguments: argparse.Namespace) -> None:
    if arguments.threads is None:
        fastrnn.get_num_threads()  # a wrong variable of the environment is said now, before anything is moved
        return
    if arguments.threads < 1:
        raise UserError(f"--threads is {arguments.threads}; expected at least 1")
    try:
        fastrnn.set_num_threads(arguments.threads)
    except ValueError as error:  # more than can be counted
        _, _, expected = str(error).rpartition("; ")
        raise UserError(f"--threads is {arguments.threads}; {expected}") from error


def add_unknown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unk",
        choices=("error", "skip"),
        default="error",
        help="what to do with characters the model does not know [error]",
    )
