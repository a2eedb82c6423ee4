"""A layer that does what a `Problem` of the twins does: the same arrays, by the same names."""

import numpy as np
from cases import CELLS
from layer_problems import Problem
from runs import from_tuple

import fastrnn

KINDS = {name: (getattr(fastrnn, kind), options) for name, kind, options in CELLS} | {"lstmp": (fastrnn.LSTM, {})}


def layer_of(problem, dtype="float64", **options):
    """The layer with the problem's weights; without biases, if it has none."""
    kind, own = KINDS[problem.name]
    if problem.merge is not None:
        own = {**own, "bidirectional": True, "merge": problem.merge}
    if problem.name == "lstmp":
        own = {**own, "proj_size": problem.projection}
    widths = list(problem.widths) if len(set(problem.widths)) > 1 else problem.widths[0]
    layers = {} if isinstance(widths, list) else {"num_layers": len(problem.widths)}
    inputs = problem.arrays["weight_ih_l0"].shape[1]
    layer = kind(inputs, widths, **layers, dtype=dtype, **own, **options)
    layer.load_state_dict({name: problem.arrays[name].astype(dtype) for name in layer.params})
    return layer


def cast(value, dtype):
    """Arrays of floats, alone or in lists and tuples, as dtype."""
    if isinstance(value, (list, tuple)):
        return type(value)(cast(one, dtype) for one in value)
    return value.astype(dtype) if value.dtype.kind == "f" else value


def run(problem, layer, state=True, upstream=True, forward=None, **options):
    """Every result and every gradient of a layer, by the names of `Problem.run`."""
    dtype = layer.dtype
    given = {name: value for name, value in problem.steps().items() if value is not None}
    initial = cast(problem.as_states(problem.arrays), dtype) if state else None
    dfinal = cast(problem.as_states(problem.upstream), dtype) if upstream else None
    x = cast(problem.arrays["x"], dtype)
    y, final, tape = layer.forward(x, initial, **given, **(forward or {}), **options)
    layer.zero_grad()
    dx, dinitial = layer.backward(tape, cast(problem.upstream["y"], dtype), dfinal, **options)
    results = {"y": y} | problem.by_name(final)
    gradients = {"dx": dx} | problem.by_name(dinitial, "d")
    return results | gradients | {f"d{name}": layer.grads[name].copy() for name in problem.weights()}


__all__ = ["KINDS", "Problem", "cast", "from_tuple", "layer_of", "np", "run"]
