"""Dropout between layers: which elements, how often, and that backward meets the mask of forward."""

import contextlib
import copy

import numpy as np
import pytest
from runs import floats

import fastrnn
from fastrnn._core import elementwise

T, B, I, H, L = 6, 5, 4, 9, 3  # noqa: E741
CLASSES = [fastrnn.LSTM, fastrnn.GRU, fastrnn.RNN, fastrnn.UGRNN]
every_class = pytest.mark.parametrize("kind", CLASSES)


def splitmix64(key, n):
    """The first n numbers of SplitMix64 (Steele, Lea and Flood, 2014), of state `key` itself on."""
    z = np.uint64(key) + np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def mask(key, shape, p):
    """Zeros with probability p and else 1/(1-p), by the upper 24 bits of each number."""
    kept = splitmix64(key, np.prod(shape)) >> np.uint64(40) >= np.uint64(np.float32(p) * 2**24)
    scale = np.float32(1) / (np.float32(1) - np.float32(p))
    return np.where(kept, scale, np.float32(0)).reshape(shape)


def masks_of(layer, steps=T, batch=B):
    """The masks that the next forward run will take; the layer's generator stays where it is."""
    rng = copy.deepcopy(layer.rng)
    keys = [int(rng.integers(2**63)) for _ in range(layer.num_layers - 1)]
    return [mask(key, (steps, batch, layer.hidden_size), layer.dropout) for key in keys]


def single_layers(layer):
    """Each layer of a stack on its own, with the same weights."""
    result = []
    for i in range(layer.num_layers):
        alone = type(layer)(layer.input_size if i == 0 else layer.hidden_size, layer.hidden_size)
        alone.load_state_dict({name: layer.params[name.replace("_l0", f"_l{i}")] for name in alone.params})
        result.append(alone)
    return result


@every_class
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_forward_and_backward_use_the_mask_of_the_stated_generator(kind, p):
    """Bit for bit what single layers give with the masks multiplied in between, there and back."""
    stack = kind(I, H, L, dropout=p, seed=1)
    layers, masks, x, dy = single_layers(stack), masks_of(stack), floats(T, B, I), floats(T, B, H)
    y, _, tape = stack.forward(x)
    stack(x)
    stack.forward(x)  # draws other masks, which must not matter to the first tape
    dx, _ = stack.backward(tape, dy)

    tapes, below = [], x
    for i, layer in enumerate(layers):
        below, _, each = layer.forward(below if i == 0 else below * masks[i - 1])
        tapes.append(each)
    np.testing.assert_array_equal(y, below)
    above = dy
    for i in reversed(range(L)):
        above, _ = layers[i].backward(tapes[i], above if i == L - 1 else above * masks[i])
        for name, grad in layers[i].grads.items():
            np.testing.assert_array_equal(stack.grads[name.replace("_l0", f"_l{i}")], grad)
    np.testing.assert_array_equal(dx, above)


