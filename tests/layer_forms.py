"""The forms in which a caller may bring a `Problem`'s batch, and results of any form in that of the problem again.

array        (T, B, ...), contiguous
batch_first  (B, T, ...): views with their axes swapped
strided      (T, B, ...): every array a view backwards into a larger one, whose other entries are NaN
list         an array of its own for each row, of its own length
"""

import pickle

import numpy as np
from compiled_problems import cast

FORMS = ("array", "batch_first", "strided", "list")


def strided(array):
    """The same numbers, each axis backwards at twice the distance."""
    bare = np.full([2 * size for size in array.shape], np.nan if array.dtype.kind == "f" else 1).astype(array.dtype)
    view = bare[(slice(None, None, -2),) * array.ndim]
    view[...] = array
    return view


def strided_state(state):
    if isinstance(state, (list, tuple)):
        return type(state)(strided_state(part) for part in state)
    return None if state is None else strided(state)


def row_lengths(problem):
    return np.full(problem.batch, problem.time) if problem.lengths is None else problem.lengths


def given(problem, form, array):
    """What has (T, B, ...) in the caller's form."""
    if array is None or form == "array":
        return array
    if form == "batch_first":
        return array.swapaxes(0, 1)
    if form == "strided":
        return strided(array)
    return [array[:length, b].copy() for b, length in enumerate(row_lengths(problem))]


def back(problem, form, array):
    """What came in the caller's form as (T, B, ...), 0 in padding."""
    if array is None or form in ("array", "strided"):
        return array
    if form == "batch_first":
        return array.swapaxes(0, 1)
    padded = np.zeros((problem.time, problem.batch, *array[0].shape[1:]), array[0].dtype)
    for b, (own, length) in enumerate(zip(array, row_lengths(problem), strict=True)):
        assert len(own) == length
        padded[:length, b] = own
    return padded


def steps(problem, form):
    """The arguments that say which steps the rows take."""
    options = {name: given(problem, form, getattr(problem, name)) for name in ("mask", "reset")}
    if form != "list":
        options["lengths"] = problem.lengths
    if problem.mask is not None:
        options["zero_output_for_mask"] = problem.zero_output_for_mask
    return {name: value for name, value in options.items() if value is not None}


def run(problem, layer, form="array", *, state=True, upstream=True, forward=None, threads=None):
    """Every result and gradient of a layer, by the names of `Problem.run`; the layer's batch_first follows the form."""
    layer.batch_first = form == "batch_first"
    lay = strided_state if form == "strided" else lambda value: value
    initial = lay(cast(problem.as_states(problem.arrays), layer.dtype)) if state else None
    dfinal = lay(cast(problem.as_states(problem.upstream), layer.dtype)) if upstream else None
    x = given(problem, form, cast(problem.arrays["x"], layer.dtype))
    dy = given(problem, form, cast(problem.upstream["y"], layer.dtype))
    own = steps(problem, form)
    before = pickle.dumps((x, initial, dy, dfinal, own))
    y, final, tape = layer.forward(x, initial, **own, **(forward or {}), num_threads=threads)
    layer.zero_grad()
    dx, dinitial = layer.backward(tape, dy, dfinal, num_threads=threads)
    assert pickle.dumps((x, initial, dy, dfinal, own)) == before, "an argument has changed"
    results = {"y": back(problem, form, y)} | problem.by_name(final)
    results |= {"dx": back(problem, form, dx)} | problem.by_name(dinitial, "d")
    return results | {f"d{name}": grad.copy() for name, grad in layer.grads.items()}


def infer(problem, layer, form="array", *, state=True, threads=None):
    """y and the final states by name, of a call."""
    layer.batch_first = form == "batch_first"
    initial = cast(problem.as_states(problem.arrays), layer.dtype) if state else None
    x = given(problem, form, cast(problem.arrays["x"], layer.dtype))
    y, final = layer(x, initial, **steps(problem, form), num_threads=threads)
    return {"y": back(problem, form, y)} | problem.by_name(final)


def calm(problem):
    """The problem with weights by which sums of any length are of order one."""
    for name in problem.weights():
        array = problem.arrays[name]
        if array.ndim == 2:
            array *= min(1.0, 1.6 / np.sqrt(array.shape[1]))
    return problem


def without_bias(problem):
    """The problem with biases of 0."""
    for name in problem.weights():
        if name.startswith("bias"):
            problem.arrays[name][...] = 0
    return problem
