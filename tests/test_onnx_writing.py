"""Layers written as ONNX give what they give here, in ONNX Runtime and in our runner, and are read back bit for bit."""

import itertools
import sys

import numpy as np
import pytest
from onnx_models import onnx, session

import fastrnn
from fastrnn.convert import Layer, Model
from fastrnn.convert.onnx import EXTENSIONS, NAME, Runner, read, recognise, write

T, B, I, H = 5, 3, 4, 6  # noqa: E741

KINDS = {
    "lstm": (fastrnn.LSTM, {}),
    "gru": (fastrnn.GRU, {}),
    "gru-before": (fastrnn.GRU, {"reset_after": False}),
    "rnn": (fastrnn.RNN, {}),
    "rnn-relu": (fastrnn.RNN, {"nonlinearity": "relu"}),
    "rnn-sigmoid": (fastrnn.RNN, {"nonlinearity": "sigmoid"}),
}
OPTIONS = {
    "plain": {},
    "batch-first": {"batch_first": True},
    "no-bias": {"bias": False, "num_layers": 2},
    "3-layers": {"num_layers": 3},
    "bidirectional": {"bidirectional": True, "num_layers": 2, "batch_first": True},
    "sum": {"bidirectional": True, "merge": "sum", "num_layers": 2},
    "mul": {"bidirectional": True, "merge": "mul"},
    "ave": {"bidirectional": True, "merge": "ave", "num_layers": 2, "batch_first": True},
}
every_layer = pytest.mark.parametrize("kind, options", list(itertools.product(KINDS, OPTIONS)))


