"""Losses with all that they take: weights, smoothing, lengths, masks, lists; against their twins and PyTorch."""

import math
from functools import partial

import hypothesis
import numpy as np
import pytest
from guards import guarded, guarded_copy
from hypothesis import strategies as st
from numpy_layer import DTYPES, every_dtype
from tolerance import UNITS, assert_same_arrays

import fastrnn
from fastrnn._core import kernels
from fastrnn._core import losses as core
from fastrnn.reference import element_losses as twins
from fastrnn.reference.loss import weighted_cross_entropy

SHAPES = [(1,), (7,), (5, 3), (4, 3, 2), (3, 2, 17), (2, 2, 700), (40, 8, 33)]


def draw(rng, *shape, dtype=np.float32, scale=2.0):
    return (scale * rng.standard_normal(shape)).astype(dtype)


class Kind:
    """One loss: how to draw its targets, and what of its outputs is one target's."""

    def __init__(self, name, targets, pairs=False, **options):
        self.name, self.draw_targets, self.pairs, self.options = name, targets, pairs, options
        self.call = partial(getattr(fastrnn, name), **options)
        self.twin = partial(getattr(twins, name), **options)

    def problem(self, *shape, dtype=np.float32, scale=2.0, seed=0):
        rng = np.random.default_rng([seed, *shape])
        outputs = draw(rng, *shape[:-1], shape[-1] * (2 if self.pairs else 1), dtype=dtype, scale=scale)
        return outputs, self.draw_targets(rng, shape).astype(dtype)

    def __repr__(self):
        return "-".join([self.name, *map(str, self.options.values())])


KINDS = [
    Kind("binary_cross_entropy", lambda rng, shape: rng.random(shape)),
    Kind("binary_cross_entropy", lambda rng, shape: rng.random(shape) < 0.3, positive_weight=2.5),
    Kind("squared_error", lambda rng, shape: rng.standard_normal(shape)),
    Kind("huber_loss", lambda rng, shape: rng.standard_normal(shape)),
    Kind("huber_loss", lambda rng, shape: rng.standard_normal(shape), delta=0.3),
    Kind("gaussian_nll", lambda rng, shape: rng.standard_normal(shape), pairs=True),
    Kind("negative_binomial_nll", lambda rng, shape: rng.integers(0, 50, shape), pairs=True),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)


def assert_matches_twin(kind, outputs, targets):
    loss, gradient = kind.call(outputs, targets)
    with np.errstate(under="ignore"):
        expected, wanted = kind.twin(outputs.astype(np.float64), targets.astype(np.float64))
    unit = UNITS[outputs.dtype]
    assert type(loss) is float
    assert gradient.dtype == outputs.dtype
    assert gradient.shape == outputs.shape
    assert loss == pytest.approx(expected, rel=16 * unit, abs=4 * unit)
    # Relative to the largest entry; the twin of the negative binomial takes differences of digammas.
    tolerance = max(64 * unit, 1e-11 if "binomial" in kind.name else 0)
    assert np.abs(gradient - wanted).max() <= tolerance * np.abs(wanted).max()


@every_kind
@pytest.mark.parametrize("shape", SHAPES)
@every_dtype
def test_matches_twin(kind, shape, dtype):
    assert_matches_twin(kind, *kind.problem(*shape, dtype=dtype))


@every_kind
@pytest.mark.parametrize("scale", [1e-3, 10, 60])
@every_dtype
def test_matches_twin_of_small_and_of_large_outputs(kind, scale, dtype):
    outputs, targets = kind.problem(6, 4, 5, dtype=dtype, scale=scale)
    if kind.pairs:  # the least scale or dispersion is the floor, whose rounding no twin can share
        outputs[..., 5:] = np.maximum(outputs[..., 5:], -5)
    assert_matches_twin(kind, outputs, targets)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    kind=st.sampled_from(KINDS), T=st.integers(1, 40), B=st.integers(1, 9), F=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES), seed=st.integers(0, 999),
)  # fmt: skip
def test_matches_twin_whatever_the_sizes(kind, T, B, F, dtype, seed):
    assert_matches_twin(kind, *kind.problem(T, B, F, dtype=dtype, seed=seed))


