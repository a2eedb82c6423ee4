"""CTC against every path, its twin and PyTorch; every form of batch, and what cannot be."""

import math

import numpy as np
import pytest
from guards import guarded_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_layer import every_dtype
from test_reference_losses import PATHS
from tolerance import UNITS, assert_same_arrays

import fastrnn
from fastrnn._core import ctc as core
from fastrnn._core import kernels
from fastrnn.reference import ctc as twin


def problem(T, B, V, S, *, scale=1.0, dtype=np.float32, seed=0):
    """Logits, targets of 0..S labels that need not fit, and lengths."""
    rng = np.random.default_rng([seed, T, B, V, S])
    logits = (scale * rng.standard_normal((T, B, V))).astype(dtype)
    targets = [rng.integers(1, V, rng.integers(0, S + 1)) for _ in range(B)]
    return logits, targets, rng.integers(0, T + 1, B)


def of_the_twin(logits, targets, lengths, blank=0):
    """The loss of each sequence, and the gradient of their sum."""
    losses, gradient = np.zeros(len(targets)), np.zeros(logits.shape)
    for b, (target, n) in enumerate(zip(targets, lengths, strict=True)):
        losses[b], gradient[:n, b] = twin.ctc_loss(logits[:n, b].astype(np.float64), target, blank)
    return losses, gradient


def assert_matches_twin(logits, targets, lengths, **kwargs):
    losses, gradient = of_the_twin(logits, targets, lengths)
    finite = np.where(np.isfinite(losses), losses, 0)
    loss, dlogits, weight = fastrnn.ctc_loss(
        logits, targets, lengths=lengths, zero_infinity=True, reduction="sum_and_weight", **kwargs
    )
    unit = 8 * UNITS[logits.dtype]
    assert type(loss) is float
    assert weight == sum(max(len(target), 1) for target in targets)
    assert loss == pytest.approx(finite.sum(), rel=unit, abs=unit)
    assert dlogits.dtype == logits.dtype
    assert dlogits.shape == logits.shape
    # A posterior's error grows with the logarithms that it is made of.
    assert np.abs(dlogits - gradient).max() <= unit * max(1, finite.max() / 4, np.abs(logits).max())
    plain = fastrnn.ctc_loss(logits, targets, lengths=lengths, reduction="sum")
    assert plain[0] == (loss if np.isfinite(losses).all() else math.inf)
    assert_same_arrays([plain[1]], [dlogits])


@pytest.mark.parametrize(("T", "V", "targets", "blank"), PATHS)
@every_dtype
def test_is_the_sum_over_every_path(T, V, targets, blank, dtype):
    logits = np.random.default_rng(0).standard_normal((T, 1, V)).astype(dtype)
    targets = np.array(targets, int)
    loss, _ = fastrnn.ctc_loss(logits, [targets], blank=blank, reduction="sum")
    expected = twin.every_path(logits[:, 0].astype(np.float64), targets, blank)
    assert loss == pytest.approx(expected, rel=8 * UNITS[np.dtype(dtype)])


@pytest.mark.parametrize("shape", [(1, 1, 2, 1), (5, 3, 4, 2), (20, 4, 9, 7), (33, 5, 30, 8), (60, 3, 17, 24)])
@pytest.mark.parametrize("scale", [1, 10])
@every_dtype
def test_matches_twin(shape, scale, dtype):
    assert_matches_twin(*problem(*shape, scale=scale, dtype=dtype))


