"""The core's stack and streams in buffers that end, or begin, at a guard page, with every option that a layer has."""

import sys
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pytest
from fresh import linux_only, python
from guards import guarded, guarded_copy
from runs import CELLS, floats

import fastrnn
from fastrnn._core import gradients, run, tape, weights


class Drive(NamedTuple):
    """One run of a stack through the core itself; T, B, I, H as everywhere."""

    name: str
    time: int
    batch: int
    inputs: int
    hidden: int
    layers: int = 1
    integers: bool = False
    taped: bool = True
    at_rest: bool = False
    checkpoint: int = 0
    lengths: tuple = ()  # of a ragged batch, falling
    dtype: str = "float32"
    options: tuple = ()  # of the layer: (name, value)
    num_threads: int = 1

    def layer(self):
        kind, own = CELLS[self.name]
        sizes = self.inputs, self.hidden, self.layers
        layer = getattr(fastrnn, kind)(*sizes, dtype=self.dtype, seed=0, **own, **dict(self.options))
        with layer.editing() as params:
            params.flat[:] = np.random.default_rng(1).uniform(-0.3, 0.3, params.flat.size)
        return layer


def drive(case, own):
    """Every result, in arrays that `own` makes of plain ones."""
    layer, rng = case.layer(), np.random.default_rng([*case[1:5]])
    packed = tape.PackedBatch(np.array(case.lengths)) if case.lengths else None
    lead = (packed.rows,) if packed else (case.time, case.batch)

    def draw(*shape):
        return own(rng.uniform(-1, 1, shape).astype(case.dtype))

    def owned(arrays):
        return [[[own(np.array(a)) for a in one if a is not None] for one in both] for both in layer._by_layer(arrays)]

    def state():
        return [draw(*shape) for shape in layer._sizes.state_shapes(case.batch)]

    x = own(rng.integers(case.inputs, size=lead)) if case.integers else draw(*lead, case.inputs)
    stack = run.Stack(
        [
            tuple(weights.RecurrentWeights(layer._cell, weights.Version(), *arrays) for arrays in both)
            for both in owned(layer.params)
        ],
        layer._sizes.merge,
    )
    initial = None if case.at_rest else state()
    y, final, records = stack.forward(
        x, initial, case.taped, 0.0, layer.rng, case.num_threads, packed, case.checkpoint
    )
    if not case.taped:
        return [y, *final]
    grads = owned(layer.grads)
    into = [tuple(gradients.Gradients(*arrays) for arrays in both) for both in grads]
    stack.prepare_backward(records, True)
    looked = look(stack, records, draw(*y.shape), case)
    dx, dinitial = stack.backward(records, draw(*y.shape), state(), True, into, case.num_threads)
    results = [y, *final, *dinitial, *looked, *(array for both in grads for arrays in both for array in arrays)]
    return results if case.integers else [*results, dx]


def look(stack, records, dy, case):
    """What `fastrnn.inspect` reads: gates and states of every direction, and the gradient of h after every step."""
    directions = range(2 if BOTH in case.options else 1)
    kinds = range(1 if case.checkpoint or case.name != "lstm" else 2)
    found = [r.state(d, kind, after) for r in records for d in directions for kind in kinds for after in (0, 1)]
    if not case.checkpoint:
        found += [record.gates(direction) for record in records for direction in directions]
    nowhere = [tuple(gradients.Gradients() for _ in directions) for _ in records]
    for record in records:
        record.watch(True)
    stack.backward(records, dy, None, False, nowhere, case.num_threads)
    found += chain(*(record.dh for record in records))
    for record in records:
        record.watch(False)
    return found


def drive_stream(case, own):
    """The same layer as a stream, step by step."""
    stream = case.layer().stream(case.batch, num_threads=case.num_threads)
    x = [own(floats(case.batch, case.inputs, seed=t)) for t in range(2)]
    return [stream.step(x_t, own(floats(case.batch, case.hidden))) for x_t in x]