@every_dtype
def test_matches_pytorch(dtype):
    torch = pytest.importorskip("torch")
    functional, unit = torch.nn.functional, UNITS[np.dtype(dtype)]
    weight = torch.tensor(2.5, dtype=torch.float64)

    def gaussian(z, y):
        mean, raw = z.chunk(2, -1)
        return functional.gaussian_nll_loss(mean, y, (functional.softplus(raw) + 1e-6) ** 2, full=True)

    def negative_binomial(z, y):
        mean, dispersion = (functional.softplus(part) + 1e-6 for part in z.chunk(2, -1))
        logits = torch.log(mean * dispersion)
        return -torch.distributions.NegativeBinomial(1 / dispersion, logits=logits).log_prob(y).mean()

    theirs = [
        functional.binary_cross_entropy_with_logits,
        partial(functional.binary_cross_entropy_with_logits, pos_weight=weight),
        functional.mse_loss,
        functional.huber_loss,
        partial(functional.huber_loss, delta=0.3),
        gaussian,
        negative_binomial,
    ]
    for kind, function in zip(KINDS, theirs, strict=True):
        outputs, targets = kind.problem(9, 4, 6, dtype=dtype)
        z = torch.tensor(outputs, dtype=torch.float64, requires_grad=True)
        expected = function(z, torch.tensor(targets, dtype=torch.float64))
        expected.backward()
        loss, gradient = kind.call(outputs, targets)
        wanted = z.grad.numpy()
        assert loss == pytest.approx(expected.item(), rel=16 * unit)
        # PyTorch takes differences of gamma functions: eleven digits are left of them.
        tolerance = max(64 * unit, 1e-10 if "binomial" in kind.name else 0)
        assert np.abs(gradient - wanted).max() <= tolerance * np.abs(wanted).max()


# -------------------------------------------------------------------------------- softmax with all its options


def classes(*lead, V=9, dtype=np.float32, seed=0):
    rng = np.random.default_rng([seed, *lead, V])
    return draw(rng, *lead, V, dtype=dtype), rng.integers(V, size=lead), rng.random(V).astype(dtype)


OPTIONS = [
    {"weights": True}, {"label_smoothing": 0.1}, {"weights": True, "label_smoothing": 0.3}, {"ignore_index": 2},
    {"ignore_index": -100, "weights": True, "label_smoothing": 0.05},
]  # fmt: skip
every_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda one: "-".join(one))


def with_options(V, options, dtype=np.float32, lead=(7, 5)):
    logits, targets, weights = classes(*lead, V=V, dtype=dtype)
    ignored = options.get("ignore_index")
    if ignored is not None:
        targets[1, 2:4] = ignored
    options = dict(options)
    if options.pop("weights", False):
        options["class_weights"] = weights
    return logits, targets, options


@every_option
@pytest.mark.parametrize("V", [3, 8, 17, 300])
@every_dtype
def test_softmax_with_options_matches_twin(options, V, dtype):
    logits, targets, options = with_options(V, options, dtype)
    weights = options.get("class_weights", np.ones(V)).astype(np.float64)
    counted = targets != options.get("ignore_index")
    smoothing = options.get("label_smoothing", 0.0)
    expected, wanted, N = weighted_cross_entropy(
        logits.astype(np.float64), targets, counted, weights, smoothing
    )
    unit = UNITS[np.dtype(dtype)]
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets, **options)
    assert loss == pytest.approx(expected, rel=8 * unit)
    assert np.abs(dlogits - wanted).max() <= 8 * unit * np.abs(wanted).max()
    total, summed, weight = fastrnn.softmax_cross_entropy(logits, targets, reduction="sum_and_weight", **options)
    assert weight == pytest.approx(N, rel=1e-14)
    assert total == pytest.approx(expected * N, rel=8 * unit)
    assert np.abs(summed - wanted * N).max() <= 8 * unit * np.abs(wanted * N).max()
    again = fastrnn.softmax_cross_entropy(logits, targets, reduction="sum", **options)
    assert again[0] == total
    assert_same_arrays([again[1]], [summed])