@settings(max_examples=60, deadline=None)
@given(
    T=st.integers(1, 30), B=st.integers(1, 4), V=st.integers(2, 20), S=st.integers(0, 18),
    seed=st.integers(0, 1000), dtype=st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_matches_twin_whatever_the_sizes(T, B, V, S, seed, dtype):
    assert_matches_twin(*problem(T, B, V, S, seed=seed, dtype=dtype))


def of_pytorch(torch, logits, targets, lengths, **kwargs):
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.ctc_loss(
        z.log_softmax(-1), torch.tensor(np.concatenate(targets)), torch.tensor(lengths),
        torch.tensor([len(target) for target in targets]), **kwargs,
    )  # fmt: skip
    loss.backward()
    return loss.item(), z.grad.numpy()


def tolerance_beside_pytorch(nats, dtype):
    """Posteriors there are differences of logarithms of the size of the loss."""
    return 16 * UNITS[np.dtype(dtype)] + 2e-14 * nats


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("scale", [0.1, 1, 10, 100, 1000])
@pytest.mark.parametrize("shape", [(10, 3, 5, 4), (200, 4, 30, 40), (300, 2, 20, 120)])
@every_dtype
def test_matches_pytorch(shape, scale, reduction, dtype):
    """Losses of 10^5 nats, too, whose probabilities no number holds."""
    torch = pytest.importorskip("torch")
    logits, targets, lengths = problem(*shape, scale=scale, dtype=dtype)
    lengths[0] = shape[0]
    given = {"lengths": lengths, "zero_infinity": True}
    nats, _ = fastrnn.ctc_loss(logits, targets, reduction="sum", **given)
    expected, gradient = of_pytorch(torch, logits, targets, lengths, reduction=reduction, zero_infinity=True)
    loss, dlogits = fastrnn.ctc_loss(logits, targets, reduction=reduction, **given)
    assert loss == pytest.approx(expected, rel=8 * UNITS[np.dtype(dtype)])
    assert np.abs(dlogits - gradient).max() <= tolerance_beside_pytorch(nats, dtype)


# ----------------------------------------------------------------------------------- paths that hardly are any


def peaked(T, V, place, size, dtype):
    """Logits that are sure of one symbol at every step."""
    logits = np.zeros((T, 1, V), dtype)
    logits[..., place] = size
    return logits


@pytest.mark.parametrize("size", [5, 12, 30, 80, 300, 5000])
@pytest.mark.parametrize("S", [1, 20, 150])
@every_dtype
def test_logits_that_are_sure_of_the_blank_or_of_a_label(size, S, dtype):
    """The first epochs of training: what the loss adds up is far below the smallest number."""
    torch = pytest.importorskip("torch")
    T, V = 400, 12
    targets = [np.random.default_rng(S).integers(1, V, S)]
    for place in (0, int(targets[0][0])):
        logits = peaked(T, V, place, size, dtype)
        expected, gradient = of_pytorch(torch, logits, targets, [T], reduction="sum")
        loss, dlogits = fastrnn.ctc_loss(logits, targets, reduction="sum")
        assert loss == pytest.approx(expected, rel=8 * UNITS[np.dtype(dtype)], abs=1e-7)
        assert np.abs(dlogits - gradient).max() <= tolerance_beside_pytorch(expected, dtype)


@every_dtype
def test_a_network_that_has_learned_costs_next_to_nothing(dtype):
    """Off the one sure path everything underflows, and nothing of it is missed."""
    rng = np.random.default_rng(0)
    target = rng.integers(1, 30, 200)
    path = np.zeros(600, int)
    path[1::3] = target
    logits = np.zeros((600, 1, 30), dtype)
    logits[np.arange(600), 0, path] = 40
    loss, dlogits = fastrnn.ctc_loss(logits, [target])
    assert 0 <= loss < 1e-12
    assert np.abs(dlogits).max() < 1e-6


@every_dtype
def test_both_ways_of_adding_up_agree(dtype):
    """Adding a symbol of probability e^-800 to the alphabet changes nothing but sends the sums to logarithms."""
    logits, _, _ = problem(50, 1, 9, 8, dtype=dtype)
    target = np.array([3, 3, 1, 5])
    wide = np.concatenate([logits, np.full((50, 1, 1), -800, dtype)], axis=-1)
    wide[0, 0, -1] = 0
    logits[0, 0, 1:] -= 2000  # all of the first step's labels are out of reach, and of the last step's blank
    logits[-1, 0, 0] -= 2000
    loss, dlogits = fastrnn.ctc_loss(logits, [target], reduction="sum")
    losses, gradient = of_the_twin(logits, [target], [50])
    assert loss == pytest.approx(losses[0], rel=8 * UNITS[np.dtype(dtype)])
    assert np.abs(dlogits - gradient).max() <= 16 * UNITS[np.dtype(dtype)]


# ------------------------------------------------------------------------------------------- forms and edges


@every_dtype
def test_every_form_of_a_batch_gives_the_same_bits(dtype):
    logits, targets, lengths = problem(30, 5, 11, 6, dtype=dtype)
    loss, dlogits = fastrnn.ctc_loss(logits, targets, lengths=lengths, zero_infinity=True)
    padded = np.full((5, 9), 99)
    for row, target in zip(padded, targets, strict=True):
        row[: len(target)] = target
    counts = [len(target) for target in targets]
    given = {"lengths": lengths, "zero_infinity": True}
    again = fastrnn.ctc_loss(logits, padded, target_lengths=counts, **given)
    turned = fastrnn.ctc_loss(np.ascontiguousarray(logits.swapaxes(0, 1)), targets, batch_first=True, **given)
    strided = fastrnn.ctc_loss(np.repeat(logits, 2, axis=-1)[..., ::2], targets, **given)
    parts = [np.ascontiguousarray(logits[:n, b]) for b, n in enumerate(lengths)]
    listed, dparts = fastrnn.ctc_loss(parts, targets, zero_infinity=True)
    assert {again[0], turned[0], strided[0], listed} == {loss}
    assert_same_arrays([again[1], turned[1].swapaxes(0, 1), strided[1]], [dlogits] * 3)
    assert isinstance(dparts, list)
    for b, (part, n) in enumerate(zip(dparts, lengths, strict=True)):
        np.testing.assert_array_equal(part, dlogits[:n, b])
        assert not dlogits[n:, b].any()


@every_dtype
def test_bits_do_not_depend_on_threads_or_on_the_instruction_set(dtype):
    logits, targets, lengths = problem(200, 17, 40, 30, dtype=dtype)
    given = {"lengths": lengths, "zero_infinity": True}
    loss, dlogits = fastrnn.ctc_loss(logits, targets, num_threads=1, **given)
    chosen = kernels.isa()["name"]
    try:
        for isa in {"avx2", "avx512"} & set(kernels.available()) if chosen != "baseline" else {chosen}:
            kernels.choose(isa)
            for threads in (1, 2, 3, 7):
                again = fastrnn.ctc_loss(logits, targets, num_threads=threads, **given)
                assert again[0] == loss
                assert_same_arrays([again[1]], [dlogits])
    finally:
        kernels.choose(chosen)


@pytest.mark.parametrize("isa", kernels.available())
@every_dtype
def test_every_instruction_set_matches_the_twin(isa, dtype):
    chosen = kernels.isa()["name"]
    kernels.choose(isa)
    try:
        for S in (0, 1, 6, 7, 8, 9, 15, 16, 17):
            for scale in (1, 60):
                assert_matches_twin(*problem(40, 2, 9, S, scale=scale, dtype=dtype))
    finally:
        kernels.choose(chosen)


def test_padding_is_not_read():
    logits, targets, lengths = problem(30, 5, 11, 6)
    expected = fastrnn.ctc_loss(logits, targets, lengths=lengths, zero_infinity=True)
    for b, n in enumerate(lengths):
        logits[n:, b] = np.nan
    loss, dlogits = fastrnn.ctc_loss(logits, targets, lengths=lengths, zero_infinity=True)
    assert loss == expected[0]
    assert_same_arrays([dlogits], [expected[1]])


def test_labels_may_be_of_any_integers():
    logits, _, _ = problem(9, 2, 5, 3)
    expected, _ = fastrnn.ctc_loss(logits, [np.array([1, 2]), np.array([3])])
    mixed = [np.array([1, 2], np.uint64), np.array([3], np.int8)]
    assert fastrnn.ctc_loss(logits, mixed)[0] == expected
    padded, counts = np.array([[1, 2], [3, 9]], np.uint8), np.array([2, 1], np.uint16)
    assert fastrnn.ctc_loss(logits, padded, target_lengths=counts)[0] == expected


def test_a_label_beyond_int64_is_named_as_too_large():
    with pytest.raises(IndexError, match=r"targets holds index 9\d+; expected indices in 0..2"):
        fastrnn.ctc_loss(np.zeros((2, 1, 3)), [np.array([2**64 - 1], np.uint64)])


def test_labels_behind_their_length_are_not_read():
    logits, _, _ = problem(9, 2, 5, 3)
    targets = np.array([[1, 2, -7], [3, 2**40, 2**40]])
    loss, _ = fastrnn.ctc_loss(logits, targets, target_lengths=[2, 1])
    assert loss == fastrnn.ctc_loss(logits, [np.array([1, 2]), np.array([3])])[0]


@every_dtype
def test_arguments_may_be_read_only_and_are_left_alone(dtype):
    logits, targets, lengths = problem(9, 3, 5, 3, dtype=dtype)
    arrays = [logits, *targets, lengths]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    fastrnn.ctc_loss(logits, targets, lengths=lengths)
    assert_same_arrays(arrays, before)


def test_sequences_without_steps_or_labels():
    logits, _, _ = problem(6, 4, 5, 3)
    empty, one = np.zeros(0, int), np.array([2])
    loss, dlogits, weight = fastrnn.ctc_loss(
        logits, [empty, one, empty, one], lengths=[0, 6, 6, 6], reduction="sum_and_weight"
    )
    alone = fastrnn.ctc_loss(logits[:, 2:3], [empty], reduction="sum")
    assert weight == 4
    assert np.isfinite(loss)
    assert not dlogits[:, 0].any()
    blanks = logits[:, 2].astype(np.float64)
    blanks = blanks[:, 0] - np.log(np.exp(blanks).sum(axis=-1))
    assert alone[0] == pytest.approx(-blanks.sum(), rel=1e-6)
    assert fastrnn.ctc_loss(logits[:, :1], [one], lengths=[0])[0] == math.inf


@pytest.mark.parametrize(("T", "target"), [(1, [1, 2]), (2, [1, 1]), (4, [2, 2, 2]), (0, [1])])
@every_dtype
def test_targets_that_cannot_be_cost_infinity_and_have_no_gradient(T, target, dtype):
    logits, _, _ = problem(6, 2, 4, 3, dtype=dtype)
    targets = [np.array(target), np.array([3])]
    loss, dlogits = fastrnn.ctc_loss(logits, targets, lengths=[T, 6], reduction="sum")
    expected, gradient = fastrnn.ctc_loss(logits[:, 1:], targets[1:], reduction="sum")
    assert loss == math.inf
    assert not dlogits[:, 0].any()
    assert_same_arrays([np.ascontiguousarray(dlogits[:, 1:])], [gradient])
    zero = fastrnn.ctc_loss(logits, targets, lengths=[T, 6], reduction="sum", zero_infinity=True)
    assert zero[0] == expected
    assert_same_arrays([zero[1]], [dlogits])


@every_dtype
def test_a_symbol_of_probability_zero(dtype):
    """-inf stands for what cannot be: a target that needs it is impossible, any other does not see it."""
    logits, _, _ = problem(12, 1, 6, 3, dtype=dtype)
    logits[:, 0, 4] = -np.inf
    loss, dlogits = fastrnn.ctc_loss(logits, [np.array([1, 4])], reduction="sum")
    assert loss == math.inf
    assert not dlogits.any()
    loss, dlogits = fastrnn.ctc_loss(logits, [np.array([1, 5])], reduction="sum")
    rest, drest = fastrnn.ctc_loss(np.delete(logits, 4, axis=-1), [np.array([1, 4])], reduction="sum")
    assert loss == pytest.approx(rest, rel=4 * UNITS[np.dtype(dtype)])
    assert not dlogits[..., 4].any()
    np.testing.assert_allclose(np.delete(dlogits, 4, axis=-1), drest, atol=8 * UNITS[np.dtype(dtype)])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@every_dtype
def test_nan_stays_in_its_sequence(value, dtype):
    logits, _, _ = problem(12, 3, 6, 3, dtype=dtype)
    targets = [np.array([1, 2])] * 3
    _, expected = fastrnn.ctc_loss(logits, targets, reduction="sum")
    logits[5, 1, 3] = value
    loss, dlogits = fastrnn.ctc_loss(logits, targets, reduction="sum")
    assert math.isnan(loss)
    assert np.isnan(dlogits[:, 1]).all()
    np.testing.assert_array_equal(dlogits[:, [0, 2]], expected[:, [0, 2]])


@every_dtype
def test_mean_is_pytorchs_and_the_gradient_is_its_own(dtype):
    logits, targets, lengths = problem(40, 4, 7, 5, dtype=dtype)
    lengths[:] = 40
    loss, dlogits = fastrnn.ctc_loss(logits, targets)
    each = [fastrnn.ctc_loss(logits[:, b : b + 1], [target], reduction="sum") for b, target in enumerate(targets)]
    counts = [max(len(target), 1) for target in targets]
    assert loss == pytest.approx(sum(one / n for (one, _), n in zip(each, counts, strict=True)) / 4, rel=1e-12)
    for b, ((_, gradient), n) in enumerate(zip(each, counts, strict=True)):
        np.testing.assert_allclose(dlogits[:, b], gradient[:, 0] / (4 * n), atol=4 * UNITS[np.dtype(dtype)])


# ----------------------------------------------------------------------------------------------- the core alone


def sequences(**changes):
    given = {"step": 2, "first": [0, 1], "rows": [3, 3], "lengths": [3, 2], "labels": [1, 2, 1], "starts": [0, 2, 3]}
    given |= changes
    return core.Sequences(given.pop("step"), *(np.array(one, np.int64) for one in given.values()))


def call_core(blank=0, rows=6, scales=2, **changes):
    logits = np.zeros((rows, 4), np.float32)
    losses = np.zeros(2)
    core.ctc_loss(logits, sequences(**changes), blank, False, np.ones(scales), np.zeros_like(logits), losses, 1)
    return losses


def test_the_core_runs_what_fits():
    assert np.isfinite(call_core()).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"blank": 4}, {"blank": -1}, {"rows": 5}, {"scales": 3}, {"step": 0}, {"first": [0, 2]}, {"first": [-1, 1]},
        {"first": [0]}, {"rows": 0}, {"lengths": [4, 2]}, {"lengths": [-1, 2]}, {"labels": [1, 4, 1]},
        {"labels": [1, -1, 1]}, {"labels": [1, 2]}, {"starts": [0, 3, 2]}, {"starts": [1, 2, 3]}, {"starts": [0, 3]},
    ],
    ids=str,
)  # fmt: skip
def test_the_core_refuses_what_would_read_or_write_elsewhere(wrong):
    with pytest.raises(ValueError, match="sizes do not fit"):
        call_core(**wrong)


def test_the_lattice_stays_inside_its_arrays_and_reads_no_more():
    """Buffers between guard pages, rows that lie apart."""
    for at_end in (True, False):
        logits, targets, _ = problem(7, 3, 5, 4)
        plain = fastrnn.ctc_loss(logits, targets, zero_infinity=True, reduction="sum")
        rows, dlogits = (guarded_copy(np.full((21, 5), np.nan, np.float32), at_end) for _ in range(2))
        rows[:] = logits.reshape(21, 5)
        starts = np.cumsum([0, *map(len, targets)])
        parts = [np.arange(3), np.full(3, 7), np.full(3, 7), np.concatenate(targets), starts]
        given = core.Sequences(3, *(guarded_copy(part.astype(np.int64), at_end) for part in parts))
        losses = np.zeros(3)
        core.ctc_loss(rows, given, 0, True, np.ones(3), dlogits, losses, 1)
        assert losses.sum() == plain[0]
        np.testing.assert_array_equal(dlogits.reshape(7, 3, 5), plain[1])
