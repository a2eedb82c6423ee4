"""TensorFlow 1's names and cells: kernel on [x, h] together, LSTM gates i j f o, and a forget bias added at run time.

    SCOPE/lstm_cell/kernel (I+H, 4H), bias (4H,)                        LSTMCell, BasicLSTMCell
    SCOPE/gru_cell/gates/kernel (I+H, 2H), candidate/kernel (I+H, H)    GRUCell: r u, reset before the product
    SCOPE/basic_rnn_cell/kernel (I+H, H), bias (H,)                     BasicRNNCell
    SCOPE/kernel (I, O), bias (O,)                                      Dense
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastrnn.convert.layer import Array, Layer
from fastrnn.convert.orders import TF1_LSTM, Part, layer_of, reordered

_NAME = re.compile(r"(?:(?P<scope>.*)/)?(?P<what>kernel|bias)(?::0)?", re.DOTALL)

Own = dict[str, tuple[str, Array]]  # kernel and bias of a scope, each with its whole name


def layers_of(
    tensors: Mapping[str, Array], *, forget_bias: float | None, kind: str | None, nonlinearity: str | None
) -> tuple[list[Layer], dict[str, Array]]:
    """The layers of all `kernel` and `bias` among the tensors, and the other tensors.

    Raises
    ------
    ValueError
        A cell that fastrnn has not, or one that needs `forget_bias` or `kind` said.
    """
    scopes: dict[str, Own] = {}
    rest: dict[str, Array] = {}
    for name, array in tensors.items():
        if found := _NAME.fullmatch(name):
            scopes.setdefault(found["scope"] or "", {})[found["what"]] = (name, array)
        else:
            rest[name] = array
    if set(scopes.get("", ())) == {"bias"}:  # of a layer without a name, in PyTorch's names
        name, array = scopes.pop("")["bias"]
        rest[name] = array
    layers = []
    unused = {name for name, value in (("kind", kind), ("forget_bias", forget_bias)) if value is not None}
    for scope in list(scopes):
        if scope not in scopes:
            continue
        parent, _, last = scope.rpartition("/")
        own = scopes.pop(scope)
        if last in ("gates", "candidate"):
            other = f"{parent}/{'candidate' if last == 'gates' else 'gates'}".removeprefix("/")
            if other not in scopes:
                raise ValueError(f"{scope}: a GRUCell without {other}; expected both")
            both = {last: own, other.rpartition("/")[2]: scopes.pop(other)}
            layers.append(_gru(parent, both["gates"], both["candidate"]))
        else:
            cell = _cell(scope, last, scopes, kind, forget_bias)
            unused -= {"forget_bias"} if cell == "lstm" else set()
            unused -= {"kind"} if cell == kind else set()
            layers.append(_layer(scope, own, cell, forget_bias, nonlinearity))
    for name in sorted(unused):
        cells = "LSTM cell" if name == "forget_bias" else f"kernel of the kind {kind}"
        raise ValueError(f"{name} is said, but there is no {cells} of TensorFlow 1 in the file; expected it left out")
    return layers, rest


def _cell(scope: str, last: str, scopes: Mapping[str, Own], kind: str | None, forget_bias: float | None) -> str:
    if any(other.startswith(f"{scope}/projection") for other in scopes):
        raise ValueError(f"{scope}: an LSTMCell with a projection, which is not read; expected one without")
    if "ugrnn" in last or "nas_cell" in last:
        raise ValueError(f"{scope}: a cell that is not read; expected LSTMCell, GRUCell, BasicRNNCell or Dense")
    if "lstm" in last:
        return "lstm"
    if "rnn_cell" in last:
        return "rnn"
    if kind is None and not scope and forget_bias is None:
        raise ValueError(
            "kernel: its name says no cell; expected kind='lstm' with forget_bias, kind='rnn' or kind='dense'"
        )
    return kind or ("lstm" if not scope else "dense")


def _matrices(scope: str, own: Own, gates: int) -> tuple[Array, Array, Array]:
    """Rows of x, rows of h, transposed, and the bias."""
    if set(own) != {"kernel", "bias"}:
        raise ValueError(f"{scope}: only {' and '.join(own)}; expected kernel and bias")
    kernel, bias = own["kernel"][1], own["bias"][1]
    width = kernel.shape[-1] // gates
    if kernel.ndim != 2 or bias.shape != (gates * width,) or kernel.shape[1] != gates * width or len(kernel) <= width:
        raise ValueError(
            f"{scope}: kernel and bias have shapes {kernel.shape} and {bias.shape}; "
            f"expected (I+H, {gates}*H) and ({gates}*H,)"
        )
    inputs = len(kernel) - width
    return np.ascontiguousarray(kernel[:inputs].T), np.ascontiguousarray(kernel[inputs:].T), bias


def _layer(scope: str, own: Own, cell: str, forget_bias: float | None, nonlinearity: str | None) -> Layer:
    name = scope.replace("/", ".")
    if cell == "dense":
        return _dense(name, own)
    sources = _sources(own, own)
    if cell == "rnn":
        x, h, bias = _matrices(scope, own, 1)
        options: dict[str, Any] = {} if nonlinearity is None else {"nonlinearity": nonlinearity}
        return layer_of("RNN", name, [_part(x, h, bias)], [sources], options)
    if forget_bias is None:
        raise ValueError(
            f"{scope}: TensorFlow 1 adds forget_bias at run time (1.0 unless the program says otherwise), which "
            "no file says; expected forget_bias=1.0 or another number"
        )
    x, h, bias = _matrices(scope, own, 4)
    bias = bias.copy()
    width = len(bias) // 4
    bias[2 * width : 3 * width] += bias.dtype.type(forget_bias)
    return layer_of("LSTM", name, [_part(*(reordered(one, TF1_LSTM) for one in (x, h, bias)))], [sources], {})


def _gru(scope: str, gates: Own, candidate: Own) -> Layer:
    xg, hg, bg = _matrices(f"{scope}/gates", gates, 2)
    xc, hc, bc = _matrices(f"{scope}/candidate", candidate, 1)
    if len(xg) != 2 * len(xc) or xg.shape[1] != xc.shape[1]:
        raise ValueError(f"{scope}: gates and candidate have {xg.shape} and {xc.shape}; expected (2*H, I) and (H, I)")
    part = _part(*(np.concatenate(pair) for pair in ((xg, xc), (hg, hc), (bg, bc))))
    return layer_of("GRU", scope.replace("/", "."), [part], [_sources(gates, candidate)], {"reset_after": False})


def _dense(name: str, own: Own) -> Layer:
    if "kernel" not in own or own["kernel"][1].ndim != 2:
        raise ValueError(f"{name}: a kernel of Dense is missing or no matrix; expected (inputs, outputs)")
    tensors = {"weight": np.ascontiguousarray(own["kernel"][1].T)}
    sources = {"weight": own["kernel"][0]}
    if "bias" in own:
        tensors["bias"], sources["bias"] = own["bias"][1], own["bias"][0]
    return Layer("Linear", name, tensors, {} if "bias" in own else {"bias": False}, sources)


def _part(x: Array, h: Array, bias: Array) -> Part:
    return {"weight_ih": x, "weight_hh": h, "bias_ih": bias, "bias_hh": np.zeros_like(bias)}


def _sources(first: Own, second: Own) -> dict[str, str]:
    """Where the parts come from; bias_hh is zeros."""
    named = {
        what: " and ".join(dict.fromkeys((first[what][0], second[what][0])))
        for what in ("kernel", "bias")
        if what in first and what in second
    }
    kernel, bias = named.get("kernel", ""), named.get("bias", "")
    return {"weight_ih": kernel, "weight_hh": kernel, "bias_ih": bias, "bias_hh": "zeros: the file has one bias"}