@every_option
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_softmax_with_options_matches_pytorch(options, reduction):
    torch = pytest.importorskip("torch")
    logits, targets, options = with_options(40, options)
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    theirs = {name: value for name, value in options.items() if name != "class_weights"}
    if "class_weights" in options:
        theirs["weight"] = torch.tensor(options["class_weights"], dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(
        z.reshape(-1, 40), torch.tensor(targets).reshape(-1), reduction=reduction, **theirs
    )
    expected.backward()
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets, reduction=reduction, **options)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert np.abs(dlogits - z.grad.numpy()).max() <= 1e-6 * np.abs(z.grad.numpy()).max()


@every_dtype
def test_options_that_say_nothing_change_nothing_but_rounding(dtype):
    logits, targets, _ = classes(7, 5, V=40, dtype=dtype)
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
    for options in ({"ignore_index": -100}, {"mask": np.ones((7, 5), bool)}, {"lengths": [7] * 5}):
        again = fastrnn.softmax_cross_entropy(logits, targets, **options)
        assert again[0] == loss
        assert_same_arrays([again[1]], [dlogits])
    again = fastrnn.softmax_cross_entropy(logits, targets, class_weights=np.ones(40, dtype))
    assert again[0] == pytest.approx(loss, rel=4 * UNITS[np.dtype(dtype)])
    np.testing.assert_allclose(again[1], dlogits, atol=4 * UNITS[np.dtype(dtype)])


@every_dtype
def test_weights_and_smoothing_of_huge_logits(dtype):
    logits = np.array([[1e4, 0, -1e4], [0, 0, 1e30]], dtype)
    weights = np.array([1, 2, 0.5], dtype)
    loss, dlogits = fastrnn.softmax_cross_entropy(
        logits, np.array([0, 1]), class_weights=weights, label_smoothing=0.3, reduction="sum"
    )
    first = 0.1 * 2 * 1e4 + 0.1 * 0.5 * 2e4
    second = 0.1 * 1e30 + (2 * 0.7 + 2 * 0.1) * 1e30
    assert loss == pytest.approx(first + second, rel=1e-6)
    q = np.array([[0.8, 0.2, 0.05], [0.1, 1.6, 0.05]])
    np.testing.assert_allclose(dlogits, [[0.25, -0.2, -0.05], [-0.1, -1.6, 1.7]], atol=1e-6 * q.max())


@pytest.mark.parametrize("ignored", [-100, 2, 255, 2**40])
def test_targets_may_be_of_any_integers(ignored):
    logits, targets, _ = classes(7, 2, V=4)
    expected = fastrnn.softmax_cross_entropy(logits, targets, ignore_index=ignored)
    for dtype in (np.uint8, np.int16, np.uint64):
        loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets.astype(dtype), ignore_index=ignored)
        assert loss == expected[0]
        assert_same_arrays([dlogits], [expected[1]])
    mixed = [targets[:, 0].astype(np.uint64), targets[:, 1].astype(np.int8)]
    loss, _ = fastrnn.softmax_cross_entropy([logits[:, 0], logits[:, 1]], mixed, ignore_index=ignored)
    assert loss == pytest.approx(expected[0], rel=1e-14)


def test_an_integer_beyond_int64_is_no_other_integer():
    logits, wrong = np.zeros((2, 3), np.float32), np.array([2**64 - 1, 0], np.uint64)
    for given, targets in ((logits, wrong), ([logits], [wrong])):
        with pytest.raises(IndexError, match="targets holds index"):
            fastrnn.softmax_cross_entropy(given, targets, ignore_index=-1)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "squared_error", "huber_loss"])
def test_a_single_number_has_a_loss(name):
    loss = getattr(fastrnn, name)
    value, gradient = loss(np.array(0.5), np.array(1.0))
    expected, whole = loss(np.array([0.5]), np.array([1.0]))
    assert (value, gradient.shape) == (expected, ()) and gradient == whole[0]


def test_a_class_of_weight_zero_does_not_count():
    logits, targets, weights = classes(7, 5, V=4)
    weights[2] = 0
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets, class_weights=weights)
    expected = fastrnn.softmax_cross_entropy(logits, targets, class_weights=weights, ignore_index=2)
    assert loss == pytest.approx(expected[0], rel=1e-7)
    np.testing.assert_allclose(dlogits, expected[1], atol=1e-9)
    assert not dlogits[targets == 2].any()


