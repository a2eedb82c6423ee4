"""Attention: the twin against the complex step, the layer against the twin and PyTorch, and what it promises."""

import copy
import itertools
import pickle
import signal
from functools import partial

import numpy as np
import pytest
import test_guard_pages
from fresh import linux_only, python
from guards import guarded_copy
from numpy_layer import every_dtype, normal, other
from test_interrupt import assert_interrupted
from tolerance import BACKWARD, assert_close, assert_same_arrays, bound

import fastrnn
from fastrnn.gradcheck import complex_step
from fastrnn.reference import attention as twin

KINDS = ("dot", "general", "additive")
every_kind = pytest.mark.parametrize("kind", KINDS)
NAMES = ("weight_query", "weight_key", "weight_score")
# Tq, Tk, B, K: at the edges of vectors, of column groups, of the columns that are transposed at once.
SHAPES = [(1, 1, 1, 1), (3, 2, 2, 4), (1, 17, 3, 16), (16, 15, 2, 17), (5, 49, 2, 33), (49, 97, 1, 8), (7, 300, 1, 3)]
every_shape = pytest.mark.parametrize("shape", SHAPES)


def made(kind, K, dtype="float32", Q=None, A=None, seed=0):
    """A layer with gradients to add to."""
    Q = K if kind == "dot" else Q or K + 3
    hidden = {"hidden_size": A or K + 5} if kind == "additive" else {}
    layer = fastrnn.Attention(Q, K, kind, dtype=dtype, seed=seed, **hidden)
    layer.flat_grads[:] = normal(dtype, layer.flat_grads.size, seed=9)
    return layer


def problem(layer, Tq, Tk, B):
    """Queries, memory, dcontext."""
    K, dtype = layer.key_size, layer.dtype
    shapes = (Tq, B, layer.query_size), (Tk, B, K), (Tq, B, K)
    return [normal(dtype, *shape, seed=seed) for seed, shape in enumerate(shapes)]


