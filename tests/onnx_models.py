"""ONNX models for the test_onnx files: recurrent nodes with random weights, and what the specification gives."""

from dataclasses import dataclass, field

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 33)
STEPS, BATCHES = (1, 2, 3, 7), (1, 2, 5)
DIRECTIONS = ("forward", "reverse", "bidirectional")


def value(name, array):
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def model(nodes, feeds, outputs, constants=None, opset=17):
    """A ModelProto of nodes with inputs like the feeds, constants inside, and outputs like arrays, or of any type."""
    given = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    if isinstance(outputs, dict):
        results = [value(*item) for item in outputs.items()]
    else:
        results = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = onnx.helper.make_graph(nodes, "test", [value(*item) for item in feeds.items()], results, given)
    opsets = [onnx.helper.make_opsetid("", opset)]
    version = max(4, onnx.helper.find_min_ir_version_for(opsets))
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=version)


def session(model):
    """ONNX Runtime with a model; a skip where it is not installed, or too old for the model's opset."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own class
        if "official support" not in str(error) and "IR version" not in str(error):
            raise
    pytest.skip("the ONNX Runtime installed here is too old for the opset")


@dataclass
class Case:
    """A recurrent node, what goes in, and which parts of it are constants of the model."""

    op: str
    arrays: dict  # X, W, R and, of those there are, B, lens, h0, c0
    attributes: dict
    outputs: tuple  # of Y, Y_h, Y_c, "" for what is left out
    opset: int
    constant: tuple = field(default=("W", "R", "B"))

    def model(self):
        names = ("X", "W", "R", "B", "lens", "h0", "c0")[: 7 if self.op == "LSTM" else 6]
        inputs = [name if name in self.arrays else "" for name in names]
        while not inputs[-1]:
            inputs.pop()
        outputs = list(self.outputs)
        node = onnx.helper.make_node(self.op, inputs, outputs, name="node", **self.attributes)
        constants = {name: array for name, array in self.arrays.items() if name in self.constant}
        return model([node], self.feeds(), [name for name in outputs if name], constants, self.opset)

    def feeds(self):
        return {name: array for name, array in self.arrays.items() if name not in self.constant}


def random_case(seed, newest, layout=0, dtype=np.float32):
    """A case drawn from all that the runner promises; without layout all that ONNX Runtime honours, too."""
    rng = np.random.default_rng([seed, layout])
    op = ("RNN", "GRU", "LSTM")[seed % 3]
    direction = str(rng.choice(DIRECTIONS))
    D, G = 1 + (direction == "bidirectional"), GATES[op]
    T, B, I, H = (int(rng.choice(sizes)) for sizes in (STEPS, BATCHES, SIZES, SIZES))  # noqa: E741

    def floats(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(dtype)

    arrays = {
        "X": floats(*((B, T, I) if layout else (T, B, I))),
        "W": floats(D, G * H, I, scale=I**-0.5),
        "R": floats(D, G * H, H, scale=0.7 * H**-0.5),
    }
    if rng.random() < 0.7:
        arrays["B"] = floats(D, 2 * G * H)
    if rng.random() < 0.6:
        lengths = rng.integers(0, T + 1, B)
        lengths[rng.integers(B)] = T
        arrays["lens"] = lengths.astype(np.int32)
    for name in ("h0", "c0")[: 1 + (op == "LSTM")]:
        if rng.random() < 0.5:
            arrays[name] = floats(*((B, D, H) if layout else (D, B, H)))
    attributes = {"hidden_size": H, "direction": direction}
    if op == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    if op == "RNN" and rng.random() < 0.7:
        attributes["activations"] = [str(name) for name in rng.choice(["Tanh", "Relu", "Sigmoid"], D)]
    if layout:
        attributes["layout"] = 1
    every = ("Y", "Y_h", "Y_c")[: 2 + (op == "LSTM")]
    kept = [name if rng.random() < 0.7 else "" for name in every]
    outputs = tuple(kept) if any(kept) else every
    while not outputs[-1]:
        outputs = outputs[:-1]
    opset = int(rng.integers(14 if layout else 7, newest + 1))
    return Case(op, arrays, attributes, outputs, opset, ("W", "R", "B") if rng.random() < 0.7 else ())


# --------------------------------------------------------------------------------------- the specification


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {"Tanh": np.tanh, "Relu": lambda x: np.maximum(x, 0), "Sigmoid": sigmoid}


def step(case, d, x, h, c):
    """One row's next h and c in one direction: the equations of the operator's page, names as there."""
    H = len(h)
    W, R = (case.arrays[name][d].astype(np.float64) for name in ("W", "R"))
    B = case.arrays.get("B", np.zeros((d + 1, 2 * len(W))))[d].astype(np.float64)
    Wb, Rb = B[: len(W)], B[len(W) :]
    if case.op == "RNN":
        f = FUNCTIONS[case.attributes.get("activations", ["Tanh"] * (d + 1))[d]]
        return f(W @ x + Wb + R @ h + Rb), c
    if case.op == "GRU":
        (Wz, Wr, Wh), (Rz, Rr, Rh), (Wbz, Wbr, Wbh), (Rbz, Rbr, Rbh) = (np.split(a, 3) for a in (W, R, Wb, Rb))
        z = sigmoid(Wz @ x + Rz @ h + Wbz + Rbz)
        r = sigmoid(Wr @ x + Rr @ h + Wbr + Rbr)
        if case.attributes["linear_before_reset"]:
            n = np.tanh(Wh @ x + r * (Rh @ h + Rbh) + Wbh)
        else:
            n = np.tanh(Wh @ x + Rh @ (r * h) + Rbh + Wbh)
        return (1 - z) * n + z * h, c
    i, o, f, g = np.split(W @ x + R @ h + Wb + Rb, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    assert len(c) == H
    return sigmoid(o) * np.tanh(c), c


def specified(case):
    """Y, Y_h and Y_c in float64, row by row and step by step, in the case's layout."""
    batch_first = case.attributes.get("layout", 0)
    X, W, R = (case.arrays[name] for name in ("X", "W", "R"))
    X = X.astype(np.float64).swapaxes(0, 1) if batch_first else X.astype(np.float64)
    (T, B), (D, H) = X.shape[:2], (len(W), R.shape[2])
    lengths = case.arrays.get("lens", np.full(B, T))
    Y = np.zeros((T, D, B, H))
    states = []
    for name in ("h0", "c0"):
        given = case.arrays.get(name)
        given = np.zeros((D, B, H)) if given is None else given.swapaxes(0, 1) if batch_first else given
        states.append(given.astype(np.float64))
    final = [np.zeros((D, B, H)), np.zeros((D, B, H))]
    backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    for d, turned in enumerate(backwards[case.attributes["direction"]]):
        for b in range(B):
            h, c = states[0][d, b], states[1][d, b]
            steps = range(lengths[b])
            for t in reversed(steps) if turned else steps:
                h, c = step(case, d, X[t, b], h, c)
                Y[t, d, b] = h
            if lengths[b]:
                final[0][d, b], final[1][d, b] = h, c
    if batch_first:
        Y, final = Y.transpose(2, 0, 1, 3), [kind.swapaxes(0, 1) for kind in final]
    return dict(zip(("Y", "Y_h", "Y_c"), (Y, *final), strict=True))
