"""The kernels at their edges: sums that must come out exact, and buffers that end at a guard page."""

import sys
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pytest
from fresh import linux_only, output, python
from guards import guarded, guarded_copy
from runs import CELLS, floats, make_layer

import fastrnn
from fastrnn._core import kernels, run, tape, weights

# Rows and terms around the register tiles (up to 8 rows), the groups of 16 columns and the blocks of
# 128 or 256 rows and 256 or 512 terms.
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 95, 96, 97, 127, 128, 129, 191, 255, 256, 257, 300)
COLUMNS = (1, 7, 15, 16, 17, 31, 33, 48, 64, 65, 79, 130)
TERMS = (1, 2, 15, 17, 255, 256, 257, 512, 513, 1025)


def small_integers(rng, *shape):
    """Numbers whose sums of products float32 holds exactly, in whatever order they are added."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def set_to(module, rng, **scales):
    with module.editing() as params:
        for name, view in params.items():
            scale = scales.get(name.split("_l")[0], 1)
            view[...] = small_integers(rng, *view.shape) * np.float32(scale)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("terms", TERMS)
def test_linear_products_are_exact(terms, num_threads):
    rng = np.random.default_rng(terms)
    for rows, columns in zip(ROWS, np.resize(COLUMNS, len(ROWS)), strict=True):
        head = fastrnn.Linear(terms, int(columns))
        set_to(head, rng)
        x, dy = small_integers(rng, rows, terms), small_integers(rng, rows, columns)
        before = small_integers(rng, head.flat_grads.size)
        head.flat_grads[:] = before
        y, tape = head.forward(x, num_threads=num_threads)
        dx = head.backward(tape, dy, num_threads=num_threads)
        weight, bias = head.params["weight"], head.params["bias"]
        size = weight.size
        np.testing.assert_array_equal(y, x @ weight.T + bias)
        np.testing.assert_array_equal(dx, dy @ weight)
        np.testing.assert_array_equal(
            head.grads["weight"], dy.T @ x + before[:size].reshape(weight.shape)
        )
        np.testing.assert_array_equal(head.grads["bias"], dy.sum(axis=0) + before[size:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("isa", kernels.available())
def test_every_tile_of_every_isa_is_there(isa, dtype):
    """Each number of rows and of column groups takes other tiles, rows 4 KiB apart others again, ragged columns a
    tile of their own; and blocks of rows and of terms cut them."""
    chosen = kernels.isa()["name"]
    rng = np.random.default_rng(0)
    apart = 4096 // np.dtype(dtype).itemsize
    shapes = [(rows, 7, columns) for rows in range(1, 41) for columns in (1, 15, 17, 40, *range(16, 161, 16))]
    shapes += [(rows, apart, columns) for rows in range(1, 14) for columns in range(16, 65, 16)]
    shapes += [(rows, terms, 49) for rows in ROWS for terms in (129, 513, 1025)]
    kernels.choose(isa)
    try:
        for rows, terms, columns in shapes:
            init, x = (small_integers(rng, rows, n).astype(dtype) for n in (columns, terms))
            weight = small_integers(rng, columns, terms).astype(dtype).T
            expected = init + x @ weight
            weight = weight if rows % 2 else np.ascontiguousarray(weight)
            np.testing.assert_array_equal(kernels.product(init, x, weight), expected)
    finally:
        kernels.choose(chosen)


@pytest.mark.skipif("avx2" not in kernels.available(), reason="no fused multiply-add")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_isa_with_fused_multiply_add_gives_the_same_product(dtype):
    chosen = kernels.isa()["name"]
    rng = np.random.default_rng(0)
    for rows, terms, columns in ((1, 30, 40), (7, 600, 33), (300, 1100, 80)):
        init, x, weight = (
            rng.standard_normal(shape).astype(dtype) for shape in ((rows, columns), (rows, terms), (terms, columns))
        )
        results = []
        for isa in kernels.available()[1:]:
            kernels.choose(isa)
            results.append(kernels.product(init, x, weight))
        kernels.choose(chosen)
        for result in results:
            np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("terms", [5, 1024])
def test_every_tile_is_there(terms):
    """Each number of rows and of column groups takes other tiles, rows 4 KiB apart others again."""
    rng = np.random.default_rng(terms)
    x = small_integers(rng, 40, terms)
    for columns in range(16, 10 * 16 + 1, 16):
        head = fastrnn.Linear(terms, columns, bias=False)
        set_to(head, rng)
        expected = x @ head.params["weight"].T
        for rows in range(1, len(x) + 1):
            np.testing.assert_array_equal(head(x[:rows], num_threads=1), expected[:rows])


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("hidden", [1, 15, 16, 17, 40, 64, 81, 257])
def test_recurrent_products_are_exact(hidden, num_threads):
    """A rectifier passes integers on: two steps of the driver's products, forward and backward."""
    rng = np.random.default_rng(hidden)
    for rows in (1, 3, 4, 7, 13, 50):
        rnn = make_layer("rnn_relu", 9, hidden)
        set_to(rnn, rng, weight_hh=0.25)
        w, r, b, b_h = (view.astype(np.float64) for view in rnn.params.values())
        x, dy = small_integers(rng, 2, rows, 9), small_integers(rng, 2, rows, hidden)
        h0 = small_integers(rng, 1, rows, hidden)
        y, _, tape = rnn.forward(x, h0, num_threads=num_threads)
        dx, dh0 = rnn.backward(tape, dy, num_threads=num_threads)

        h = [h0[0].astype(np.float64)]
        for t in range(2):
            h.append(np.maximum(x[t] @ w.T + b + h[t] @ r.T + b_h, 0))
        da1 = dy[1] * (h[2] > 0)
        da0 = (dy[0] + da1 @ r) * (h[1] > 0)
        assert max(np.abs(h[2]).max(), np.abs(da0.T @ h[0]).max()) < 2**18  # exact in float32
        np.testing.assert_array_equal(y, np.stack(h[1:]))
        np.testing.assert_array_equal(dx, np.stack([da0 @ w, da1 @ w]))
        np.testing.assert_array_equal(dh0[0], da0 @ r)
        expected = (da0.T @ x[0] + da1.T @ x[1], da0.T @ h[0] + da1.T @ h[1])
        np.testing.assert_array_equal(rnn.grads["weight_ih_l0"], expected[0])
        np.testing.assert_array_equal(rnn.grads["weight_hh_l0"], expected[1])
        for name in ("bias_ih_l0", "bias_hh_l0"):
            np.testing.assert_array_equal(rnn.grads[name], (da0 + da1).sum(axis=0))


