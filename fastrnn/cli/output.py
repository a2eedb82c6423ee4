"""Every line, bar and sample that the command writes goes through here, and nothing here raises.

A terminal may hang up, a pipe's reader leave, a disk be full, an encoding lack a character: none of
it may cost a training run. What cannot be encoded is written as an escape; what cannot be written is
dropped, and `Channel.lost` tells those whose only result it was.
"""

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO


def visible(text: str) -> str:
    """`text` with escapes for what is not printable, line ends too.

    Names and texts come from files of any origin: a terminal would obey their control characters.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def without_controls(text: str) -> str:
    """`text` with escapes for control characters but line ends and tabs; all that people write stays."""
    return "".join(_escape(c) if _is_control(c) and c not in "\n\t" else c for c in text)


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character < "\xa0"


def _escape(character: str) -> str:
    return repr(character)[1:-1]


class Channel:
    """Standard output or standard error, whatever stands there at the moment of writing.

    It is enough of a file for tqdm.

    Parameters
    ----------
    find : callable
        Returns the stream, or None where there is none (`>&-`).
    complain : callable, optional
        Takes the reason, in words, of the first failure but the leaving of a pipe's reader.

    Attributes
    ----------
    lost : bool
        Whether something could not be written.
    """

    def __init__(self, find: Callable[[], TextIO | None], complain: Callable[[str], object] | None = None) -> None:
        self._find = find
        self._complain = complain
        self.lost = False

    def write(self, text: str) -> bool:
        """Write and flush; returns whether somebody can still read it."""
        stream = self._find()
        if stream is None:
            return True
        try:
            _write(stream, text)
            return True
        except Exception as error:
            first, self.lost = not self.lost, True
            _discard_from_now_on(stream)
            if first and self._complain is not None and not isinstance(error, BrokenPipeError):
                self._complain(getattr(error, "strerror", None) or str(error))
            return False

    def line(self, message: str) -> bool:
        """Write one line, whatever is in `message`."""
        return self.write(visible(message) + "\n")

    def text(self, text: str) -> bool:
        """Write what a model made: as it is, on a terminal without control characters."""
        return self.write(without_controls(text) if self.isatty() else text)

    def flush(self) -> None:
        """Nothing: each write flushes."""

    def isatty(self) -> bool:
        try:
            stream = self._find()
            return stream is not None and stream.isatty()
        except Exception:
            return False

    def has_screen(self) -> bool:
        """Whether a bar can be seen: on a terminal that knows its size (some say 0 x 0)."""
        try:
            return 0 not in os.get_terminal_size(self.fileno())
        except Exception:
            return False

    def fileno(self) -> int:
        """The stream's file descriptor, for the size of the terminal.

        Raises
        ------
        OSError
            There is none.
        """
        stream = self._find()
        if stream is None:
            raise OSError("no stream")
        return stream.fileno()

    @property
    def encoding(self) -> str:
        return getattr(self._find(), "encoding", None) or "ascii"


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    while True:
        try:
            stream.flush()
            return
        except BlockingIOError:  # somebody who shares the terminal or the pipe does not want to wait; we do
            select.select([], [stream.fileno()], [])


def _discard_from_now_on(stream: TextIO) -> None:
    """Python flushes its streams at exit and would fail again: what is left in them goes nowhere."""
    if stream not in (sys.__stdout__, sys.__stderr__):  # somebody's own, as in a notebook
        return
    with suppress(Exception):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


err = Channel(lambda: sys.stderr)
out = Channel(
    lambda: sys.stdout, lambda reason: err.line(f"fastrnn: standard output: {reason}; going on without it")
)


def start() -> None:
    """To be called before a command opens files.

    A closed standard stream gets a handle: else the next file that is opened, a model's perhaps, would be number 1 or
    2, and messages that other libraries write there would land in it.
    """
    out.lost = err.lost = False
    with suppress(OSError):
        handle = os.open(os.devnull, os.O_RDWR)
        while handle <= 2:
            handle = os.open(os.devnull, os.O_RDWR)
        os.close(handle)


def exit_code() -> int:
    """Of a command whose result is what it writes to standard output."""
    return 1 if out.lost else 0
