"""What may change no bit: the number of threads, checkpoints. And memory, which checkpoints are for."""

import json

import numpy as np
import pytest
from compiled_problems import layer_of
from fresh import linux_only, output
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_forms import FORMS, calm, infer, row_lengths, run
from layer_problems import CELLS, Problem
from runs import needs_openmp
from test_layer_options import problems
from test_layer_ragged import EVERYTHING, assert_same_bits, every_dtype, every_merge, ragged

import fastrnn

every_cell = pytest.mark.parametrize("name", CELLS)


# --------------------------------------------------------------------------------------------------- threads


def threaded(name, merge, batch, hidden, lengths=None):
    """Sizes at which threads have work: units are shared out, two directions run apart, or rows are shared out."""
    integers = name == "gru_before"
    return calm(Problem(
        name, 5, 9, batch, (hidden, 96), 60, merge, integers=integers, lengths=lengths, inputs=33,
    ))  # fmt: skip


@needs_openmp
@pytest.mark.parametrize("ends", [False, True], ids=["whole", "lengths"])
@pytest.mark.parametrize(("batch", "hidden"), [(1, 300), (2, 200), (3, 150), (40, 64)])
@pytest.mark.parametrize("merge", [None, "concat"])
@every_cell
def test_threads_change_no_bit(name, merge, batch, hidden, ends):
    lengths = np.random.default_rng(batch).integers(1, 10, batch) if ends else None
    problem = threaded(name, merge, batch, hidden, lengths)
    layer = layer_of(problem, "float64" if name == "lstm" else "float32")
    expected, called = run(problem, layer, threads=1), infer(problem, layer, threads=1)
    for threads in (2, 3):
        assert_same_bits(run(problem, layer, threads=threads), expected)
        assert_same_bits(infer(problem, layer, threads=threads), called)


COUNT_THREADS = """
import os
from compiled_problems import layer_of
from layer_forms import infer
from test_layer_bits import threaded
problem = threaded("lstm", {merge!r}, {batch}, {hidden})
layer = layer_of(problem, "float32")
before = len(os.listdir("/proc/self/task"))
infer(problem, layer, threads={threads})
print(len(os.listdir("/proc/self/task")) - before)
"""


@linux_only
@needs_openmp
@pytest.mark.parametrize(("merge", "batch", "hidden", "threads"), [(None, 1, 300, 3), ("concat", 3, 150, 2)])
def test_threads_really_run_at_these_sizes(merge, batch, hidden, threads):
    """Else the test above would show nothing."""
    script = COUNT_THREADS.format(merge=merge, batch=batch, hidden=hidden, threads=threads)
    assert int(output(script, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS=None)) == threads - 1


# ----------------------------------------------------------------------------------------------- checkpoints


def checkpoints(time):
    """At every step, at every seventh, as the layer chooses, and beyond the end."""
    return (1, 7, "auto", time + 5)


@every_dtype
@pytest.mark.parametrize("steps", [{"lengths": None}, {}, EVERYTHING], ids=["whole", "lengths", "all"])
@every_merge
@every_cell
def test_checkpoints_change_no_bit(name, merge, steps, dtype):
    """Outputs, states and every gradient are those of the plain run."""
    problem = ragged(name, merge, **steps)
    layer = layer_of(problem, dtype)
    expected = run(problem, layer)
    for checkpoint in checkpoints(problem.time):
        assert_same_bits(run(problem, layer, forward={"checkpoint": checkpoint}), expected)


@pytest.mark.parametrize("lengths", [False, True], ids=["whole", "lengths"])
@pytest.mark.parametrize("merge", [None, "concat", "ave"])
@every_cell
def test_checkpoints_of_many_windows_change_no_bit(name, merge, lengths):
    """So many rows and steps that there are several windows of sums and segments of windows; with dropout."""
    time, batch = 3000, 5
    ends = np.random.default_rng(3).integers(0, time + 1, batch) if lengths else None
    problem = calm(Problem(name, 5, time, batch, (40, 36), 20, merge, lengths=ends, inputs=9))
    layer = layer_of(problem, "float32", dropout=0.3)
    generator = layer.rng.bit_generator.state
    expected = run(problem, layer)
    for checkpoint, threads in ((97, 1), ("auto", 2), (time, 1)):
        layer.rng.bit_generator.state = generator
        assert_same_bits(run(problem, layer, forward={"checkpoint": checkpoint}, threads=threads), expected)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(st.data(), st.sampled_from(list(CELLS)), st.sampled_from(FORMS), st.sampled_from((1, 2, 4, "auto", 99)))