# ---------------------------------------------------------------------------------------- guard pages


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
    gradients = [tuple(run.Gradients(*arrays) for arrays in both) for both in grads]
    stack.prepare_backward(records, True)
    dx, dinitial = stack.backward(records, draw(*y.shape), state(), True, gradients, case.num_threads)
    results = [y, *final, *dinitial, *(array for both in grads for arrays in both for array in arrays)]
    return results if case.integers else [*results, dx]


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
def test_kernels_touch_nothing_beyond_their_buffers(at_end):
    """In a process of its own, which a touch would kill; its traceback names the call."""
    script = f"import faulthandler, test_kernels; faulthandler.enable(); test_kernels.drive_all({[*CELLS]}, {at_end})"
    result = python(script)
    assert result.stdout.strip() == "nothing beyond a buffer was touched", result.stderr


@linux_only
def test_a_touch_of_a_guard_page_is_noticed():
    script = """
import ctypes, guards
array = guards.guarded((5,))
ctypes.memset(array.ctypes.data + array.nbytes - 1, 0, 1)
print("inside", flush=True)
ctypes.memset(array.ctypes.data + array.nbytes, 0, 1)
print("outside")
"""
    result = python(script)
    assert result.stdout.strip() == "inside"
    assert result.returncode != 0


@linux_only
def test_activations_touch_nothing_beyond_their_argument():
    script = """
import guards, numpy as np
from fastrnn._core import kernels
for size in range(1, 40):
    x = guards.guarded((size,))
    x[:] = 0
    wide = guards.guarded((size,), np.float64)
    wide[:] = 0
    for name in ("tanh", "sigmoid"):
        assert not np.isnan(kernels.activation(name, x)).any()
        assert not np.isnan(kernels.activation(name, wide)).any()
print("fine")
"""
    assert output(script) == "fine"


def test_buffers_that_outlive_the_modules_end_quietly():
    """What the interpreter frees last may be freed after the globals of our modules are gone."""
    script = """
import sys, fastrnn, numpy as np
sys.kept = fastrnn.LSTM(64, 64).forward(np.ones((20, 24, 64), np.float32))
"""
    result = python(script)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