def floats(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def made(kind, options, **more):
    """A layer whose biases are all different."""
    cls, own = KINDS[kind]
    dtype = more.get("dtype", "float32")

    def init(name, shape, rng):
        return (0.4 * rng.standard_normal(shape)).astype(dtype)

    return cls(I, H, **own, **options, **more, init=init, seed=1)


def given(layer, states=True):
    """x, and a random state or None, as the layer takes them."""
    x = floats(*((B, T, I) if layer.batch_first else (T, B, I)), dtype=layer.dtype)
    if not states:
        return x, None
    shape = (layer.num_layers * (2 if layer.bidirectional else 1), B, H)
    kinds = tuple(floats(*shape, dtype=layer.dtype, seed=seed) for seed, _ in enumerate(layer.STATES, 1))
    return x, kinds if len(kinds) == 2 else kinds[0]


def flat(result):
    y, state = result
    return [y, *(state if isinstance(state, tuple) else (state,))]


def fed(layer, x, state):
    return {"x": x} | dict(zip(("h0", "c0"), flat((x, state))[1:], strict=False)) if state is not None else {"x": x}


@pytest.mark.parametrize("opset", [7, 11, 13, 18, 22])
@every_layer
def test_a_written_layer_runs_in_onnx_runtime(kind, options, opset):
    layer = made(kind, OPTIONS[options])
    for states in (False, True):
        model = layer.to_onnx(opset=opset, states=states)
        onnx.checker.check_model(model, full_check=True)
        x, state = given(layer, states)
        for got, wanted in zip(session(model).run(None, fed(layer, x, state)), flat(layer(x, state)), strict=True):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_layer
def test_a_written_layer_gives_the_same_bits_here(kind, options, dtype, tmp_path):
    """By the runner, and as the layer that is read from the file."""
    path = tmp_path / "layer.onnx"
    layer = made(kind, OPTIONS[options], dtype=dtype)
    for opset in (7, 13, 25):
        layer.to_onnx(path, opset=opset, states=True)
        x, state = given(layer)
        wanted = flat(layer(x, state))
        outputs = Runner(path).run(fed(layer, x, state))
        assert list(outputs) == ["y", *(f"{name}_n" for name in layer.STATES)]
        assert_same_bits(list(outputs.values()), wanted)
        (found,) = read(path).layers
        again = getattr(fastrnn, found.kind)(I, H, **found.options, seed=2)
        again.load_state_dict(found.tensors)
        assert_same_bits(flat(again(x, state)), wanted)


def assert_same_bits(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_layers_of_different_widths_have_states_of_their_own(tmp_path):
    path = tmp_path / "layer.onnx"
    layer = fastrnn.LSTM(I, [6, 3], bidirectional=True, seed=1)
    model = layer.to_onnx(path, states=True)
    onnx.checker.check_model(model, full_check=True)
    x, kinds = floats(T, B, I), [[floats(2, B, 6, seed=k), floats(2, B, 3, seed=k + 1)] for k in (1, 3)]
    y, (h, c) = layer(x, tuple(kinds))
    feeds = {"x": x} | {f"{name}0_l{k}": kinds["hc".index(name)][k] for name in "hc" for k in (0, 1)}
    outputs = Runner(path).run(feeds)
    assert list(outputs) == ["y", "h_n_l0", "h_n_l1", "c_n_l0", "c_n_l1"]
    assert_same_bits(list(outputs.values()), [y, *h, *c])
    (found,) = read(path).layers
    assert found.options == {"bidirectional": True, "num_layers": 2}
    assert_same_bits(list(found.tensors.values()), [layer.params[name] for name in found.tensors])


def test_axes_have_names_or_lengths():
    layer = fastrnn.GRU(I, H, batch_first=True, seed=1)

    def axes(model, values):
        return [
            [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in getattr(model.graph, values)
        ]

    model = layer.to_onnx()
    assert axes(model, "input") == [["B", "T", I]] and axes(model, "output") == [["B", "T", H], [1, "B", H]]
    model = layer.to_onnx(batch=2, time="steps", states=True)
    assert axes(model, "input") == [[2, "steps", I], [1, 2, H]]
    with pytest.raises(ValueError, match="input 'x' has shape"):
        Runner(model).run({"x": floats(3, 5, I), "h0": floats(1, 2, H)})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("axes", [("N",), ("T", "B"), (2, 3, 4)])
def test_a_linear_layer_is_written(axes, bias, tmp_path):
    path = tmp_path / "linear.onnx"
    layer = fastrnn.Linear(I, 3, bias, seed=1, init=lambda name, shape, rng: floats(*shape))
    model = layer.to_onnx(path, axes=axes)
    onnx.checker.check_model(model, full_check=True)
    x = floats(*(2, 3, 4)[: len(axes)], I)
    for got in (session(model).run(None, {"x": x})[0], Runner(model).run({"x": x})["y"]):
        np.testing.assert_allclose(got, layer(x), rtol=0, atol=1e-5)
    (found,) = read(path).layers
    assert found.kind == "Linear" and found.options == ({} if bias else {"bias": False})
    again = fastrnn.Linear(I, 3, **found.options)
    again.load_state_dict(found.tensors)
    assert_same_bits([again(x)], [layer(x)])


def chain_of(batch_first=False, **changes):
    """An embedding, two recurrent layers and two linear ones, named as a module's parts are."""
    lstm = fastrnn.LSTM(I, H, num_layers=2, bidirectional=True, batch_first=batch_first, seed=1)
    gru = fastrnn.GRU(2 * H, 5, reset_after=False, batch_first=batch_first, seed=2)
    first, second = fastrnn.Linear(5, 7, seed=3), fastrnn.Linear(7, 2, bias=False, seed=4)
    options = {"batch_first": True} if batch_first else {}
    layers = [
        Layer("Embedding", "words", {"weight": floats(11, I)}),
        Layer("LSTM", "encoder.lstm", lstm.state_dict(), {"num_layers": 2, "bidirectional": True, **options}),
        Layer("GRU", "encoder.gru", gru.state_dict(), {"reset_after": False, **options}),
        Layer("Linear", "first", first.state_dict()),
        Layer("Linear", "second", second.state_dict(), {"bias": False}),
    ]
    return Model(layers, "test"), (lstm, gru, first, second)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_chain_is_written_and_read_back(batch_first, tmp_path):
    path = tmp_path / "chain.onnx"
    model, (lstm, gru, first, second) = chain_of(batch_first)
    write(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    ids = np.random.default_rng(1).integers(11, size=(B, T) if batch_first else (T, B))
    hidden, (h, c) = lstm(model.layers[0].tensors["weight"][ids])
    hidden, last = gru(hidden)
    wanted = [second(first(hidden)), h, c, last]
    outputs = Runner(path).run({"ids": ids})
    assert list(outputs) == ["y", "encoder.lstm.h_n", "encoder.lstm.c_n", "encoder.gru.h_n"]
    for got, ort, want in zip(outputs.values(), session(onnx.load(path)).run(None, {"ids": ids}), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ort, want, rtol=0, atol=1e-5)
    again = read(path)
    for found, layer in zip(again.layers, model.layers, strict=True):
        assert (found.kind, found.name, found.options) == (layer.kind, layer.name, layer.options)
        assert_same_bits([found.tensors[name] for name in layer.tensors], list(layer.tensors.values()))


# --------------------------------------------------------------------------------------------- refusals


def test_layers_that_onnx_has_not_are_refused_by_name():
    with pytest.raises(ValueError, match="ONNX: UGRNN: ONNX has no layer of this kind; expected one of LSTM, GRU, RNN"):
        fastrnn.UGRNN(I, H).to_onnx()
    with pytest.raises(ValueError, match="ONNX: LSTM: proj_size is 2; expected 0, for ONNX's LSTM has no projection"):
        fastrnn.LSTM(I, H, proj_size=2).to_onnx()
    for opset in (6, 26):
        with pytest.raises(ValueError, match=f"ONNX: opset is {opset}; expected 7 to 25"):
            fastrnn.LSTM(I, H).to_onnx(opset=opset)


def test_arguments_of_to_onnx_are_checked(tmp_path):
    layer = fastrnn.LSTM(I, H)
    for wrong in (17.0, True, "17"):
        with pytest.raises(ValueError, match=f"ONNX: opset is {wrong!r}; expected 7 to 25"):
            layer.to_onnx(opset=wrong)
    with pytest.raises(TypeError, match="ONNX: states is 1; expected True or False"):
        layer.to_onnx(states=1)
    for wrong in ("", 0, -1, 2.5, None, True):
        with pytest.raises(ValueError, match=f"ONNX: an axis is {wrong!r}; expected a name, or a length of at least 1"):
            layer.to_onnx(tmp_path / "layer.onnx", time=wrong)
    assert not list(tmp_path.iterdir())


def test_without_the_package_onnx_an_error_says_how_to_get_it(monkeypatch, tmp_path):
    layer, path = fastrnn.LSTM(I, H), tmp_path / "layer.onnx"
    layer.to_onnx(path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for call in (layer.to_onnx, lambda: read(path), lambda: Runner(path)):
        with pytest.raises(ImportError, match=r"the package onnx is missing; expected `pip install 'fastrnn\[onnx\]'`"):
            call()


def changed(place, **changes):
    def change(layers):
        layers[place] = Layer(**{**vars(layers[place]), **changes})

    return change


W = floats(7, 5)
NO_CHAINS = {
    "its tensors are float64; expected all float32": changed(
        3, tensors={"weight": W.astype(float), "bias": W[:, 0].astype(float)}, options={"dtype": "float32"}),
    "its tensors are float32 and float64; expected": changed(3, tensors={"weight": W, "bias": W[:, 0].astype(float)}),
    "dtype is float64 and float32; expected the same of all layers": changed(
        0, tensors={"weight": floats(11, I).astype(float)}),
    "Linear 'first' has the option merge; expected of bias, dtype": changed(3, options={"merge": "sum"}),
    "Linear 'first' has no tensor bias; expected weight, bias": changed(3, tensors={"weight": W}),
    "Linear 'first' has the tensor extra; expected": changed(3, tensors={"weight": W, "bias": W[:, 0], "extra": W}),
    r"Linear 'first': bias has shape \(5,\); expected \(7,\)": changed(3, tensors={"weight": W, "bias": W[0]}),
    "Linear 'first' has no matrix weight; expected one": changed(3, tensors={"weight": W[0]}),
    "Linear 'first' takes 6 features, GRU 'encoder.gru' before it gives 5; expected a chain": changed(
        3, tensors={"weight": floats(7, 6), "bias": W[:, 0]}),
    "GRU 'encoder.gru': weight_ih_l0 has shape": changed(2, options={"bidirectional": True, "bias": False}, tensors={
        name: floats(15, 5) for name in ("weight_ih_l0_reverse", "weight_hh_l0", "weight_hh_l0_reverse")
    } | {"weight_ih_l0": floats(14, 12)}),
    "batch_first is False and True; expected the same of all layers": changed(
        2, options={"reset_after": False, "batch_first": True}),
    "Embedding 'words' stands behind Linear 'second'; expected a chain": lambda layers: layers.append(layers[0]),
    "the layers' names are .*; expected one of its own for each": changed(4, name="first"),
    "ONNX: the model has no layers; expected at least one": lambda layers: layers.clear(),
    "ONNX: Conv 'first': ONNX has no layer of this kind; expected one of LSTM, GRU, RNN, Linear, Embedding": changed(
        3, kind="Conv"),
}  # fmt: skip


@pytest.mark.parametrize("message", NO_CHAINS)
def test_what_is_no_chain_is_refused_and_nothing_is_written(message, tmp_path):
    model, _ = chain_of()
    NO_CHAINS[message](model.layers)
    with pytest.raises(ValueError, match=message):
        write(model, tmp_path / "chain.onnx")
    assert not (tmp_path / "chain.onnx").exists()


def test_files_are_recognised_by_content_and_by_extension(tmp_path):
    path = tmp_path / "model"
    fastrnn.RNN(I, H).to_onnx(path)
    head = path.read_bytes()[:64]
    assert NAME == "ONNX" and EXTENSIONS == (".onnx",)
    assert recognise(path, head) and recognise("model.ONNX", b"")
    for other in (b"", b"\x08", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b'\x08\x00\x00\x00{"a', b"{}"):
        assert not recognise("model", other)