def test_random_combinations_with_checkpoints_have_the_bits_of_those_without(data, name, form, checkpoint):
    problem = data.draw(problems(name))
    if form == "list" and not row_lengths(problem).any():
        form = "array"
    layer = layer_of(problem, "float32")
    expected = run(problem, layer, form)
    assert_same_bits(run(problem, layer, form, forward={"checkpoint": checkpoint}, threads=2), expected)


# ---------------------------------------------------------------------------------------- instruction sets

COMPUTE = """
import hashlib, json
import numpy as np
from compiled_problems import layer_of
from layer_forms import run
from test_layer_ragged import EVERYTHING, ragged
digests = {}
for name in ("lstm", "lstmp", "gru", "gru_before", "ugrnn", "rnn_relu"):
    for merge in (None, "concat", "mul"):
        problem = ragged(name, merge, **EVERYTHING)
        for dtype in ("float32", "float64"):
            results = run(problem, layer_of(problem, dtype))
            for key, value in results.items():
                digests[f"{name} {merge} {dtype} {key}"] = hashlib.sha1(np.ascontiguousarray(value)).hexdigest()
print(json.dumps(digests))
"""


@pytest.mark.skipif({"avx2", "avx512"} - {*fastrnn.config()["isas"]} != set(), reason="one of the two cannot run here")
def test_avx2_and_avx512_give_the_same_bits():
    narrow, wide = (json.loads(output(COMPUTE, FASTRNN_ISA=isa)) for isa in ("avx2", "avx512"))
    assert narrow == wide


# -------------------------------------------------------------------------------------------------- memory

LONG = """
import fastrnn, numpy as np

def peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

before = peak()
T, I, H = 100_000, 16, 256
x = np.random.default_rng(0).standard_normal((T, 1, I), dtype=np.float32)
layer = fastrnn.{kind}(I, H, seed=0)
optimiser = fastrnn.SGD(layer, lr=1e-3)
y, _, tape = layer.forward(x, checkpoint="auto")
dx, _ = layer.backward(tape, np.full_like(y, 1 / T))
optimiser.step()
assert np.isfinite(layer.flat_params).all() and dx.any()
print(peak() - before)
"""


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_hundred_thousand_steps_train_within_300_mib(kind):
    """Above what the import takes; x, y, dy and dx alone are 207 MiB of it."""
    assert float(output(LONG.format(kind=kind))) < 300


@pytest.mark.parametrize("checkpoint", [None, 4])
@pytest.mark.parametrize("lengths", [False, True])
def test_a_row_s_gradient_does_not_depend_on_how_many_windows_the_others_make(lengths, checkpoint):
    """Backward sums after windows of some 256 rows here: four of them for 40 rows, one for a single row."""
    rng = np.random.default_rng(0)
    layer = fastrnn.LSTM(8, 512, bidirectional=True, seed=0)
    x = rng.standard_normal((24, 40, 8), dtype=np.float32)
    own = rng.integers(1, 25, 40) if lengths else None
    y, _, tape = layer.forward(x, lengths=own, checkpoint=checkpoint)
    dy = rng.standard_normal(y.shape, dtype=np.float32)
    dx, _ = layer.backward(tape, dy)
    for row in (0, 17, 39):
        alone = np.ascontiguousarray(x[:, row : row + 1])
        _, _, tape = layer.forward(alone, lengths=None if own is None else own[row : row + 1])
        dx_alone, _ = layer.backward(tape, np.ascontiguousarray(dy[:, row : row + 1]))
        np.testing.assert_array_equal(dx[:, row], dx_alone[:, 0])
