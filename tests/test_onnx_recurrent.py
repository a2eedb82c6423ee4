"""RNN, GRU and LSTM nodes give what the specification and ONNX Runtime say; what they cannot do is refused by name."""

from contextlib import suppress

import numpy as np
import pytest
from onnx_models import Case, onnx, random_case, session, specified, value

from fastrnn.convert.onnx import Runner

CHUNK = 20
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}  # of values of order one, sums of up to some hundred terms


def seeds(count):
    return pytest.mark.parametrize("first", range(0, count, CHUNK))


def assert_agree(case, expected, tolerance, seed):
    got = Runner(case.model()).run(case.feeds())
    assert list(got) == [name for name in case.outputs if name], seed
    for name, array in got.items():
        assert array.shape == expected[name].shape and array.dtype == case.arrays["X"].dtype, (seed, name)
        scale = max(1.0, np.abs(expected[name]).max(initial=0))
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=tolerance * scale, err_msg=f"{seed} {name}")


def newest_of_onnxruntime():
    """The newest opset of ours that the ONNX Runtime installed here reads."""
    for opset in range(25, 7, -1):
        case = random_case(0, 7)
        case.opset = opset
        with suppress(pytest.skip.Exception):
            session(case.model())
            return opset
    raise AssertionError("expected one")


def compare_with_onnx_runtime(seeds):
    pytest.importorskip("onnxruntime")
    newest = newest_of_onnxruntime()
    for seed in seeds:
        case = random_case(seed, newest)
        if case.op == "RNN" and "lens" in case.arrays:  # of length 0 some versions return what was in the memory
            case.arrays["lens"] = np.maximum(case.arrays["lens"], 1)
        names = [name for name in case.outputs if name]
        expected = dict(zip(names, session(case.model()).run(names, case.feeds()), strict=True))
        assert_agree(case, expected, 2 * TOLERANCE[np.float32], seed)


@seeds(300)
def test_random_models_agree_with_onnx_runtime(first):
    compare_with_onnx_runtime(range(first, first + CHUNK))


@pytest.mark.slow
def test_many_random_models_agree_with_onnx_runtime():
    compare_with_onnx_runtime(range(1000, 3000))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@seeds(100)
def test_random_models_of_layout_1_agree_with_the_specification(first, dtype):
    for seed in range(first, first + CHUNK):
        case = random_case(seed, 25, layout=1, dtype=dtype)
        assert_agree(case, specified(case), TOLERANCE[dtype], seed)


@seeds(100)
def test_random_models_of_float64_agree_with_the_specification(first):
    for seed in range(first, first + CHUNK):
        case = random_case(seed, 25, dtype=np.float64)
        assert_agree(case, specified(case), TOLERANCE[np.float64], seed)


def test_the_random_cases_cover_every_attribute_and_input():
    cases = [random_case(seed, 25) for seed in range(300)]
    for op in ("RNN", "GRU", "LSTM"):
        own = [case for case in cases if case.op == op]
        assert {case.attributes["direction"] for case in own} == {"forward", "reverse", "bidirectional"}
        assert {case.opset for case in own} >= set(range(7, 26))
        for name in ("B", "lens", "h0", *(["c0"] if op == "LSTM" else [])):
            assert {name in case.arrays for case in own} == {True, False}
        assert {bool(case.constant) for case in own} == {True, False}
        assert any(case.outputs[0] == "" for case in own) and any(case.outputs == ("Y",) for case in own)
    assert {case.attributes["linear_before_reset"] for case in cases if case.op == "GRU"} == {0, 1}
    ragged = [case.arrays["lens"] for case in cases if "lens" in case.arrays]
    assert sum(len(set(lengths)) > 1 for lengths in ragged) > 50 and any(0 in lengths for lengths in ragged)


def test_padding_is_never_read():
    """NaN behind a sequence's end changes no bit, in either direction."""
    for seed in range(60):
        case = random_case(seed, 25)
        if "lens" not in case.arrays or case.constant == ():
            continue
        before = Runner(case.model()).run(case.feeds())
        late = np.arange(len(case.arrays["X"]))[:, None] >= case.arrays["lens"]
        case.arrays["X"] = np.where(late[:, :, None], np.float32(np.nan), case.arrays["X"])
        after = Runner(case.model()).run(case.feeds())
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)


# --------------------------------------------------------------------------------------------- refusals


def plain(op, **attributes):
    rng = np.random.default_rng(1)
    G = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    arrays = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in {"X": (3, 2, 4), "W": (1, G * 5, 4), "R": (1, G * 5, 5)}.items()
    }
    return Case(op, arrays, {"hidden_size": 5, **attributes}, ("Y",), 14)


