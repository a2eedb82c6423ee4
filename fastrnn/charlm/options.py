"""Options that several subcommands share."""

import argparse
import sys
from typing import Any

import fastrnn

from . import checkpoint
from .errors import UserError
from .reading import STANDARD_INPUT, read_texts
from .text import DEFAULT_TEXT_NAME, default_text

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
        print(f"fastrnn: warning: {path}: {model_file.unchecked}", file=sys.stderr)
    return model_file


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, metavar="INT", help="threads to compute with")


def set_threads(arguments: argparse.Namespace) -> None:
    if arguments.threads is None:
        return
    if arguments.threads < 1:
        raise UserError(f"--threads is {arguments.threads}; expected at least 1")
    fastrnn.set_num_threads(arguments.threads)


def add_unknown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unk",
        choices=("error", "skip"),
        default="error",
        help="what to do with characters the model does not know [error]",
    )
