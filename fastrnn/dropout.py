"""Dropout as a layer of its own, for what lies between two layers."""

from __future__ import annotations

from typing import Any, ClassVar, overload

import numpy as np

from fastrnn import _check, lists, runtime, tape
from fastrnn._core import elementwise, memory
from fastrnn.module import FloatArray, Module


class DropoutTape(tape.Tape[tuple[lists.Form, _check.DType, tuple[float, int] | None]]):
    """A forward run of dropout, kept for one backward run: no mask, but what it is made of again."""


class Dropout(Module):
    """In `forward` alone: numbers are zeroed with probability p, the rest grow by 1/(1-p) (Srivastava et al., 2014).

    It has no parameters, and takes float32 as well as float64. p counts as the nearest float32, for float64, too.

    Parameters
    ----------
    p : float in [0, 1)
    seed : int, numpy.random.SeedSequence or None
        Of the masks. None draws one from the operating system.

    Attributes
    ----------
    p
        As given; it may be set at any time.
    rng : numpy.random.Generator
        Where the masks come from, one draw a run; save `rng.bit_generator.state` to resume exactly. It may be set.
    """

    p: float
    rng: np.random.Generator

    _CHECKS: ClassVar = {"p": _check.dropout, "rng": _check.random_numbers}

    def __init__(self, p: float, *, seed: int | np.random.SeedSequence | None = None) -> None:
        self.p = p
        self.rng = _check.generator(self._who, seed)
        self._lay_out({})

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def _compile(self, params: dict[str, FloatArray], grads: dict[str, FloatArray]) -> None:
        """There are no weights."""

    @overload
    def __call__(self, x: FloatArray, *, num_threads: int | None = None) -> FloatArray: ...

    @overload
    def __call__(self, x: list[FloatArray], *, num_threads: int | None = None) -> list[FloatArray]: ...

    def __call__(self, x: Any, *, num_threads: int | None = None) -> Any:
        """Return x itself: nothing is dropped in a call."""
        runtime.resolve(self._who, num_threads)
        self._joined(self._who, x)
        return x

    @overload
    def forward(self, x: FloatArray, *, num_threads: int | None = None) -> tuple[FloatArray, DropoutTape]: ...

    @overload
    def forward(
        self, x: list[FloatArray], *, num_threads: int | None = None
    ) -> tuple[list[FloatArray], DropoutTape]: ...

    def forward(self, x: Any, *, num_threads: int | None = None) -> tuple[Any, DropoutTape]:
        """Return y and the tape that `backward` needs.

        Parameters
        ----------
        x : array of any shape, float32 or float64, or a list of such
        num_threads : int, optional
            As in a recurrent layer's call.

        Returns
        -------
        y : as x
            x itself where p is 0.
        tape : DropoutTape

        Raises
        ------
        TypeError
            Not floats, or a list of several dtypes.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long call. The generator is as before it.
        """
        who = f"{self._who}.forward"
        threads = runtime.resolve(who, num_threads)
        flat, form = self._joined(who, x)
        if not self.p:
            return x, DropoutTape(self, self._version.number, (form, flat.dtype, None))
        before = self.rng.bit_generator.state
        try:
            drop = self.p, int(self.rng.integers(2**63))
            y = lists.formed(_dropped(flat, drop, threads), form)
        except BaseException:
            self.rng.bit_generator.state = before
            raise
        return y, DropoutTape(self, self._version.number, (form, flat.dtype, drop))

    def _joined(self, who: str, x: Any) -> tuple[FloatArray, lists.Form]:
        """All numbers of x, one behind the other, and its form."""
        given = _check.arrays(who, "x", x, "float arrays") if isinstance(x, list) else [x]
        names = [f"x[{i}]" for i in range(len(given))] if isinstance(x, list) else ["x"]
        dtype = _check.dtype_of(given[0])
        meaning = f"{dtype} as x[0] is" if isinstance(x, list) and given[0].dtype == dtype else "float32 or float64"
        checked = [
            _check.floats(who, name, one, dtype=dtype, meaning=meaning)
            for name, one in zip(names, given, strict=True)
        ]
        return lists.joined(checked if isinstance(x, list) else checked[0])

    @overload
    def backward(self, tape: DropoutTape, dy: FloatArray, *, num_threads: int | None = None) -> FloatArray: ...

    @overload
    def backward(
        self, tape: DropoutTape, dy: list[FloatArray], *, num_threads: int | None = None
    ) -> list[FloatArray]: ...

    def backward(self, tape: DropoutTape, dy: Any, *, num_threads: int | None = None) -> Any:
        """Use the tape up and return dx: dy with what forward dropped set to 0, and the rest times 1/(1-p).

        Parameters
        ----------
        tape : DropoutTape
            Of this layer's `forward`; p and rng may have been set since.
        dy : as y
            Gradient of the loss by y, in the dtype of x.

        Returns
        -------
        dx : as dy

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype, a tape of another layer or used up. Nothing has changed.
        """
        who = f"{self._who}.backward"
        threads = runtime.resolve(who, num_threads)
        form, dtype, drop = DropoutTape._open(tape, self, who)
        flat = lists.checked(who, "dy", dy, form, meaning="the shape of y", dtype=dtype)
        with self._lock:
            tape._use_up(self, who)
        return dy if drop is None else lists.formed(_dropped(flat, drop, threads), form)


def _dropped(flat: FloatArray, drop: tuple[float, int], threads: int) -> FloatArray:
    """flat (N,) without the elements that (p, key) drops."""
    result: FloatArray = memory.empty(flat.shape, flat.dtype)
    elementwise.dropout(flat, result, *drop, threads)
    return result
