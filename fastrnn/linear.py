"""The linear layer that turns hidden states into logits or any other output."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastrnn import _check, runtime, tape
from fastrnn import init as initial_values
from fastrnn._core import dense, memory
from fastrnn._core.weights import LinearWeights
from fastrnn.module import FloatArray, Initialiser, Module, SetOnce


class LinearTape(tape.Tape[FloatArray]):
    """A linear layer's forward run, kept for one backward run."""


class Linear(Module):
    """A linear layer, y = x W^T + b over the last axis.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : {"float32", "float64"}
        Of parameters, gradients, x and y.
    seed : int, numpy.random.SeedSequence or None
        Of the initial weights: Glorot-uniform W, zero b.
    init : callable (name, shape, rng) -> array or None, optional
        As for the recurrent layers.

    Attributes
    ----------
    params, grads : Parameters
        weight (out, in) and bias (out,), PyTorch's names and shapes.
    """

    in_features = SetOnce(_check.count)
    out_features = SetOnce(_check.count)
    _bias = SetOnce(lambda who, name, value: _check.flag(who, "bias", value))

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = "float32",
        seed: int | np.random.SeedSequence | None = None,
        init: Initialiser | None = None,
    ) -> None:
        self.dtype = dtype
        self.in_features = in_features
        self.out_features = out_features
        self._bias = bias
        self._create(self._default, init, _check.generator(self._who, seed))

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        if self._bias:
            shapes["bias"] = (self.out_features,)
        return shapes

    def _compile(self, params: dict[str, FloatArray], grads: dict[str, FloatArray]) -> None:
        self._weights = LinearWeights(self._version, params["weight"], params.get("bias"))
        self._gradients = grads["weight"], grads.get("bias", np.zeros(0, self.dtype))

    def _default(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
        values = initial_values.glorot_uniform if name == "weight" else initial_values.zeros
        return values(shape, rng, dtype=self.dtype)

    def __call__(self, x: FloatArray, *, num_threads: int | None = None) -> FloatArray:
        """Run over all rows and keep nothing for backward.

        Parameters
        ----------
        x : (..., in_features) in the layer's dtype
            Any leading axes and any strides.
        num_threads : int, optional
            At most so many threads; the default is `get_num_threads()`. The result is the same bit for bit.

        Returns
        -------
        y : (..., out_features)

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype.
        """
        return self._run(self._who, x, num_threads)[0]

    def forward(
        self, x: FloatArray, *, num_threads: int | None = None
    ) -> tuple[FloatArray, LinearTape]:
        """Run as a call does, and return the tape that `backward` needs.

        Parameters
        ----------
        x, num_threads
            As in a call. The tape refers to x: leave it as it is until `backward`.

        Returns
        -------
        y : (..., out_features)
        tape : LinearTape
        """
        version = self._version.number
        y, x = self._run(f"{self._who}.forward", x, num_threads)
        return y, LinearTape(self, version, x)

    def _run(self, who: str, x: Any, num_threads: int | None) -> tuple[FloatArray, FloatArray]:
        """y, and x as it was read."""
        threads = runtime.resolve(who, num_threads)
        listed = ", of a list of arrays np.concatenate(x)" if isinstance(x, list) else ""
        x = _check.floats(who, "x", x, listed, dtype=self.dtype)
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"{who}: x has shape {x.shape}; expected (..., in_features={self.in_features})"
            )
        x = np.ascontiguousarray(x)
        rows = x.reshape(-1, self.in_features)
        y: FloatArray = memory.empty((len(rows), self.out_features), self.dtype)
        self._weights.refresh()
        if len(rows):
            dense.linear_forward(self._weights, rows, y, threads)
        return y.reshape(*x.shape[:-1], self.out_features), x

    def backward(
        self, tape: LinearTape, dy: FloatArray, *, num_threads: int | None = None
    ) -> FloatArray:
        """Add to `grads`, use the tape up and return dx.

        Parameters
        ----------
        tape : LinearTape
            Of this layer's `forward`, with these weights.
        dy : (..., out_features)
            Gradient of the loss by y, in the layer's dtype.
        num_threads : int, optional
            As in a call.

        Returns
        -------
        dx : (..., in_features)

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype, a tape of another layer, used up, or older than the weights. Nothing has changed.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long call. `grads` is as before the call, the tape is used up.
        """
        who = f"{self._who}.backward"
        threads = runtime.resolve(who, num_threads)
        x = LinearTape._open(tape, self, who)
        expected = (*x.shape[:-1], self.out_features)
        dy = _check.shape(who, "dy", dy, expected, "(..., out_features)", dtype=self.dtype)
        dx: FloatArray = memory.empty(x.shape, self.dtype)
        with self._lock:
            self._weights.refresh_transposed()
            tape._use_up(self, who)
            if not x.size:
                return dx
            dense.linear_backward(
                self._weights,
                x.reshape(-1, self.in_features),
                dy.reshape(-1, self.out_features),
                dx.reshape(-1, self.in_features),
                *self._gradients,
                threads,
            )
        return dx

    def to_onnx(
        self,
        path: str | PathLike[str] | None = None,
        *,
        opset: int = 17,
        axes: Sequence[str | int] = ("T", "B"),
    ) -> Any:
        """Return an `onnx.ModelProto` of this layer, and write it to `path` if there is one.

        Parameters
        ----------
        path : str or path, optional
        opset : int in 7..25
        axes : sequence of str or int
            The axes of x before its features: the name of one of any length, or a length.

        Raises
        ------
        ImportError
            The package onnx is not installed (`pip install 'fastrnn[onnx]'`).
        """
        from fastrnn.convert.onnx import writing

        return writing.one("Linear", self.state_dict(), {"bias": self._bias}, path, opset, False, tuple(axes))