REFUSED = [
    ("RNN", {"clip": 3.0}, "ONNX: RNN 'node': clip is 3; expected none, for fastrnn's cells do not clip"),
    ("LSTM", {"input_forget": 1}, "ONNX: LSTM 'node': input_forget is 1; expected 0"),
    ("RNN", {"activations": ["Softsign"]}, "ONNX: RNN 'node': activations is Softsign; expected Tanh, Relu, Sigmoid"),
    ("GRU", {"activations": ["HardSigmoid", "Tanh"]}, "activations are Hardsigmoid, Tanh; expected Sigmoid, Tanh"),
    ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "activations are Sigmoid, Tanh, Relu; expected Sigmoid, "),
    ("LSTM", {"activations": ["Sigmoid"]}, "activations has 1 names; expected 3 for each of 1 directions"),
    ("RNN", {"activation_alpha": [0.5]}, r"activation_alpha is \[0.5\]; expected none"),
    ("RNN", {"activation_beta": [0.5]}, r"activation_beta is \[0.5\]; expected none"),
    ("RNN", {"direction": "sideways"}, "direction is 'sideways'; expected forward, reverse, bidirectional"),
    ("RNN", {"layout": 2}, "layout is 2; expected 0 or 1"),
    ("RNN", {"hidden_size": 6}, r"hidden_size is 6, R has shape \(1, 5, 5\); expected the same H"),
    ("RNN", {"input_forget": 0}, "ONNX: RNN 'node' has the attribute input_forget; expected of its attributes: "),
    ("GRU", {"direction": "bidirectional"}, r"W has shape \(1, 15, 4\); expected \(D, G\*H, I\) = \(2, 15, 4\)"),
]


@pytest.mark.parametrize("op, attributes, message", REFUSED, ids=[f"{op} {next(iter(a))}" for op, a, _ in REFUSED])
def test_what_the_layers_do_not_have_is_refused_when_the_model_is_loaded(op, attributes, message):
    with pytest.raises(ValueError, match=message):
        Runner(plain(op, **attributes).model())


def test_peepholes_are_refused_when_the_model_is_loaded():
    case = plain("LSTM")
    model = case.model()
    model.graph.node[0].input.extend(["", "", "", "", "P"])
    model.graph.input.append(value("P", np.zeros((1, 15), np.float32)))
    with pytest.raises(ValueError, match=r"ONNX: LSTM 'node' has peepholes \(input P\); expected none"):
        Runner(model)


def test_attributes_that_say_what_the_layers_do_are_taken():
    case = plain("LSTM", direction="forward")
    expected = Runner(case.model()).run(case.feeds())
    case.attributes |= {"clip": 0.0, "activations": ["sigmoid", "Tanh", "Tanh"], "input_forget": 0, "layout": 0}
    model = case.model()
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("activation_alpha", [], attr_type=6))
    np.testing.assert_array_equal(Runner(model).run(case.feeds())["Y"], expected["Y"])


def test_shapes_and_dtypes_are_checked_and_the_node_is_named():
    case = plain("GRU", linear_before_reset=1)
    case.constant = ()
    wrong = {
        "X": (np.zeros((3, 2, 3), np.float32), r"X has shape \(3, 2, 3\); expected \(T, B, I\) = \(3, 2, 4\)"),
        "W": (np.zeros((1, 14, 4), np.float32), r"W has shape \(1, 14, 4\); expected"),
        "B": (np.zeros((1, 31), np.float32), r"B has shape \(1, 31\); expected \(D, 2\*G\*H\) = \(1, 30\)"),
        "lens": (np.array([3], np.int32), r"sequence_lens has shape \(1,\); expected \(B,\) = \(2,\)"),
        "h0": (np.zeros((2, 2, 5), np.float32), r"initial_h has shape \(2, 2, 5\); expected \(D, B, H\) = \(1, 2, 5\)"),
    }
    for name, (array, message) in wrong.items():
        case = plain("GRU", linear_before_reset=1)
        case.constant = ()
        case.arrays[name] = array
        with pytest.raises(ValueError, match=f"ONNX: GRU 'node': {message}"):
            Runner(case.model()).run(case.feeds())
    case.arrays["h0"] = np.zeros((1, 2, 5))
    with pytest.raises(ValueError, match="its inputs are float32 and float64; expected one dtype"):
        Runner(case.model()).run(case.feeds())


def test_lengths_beyond_the_steps_are_refused():
    case = plain("LSTM")
    case.arrays["lens"] = np.array([4, 1], np.int32)
    with pytest.raises(ValueError, match=r"ONNX: LSTM 'node': .*lengths"):
        Runner(case.model()).run(case.feeds())


def test_half_precision_is_refused_by_name():
    case = plain("RNN")
    case.arrays = {name: array.astype(np.float16) for name, array in case.arrays.items()}
    with pytest.raises(ValueError, match="its weights are float16; expected float32 or float64"):
        Runner(case.model())