@every_class
def test_gradient_is_that_of_the_masked_function(kind):
    """Central differences along random directions, every evaluation with the same masks."""
    layer, x, dy = kind(I, H, L, dropout=0.4, seed=2), floats(T, B, I), floats(T, B, H)
    start = copy.deepcopy(layer.rng.bit_generator.state)

    def objective(x, flat):
        layer.rng.bit_generator.state = start
        with layer.editing() as params:
            params.flat[:] = flat
        return float((layer.forward(x)[0].astype(np.float64) * dy).sum())

    flat, step = layer.flat_params.copy(), np.float32(2**-7)
    layer.rng.bit_generator.state = start
    dx, _ = layer.backward(layer.forward(x)[2], dy)
    dflat = layer.flat_grads.copy()
    for seed in range(3):
        along_x, along_flat = floats(*x.shape, seed=seed), floats(flat.size, seed=seed) / 4
        numeric = (objective(x + step * along_x, flat) - objective(x - step * along_x, flat)) / (2 * step)
        assert numeric == pytest.approx(float((dx * along_x).sum()), rel=5e-3, abs=5e-3)
        numeric = (objective(x, flat + step * along_flat) - objective(x, flat - step * along_flat)) / (2 * step)
        assert numeric == pytest.approx(float((dflat * along_flat).sum()), rel=5e-3, abs=5e-3)


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.05, 0.1, 0.25, 0.5, 0.9, 0.999, 0.9999999, 0.99999999])
@pytest.mark.parametrize("n", [1, 7, 8, 17, 1000])
def test_kernel_equals_the_statement_in_numpy(p, n):
    source = floats(n)
    for key in (0, 1, 2**63 - 1, 0x0123456789ABCDEF):
        target = np.full(n, np.nan, np.float32)
        elementwise.dropout(source, target, p, key, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = mask(key, (n,), p)
            np.testing.assert_array_equal(target, np.where(kept == 0, np.float32(0), source * kept))
        in_place = source.copy()
        elementwise.dropout(in_place, in_place, p, key, 1)
        np.testing.assert_array_equal(in_place, target)


def kept(key, p, n=200_000):
    target = np.empty(n, np.float32)
    elementwise.dropout(np.ones(n, np.float32), target, p, key, 1)
    values = np.unique(target)
    assert np.isin(values, [0, np.float32(1) / (np.float32(1) - np.float32(p))]).all()
    return target != 0


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_of_dropped_elements_is_p(p):
    """Within four standard deviations, over all, at every place of a vector, for keys far apart and side by side."""
    for key in (0, 1, 2, 2**62, 987654321):
        each = kept(key, p)
        deviation = np.sqrt(p * (1 - p) / each.size)
        assert abs(each.mean() - (1 - p)) < 4 * deviation
        by_place = each.reshape(-1, 16).mean(axis=0)
        assert np.abs(by_place - (1 - p)).max() < 4.5 * deviation * 4
    assert abs(mask(0, (10**6,), p).mean(dtype=np.float64) - 1) < 4 * np.sqrt(p / (1 - p) / 10**6)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_elements_and_keys_are_independent(p):
    """No correlation between neighbours, with the element a row below, or with the mask of the next key."""
    first, second = (kept(key, p).astype(np.float64) for key in (5, 6))
    for other in (np.roll(first, 1), np.roll(first, 2), np.roll(first, 128), np.roll(first, 512), second):
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / np.sqrt(first.size)


def test_mask_does_not_depend_on_threads():
    source = floats(700_001)
    results = []
    for threads in (1, 2, 3, 5):
        target = np.full_like(source, np.nan)
        elementwise.dropout(source, target, 0.3, 12345, threads)
        results.append(target)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@every_class
def test_run_does_not_depend_on_threads(kind):
    def step(threads):
        layer = kind(16, 64, 2, dropout=0.5, seed=3)
        y, _, tape = layer.forward(floats(40, 32, 16), num_threads=threads)
        dx, _ = layer.backward(tape, floats(40, 32, 64), num_threads=threads)
        return [y, dx, layer.flat_grads]

    expected = step(1)
    for threads in (2, 3):
        for got, want in zip(step(threads), expected, strict=True):
            np.testing.assert_array_equal(got, want)


@every_class
def test_inference_drops_nothing(kind):
    dropping, plain, x = kind(I, H, L, dropout=0.9, seed=4), kind(I, H, L, seed=4), floats(T, B, I)
    before = copy.deepcopy(dropping.rng.bit_generator.state)
    np.testing.assert_array_equal(dropping(x)[0], plain(x)[0])
    stream = dropping.stream(B)
    np.testing.assert_array_equal(np.stack([stream.step(x_t) for x_t in x]), plain(x)[0])
    assert dropping.rng.bit_generator.state == before
    assert not np.array_equal(dropping.forward(x)[0], plain(x)[0])


@every_class
@pytest.mark.parametrize("layers, p", [(1, 0.9), (L, 0.0)])
def test_nothing_is_drawn_where_nothing_is_dropped(kind, layers, p):
    """Between layers means: not after the last."""
    expected = pytest.warns(UserWarning, match="with num_layers=1 there is none") if p else contextlib.nullcontext()
    with expected:
        layer = kind(I, H, layers, dropout=p, seed=5)
    plain = kind(I, H, layers, seed=5)
    before = copy.deepcopy(layer.rng.bit_generator.state)
    np.testing.assert_array_equal(layer.forward(floats(T, B, I))[0], plain.forward(floats(T, B, I))[0])
    assert layer.rng.bit_generator.state == before


@every_class
def test_the_warning_points_at_whoever_made_the_layer(kind):
    named = type("Named", (kind,), {})
    own = type("Own", (kind,), {"__init__": lambda self: kind.__init__(self, I, H, dropout=0.5)})
    for make in (lambda: kind(I, H, dropout=0.5), lambda: named(I, H, dropout=0.5), own):
        with pytest.warns(UserWarning, match="there is none") as caught:
            make()
        assert [warning.filename for warning in caught] == [__file__]


def test_every_run_and_every_layer_has_a_mask_of_its_own():
    layer = fastrnn.GRU(I, H, L, dropout=0.5, seed=6)
    masks = [*masks_of(layer)]
    first = layer.forward(floats(T, B, I))[0]
    masks += masks_of(layer)
    second = layer.forward(floats(T, B, I))[0]
    assert not np.array_equal(first, second)
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert not np.array_equal(one, other)


def test_masks_resume_from_a_saved_generator():
    layer, x = fastrnn.LSTM(I, H, L, dropout=0.5, seed=7), floats(T, B, I)
    layer.forward(x)
    saved = copy.deepcopy(layer.rng.bit_generator.state)
    expected = [layer.forward(x)[0] for _ in range(3)]
    other = fastrnn.LSTM(I, H, L, dropout=0.5, seed=8)
    other.load_state_dict(layer.state_dict())
    other.rng.bit_generator.state = saved
    for y in expected:
        np.testing.assert_array_equal(other.forward(x)[0], y)


def test_mean_output_of_many_masks_is_that_of_none():
    """The kept elements grow by 1/(1-p): seen at a layer that only adds up what it is given."""

    def init(name, shape, rng):
        if name == "weight_ih_l1":
            return np.full(shape, 1e-3, np.float32)  # tanh is linear there
        return None if name.endswith("l0") else np.zeros(shape, np.float32)

    layer, x = fastrnn.RNN(I, 64, 2, dropout=0.5, seed=9, init=init), floats(1, 1, I)
    mean = np.mean([layer.forward(x)[0] for _ in range(2000)], axis=0, dtype=np.float64)
    spread = 1e-3 * np.linalg.norm(layer.params["weight_ih_l0"] @ x[0, 0]) / np.sqrt(2000)
    assert np.abs(mean - layer(x)[0]).max() < 4 * spread
