"""The linear layer that turns hidden states into logits or any other output."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrnn import _check, _dense, _memory, _threads
from fastrnn import init as initial_values
from fastrnn.module import Fixed, FloatArray, Initialiser, Module


class LinearTape:
    """A linear layer's forward run, kept for one backward run."""

    def __init__(self, layer: Linear, version: int, x: FloatArray) -> None:
        self._layer = layer
        self._version = version  # of the weights, read before the run
        self._x: FloatArray | None = x


class Linear(Module):
    """y = x W^T + b over the last axis.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    seed : int, numpy.random.SeedSequence or None
        Of the initial weights: Glorot-uniform W, zero b.
    init : callable (name, shape, rng) -> array or None, optional
        As for the recurrent layers.

    Attributes
    ----------
    params, grads : Parameters
        weight (out, in) and bias (out,), PyTorch's names and shapes.
    """

    in_features = Fixed()
    out_features = Fixed()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        seed: int | np.random.SeedSequence | None = None,
        init: Initialiser | None = None,
    ) -> None:
        self.in_features = _check.count("Linear", "in_features", in_features)
        self.out_features = _check.count("Linear", "out_features", out_features)
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        if _check.flag("Linear", "bias", bias):
            shapes["bias"] = (self.out_features,)
        self._create(shapes, self._default, init, _check.generator("Linear", seed))

    def _compile(self) -> None:
        self._panels = _dense.LinearPanels(self._version, self.params["weight"], self.params.get("bias"))

    @staticmethod
    def _default(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
        return initial_values.glorot_uniform(shape, rng) if name == "weight" else np.zeros(shape, np.float32)

    def __call__(self, x: FloatArray, *, num_threads: int | None = None) -> FloatArray:
        """Return y (..., out_features) of x (..., in_features) float32."""
        return self._run("Linear", x, num_threads)[0]

    def forward(
        self, x: FloatArray, *, num_threads: int | None = None
    ) -> tuple[FloatArray, LinearTape]:
        """Return y and the tape that `backward` needs; leave x as it is until then."""
        version = self._version.number
        y, rows = self._run("Linear.forward", x, num_threads)
        return y, LinearTape(self, version, rows.reshape(x.shape))

    def _run(self, who: str, x: Any, num_threads: int | None) -> tuple[FloatArray, FloatArray]:
        threads = _threads.resolve(who, num_threads)
        x = _check.float32(who, "x", x)
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"{who}: x has shape {x.shape}; expected (..., in_features={self.in_features})"
            )
        rows = np.ascontiguousarray(x).reshape(-1, self.in_features)
        y: FloatArray = _memory.empty((len(rows), self.out_features))
        self._panels.refresh()
        if len(rows):
            _dense.linear_forward(self._panels, rows, y, threads)
        return y.reshape(*x.shape[:-1], self.out_features), rows

    def backward(
        self, tape: LinearTape, dy: FloatArray, *, num_threads: int | None = None
    ) -> FloatArray:
        """Add to `grads`, use the tape up and return dx.

        Parameters
        ----------
        tape : LinearTape
            Of this layer's `forward`, with these weights.
        dy : (..., out_features) float32
            Gradient of the loss by y.

        Returns
        -------
        dx : (..., in_features) float32

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype, a tape of another layer, used up, or older than the weights. Nothing has changed.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long call. `grads` is as before the call, the tape is used up.
        """
        who = "Linear.backward"
        threads = _threads.resolve(who, num_threads)
        x = self._tape_input(tape)
        dy = _check.shape(who, "dy", dy, (*x.shape[:-1], self.out_features), "(..., out_features)")
        dx: FloatArray = _memory.empty(x.shape)
        grad = self.grads.get("bias", np.zeros(0, np.float32))
        with self._lock:
            self._panels.refresh_transposed()
            self._tape_input(tape)  # again: another thread may have used it or changed the weights
            tape._x = None
            if not x.size:
                return dx
            _dense.linear_backward(
                self._panels,
                x.reshape(-1, self.in_features),
                dy.reshape(-1, self.out_features),
                dx.reshape(-1, self.in_features),
                self.grads["weight"],
                grad,
                threads,
            )
        return dx

    def _tape_input(self, tape: LinearTape) -> FloatArray:
        if not isinstance(tape, LinearTape):
            raise TypeError(
                f"Linear.backward: tape is a {type(tape).__name__}; expected what forward returned"
            )
        if tape._layer is not self:
            raise ValueError("Linear.backward: the tape is another layer's; expected this layer's")
        if tape._x is None:
            raise ValueError("Linear.backward: the tape is used up; expected a new one, run forward again")
        if tape._version != self._version.number:
            raise ValueError(
                "Linear.backward: the weights changed after this tape was made; expected backward before the "
                "change, run forward again"
            )
        return tape._x