BOTH = ("bidirectional", True)
HIDDEN = (1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 48, 53)


def cases():
    for name in CELLS:
        for i, hidden in enumerate(HIDDEN):
            for batch in ((1, 4, 7), (2, 3, 5))[i % 2]:
                yield Drive(name, 2, batch, (hidden * batch) % 19 + 1, hidden)
            plain = Drive(name, 2, batch, (hidden * batch) % 19 + 1, hidden)
            yield plain._replace(integers=True)
            yield plain._replace(taped=False)
            yield from both_directions(plain._replace(time=4), i)
        for taped in (True, False):  # rows split, and not evenly
            large = Drive(name, 40, 23, 33, 64, taped=taped, num_threads=3)
            yield large
            yield large._replace(options=(BOTH,), checkpoint=7, dtype="float64")
            yield large._replace(options=(BOTH,), time=0, lengths=tuple(range(40, 17, -1)))


def both_directions(plain, i):
    """Options in turn, so that few runs have all of them."""
    merge = ("concat", "sum", "mul", "ave")[i % 4]
    lengths = (4, *(4 - b * 3 // plain.batch for b in range(1, plain.batch)))
    options = (BOTH, ("merge", merge))
    if plain.name == "lstm" and plain.hidden > 1:
        options = (*options, ("proj_size", max(1, plain.hidden - i)))
        yield plain._replace(options=options[2:])
    yield plain._replace(options=options, layers=2, dtype=("float32", "float64")[i % 2])
    yield plain._replace(options=options, lengths=lengths, integers=i % 3 == 0, at_rest=i % 2 == 0)
    yield plain._replace(options=options, lengths=lengths, checkpoint=1 + i % 3)
    yield plain._replace(options=options, taped=False, lengths=lengths, layers=2)
    yield plain._replace(checkpoint=2, dtype=("float64", "float32")[i % 2], layers=2)


class Numpy:
    """NumPy, whose zeros are guarded, for the core's modules."""

    def __init__(self, at_end):
        self._at_end = at_end

    def __getattr__(self, name):
        return getattr(np, name)

    def zeros(self, shape, dtype=float):
        array = guarded(shape if isinstance(shape, tuple) else (shape,), dtype, self._at_end)
        array[...] = 0
        return array


def guard(at_end):
    """Let every array that the package asks for end, or begin, at a page that nobody may touch."""
    tape.set_small(0)
    for module in list(sys.modules.values()):
        if module.__name__.startswith("fastrnn") and hasattr(module, "empty"):
            module.empty = partial(guarded, at_end=at_end)
        if module.__name__.startswith("fastrnn._core.") and hasattr(module, "np"):
            module.np = Numpy(at_end)


def drive_all(names, at_end):
    """What nobody promises to set is NaN before, so that it would show in the results."""
    chosen = [case for case in cases() if case.name in names]
    streams = [case for case in chosen if case.layers == 1 and not (case.options or case.integers)]
    expected = [[drive(case, np.array) for case in chosen], [drive_stream(case, np.array) for case in streams]]
    guard(at_end)
    own = partial(guarded_copy, at_end=at_end)
    actual = [(drive(case, own) for case in chosen), (drive_stream(case, own) for case in streams)]
    for case, ours, theirs in zip([*chosen, *streams], chain(*actual), chain(*expected), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert np.isfinite(one).all() and np.array_equal(one, other), case
    print("nothing beyond a buffer was touched")


@linux_only
@pytest.mark.parametrize("at_end", [True, False])
def test_no_option_touches_anything_beyond_a_buffer(at_end):
    """In a process of its own, which a touch would kill; its traceback names the call."""
    arguments = f"{[*CELLS]}, {at_end}"
    result = python(f"import faulthandler as f, test_guard_pages as t; f.enable(); t.drive_all({arguments})")
    assert result.stdout.strip() == "nothing beyond a buffer was touched", result.stderr
