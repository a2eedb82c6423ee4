"""Signals while training: the first one asks to save and leave, a second Ctrl-C aborts."""

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any

_STDERR = 2


class StopRequest:
    """Notes a signal instead of dying from it, inside a `with` block.

    Attributes
    ----------
    signal : int or None
        The number of the signal that came.

    Notes
    -----
    Taken are Ctrl-C, SIGTERM, SIGHUP, which comes where a terminal or ssh session ends, and what batch
    systems send before a job's time is over, but for those that are ignored (`nohup`). A Ctrl-C after
    one of them raises KeyboardInterrupt at once; the others come twice without anybody's impatience.
    Only the main thread can take signals; elsewhere they stay as they are.
    """

    _NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2")
    _SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "StopRequest":
        for number in self._SIGNALS:
            # None: somebody's handler in C, which could not be put back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                with suppress(ValueError):  # not the main thread
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.signal = number
        # Not a print: the signal may have come in the middle of one.
        with suppress(OSError):
            os.write(_STDERR, b"\nfinishing this step, then saving; Ctrl-C once more to leave unsaved\n")