# ------------------------------------------------------------------------------------------------ every loss


def softmax_problem(*shape, dtype=np.float32, **_):
    logits, targets, _ = classes(*shape, dtype=dtype)
    return logits, targets


class Softmax:
    name, pairs, problem = "softmax_cross_entropy", True, staticmethod(softmax_problem)
    call = staticmethod(fastrnn.softmax_cross_entropy)

    def __repr__(self):
        return self.name


class Smooth(Softmax):
    call = staticmethod(partial(fastrnn.softmax_cross_entropy, label_smoothing=0.2))

    def __repr__(self):
        return "smoothed"


ALL = [Softmax(), Smooth(), *KINDS]
every_loss = pytest.mark.parametrize("kind", ALL, ids=repr)


def batch(kind, T, B, dtype):
    """Outputs and targets (T, B, ...), of an element 3 outputs a step."""
    return kind.problem(T, B, dtype=dtype) if kind.name.startswith("softmax") else kind.problem(T, B, 3, dtype=dtype)


@every_loss
@every_dtype
def test_lengths_masks_and_lists_are_the_rows_that_they_name(kind, dtype):
    T, B, rng = 9, 6, np.random.default_rng(0)
    outputs, targets = batch(kind, T, B, dtype)
    lengths, mask = rng.integers(0, T + 1, B), rng.random((T, B)) < 0.6
    inside = np.arange(T)[:, None] < lengths
    for counted, given in ((inside, {"lengths": lengths}), (mask, {"mask": mask}),
                           (inside & mask, {"lengths": lengths, "mask": mask})):  # fmt: skip
        expected, wanted = kind.call(outputs[counted], targets[counted])
        loss, gradient = kind.call(outputs, targets, **given)
        assert loss == pytest.approx(expected, rel=1e-14)
        assert_same_arrays([gradient[counted]], [wanted])
        assert not gradient[~counted].any()
        turned = {name: value.T if name == "mask" else value for name, value in given.items()}
        first = kind.call(outputs.swapaxes(0, 1), targets.swapaxes(0, 1), batch_first=True, **turned)
        assert first[0] == pytest.approx(loss, rel=1e-14)
        assert_same_arrays([np.ascontiguousarray(first[1].swapaxes(0, 1))], [gradient])
    parts = [[np.ascontiguousarray(array[:n, b]) for b, n in enumerate(lengths)] for array in (outputs, targets)]
    loss, gradient = kind.call(outputs, targets, lengths=lengths, mask=mask)
    again, dparts = kind.call(*parts, mask=[mask[:n, b] for b, n in enumerate(lengths)])
    assert again == pytest.approx(loss, rel=1e-14)
    assert isinstance(dparts, list)
    for b, (part, n) in enumerate(zip(dparts, lengths, strict=True)):
        assert_same_arrays([part], [np.ascontiguousarray(gradient[:n, b])])
    assert kind.call(*parts)[0] == pytest.approx(kind.call(outputs, targets, lengths=lengths)[0], rel=1e-14)


@every_loss
@every_dtype
def test_rows_that_do_not_count_are_not_read(kind, dtype):
    outputs, targets = batch(kind, 9, 6, dtype)
    mask = np.random.default_rng(0).random((9, 6)) < 0.6
    loss, gradient = kind.call(outputs, targets, mask=mask)
    outputs[~mask] = np.nan
    targets[~mask] = 2**40 if targets.dtype.kind == "i" else -np.inf
    again = kind.call(outputs, targets, mask=mask)
    assert again[0] == loss
    assert_same_arrays([again[1]], [gradient])


