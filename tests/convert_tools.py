"""What the tests of files of other systems share: random layers as files hold them, a chain of layers run, equality."""

import numpy as np

import fastrnn
from fastrnn.convert import Layer, Model

KINDS = {"LSTM": fastrnn.LSTM, "GRU": fastrnn.GRU, "RNN": fastrnn.RNN}


def random_array(rng, *shape, dtype="float32"):
    return rng.uniform(-0.5, 0.5, shape).astype(dtype)


def random_layer(kind, name, inputs, width, seed=0, **options):
    """A Layer with random weights; `width` may be a list."""
    rng = np.random.default_rng(seed)
    if kind == "Embedding":
        return Layer(kind, name, {"weight": random_array(rng, inputs, width)})
    made = (fastrnn.Linear if kind == "Linear" else KINDS[kind])(inputs, width, seed=0, **options)
    tensors = {one: random_array(rng, *array.shape, dtype=made.dtype) for one, array in made.state_dict().items()}
    return Layer(kind, name, tensors, options)


def random_model(*layers, **notes):
    made = [random_layer(*words, seed=place, **options) for place, (*words, options) in enumerate(layers)]
    return Model(made, "", notes, chain=True)


def run(model, x):
    """The layers one after the other over x (B, T, ...), as a chain of Keras runs them."""
    for layer in model.build().values():
        if isinstance(layer, np.ndarray):
            x = layer[x]
        elif isinstance(layer, fastrnn.Linear):
            x = layer(x)
        else:
            x = layer(np.ascontiguousarray(x.swapaxes(0, 1)))[0].swapaxes(0, 1)
    return x


def assert_same(one, other):
    """Two models hold the same layers, bit for bit, whatever their files."""
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    for a, b in zip(one.layers, other.layers, strict=True):
        assert a.kind == b.kind
        assert a.options == b.options
        assert a.tensors.keys() == b.tensors.keys()
        for name, array in a.tensors.items():
            np.testing.assert_array_equal(array, b.tensors[name], strict=True)


# ---------------------------------------------------------------------------------- equations of others


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, kernel, recurrent, bias):
    """Keras's LSTM over (B, T, I): gates i f c o."""
    h = c = np.zeros((len(x), len(recurrent)))
    steps = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        steps.append(h)
    return np.stack(steps, 1)


def gru(x, kernel, recurrent, bias, after=False):
    """Keras's GRU over (B, T, I): gates z r h."""
    h, width = np.zeros((len(x), len(recurrent))), len(recurrent)
    own, other = bias if after else (bias, np.zeros_like(bias))
    steps = []
    for t in range(x.shape[1]):
        a = x[:, t] @ kernel + own
        z, r = np.split(sigmoid(a[:, : 2 * width] + h @ recurrent[:, : 2 * width] + other[: 2 * width]), 2, axis=1)
        if after:
            n = np.tanh(a[:, 2 * width :] + r * (h @ recurrent[:, 2 * width :] + other[2 * width :]))
        else:
            n = np.tanh(a[:, 2 * width :] + (r * h) @ recurrent[:, 2 * width :])
        h = z * h + (1 - z) * n
        steps.append(h)
    return np.stack(steps, 1)


def lstm_of_tf1(x, kernel, bias, forget_bias):
    """TensorFlow 1's LSTMCell: one kernel for x and h, gates i j f o."""
    h = c = np.zeros((len(x), len(bias) // 4))
    steps = []
    for t in range(x.shape[1]):
        i, j, f, o = np.split(np.hstack([x[:, t], h]) @ kernel + bias, 4, axis=1)
        c = sigmoid(f + forget_bias) * c + sigmoid(i) * np.tanh(j)
        h = sigmoid(o) * np.tanh(c)
        steps.append(h)
    return np.stack(steps, 1)


def gru_of_tf1(x, gates, bias, candidate, other):
    """TensorFlow 1's GRUCell: gates r u, and the candidate apart."""
    h = np.zeros((len(x), len(other)))
    steps = []
    for t in range(x.shape[1]):
        r, u = np.split(sigmoid(np.hstack([x[:, t], h]) @ gates + bias), 2, axis=1)
        h = u * h + (1 - u) * np.tanh(np.hstack([x[:, t], r * h]) @ candidate + other)
        steps.append(h)
    return np.stack(steps, 1)
