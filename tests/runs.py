"""A layer with everything a training step needs, and the same step by the float64 twin.

Results are dicts of arrays by name: y, h (and c), dx, dh (and dc), then d and the parameter's name.
"""

import importlib
import itertools
from dataclasses import dataclass, field

import cases
import numpy as np
import pytest

import fastrnn
from fastrnn.reference import common, stack

CELLS = {name: (kind, options) for name, kind, options in cases.CELLS}
needs_openmp = pytest.mark.skipif(not fastrnn.config()["openmp"], reason="built without OpenMP")
every_cell = pytest.mark.parametrize("name", CELLS)
CLASSES = {"LSTM": fastrnn.LSTM, "GRU": fastrnn.GRU, "RNN": fastrnn.RNN, "UGRNN": fastrnn.UGRNN}
every_class = pytest.mark.parametrize("name", CLASSES)
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

# A rectifier's gradient jumps where its argument is 0, so no rounding error may cross it.
KINK_MARGIN = 4e-6


def as_tuple(state):
    """The arrays of a state: (h,) or (h, c)."""
    return state if isinstance(state, tuple) else (state,)


def from_tuple(parts):
    return tuple(parts) if len(parts) > 1 else parts[0]


def random_floats(rng, *shape, dtype=np.float32):
    return rng.uniform(-1, 1, shape).astype(dtype)


def floats(*shape, seed=0):
    """The same normal numbers for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def make_layer(name, inputs, hidden, layers=1, seed=0, dtype=np.float32, **options):
    """A layer with every parameter random, biases too; sums of a unit's inputs are of order one."""
    kind, own = CELLS[name]
    source = np.random.default_rng(seed)

    def init(_, shape, __):
        fan_in = shape[1] if len(shape) == 2 else 4
        return random_floats(source, *shape, dtype=dtype) * np.dtype(dtype).type(np.sqrt(2 / fan_in))

    return getattr(fastrnn, kind)(inputs, hidden, layers, dtype=dtype, init=init, **own, **options)


@dataclass
class Step:
    """The arguments of one forward and backward run."""

    layer: object
    x: np.ndarray
    state: object = None
    dy: np.ndarray = None
    dstate: object = None
    options: dict = field(default_factory=dict)  # the cell's own, as the twin takes them

    def forward(self, **kwargs):
        return self.layer.forward(self.x, self.state, **kwargs)

    def run(self, zero_grad=True, **kwargs):
        """Every result of the compiled layer."""
        if zero_grad:
            self.layer.zero_grad()
        y, final, tape = self.forward(**kwargs)
        dx, initial = self.layer.backward(tape, self.dy, self.dstate, **kwargs)
        gradients = {f"d{key}": view.copy() for key, view in self.layer.grads.items()}
        return {
            "y": y,
            **by_name(self.layer, final),
            "dx": dx,
            **by_name(self.layer, initial, "d"),
            **gradients,
        }

    def infer(self, **kwargs):
        y, final = self.layer(self.x, self.state, **kwargs)
        return {"y": y, **by_name(self.layer, final)}

    def twin(self):
        """Every result of the NumPy twin in float64."""
        layer, cell = self.layer, twin_of(self.layer)
        swap = layer.batch_first
        x = in_time(self.x, swap)
        shape = (layer.num_layers, x.shape[1], layer.hidden_size)
        weights = [
            tuple(
                double(layer.params.get(f"{w}_l{i}"), len(layer.GATES) * layer.hidden_size)
                for w in WEIGHTS
            )
            for i in range(layer.num_layers)
        ]
        y, final, tape = stack.forward(
            cell, x, states(layer, self.state, shape), weights, **self.options
        )
        dy = double(in_time(self.dy, swap), y.shape)
        dx, initial, dlayers = stack.backward(tape, dy, states(layer, self.dstate, shape))
        gradients = {
            f"d{w}_l{i}": dweight
            for i, dweights in enumerate(dlayers)
            for w, dweight in zip(WEIGHTS, dweights, strict=True)
            if f"{w}_l{i}" in layer.params
        }
        return {
            "y": in_time(y, swap),
            **by_name(layer, final),
            "dx": None if dx is None else in_time(dx, swap),
            **by_name(layer, initial, "d"),
            **gradients,
        }

    def length(self):
        """Terms in the longest chain of sums through the layers and the time steps."""
        layer, (time, batch) = self.layer, in_time(self.x, self.layer.batch_first).shape[:2]
        terms = len(layer.GATES) * layer.hidden_size + layer.input_size
        return layer.num_layers * time * max(terms, batch)


def make_step(name, shape, layers=1, integers=False, seed=0, **options):
    """Random x, initial state and upstream gradients on every output of a random layer."""
    for attempt in itertools.count(seed):
        step = any_step(name, shape, layers, integers, attempt, **options)
        if name != "rnn_relu" or _kink_margin(step) > KINK_MARGIN:
            return step


def any_step(name, shape, layers=1, integers=False, seed=0, **options):
    """The same, however near a rectifier's argument is to 0."""
    time, batch, inputs, hidden = shape
    rng = np.random.default_rng([seed, *shape, layers])
    layer = make_layer(name, inputs, hidden, layers, seed, **options)

    def floats(*shape):
        return random_floats(rng, *shape, dtype=layer.dtype)

    def state():
        parts = tuple(floats(layers, batch, hidden) for _ in layer.STATES)
        return parts if len(parts) > 1 else parts[0]

    lead = (batch, time) if layer.batch_first else (time, batch)
    x = rng.integers(inputs, size=lead) if integers else floats(*lead, inputs)
    initial = state()
    dy = floats(*lead, hidden)
    return Step(layer, x, initial, dy, state(), CELLS[name][1])


def _kink_margin(step):
    """Distance from 0 of the nearest argument of any rectifier; 0 if a layer is dead."""
    layer = step.layer
    x, state = in_time(step.x, layer.batch_first), double(step.state)
    margins = []
    for i in range(layer.num_layers):
        weights = tuple(double(layer.params.get(f"{w}_l{i}"), layer.hidden_size) for w in WEIGHTS)
        y, _, _ = twin_of(layer).forward(x, state[i], weights, **step.options)
        before = np.concatenate([state[i : i + 1], y[:-1]])
        argument = common.project(x, weights[0]) + weights[2] + before @ weights[1].T + weights[3]
        margins.append(np.abs(argument).min() if (argument > 0).any() else 0)
        x = y
    return min(margins)


def twin_of(layer):
    return importlib.import_module(f"fastrnn.reference.{type(layer).__name__.lower()}")


def parts(state):
    """h alone or h and c, as a tuple either way."""
    return state if isinstance(state, tuple) else (state,)


def by_name(layer, state, prefix=""):
    return {prefix + key: part for key, part in zip(layer.STATES, parts(state), strict=True)}


def in_time(array, swap):
    return array.swapaxes(0, 1) if swap and array is not None else array


def double(array, shape=None):
    return np.zeros(shape) if array is None else array.astype(np.float64)


def states(layer, state, shape):
    parts = state if isinstance(state, tuple) else (state,) * len(layer.STATES)
    parts = tuple(double(part, shape) for part in parts)
    return parts if len(parts) > 1 else parts[0]