@every_loss
@every_dtype
def test_sum_and_weight_is_the_mean_in_parts(kind, dtype):
    outputs, targets = batch(kind, 9, 6, dtype)
    mask = np.random.default_rng(0).random((9, 6)) < 0.6
    loss, gradient = kind.call(outputs, targets, mask=mask)
    total, summed, weight = kind.call(outputs, targets, mask=mask, reduction="sum_and_weight")
    elements = 1 if kind.name.startswith("softmax") else 3
    assert weight == mask.sum() * elements
    assert type(total) is type(weight) is float
    assert total / weight == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(summed, gradient * weight, atol=16 * UNITS[np.dtype(dtype)] * np.abs(summed).max())
    alone = kind.call(outputs, targets, mask=mask, reduction="sum")
    assert alone[0] == total
    assert_same_arrays([alone[1]], [summed])


@every_loss
def test_where_nothing_counts_there_is_a_sum_and_no_mean(kind):
    outputs, targets = batch(kind, 4, 3, np.float32)
    given = {"mask": np.zeros((4, 3), bool)}
    total, gradient, weight = kind.call(outputs, targets, reduction="sum_and_weight", **given)
    assert total == weight == 0
    assert not gradient.any()
    with pytest.raises(ValueError, match="nothing to average"):
        kind.call(outputs, targets, **given)


@every_loss
@every_dtype
def test_bits_do_not_depend_on_threads_or_on_strides(kind, dtype):
    shape = (60, 40) if kind.name.startswith("softmax") else (60, 40, 13)
    outputs, targets = kind.problem(*shape, dtype=dtype)
    mask = np.random.default_rng(0).random((60, 40)) < 0.6
    for given in ({}, {"mask": mask}):
        loss, gradient = kind.call(outputs, targets, num_threads=1, **given)
        for threads in (2, 3, 7):
            again = kind.call(outputs, targets, num_threads=threads, **given)
            assert again[0] == loss
            assert_same_arrays([again[1]], [gradient])
        strided = np.repeat(outputs, 2, axis=-1)[..., ::2], np.asfortranarray(targets)
        again = kind.call(*strided, **given)
        assert again[0] == loss
        assert_same_arrays([again[1]], [gradient])


@pytest.mark.skipif(kernels.isa()["name"] == "baseline", reason="no fused multiply-add: other bits")
@pytest.mark.skipif("avx512" not in kernels.available(), reason="one instruction set alone")
@every_loss
@every_dtype
def test_bits_are_those_of_every_instruction_set_with_fused_multiply_add(kind, dtype):
    assert_same_on_every_instruction_set(kind, *batch(kind, 60, 7, dtype))


@pytest.mark.skipif(kernels.isa()["name"] == "baseline", reason="no fused multiply-add: other bits")
@pytest.mark.skipif("avx512" not in kernels.available(), reason="one instruction set alone")
@pytest.mark.parametrize("V", [1, 2, 4, 5, 8, 9, 15, 16, 17, 31, 33, 65, 1000])
@every_dtype
def test_softmax_has_the_same_bits_for_any_number_of_classes(V, dtype):
    logits, targets, _ = classes(60, 7, V=V, dtype=dtype)
    for kind in (Softmax(), Smooth()):
        assert_same_on_every_instruction_set(kind, logits, targets)


def assert_same_on_every_instruction_set(kind, outputs, targets):
    chosen, results = kernels.isa()["name"], []
    try:
        for isa in ("avx2", "avx512"):
            kernels.choose(isa)
            results.append(kind.call(outputs, targets, reduction="sum"))
    finally:
        kernels.choose(chosen)
    assert results[0][0] == results[1][0]
    assert_same_arrays([results[0][1]], [results[1][1]])


@pytest.mark.parametrize("isa", kernels.available())
@every_dtype
def test_every_instruction_set_matches_the_twins(isa, dtype):
    chosen = kernels.isa()["name"]
    kernels.choose(isa)
    try:
        for kind in KINDS:
            for F in (1, 2, 7, 8, 9, 16, 17):
                assert_matches_twin(kind, *kind.problem(5, 3, F, dtype=dtype))
    finally:
        kernels.choose(chosen)


@every_loss
@every_dtype
def test_nan_stays_in_its_row(kind, dtype):
    outputs, targets = batch(kind, 9, 6, dtype)
    _, expected = kind.call(outputs, targets)
    outputs[4, 2, 1] = np.nan
    loss, gradient = kind.call(outputs, targets)
    assert math.isnan(loss)
    assert np.isnan(gradient[4, 2]).any()
    others = np.ones((9, 6), bool)
    others[4, 2] = False
    assert_same_arrays([gradient[others]], [expected[others]])


