"""What a user may do between steps and epochs."""

from __future__ import annotations

from typing import Any


class Callback:
    """Base of callbacks: each method is called with the run, and may read it or call `run.stop()`.

    A run has model, optimizer, history, epoch and step (of what is done), and of the last step loss (a mean),
    gradient_norm (before clipping) and lr. What a callback changes must not be lost on a run that is resumed.

    Raises
    ------
    TypeError
        A subclass has a method `on_...` that is never called.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name in vars(cls):
            if name.startswith("on_") and name not in known:
                raise TypeError(f"{cls.__name__}: {name} is never called; expected {' or '.join(known)}")

    def on_step(self, run: Any) -> None:
        """A step is done."""

    def on_epoch(self, run: Any) -> None:
        """An epoch is done, and its line is in the history."""
