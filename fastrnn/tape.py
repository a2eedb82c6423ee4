"""What a forward run leaves for backward."""

from __future__ import annotations

from typing import Any, Generic, NoReturn, TypeVar

from fastrnn.module import Module

Kept = TypeVar("Kept")


class Tape(Generic[Kept]):
    """A forward run, kept for backward. Made by a layer's `forward`, used up by its `backward` unless reusable."""

    def __init__(self, layer: Module, version: int, kept: Kept, reusable: bool = False) -> None:
        self._layer = layer
        self._version = version  # of the weights, read before the run
        self._kept: Kept | None = kept
        self._reusable, self._busy = reusable, False

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}: a tape can be neither copied nor pickled, its buffers are for one backward of one "
            "layer; expected another forward instead"
        )

    @classmethod
    def _open(cls, tape: Any, layer: Module, who: str) -> Kept:
        """What the tape keeps, if it is a tape for this layer as it is."""
        if not isinstance(tape, cls):
            raise TypeError(f"{who}: tape is a {type(tape).__name__}; expected what forward returned")
        if tape._layer is not layer:
            raise ValueError(
                f"{who}: the tape is another {type(tape._layer).__name__}'s; expected one that this "
                "layer's forward returned"
            )
        kept: Kept | None = tape._kept
        if kept is None:
            raise ValueError(f"{who}: the tape is used up; expected a new one, run forward again")
        if tape._version != layer._version.number:
            raise ValueError(
                f"{who}: the weights changed after this tape was made; expected backward before the "
                "change, run forward again"
            )
        return kept

    def _use_up(self, layer: Module, who: str) -> None:
        # Again, under the layer's lock: another thread may have used it or changed the weights.
        self._open(self, layer, who)
        if not self._reusable:
            self._kept = None

    def _begin(self, layer: Module, who: str, keep: bool = False) -> None:
        """Use the tape up, or until `_end` where it is reusable or to be kept: under the layer's lock."""
        if keep:
            self._open(self, layer, who)
        else:
            self._use_up(layer, who)
        if self._busy:  # by this very thread: a signal's handler in the middle of a run
            raise ValueError(f"{who}: a backward run over this tape has not ended; expected one run at a time")
        self._busy = True

    def _end(self) -> None:
        self._busy = False
