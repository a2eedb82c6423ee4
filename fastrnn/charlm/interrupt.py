"""Ctrl-C while training: the first one asks to save and leave, the second one aborts."""

import os
import signal
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
    A second signal raises KeyboardInterrupt at once. Signals can only be taken over in the main
    thread.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in self._SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # Not print: the signal may have come in the middle of one.
        os.write(_STDERR, b"\nfinishing this step, then saving; once more to leave unsaved\n")