def lengths_of(Tk, B):
    """Of every kind: whole, empty, one, half, again."""
    return np.resize([Tk, 0, 1, (Tk + 1) // 2], B)


def weights_of(layer, dtype=np.float64):
    return [layer.params[name].astype(dtype) if name in layer.params else None for name in NAMES]


# ------------------------------------------------------------------------------------------------ gradients


@every_kind
@pytest.mark.parametrize("ragged", [False, True])
def test_the_twin_against_the_complex_step(kind, ragged):
    layer = made(kind, 3, "float64")
    queries, memory, dcontext = problem(layer, 3, 4, 4)
    lengths = lengths_of(4, 4) if ragged else None
    arrays = [queries, memory, *(array for array in weights_of(layer) if array is not None)]

    def loss(queries, memory, *weights):
        return (dcontext * twin.forward(queries, memory, lengths, *weights)[0]).sum()

    *_, tape = twin.forward(queries, memory, lengths, *weights_of(layer))
    dqueries, dmemory, dweights = twin.backward(tape, dcontext)
    found = [dqueries, dmemory, *(array for array in dweights if array is not None)]
    for got, expected in zip(found, complex_step(loss, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@every_kind
@every_shape
@pytest.mark.parametrize("ragged", [False, True])
@every_dtype
def test_compiled_equals_the_twin(kind, shape, ragged, dtype):
    Tq, Tk, B, K = shape
    layer = made(kind, K, dtype)
    queries, memory, dcontext = problem(layer, Tq, Tk, B)
    lengths = lengths_of(Tk, B) if ragged else None
    before = {name: array.astype(np.float64) for name, array in layer.grads.items()}
    context, weights, tape = layer.forward(queries, memory, lengths)
    dqueries, dmemory = layer.backward(tape, dcontext)
    wide = [array.astype(np.float64) for array in (queries, memory)]
    expected, expected_weights, twins = twin.forward(*wide, lengths, *weights_of(layer))
    dq, dm, dparams = twin.backward(twins, dcontext.astype(np.float64))

    # Errors of the scores, sums of 2 K terms and more, are multiplied by what the softmax makes of them.
    def compare(name, actual, wanted, factor=1):
        assert_close(name, actual, wanted, 4 * bound(max(Tk, 2 * K), factor * BACKWARD, dtype), dtype)

    compare("context", context, expected)
    compare("weights", weights, expected_weights)
    compare("dqueries", dqueries, dq, 2)
    compare("dmemory", dmemory, dm, 2)
    for name, gradient in zip(NAMES, dparams, strict=True):
        if gradient is not None:
            compare(name, layer.grads[name], before[name] + gradient, 2)
    again = layer(queries, memory, lengths)
    assert_same_arrays(again, (context, weights))


def torch_attention(torch, layer, queries, memory, lengths):
    """The same in PyTorch, batch first: context, weights, parameters by name."""
    params = {name: torch.from_numpy(np.array(array)).requires_grad_() for name, array in layer.params.items()}
    q, m = queries.transpose(0, 1), memory.transpose(0, 1)
    if "weight_query" in params:
        q = q @ params["weight_query"].T
    if layer.kind == "additive":
        keys = m @ params["weight_key"].T
        scores = torch.tanh(q[:, :, None] + keys[:, None]) @ params["weight_score"]
    else:
        scores = torch.bmm(q, m.transpose(1, 2))
    seen = torch.arange(m.shape[1]) < torch.from_numpy(lengths)[:, None, None]
    weights = torch.softmax(scores.masked_fill(~seen, -torch.inf), -1)
    return torch.bmm(weights, m).transpose(0, 1), weights.transpose(0, 1), params


@every_kind
@every_dtype
def test_matches_pytorch(kind, dtype):
    torch = pytest.importorskip("torch")
    layer = made(kind, 6, dtype)
    layer.zero_grad()
    queries, memory, dcontext = problem(layer, 4, 9, 3)
    lengths = np.array([9, 1, 5])
    theirs = [torch.from_numpy(array.copy()).requires_grad_() for array in (queries, memory)]
    expected, expected_weights, params = torch_attention(torch, layer, *theirs, lengths)
    expected.backward(torch.from_numpy(dcontext))
    context, weights, tape = layer.forward(queries, memory, lengths)
    dqueries, dmemory = layer.backward(tape, dcontext)
    tolerance = bound(32, 4 * BACKWARD, dtype)
    assert_close("context", context, expected.detach().numpy(), tolerance, dtype)
    assert_close("weights", weights, expected_weights.detach().numpy(), tolerance, dtype)
    assert_close("dqueries", dqueries, theirs[0].grad.numpy(), tolerance, dtype)
    assert_close("dmemory", dmemory, theirs[1].grad.numpy(), tolerance, dtype)
    for name, tensor in params.items():
        assert_close(name, layer.grads[name], tensor.grad.numpy(), tolerance, dtype)


# ------------------------------------------------------------------------------------------------- promises


def run(layer, queries, memory, dcontext, lengths=None, **options):
    """All results of a forward and a backward run, gradients from zero on."""
    layer.zero_grad()
    context, weights, tape = layer.forward(queries, memory, lengths, **options)
    return [context, weights, *layer.backward(tape, dcontext, **options), layer.flat_grads.copy()]


@every_kind
@every_dtype
def test_bits_do_not_depend_on_threads(kind, dtype):
    """As much work as several threads are worth."""
    layer = made(kind, 64, dtype)
    arrays, lengths = problem(layer, 40, 60, 20), np.arange(20) * 3
    expected = run(layer, *arrays, lengths, num_threads=1)
    for threads in (2, 3, 7):
        assert_same_arrays(run(layer, *arrays, lengths, num_threads=threads), expected)


@every_kind
@every_dtype
def test_a_list_an_array_with_lengths_and_sequences_one_by_one_have_the_same_bits(kind, dtype):
    layer, lengths = made(kind, 9, dtype), [7, 0, 3, 1]
    queries, memory, dcontext = problem(layer, 5, 7, 4)
    context, weights, dqueries, dmemory, dparams = run(layer, queries, memory, dcontext, lengths)
    rows = [queries[:, b].copy() for b in range(4)], [memory[:n, b].copy() for b, n in enumerate(lengths)]
    listed = run(layer, *rows, [dcontext[:, b].copy() for b in range(4)])
    for b, n in enumerate(lengths):
        one = run(layer, rows[0][b][:, None], rows[1][b][:, None], dcontext[:, b : b + 1])
        wanted = [context[:, b], weights[:, b, :n], dqueries[:, b], dmemory[:n, b]]
        assert_same_arrays([array[b] for array in listed[:4]], wanted)
        assert_same_arrays([array[:, 0] for array in one[:4]], wanted)
        assert not weights[:, b, n:].any() and not dmemory[n:, b].any()
    if dparams.size:  # over rows in another order
        assert_close("dparams", listed[4], dparams, bound(20, BACKWARD, dtype), dtype)


@every_kind
def test_one_query_at_a_time_has_the_same_bits(kind):
    """A decoder's steps are the run over all of them."""
    layer = made(kind, 17)
    queries, memory, _ = problem(layer, 5, 23, 2)
    context, weights = layer(queries, memory)
    for t in range(5):
        assert_same_arrays(layer(queries[t : t + 1], memory), (context[t : t + 1], weights[t : t + 1]))


@pytest.mark.parametrize("lengths", [None, [7, 0, 3, 1]])
@every_dtype
def test_keys_worked_out_once_change_no_bit(lengths, dtype):
    layer = made("additive", 9, dtype)
    queries, memory, _ = problem(layer, 5, 7, 4)
    keys = layer.keys(memory)
    assert keys.shape == (7, 4, layer.hidden_size)
    assert_same_arrays(layer(queries, memory, lengths, keys=keys), layer(queries, memory, lengths))
    rows = [[array[:, b].copy() for b in range(4)] for array in (queries, memory)]
    expected = [array for part in layer(*rows) for array in part]
    found = [array for part in layer(*rows, keys=layer.keys(rows[1])) for array in part]
    assert_same_arrays(found, expected)
    assert made("general", 9).keys(problem(made("general", 9), 5, 7, 4)[1]) is None


@every_kind
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_padding_is_not_read(kind, value):
    layer, lengths = made(kind, 5), [2, 0, 6]
    queries, memory, dcontext = problem(layer, 3, 6, 3)
    expected = run(layer, queries, memory, dcontext, lengths)
    for b, n in enumerate(lengths):
        memory[n:, b] = value
    assert_same_arrays(run(layer, queries, memory, dcontext, lengths), expected)


@every_kind
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_strange_numbers_stay_in_their_sequence(kind, value):
    layer = made(kind, 5)
    queries, memory, dcontext = problem(layer, 3, 6, 3)
    expected = run(layer, queries, memory, dcontext)
    memory[2, 1, 3] = value
    found = run(layer, queries, memory, dcontext)
    assert not np.isfinite(found[0][:, 1]).all()
    for got, wanted in zip(found[:4], expected[:4], strict=True):
        assert_same_arrays([np.delete(got, 1, axis=1)], [np.delete(wanted, 1, axis=1)])


def results_of(arrays, own):
    """Every kind, padded and listed, forward and backward, over arrays that `own` makes."""
    for kind, shape in itertools.product(KINDS, SHAPES):
        Tq, Tk, B, K = shape
        layer = made(kind, K, ("float32", "float64")[Tk % 2])
        queries, memory, dcontext = map(own, problem(layer, Tq, Tk, B))
        arrays += run(layer, queries, memory, dcontext, lengths_of(Tk, B))
        rows = [[own(one[:, b].copy()) for b in range(B)] for one in (queries, memory, dcontext)]
        arrays += [one for part in run(layer, *rows) for one in (part if isinstance(part, list) else [part])]
    return arrays


def drive_guarded(at_end):
    expected = results_of([], np.array)
    test_guard_pages.guard(at_end)
    fastrnn.attention.np = test_guard_pages.Numpy(at_end)
    found = results_of([], partial(guarded_copy, at_end=at_end))
    assert_same_arrays([np.array(one) for one in found], expected)
    print("nothing beyond a buffer was touched")


@linux_only
@pytest.mark.parametrize("at_end", [True, False])
def test_nothing_beyond_a_buffer_is_touched(at_end):
    """In a process of its own, which a touch would kill."""
    result = python(f"import faulthandler as f, test_attention as t; f.enable(); t.drive_guarded({at_end})")
    assert result.stdout.strip() == "nothing beyond a buffer was touched", result.stderr


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no pthread_kill")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_long_call_is_interrupted_and_changes_nothing(num_threads):
    layer = fastrnn.Attention(8, 8, "additive", hidden_size=256, seed=0)
    layer.flat_grads[:] = 1
    queries, memory = (np.zeros((40, 2000, 8), np.float32) for _ in range(2))
    assert_interrupted(lambda: layer(queries, memory, num_threads=num_threads))
    few = queries[:, :1500], memory[:, :1500]
    context, _, tape = layer.forward(*few)
    assert_interrupted(lambda: layer.backward(tape, context, num_threads=num_threads))
    assert (layer.flat_grads == 1).all()
    with pytest.raises(ValueError, match="the tape is used up"):
        layer.backward(tape, context)


@every_kind
@every_dtype
def test_without_memory_context_and_weights_are_zero(kind, dtype):
    layer = made(kind, 4, dtype)
    queries, memory, dcontext = problem(layer, 3, 5, 2)
    context, weights, dqueries, dmemory, dparams = run(layer, queries, memory, dcontext, [0, 0])
    assert not any(array.any() for array in (context, weights, dqueries, dmemory, dparams))
    for shapes in (((0, 2), (5, 2)), ((3, 0), (5, 0)), ((3, 2), (0, 2))):
        queries, memory = (np.ones((*shape, size), dtype) for shape, size in zip(
            shapes, (layer.query_size, 4), strict=True))
        context, weights, tape = layer.forward(queries, memory)
        assert context.shape == (*shapes[0], 4) and weights.shape == (*shapes[0], shapes[1][0])
        assert [array.shape for array in layer.backward(tape, context)] == [queries.shape, memory.shape]


def test_scores_of_any_size_have_weights_that_add_up_to_one():
    layer = fastrnn.Attention(1, 1, "dot")
    queries = np.array([1e-30, 1, 1e4, 3e37], np.float32).reshape(-1, 1, 1)
    memory = np.array([-5, 3, 3, 0, -1, 2, 2, 2, 9], np.float32).reshape(-1, 1, 1)
    _, weights = layer(queries, memory)
    np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-6)
    np.testing.assert_allclose(weights[0], 1 / 9, rtol=1e-6)
    np.testing.assert_array_equal(weights[3, 0], np.arange(9) == 8)


def test_strides_and_sources_do_not_matter_and_arguments_stay():
    layer = made("general", 4)
    queries, memory, dcontext = problem(layer, 3, 5, 2)
    expected = run(layer, queries, memory, dcontext)
    turned = [np.asfortranarray(array) for array in (queries, memory, dcontext)]
    assert_same_arrays(run(layer, *turned), expected)
    kept = copy.deepcopy((queries, memory, dcontext))
    run(layer, queries, memory, dcontext)
    assert_same_arrays((queries, memory, dcontext), kept)


@every_kind
def test_copies_are_equal_and_independent(kind):
    layer = made(kind, 4)
    arrays = problem(layer, 3, 5, 2)
    for twin_of in (copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))):
        twin_layer = twin_of(layer)
        for name in ("query_size", "key_size", "kind", "hidden_size", "dtype"):
            assert getattr(twin_layer, name) == getattr(layer, name)
        assert_same_arrays([twin_layer.flat_params, twin_layer.flat_grads], [layer.flat_params, layer.flat_grads])
        expected = run(copy.deepcopy(layer), *arrays)
        assert_same_arrays(run(twin_layer, *arrays), expected)
        assert not np.shares_memory(twin_layer.flat_params, layer.flat_params)
    fresh = made(kind, 4, seed=1)
    fresh.load_state_dict(layer.state_dict())
    assert_same_arrays(run(fresh, *arrays), run(layer, *arrays))


def test_a_tape_is_used_once_and_by_the_weights_it_was_made_with():
    layer = made("additive", 4)
    queries, memory, dcontext = problem(layer, 3, 5, 2)
    _, weights, tape = layer.forward(queries, memory)
    assert not weights.flags.writeable
    layer.backward(tape, dcontext)
    with pytest.raises(ValueError, match="the tape is used up"):
        layer.backward(tape, dcontext)
    _, _, tape = layer.forward(queries, memory)
    with pytest.raises(ValueError, match="another Attention's"):
        made("additive", 4).backward(tape, dcontext)
    with layer.editing() as params:
        params["weight_score"] *= 2
    with pytest.raises(ValueError, match="the weights changed"):
        layer.backward(tape, dcontext)
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        pickle.dumps(tape)


def test_names_shapes_seeds_and_initial_values():
    assert dict(fastrnn.Attention(3, 3).params) == {}
    assert {name: array.shape for name, array in fastrnn.Attention(3, 4, "general").params.items()} == {
        "weight_query": (4, 3)}
    layer = fastrnn.Attention(3, 4, "additive", seed=0)
    assert {name: array.shape for name, array in layer.params.items()} == {
        "weight_query": (4, 3), "weight_key": (4, 4), "weight_score": (4,)}
    assert layer.hidden_size == 4 and fastrnn.Attention(3, 4, "additive", hidden_size=7).hidden_size == 7
    assert all(array.any() and np.abs(array).max() <= np.sqrt(6 / 5) for array in layer.params.values())
    assert_same_arrays([fastrnn.Attention(3, 4, "additive", seed=0).flat_params], [layer.flat_params])
    given = fastrnn.Attention(3, 4, "additive", init=lambda name, shape, rng: np.full(shape, 2, np.float32))
    assert (given.flat_params == 2).all()




@every_dtype
def test_nothing_is_cast(dtype):
    layer = made("dot", 4, dtype)
    queries, memory, dcontext = problem(layer, 3, 5, 2)
    wrong = [array.astype(other(dtype)) for array in (queries, memory, dcontext)]
    for arrays in ((wrong[0], memory), (queries, wrong[1])):
        with pytest.raises(TypeError, match="has dtype"):
            layer(*arrays)
    with pytest.raises(TypeError, match="dcontext has dtype"):
        layer.backward(layer.forward(queries, memory)[2], wrong[2])
