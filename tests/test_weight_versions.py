"""Every call that starts after an edit has ended uses the new weights, whoever was packing meanwhile."""

import copy
import threading
import time

import numpy as np
import pytest
from runs import every_cell, floats, make_layer

import fastrnn
from fastrnn._core import weights

T, B, I, H = 3, 40, 24, 40  # noqa: E741


def vectors():
    return floats(T, B, I)


def indices():
    return np.arange(T * B).reshape(T, B) % I


def layer_results(layer, x):
    return [layer(x)[0], layer.forward(x)[0]]


def stream_results(layer, x):
    return [layer.stream(B).step(x[0])]


def gradient_results(layer, x):
    y, _, tape = layer.forward(x)
    dx, dstate = layer.backward(tape, y)
    return [y, dstate[0], *([] if dx is None else [dx])]


def linear_results(layer, x):
    y, tape = layer.forward(x)
    return [y, layer(x), layer.backward(tape, y)]


def fresh(layer):
    """A copy with nothing packed."""
    return copy.deepcopy(layer)


def edit(layer, value=None, seed=1):
    with layer.editing() as params:
        params.flat[:] = floats(params.flat.size, seed=seed) / 8 if value is None else value


def assert_sees_its_weights(layer, results, x):
    for actual, expected in zip(results(layer, x), results(fresh(layer), x), strict=True):
        np.testing.assert_array_equal(actual, expected)


class EndsAnEdit:
    """`empty` of a module that packs: an edit of the layer ends at its nth call, in the middle of a packing."""

    def __init__(self, module, layer, nth, monkeypatch):
        self.empty, self.layer, self.left = module.empty, layer, nth
        monkeypatch.setattr(module, "empty", self)

    def __call__(self, *shape_and_dtype):
        self.left -= 1
        if self.left == 0:
            edit(self.layer, seed=7)
        return self.empty(*shape_and_dtype)


def assert_no_edit_is_lost(make, module, results, x, packings, monkeypatch):
    """Whichever packing it ends in: what was packed before is old, the rest is new."""
    for nth in range(1, packings + 1):
        layer = make()
        with monkeypatch.context() as patch:
            edits, refused = EndsAnEdit(module, layer, nth, patch), "the weights changed"
            try:
                results(layer, x)
            except ValueError as error:  # the tape is older than the edit
                refused = str(error)
        assert edits.left <= 0 and "the weights changed" in refused
        assert_sees_its_weights(layer, results, x)


@pytest.mark.parametrize("make_x", [vectors, indices])
@pytest.mark.parametrize("results", [layer_results, stream_results, gradient_results])
@every_cell
def test_an_edit_that_ends_while_a_call_packs_is_seen_by_the_next(name, results, make_x, monkeypatch):
    packings = 2 if results is not gradient_results else 3 if make_x is indices else 4
    assert_no_edit_is_lost(lambda: make_layer(name, I, H), weights, results, make_x(), packings, monkeypatch)


def test_an_edit_that_ends_while_a_linear_layer_packs_is_seen_by_the_next_call(monkeypatch):
    def make():
        return fastrnn.Linear(I, H, seed=0)

    assert_no_edit_is_lost(make, weights, linear_results, vectors(), 2, monkeypatch)


# ------------------------------------------------------------------------------------------------ the tape


@every_cell
def test_backward_takes_no_tape_whose_weights_an_edit_changed_during_the_forward_run(name, monkeypatch):
    layer, x = make_layer(name, I, H, layers=2), vectors()
    EndsAnEdit(weights, layer, 3, monkeypatch)  # the first layer has run with the old weights
    y, _, tape = layer.forward(x)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="the weights changed after this tape was made"):
        layer.backward(tape, y)
    assert not layer.flat_grads.any()


def test_a_linear_backward_takes_no_tape_whose_weights_changed_during_the_forward_run(monkeypatch):
    layer, x = fastrnn.Linear(I, H, seed=0), vectors()
    EndsAnEdit(weights, layer, 1, monkeypatch)
    y, tape = layer.forward(x)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="the weights changed after this tape was made"):
        layer.backward(tape, y)
    assert not layer.flat_grads.any()


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_backward_packs_every_layer_before_its_last_look_at_the_tape(nth, monkeypatch):
    """An edit that ends between two layers' packings must not mix their weights."""
    layer, x = make_layer("lstm", I, H, layers=2), vectors()
    y, _, tape = layer.forward(x)
    edits = EndsAnEdit(weights, layer, nth, monkeypatch)
    with pytest.raises(ValueError, match="the weights changed after this tape was made"):
        layer.backward(tape, y)
    monkeypatch.undo()
    assert edits.left <= 0
    assert not layer.flat_grads.any()


def test_backward_does_not_see_an_edit_that_is_under_way():
    """A block lends copies: the weights are those of the tape until it ends."""
    layer, twin, x = make_layer("gru", I, H), make_layer("gru", I, H), vectors()
    y, _, tape = layer.forward(x)
    with layer.editing() as params:
        params.flat[: params.flat.size // 2] = 0
        layer.backward(tape, y)
    twin.backward(twin.forward(x)[2], y)
    np.testing.assert_array_equal(layer.flat_grads, twin.flat_grads)


def test_a_backward_run_that_fails_to_pack_leaves_the_tape(monkeypatch):
    layer, x = make_layer("lstm", I, H), vectors()
    y, _, tape = layer.forward(x)

    def no_memory(*_):
        raise MemoryError("none left")

    with monkeypatch.context() as patch:
        patch.setattr(weights, "empty", no_memory)
        with pytest.raises(MemoryError):
            layer.backward(tape, y)
    assert not layer.flat_grads.any()
    layer.backward(tape, y)
    assert layer.flat_grads.any()


# ----------------------------------------------------------------------------------------------- with threads


def assert_edits_are_seen_beside(layer, x, rounds):
    """A second thread calls the layer all the time: it packs what one edit has left and the next one ends meanwhile."""
    done = threading.Event()

    def output(one):
        y = one(x, num_threads=1)
        return y[0] if isinstance(y, tuple) else y

    def call():
        while not done.is_set():
            output(layer)

    caller = threading.Thread(target=call)
    caller.start()
    missed = 0
    try:
        for i in range(rounds):
            edit(layer, value=(i + 1) / 4096)
            time.sleep(0.001)  # the caller's turn, if it likes
            edit(layer, value=-(i + 1) / 4096)
            actual = output(layer)
            missed += not np.array_equal(actual, output(fresh(layer)))
    finally:
        done.set()
        caller.join()
    assert not missed


def test_edits_beside_calls_of_a_large_table_are_seen():
    assert_edits_are_seen_beside(fastrnn.RNN(2000, 256, seed=0), np.zeros((1, 1), np.int64), 8)


def test_edits_beside_calls_of_a_wide_linear_layer_are_seen():
    assert_edits_are_seen_beside(fastrnn.Linear(1, 1_000_000, seed=0), np.ones((1, 1), np.float32), 6)


@every_cell
def test_edits_beside_calls_are_seen(name):
    assert_edits_are_seen_beside(make_layer(name, 1000, 64), np.zeros((2, 3), np.int64), 10)
