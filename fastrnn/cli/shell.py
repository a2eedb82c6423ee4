"""Command lines that are printed for the user to paste into a shell."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from . import output


def command_line(words: Iterable[str]) -> str:
    """The words as a POSIX shell takes them, on one line."""
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """One word, quoted where a shell would not take it as it is.

    What the terminal cannot show as it is (control characters, bytes that are no UTF-8) is written
    `$'\\033'`, which bash, zsh and ksh know.
    """
    try:
        word.encode(output.err.encoding)
        shown = word.isprintable()
    except (UnicodeEncodeError, LookupError):
        shown = False
    if shown:
        return shlex.quote(word)
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_./=,:+@%"
    # Three octal digits: a hexadecimal escape would take the digits after it, too.
    return "$'" + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in os.fsencode(word)) + "'"


def option(name: str, value: str) -> list[str]:
    """The words of an option; a value that looks like an option is tied to its name."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def after_options(words: list[str]) -> list[str]:
    """Words that are no options, to stand last: behind `--` where one looks like an option."""
    return ["--", *words] if any(word.startswith("-") and word != "-" for word in words) else words


def program() -> list[str]:
    """How this command was called: `fastrnn`, by its path, or `python -m fastrnn`."""
    called = sys.argv[0] if sys.argv else ""
    if Path(called).name == "fastrnn":
        return ["fastrnn" if shutil.which("fastrnn") == called else called]
    python = sys.executable or "python"
    return ["python" if shutil.which("python") == python else python, "-m", "fastrnn"]