@every_loss
@every_dtype
def test_arguments_may_be_read_only_and_are_left_alone(kind, dtype):
    arrays = [*batch(kind, 9, 6, dtype), np.random.default_rng(0).random((9, 6)) < 0.6]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    kind.call(*arrays[:2], mask=arrays[2])
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@every_dtype
def test_huge_outputs_cost_what_they_are(dtype):
    one = np.ones(1, dtype)
    for size in (1e4, 1e30):
        far = np.array([size], dtype)
        for outputs, target, loss, slope in ((far, one, 0, 0), (-far, one, size, -1), (far, 0 * one, size, 1)):
            cost, gradient = fastrnn.binary_cross_entropy(outputs, target)
            assert cost == pytest.approx(loss, rel=1e-6)
            assert gradient[0] == slope
        assert fastrnn.huber_loss(far, one)[0] == pytest.approx(size, rel=1e-3)
        assert fastrnn.huber_loss(far, one)[1] == 1
    pair = np.array([0, -1e4], dtype)
    assert fastrnn.gaussian_nll(pair, 0 * one)[0] == pytest.approx(math.log(1e-6) + math.log(2 * math.pi) / 2, rel=1e-6)
    loss, gradient = fastrnn.negative_binomial_nll(np.array([-1e4, -1e4], dtype), 0 * one)
    assert loss == pytest.approx(1e-6, rel=1e-3)
    assert np.isfinite(gradient).all()


@every_dtype
def test_a_negative_binomial_of_hardly_any_dispersion_is_a_poisson(dtype):
    """Where differences of gamma functions lose all digits."""
    for mean in (0.5, 7.0, 300.0):
        raw = mean + math.log(-math.expm1(-mean))
        for count in (0, 1, 8, 400):
            loss, _ = fastrnn.negative_binomial_nll(np.array([raw, -40], dtype), np.array([count], dtype))
            poisson = mean - count * math.log(mean) + math.lgamma(count + 1)
            assert loss == pytest.approx(poisson, rel=1e-2 if count == 400 else 1e-3, abs=1e-5)


@pytest.mark.parametrize("at_end", [True, False])
@every_dtype
def test_kernels_stay_inside_their_arrays(at_end, dtype):
    """Buffers that end, or begin, at a guard page; masks cut the rows into runs."""
    for kind in KINDS:
        for F in (1, 3, 8, 17):
            outputs, targets = kind.problem(5, F, dtype=dtype)
            counted = np.array([1, 0, 0, 1, 1], np.uint8)
            sums = guarded(core.block_count(5, F), np.float64, at_end)
            gradient = guarded(outputs.shape, dtype, at_end)
            arrays = [guarded_copy(one, at_end) for one in (outputs, targets, counted)]
            option = next(iter(kind.options.values()), 1.0)
            core.elements(kind.name, *arrays, 1.0, option, gradient, sums, 1)
            assert not gradient[1:3].any()
    for V in (1, 3, 8, 17, 300):
        logits, targets, weights = classes(5, V=V, dtype=dtype)
        targets[2] = -1
        losses, dlogits = guarded(5, dtype, at_end), guarded((5, V), dtype, at_end)
        arrays = [guarded_copy(one, at_end) for one in (logits, targets, weights)]
        core.softmax_cross_entropy(arrays[0], arrays[1], 1.0, 0.1, arrays[2], dlogits, losses, 1)
        assert losses[2] == 0
        assert not dlogits[2].any()


def test_the_core_refuses_arrays_that_do_not_fit():
    z, y, none = np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32), np.zeros(1)
    with pytest.raises(ValueError, match="sizes do not fit"):
        core.elements("squared_error", z, y, None, 1.0, 0.0, z, none, 1)
    with pytest.raises(ValueError, match="sizes do not fit"):
        core.softmax_cross_entropy(z, np.zeros(4, np.int64), 1.0, 0.0, z[0, :2], z.copy(), np.zeros(4, np.float32), 1)
