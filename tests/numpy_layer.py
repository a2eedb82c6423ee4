"""A layer without a compiled part, of either dtype: what modules, optimisers and gradient checks owe to any layer."""

import numpy as np
import pytest

from fastrnn import _check, init
from fastrnn.module import Module

DTYPES = [np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


class Dense(Module):
    """y = tanh(x W^T + b) in NumPy."""

    def __init__(self, inputs, outputs, *, dtype="float32", seed=None, init=None):
        self.dtype = dtype
        self.sizes = inputs, outputs
        self._create(self._default, init, _check.generator(self._who, seed))

    def _parameter_shapes(self):
        inputs, outputs = self.sizes
        return {"weight": (outputs, inputs), "bias": (outputs,)}

    def _default(self, name, shape, rng):
        values = init.glorot_uniform if name == "weight" else init.zeros
        return values(shape, rng, dtype=self.dtype)

    def _compile(self, params, grads):
        self._arrays = params, grads

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_arrays"}

    def __call__(self, x):
        params, _ = self._arrays
        return np.tanh(x @ params["weight"].T + params["bias"])

    def backward(self, x, dy):
        params, grads = self._arrays
        da = dy * (1 - self(x) ** 2)
        grads["weight"] += da.T @ x
        grads["bias"] += da.sum(axis=0)
        return da @ params["weight"]


def normal(dtype, *shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def other(dtype):
    """The dtype that a layer of this one refuses."""
    return np.float32 if np.dtype(dtype) == np.float64 else np.float64
