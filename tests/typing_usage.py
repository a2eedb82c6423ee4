"""Read by mypy alone: what a caller writes, and the types that it gets. Nothing here is run."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastrnn
from fastrnn import decoding, inspect
from fastrnn.layers import Tape
from fastrnn.module import Parameters

Floats = NDArray[np.float32]
Either = NDArray[np.floating[Any]]  # float32 or float64, which a layer's dtype decides


def layers(x: Floats, ids: NDArray[np.int64], dy: Floats) -> None:
    lstm = fastrnn.LSTM(3, 4, num_layers=2, bias=True, batch_first=False, dropout=0.1, seed=0)
    gru = fastrnn.GRU(3, 4, reset_after=False, seed=np.random.SeedSequence(1))
    rnn = fastrnn.RNN(3, 4, nonlinearity="relu")
    ugrnn = fastrnn.UGRNN(3, 4, init=lambda name, shape, rng: np.zeros(shape, np.float32))
    for layer in (lstm, gru, rnn, ugrnn):
        y, state = layer(x)
        assert_type(y, Either)
        y, state = layer(ids, state, num_threads=2)
        y, state, tape = layer.forward(x, state)
        assert_type(tape, Tape)
        dx, dstate = layer.backward(tape, dy, None, input_gradient=False)
        assert_type(dx, Either | None)
        layer.backward(tape, None, dstate)
        assert_type(layer.params, Parameters)
        assert_type(layer.grads["weight_ih_l0"], Either)
        assert_type(layer.flat_params, Either)
        assert_type(layer.rng, np.random.Generator)
        layer.zero_grad()
    with lstm.editing() as params:
        params["weight_ih_l0"][...] = 0
        params.flat[:] = 0
    saved = lstm.state_dict()
    assert_type(saved, dict[str, Either])
    lstm.load_state_dict(saved, strict=False)
    gru.load_state_dict(gru.state_dict(), blend="cho")

    stream = lstm.stream(batch_size=2)
    assert_type(stream, fastrnn.Stream)
    assert_type(stream.step(x[0]), Either)
    stream.step(ids[0], out=dy[0])
    stream.state = None
    stream.reset(rows=[0])
    stream.step(x[0], reset=np.zeros(2, bool), mask=np.ones(2, bool))
    stream.run(x, mask=np.ones((5, 2), bool))
    stream.select([1, 0])
    stream.batch_size = 3


def parts(x: Floats, ids: NDArray[np.int64], each: list[Either], lists: list[NDArray[Any]]) -> None:
    embedding = fastrnn.Embedding(7, 3, padding_index=0, seed=0)
    y, embedded = embedding.forward(ids)
    assert_type(y, Either)
    embedding.backward(embedded, y)
    assert_type(embedding(lists), list[Either])
    dropout = fastrnn.Dropout(0.5, seed=0)
    dropped, tape = dropout.forward(x)
    assert_type(dropout.backward(tape, dropped), Either)
    assert_type(dropout(each), list[Either])
    attention = fastrnn.Attention(3, 4, "additive", hidden_size=5, seed=0)
    context, weights, attended = attention.forward(x, x, [3, 2])
    assert_type(context, Either)
    assert_type(attention.backward(attended, weights), tuple[Either, Either])
    assert_type(attention(each, each)[0], list[Either])
    attention(x, x, keys=attention.keys(x), num_threads=1)


def decoded(logits: Either, start: NDArray[np.int64]) -> None:
    def step(tokens: NDArray[np.int64], state: Any) -> tuple[Either, Any]:
        return logits, state

    assert_type(decoding.greedy(step, None, start, end=1, length=9), list[NDArray[np.int64]])
    assert_type(decoding.sample(step, None, 0, length=9, top_k=3, seed=0), list[NDArray[np.int64]])
    assert_type(decoding.beam_search(step, None, 0, end=1, length=9), list[list[decoding.Hypothesis]])
    assert_type(decoding.ctc_greedy([logits]), list[NDArray[np.int64]])
    assert_type(decoding.ctc_beam_search(logits, width=3)[0][0].score, float)


def sequences(x: Floats, each: list[NDArray[Any]], lengths: NDArray[np.int64], flags: NDArray[np.bool_]) -> None:
    lstm = fastrnn.LSTM(3, [4, 5], bidirectional=True, proj_size=2, merge="sum", dtype="float64")
    y, state = lstm(x, None, lengths, flags, flags, zero_output_for_mask=True)
    assert_type(y, Either)
    y, state, tape = lstm.forward(x, state, lengths, mask=flags, reset=flags, checkpoint="auto")
    parts, state = lstm(each, reset=[flags])
    assert_type(parts, list[Either])
    parts, state, tape = lstm.forward(each, state, checkpoint=8)
    assert_type(parts, list[Either])
    assert_type(lstm.backward(tape, parts, state)[0], list[Either] | None)


def training(x: Floats, targets: NDArray[np.int64]) -> None:
    gru, head = fastrnn.GRU(3, 4), fastrnn.Linear(4, 5, bias=False, seed=1)
    modules = [gru, head]
    optimizers = [
        fastrnn.SGD(modules, lr=0.1, momentum=0.9),
        fastrnn.RMSprop(modules, lr=0.002, alpha=0.95),
        fastrnn.Adagrad(gru, lr=0.1),
        fastrnn.Adam(head, lr=0.001, betas=(0.9, 0.99)),
    ]
    for window, target in fastrnn.tbptt(targets[0], batch_size=2, seq_length=5):
        y, _, tape = gru.forward(window)
        logits, head_tape = head.forward(y)
        loss, dlogits = fastrnn.softmax_cross_entropy(logits, target)
        assert_type(loss, float)
        assert_type(dlogits, Either)
        gru.backward(tape, head.backward(head_tape, dlogits), num_threads=1)
        assert_type(fastrnn.clip_grad_norm_([module.grads for module in modules], 5.0), float)
        fastrnn.clip_grad_value_(gru.grads, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
            optimizer.lr *= 0.5
            optimizer.load_state_dict(optimizer.state_dict())


def looking(x: Floats) -> None:
    gru = fastrnn.GRU(3, 4)
    y, _, tape = gru.forward(x)
    assert_type(inspect.activations(tape), list[inspect.Activations])
    assert_type(inspect.saturation(tape, low=0.05)[0].closed, NDArray[np.float64])
    assert_type(inspect.hidden_gradients(tape, y), list[Either])
    assert_type(inspect.gradient_norms(tape, y), NDArray[np.float64])
    assert_type(inspect.first_nan(tape, y), inspect.NonFinite | None)
    assert_type(inspect.non_finite(gru), list[inspect.NonFinite])
    model = fastrnn.SequenceModel(gru, fastrnn.Linear(4, 2))
    assert_type(inspect.look(model, [x], [x]).gradient_norms, dict[str, NDArray[np.float64]])
    meter = inspect.Clipping()
    meter.add(fastrnn.clip_grad_norm_(gru.grads, 1.0), 1.0)
    assert_type(meter.share, float)


def settings() -> None:
    fastrnn.set_num_threads(2)
    fastrnn.set_num_threads(None)
    assert_type(fastrnn.get_num_threads(), int)
    assert_type(fastrnn.config(), dict[str, Any])
    fastrnn.show_config()
    assert_type(fastrnn.__version__, str)


def wrong(x: Floats) -> None:
    """Each of these must be refused: an unused ignore is an error under --strict."""
    fastrnn.LSTM("3", 4)  # type: ignore[arg-type]
    fastrnn.LSTM(3, 4, nonlinearity="relu")  # type: ignore[call-arg]
    fastrnn.GRU(3, 4, proj_size=2)  # type: ignore[call-arg]
    fastrnn.LSTM(3, 4)([[1.0]])  # type: ignore[list-item]
    fastrnn.LSTM(3, 4)("x")  # type: ignore[call-overload]
    fastrnn.LSTM(3, 4).backward(x, x)  # type: ignore[call-overload]
    fastrnn.RNN(3, 4, proj_size=2)  # type: ignore[call-arg]
    fastrnn.Linear(3, 4).backward(fastrnn.GRU(3, 4).forward(x)[2], x)  # type: ignore[arg-type]
    fastrnn.SGD(x, lr=0.1)  # type: ignore[arg-type]
    fastrnn.softmax_cross_entropy(x, 3)  # type: ignore[call-overload]
    fastrnn.RNN(3, 4).params = {}  # type: ignore[assignment]
    fastrnn.LSTM(3, 4).flat_grads = x  # type: ignore[assignment]
    fastrnn.LSTM(3, 4).flat_params = x  # type: ignore[misc]
