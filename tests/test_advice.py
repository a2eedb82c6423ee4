"""What an error advises works when typed: for NumPy's arrays, lists, and tensors and tables of other libraries."""

import re

import numpy as np
import pytest
from runs import floats

import fastrnn

T, B, I, H, V = 4, 2, 3, 5, 7  # noqa: E741
X, IDS = floats(T, B, I), np.arange(T * B).reshape(T, B) % I
LOGITS, TARGETS = floats(T, B, V), np.arange(T * B).reshape(T, B) % V


def in_brackets(text, start):
    """The text from an opening bracket to the one that closes it."""
    depth = 0
    for end in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[start + 1 : end]
    raise AssertionError(text)


def advised(error, name):
    """The first thing in brackets that is an expression of the name."""
    message = str(error.args[0])
    for bracket in re.finditer(r"\(", message[message.index("expected") :]):
        code = in_brackets(message, message.index("expected") + bracket.start())
        if re.match(rf"{re.escape(name)}(\.|\[| = )|np\.asarray\({re.escape(name)}[,)]", code):
            return code
    raise AssertionError(f"no advice about {name}: {message}")


def typed(code, name, value):
    """What the code makes of the value under that name."""
    variable, item, _ = name.partition("[")
    scope = {"np": np, variable: (value,) if item else value}
    if code.startswith(f"{name} = "):
        exec(code, scope)
        return scope[name]
    return eval(code, scope)


LSTM, HEAD, RNN = fastrnn.LSTM(I, H, seed=0), fastrnn.Linear(I, V, seed=0), fastrnn.RNN(I, H, seed=0)
STREAM = RNN.stream(B)


def state_dict(name):
    def load(value):
        return HEAD.load_state_dict({**HEAD.state_dict(), name: value})

    return load


def gradient(value):
    tape = RNN.forward(X)[2]
    return RNN.backward(tape, value)


# name of the argument: the array that would be right, and the call
CALLS = {
    "x of a layer": ("x", X, LSTM),
    "x of forward": ("x", X, LSTM.forward),
    "x of a linear layer": ("x", floats(T, I), HEAD),
    "x_t": ("x_t", X[0], lambda x: RNN.stream(B).step(x)),
    "state": ("state", floats(1, B, H), lambda h: RNN(X, h)),
    "state[0]": ("state[0]", floats(1, B, H), lambda h: LSTM(X, (h, floats(1, B, H)))),
    "dy": ("dy", floats(T, B, H), gradient),
    "logits": ("logits", LOGITS, lambda logits: fastrnn.softmax_cross_entropy(logits, TARGETS)),
    "weight": ("weight", floats(V, I), state_dict("weight")),
    "bias": ("bias", floats(V), state_dict("bias")),
    "a gradient": ("weight", floats(V, I), lambda array: HEAD.grads.update(weight=array)),
}
INTEGERS = {"targets": ("targets", TARGETS, lambda targets: fastrnn.softmax_cross_entropy(LOGITS, targets))}


def torch_kinds(right):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(right.copy())
    if right.dtype.kind != "f":
        return {"integers": tensor, "int32": tensor.int(), "parameter": torch.nn.Parameter(tensor, requires_grad=False)}
    return {
        "plain": tensor,
        "with a gradient": tensor.clone().requires_grad_(),
        "parameter": torch.nn.Parameter(tensor),
        "bfloat16": tensor.bfloat16(),
        "half": tensor.half(),
        "double with a gradient": tensor.double().requires_grad_(),
        "conjugate": torch.complex(tensor, tensor).conj().real,
        "negative": torch.complex(tensor, tensor).conj().imag,
    }


def numpy_kinds(right):
    if right.dtype.kind != "f":
        return {"float32": right.astype(np.float32), "list": right.tolist(), "complex": right.astype(complex)}
    record = np.zeros(right.shape, [("value", "f8"), ("other", "i4")])
    record["value"] = right
    return {
        "float64": right.astype(np.float64),
        "float16": right.astype(np.float16),
        "big-endian": right.astype(">f4"),
        "complex": right.astype(complex),
        "object": right.astype(object),
        "list": right.tolist(),
        "record": record,
        "integers": np.ones(right.shape, np.int64),
        "masked": np.ma.masked_array(right, mask=right > 0),
    }


def pandas_kinds(right):
    pandas = pytest.importorskip("pandas")
    if right.ndim == 1:
        return {"series": pandas.Series(right)}
    return {"frame": pandas.DataFrame(right)} if right.ndim == 2 else {}


def jax_kinds(right):
    jnp = pytest.importorskip("jax.numpy")
    return {"array": jnp.asarray(right)}


KINDS = {"torch": torch_kinds, "numpy": numpy_kinds, "pandas": pandas_kinds, "jax": jax_kinds}


@pytest.mark.filterwarnings("default")  # those of the other libraries
@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("call", [*CALLS, *INTEGERS])
def test_advice_works_when_typed(call, kinds):
    name, right, function = {**CALLS, **INTEGERS}[call]
    for kind, value in KINDS[kinds](right).items():
        if isinstance(value, list) and call == "state":
            continue  # a list is taken for a pair (h, c), and the error says so
        try:
            function(value)  # a state dict takes what np.asarray takes
            continue
        except (TypeError, ValueError) as error:
            mended = typed(advised(error, name), name, value)
        assert mended.dtype in (np.float32, np.int64), kind
        function(mended)


@pytest.mark.parametrize("out", [np.zeros((B, H)), np.zeros((B, H), ">f4"), [[0.0] * H] * B, np.zeros((H, B), "f").T])
def test_an_output_is_replaced_not_copied(out):
    with pytest.raises((TypeError, ValueError)) as caught:
        STREAM.step(X[0], out)
    mended = typed(advised(caught.value, "out"), "out", out)
    STREAM.reset()
    assert STREAM.step(X[0], mended) is mended
    np.testing.assert_array_equal(mended, RNN(X[:1])[0][0])


@pytest.mark.parametrize("shape", [(T * B,), (B, T), (T, B, 1), (1, T, B)])
def test_targets_of_another_shape_are_reshaped(shape):
    targets = TARGETS.reshape(shape)
    with pytest.raises(ValueError, match="targets have shape") as caught:
        fastrnn.softmax_cross_entropy(LOGITS, targets)
    mended = typed(advised(caught.value, "targets"), "targets", targets)
    assert fastrnn.softmax_cross_entropy(LOGITS, mended)[0] == fastrnn.softmax_cross_entropy(LOGITS, TARGETS)[0]


def test_integers_of_the_shape_of_vectors():
    x = np.ones((T, B, I), np.int64)
    with pytest.raises(ValueError, match="holds integers") as caught:
        LSTM(x)
    LSTM(typed(advised(caught.value, "x"), "x", x))


def test_tensors_are_loaded_as_they_are():
    """Parameters with gradients are what most would hand over; NumPy cannot read them, so the error says what to do."""
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.LSTM(I, H), fastrnn.LSTM(I, H)
    ours.load_state_dict(theirs.state_dict())
    message = r"LSTM\.load_state_dict: weight_ih_l0 is a Parameter that cannot be read"
    with pytest.raises(TypeError, match=message) as caught:
        ours.load_state_dict(dict(theirs.named_parameters()))
    code = advised(caught.value, "weight_ih_l0").replace("weight_ih_l0", "each")
    ours.load_state_dict({name: eval(code, {"each": each}) for name, each in theirs.named_parameters()})
