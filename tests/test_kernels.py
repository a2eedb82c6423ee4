"""The kernels at their edges: sums that must come out exact, and buffers that end at a guard page."""

import copy
import os
from functools import partial

import compiled_problems
import numpy as np
import pytest
from fresh import linux_only, output, python
from guards import guards_everywhere
from layer_problems import Problem
from numpy_layer import every_dtype
from runs import CELLS, any_step, make_layer
from tolerance import assert_same_bits

import fastrnn
from fastrnn._core import kernels

# Rows and terms around the register tiles (up to 8 rows), the groups of 16 columns and the blocks of
# 128 or 256 rows and 256 or 512 terms.
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 95, 96, 97, 127, 128, 129, 191, 255, 256, 257, 300)
COLUMNS = (1, 7, 15, 16, 17, 31, 33, 48, 64, 65, 79, 130)
TERMS = (1, 2, 15, 17, 255, 256, 257, 512, 513, 1025)


def small_integers(rng, *shape, dtype=np.float32):
    """Numbers whose sums of products float32 holds exactly, in whatever order they are added.

    Of float64 some have a last bit that float32 would lose from the sums; their products stay exact, too.
    """
    numbers = rng.integers(-4, 5, shape).astype(dtype)
    return numbers + (numbers == 1) * 2.0**-15 if dtype == np.float64 else numbers


def set_to(module, rng, **scales):
    with module.editing() as params:
        for name, view in params.items():
            scale = scales.get(name.split("_l")[0], 1)
            view[...] = small_integers(rng, *view.shape, dtype=module.dtype.type) * module.dtype.type(scale)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("terms", TERMS)
@every_dtype
def test_linear_products_are_exact(terms, num_threads, dtype):
    rng = np.random.default_rng(terms)

    def numbers(*shape):
        return small_integers(rng, *shape, dtype=dtype)

    for rows, columns in zip(ROWS, np.resize(COLUMNS, len(ROWS)), strict=True):
        head = fastrnn.Linear(terms, int(columns), dtype=dtype)
        set_to(head, rng)
        x, dy = numbers(rows, terms), numbers(rows, columns)
        before = numbers(head.flat_grads.size)
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
@every_dtype
def test_every_tile_is_there(terms, dtype):
    """Each number of rows and of column groups takes other tiles, rows 4 KiB apart others again."""
    rng = np.random.default_rng(terms)
    x = small_integers(rng, 40, terms, dtype=dtype)
    for columns in range(16, 10 * 16 + 1, 16):
        head = fastrnn.Linear(terms, columns, bias=False, dtype=dtype)
        set_to(head, rng)
        expected = x @ head.params["weight"].T
        for rows in range(1, len(x) + 1):
            np.testing.assert_array_equal(head(x[:rows], num_threads=1), expected[:rows])


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("hidden", [1, 15, 16, 17, 40, 64, 81, 257])
@every_dtype
def test_recurrent_products_are_exact(hidden, num_threads, dtype):
    """A rectifier passes integers on: two steps of the driver's products, forward and backward."""
    rng = np.random.default_rng(hidden)
    for rows in (1, 3, 4, 7, 13, 50):
        rnn = make_layer("rnn_relu", 9, hidden, dtype=dtype)
        set_to(rnn, rng, weight_hh=0.25)
        w, r, b, b_h = (view.astype(np.float64) for view in rnn.params.values())
        x, dy, h0 = (
            small_integers(rng, *lead, columns).astype(dtype)
            for *lead, columns in ((2, rows, 9), (2, rows, hidden), (1, rows, hidden))
        )
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


def drive(run, *things):
    """The run as it is, then over copies of everything in guarded memory: the same bits.

    What a layer does not promise to read is NaN before, so it would show in the results.
    """
    expected = run(*things)
    with guards_everywhere():
        actual = run(*copy.deepcopy(things))
        assert_same_bits(actual, expected)


def whole_step(step, num_threads=1):
    inferred = step.infer(num_threads=num_threads)
    return step.run(num_threads=num_threads) | {f"inferred {name}": array for name, array in inferred.items()}


def linear_and_loss(head, x, targets):
    head.zero_grad()
    y, tape = head.forward(x)
    loss, dy = fastrnn.softmax_cross_entropy(y, targets)
    dx = head.backward(tape, dy)
    return {"y": y, "loss": np.array(loss), "dy": dy, "dx": dx, "gradients": head.flat_grads.copy()}


def drive_all(names, dtype):
    sizes = (1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 48, 53)
    for name in names:
        for i, hidden in enumerate(sizes if dtype == "float32" else sizes[1::2]):
            for batch in ((1, 4, 7), (2, 3, 5))[i % 2]:
                shape = (2, batch, (hidden * batch) % 19 + 1, hidden)
                drive(whole_step, any_step(name, shape, dtype=dtype))
            drive(whole_step, any_step(name, shape, integers=True, dtype=dtype))
        drive(whole_step, any_step(name, (40, 23, 33, 64), dtype=dtype), 3)  # rows split, and not evenly
        for options in ({"merge": "concat"}, {"merge": "mul", "widths": (3, 17)}):
            lengths, flags = np.array([5, 0, 3, 1]), np.random.default_rng(0).random((2, 5, 4)) < 0.5
            problem = Problem(name, lengths=lengths, mask=flags[0], reset=flags[1], **options)
            drive(partial(compiled_problems.run, problem), compiled_problems.layer_of(problem, dtype))
    rng = np.random.default_rng(0)
    for rows, inputs, outputs in ((1, 1, 1), (3, 17, 5), (5, 15, 65), (130, 33, 40)):
        head, x = fastrnn.Linear(inputs, outputs, dtype=dtype), rng.standard_normal((rows, inputs)).astype(dtype)
        drive(linear_and_loss, head, x, rng.integers(outputs, size=rows))
    print("nothing beyond a buffer was touched", flush=True)
    os._exit(0)


@linux_only
@every_dtype
def test_kernels_touch_nothing_beyond_their_buffers(dtype):
    """In a process of its own, which a touch would kill; its traceback names the call."""
    call = f"test_kernels.drive_all({[*CELLS]}, '{np.dtype(dtype)}')"
    result = python(f"import faulthandler, test_kernels; faulthandler.enable(); {call}")
    assert result.stdout.strip() == "nothing beyond a buffer was touched", result.stderr


@linux_only
@pytest.mark.parametrize("made_by", ["guards.guarded((5,))", "np.empty(5)", "np.zeros((5, 3), np.float32)", "resized"])
def test_a_touch_of_a_guard_page_is_noticed(made_by):
    script = f"""
import ctypes, guards
import numpy as np
with guards.guards_everywhere():
    resized = np.ones(3)
    resized.resize(7)
    assert resized.sum() == 3
    array = {made_by}
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
