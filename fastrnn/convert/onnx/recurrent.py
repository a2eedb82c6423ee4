"""RNN, GRU and LSTM nodes: what their attributes ask for, their weights in PyTorch's form, and how they run.

A direction is a layer of its own of fastrnn, and the reverse one reads its sequences from their ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrnn.cells import CELLS
from fastrnn.convert.onnx.graph import Array, Node
from fastrnn.convert.onnx.operators import operator, same_dtype
from fastrnn.layers import GRU, LSTM, RNN, Recurrent

LAYERS: Mapping[str, type[Recurrent]] = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}  # whether each runs backwards
ACTIVATIONS = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}
NONLINEARITIES = ("tanh", "relu", "sigmoid")
PEEPHOLES = 7  # the place of P among an LSTM's inputs

COMMON = ("activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout")


@dataclass(frozen=True)
class Settings:
    """What a node's attributes ask for.

    Attributes
    ----------
    kind : {"LSTM", "GRU", "RNN"}
    backwards : tuple of bool
        Of each direction whether it runs from the last step to the first.
    batch_first : bool
        Whether the node has layout 1: X (B, T, I), Y (B, T, D, H), states (B, D, H).
    options : tuple of dict
        Of each direction the arguments of fastrnn's layer beside the sizes.
    hidden_size : int or None
        As far as it is said.
    """

    kind: str
    backwards: tuple[bool, ...]
    batch_first: bool
    options: tuple[dict[str, Any], ...]
    hidden_size: int | None


def settings(node: Node) -> Settings:
    """The settings of a node that fastrnn's layers can run.

    Raises
    ------
    ValueError
        An attribute or input that they have no counterpart of; the message names it.
    """
    attributes = node.attributes
    for name in ("activation_alpha", "activation_beta"):
        if attributes.get(name):
            raise ValueError(
                f"{node.who}: {name} is {list(attributes[name])}; expected none, for fastrnn's activations have no "
                "such parameter"
            )
    if attributes.get("clip", 0.0) != 0:
        raise ValueError(f"{node.who}: clip is {attributes['clip']:g}; expected none, for fastrnn's cells do not clip")
    if attributes.get("input_forget", 0) != 0:
        raise ValueError(f"{node.who}: input_forget is {attributes['input_forget']}; expected 0, gates on their own")
    if len(node.inputs) > PEEPHOLES and node.inputs[PEEPHOLES]:
        raise ValueError(f"{node.who} has peepholes (input P); expected none, for fastrnn's LSTM has no such weights")
    layout = attributes.get("layout", 0)
    if "layout" in attributes and node.opset < 14:
        raise ValueError(f"{node.who} has the attribute layout in opset {node.opset}; expected opset 14 or later")
    if layout not in (0, 1):
        raise ValueError(f"{node.who}: layout is {layout}; expected 0 or 1")
    direction = attributes.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise ValueError(f"{node.who}: direction is {direction!r}; expected {', '.join(DIRECTIONS)}")
    backwards = DIRECTIONS[direction]
    options = tuple(_nonlinearity(node, own) for own in _activations(node, len(backwards)))
    if node.op == "GRU":
        options = tuple({"reset_after": bool(attributes.get("linear_before_reset", 0))} for _ in backwards)
    return Settings(node.op, backwards, layout == 1, options, attributes.get("hidden_size"))


def _activations(node: Node, directions: int) -> list[tuple[str, ...]]:
    """The names of each direction's activations, in lower case."""
    default = ACTIVATIONS[node.op]
    names = [name.lower() for name in node.attributes.get("activations") or default * directions]
    if len(names) != len(default) * directions:
        raise ValueError(
            f"{node.who}: activations has {len(names)} names; expected {len(default)} for each of {directions} "
            "directions"
        )
    return [tuple(names[start : start + len(default)]) for start in range(0, len(names), len(default))]


def _nonlinearity(node: Node, names: tuple[str, ...]) -> dict[str, Any]:
    if node.op == "RNN":
        if names[0] not in NONLINEARITIES:
            allowed = ", ".join(name.capitalize() for name in NONLINEARITIES)
            raise ValueError(f"{node.who}: activations is {names[0].capitalize()}; expected {allowed}")
        return {"nonlinearity": names[0]}
    if names != ACTIVATIONS[node.op]:
        got, expected = (", ".join(name.capitalize() for name in each) for each in (names, ACTIVATIONS[node.op]))
        raise ValueError(f"{node.who}: activations are {got}; expected {expected}, which fastrnn's {node.op} has")
    return {}


# ---------------------------------------------------------------------------------------------- weights


def tensors(node: Node, wanted: Settings, W: Array, R: Array, B: Array | None) -> list[dict[str, Array]]:
    """For each direction weight_ih (G*H, I), weight_hh (G*H, H), and with B bias_ih and bias_hh (G*H,)."""
    cell = CELLS[node.op.lower()]
    D, G = len(wanted.backwards), len(cell.gates)
    if R.ndim != 3 or W.ndim != 3:
        raise ValueError(f"{node.who}: W and R have {W.ndim} and {R.ndim} axes; expected 3 each")
    H = R.shape[2]
    if wanted.hidden_size not in (None, H):
        raise ValueError(f"{node.who}: hidden_size is {wanted.hidden_size}, R has shape {R.shape}; expected the same H")
    check_shape(node, "W", W, (D, G * H, W.shape[2]), "(D, G*H, I)")
    check_shape(node, "R", R, (D, G * H, H), "(D, G*H, H)")
    if B is not None:
        check_shape(node, "B", B, (D, 2 * G * H), "(D, 2*G*H)")
    same_dtype(node, W, R, B)
    if W.dtype not in (np.float32, np.float64):
        raise ValueError(f"{node.who}: its weights are {W.dtype}; expected float32 or float64")
    onnx_order = cell.onnx_order()
    order = [onnx_order.index(gate) for gate in range(G)]  # for each gate of ours its place in ONNX

    def reordered(rows: Array) -> Array:
        return np.ascontiguousarray(rows.reshape(G, H, *rows.shape[1:])[order].reshape(rows.shape))

    result = []
    for d in range(D):
        own = {"weight_ih": reordered(W[d]), "weight_hh": reordered(R[d])}
        if B is not None:
            own |= {"bias_ih": reordered(B[d, : G * H]), "bias_hh": reordered(B[d, G * H :])}
        result.append(own)
    return result


def check_shape(node: Node, name: str, array: Array, expected: tuple[int, ...], letters: str) -> None:
    if array.shape != expected:
        raise ValueError(f"{node.who}: {name} has shape {array.shape}; expected {letters} = {expected}")


def layers(node: Node, wanted: Settings, W: Array, R: Array, B: Array | None) -> list[Recurrent]:
    """A layer of fastrnn for each direction."""

    def layer(own: dict[str, Array], options: dict[str, Any]) -> Recurrent:
        def given(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
            return own[name.removesuffix("_l0")]

        sizes = own["weight_ih"].shape[1], own["weight_hh"].shape[1]
        bias = "bias_ih" in own
        return LAYERS[node.op](*sizes, bias=bias, dtype=W.dtype, seed=0, init=given, **options)

    every = tensors(node, wanted, W, R, B)
    return [layer(own, options) for own, options in zip(every, wanted.options, strict=True)]


# ---------------------------------------------------------------------------------------------- running


def prepared(node: Node, constants: Mapping[str, Array]) -> Callable[..., Any]:
    """A function as an operator is, for a recurrent node. Its layers are made now if its weights are constants."""
    wanted = settings(node)
    names = [*node.inputs[1:4], "", ""][:3]
    made = None
    if all(not name or name in constants for name in names):
        made = layers(node, wanted, *[constants[name] if name else None for name in names])  # type: ignore[arg-type]

    def run(
        node: Node,
        X: Array,
        W: Array,
        R: Array,
        B: Array | None = None,
        lengths: Array | None = None,
        *states: Array | None,
    ) -> tuple[Array, ...]:
        same_dtype(node, X, W, R, B, *states)
        return _run(node, wanted, made or layers(node, wanted, W, R, B), X, lengths, states)

    return run


def _run(
    node: Node, wanted: Settings, made: list[Recurrent], X: Array, lengths: Array | None, states: tuple[Any, ...]
) -> tuple[Array, ...]:
    """Y and the final states of all directions."""
    if X.ndim != 3:
        raise ValueError(f"{node.who}: X has shape {X.shape}; expected 3 axes")
    X = X.swapaxes(0, 1) if wanted.batch_first else X
    D, batch, H = len(made), X.shape[1], int(made[0].params["weight_hh_l0"].shape[1])
    check_shape(node, "X", X, (len(X), batch, made[0].input_size), "(T, B, I)")
    initial = _initial(node, wanted, (D, batch, H), X.dtype, states)
    if lengths is not None:
        check_shape(node, "sequence_lens", lengths, (batch,), "(B,)")
    Y = np.zeros((len(X), D, batch, H), X.dtype)
    final = [np.zeros((D, batch, H), X.dtype) for _ in made[0].STATES]
    runs = zip(made, wanted.backwards, strict=True) if len(X) else ()  # without steps final states are 0, as below
    for d, (layer, backwards) in enumerate(runs):
        own = None if initial is None else tuple(kind[d : d + 1] for kind in initial)
        y, state = layer(
            _turned(X, lengths) if backwards else X, own if own is None or len(own) == 2 else own[0], lengths
        )
        Y[:, d] = _turned(y, lengths) if backwards else y
        for kind, last in zip(final, state if len(final) == 2 else [state], strict=True):
            kind[d] = last[0]
            if lengths is not None:
                kind[d, lengths == 0] = 0  # the specification leaves it open; ONNX Runtime gives zeros
    if wanted.batch_first:
        return Y.transpose(2, 0, 1, 3), *(kind.swapaxes(0, 1) for kind in final)
    return Y, *final


def _initial(
    node: Node, wanted: Settings, shape: tuple[int, int, int], dtype: Any, states: tuple[Any, ...]
) -> list[Array] | None:
    """Each kind of the initial state (D, B, H), None for zeros."""
    if all(state is None for state in states):
        return None
    kinds = []
    for name, state in zip(CELLS[node.op.lower()].states, [*states, None], strict=False):
        kind = np.zeros(shape, dtype) if state is None else state
        kind = kind.swapaxes(0, 1) if wanted.batch_first and state is not None else kind
        check_shape(node, f"initial_{name}", kind, shape, "(D, B, H)")
        kinds.append(np.ascontiguousarray(kind))
    return kinds


def _turned(x: Array, lengths: Array | None) -> Array:
    """x (T, B, ...) with every row's own steps in the opposite order."""
    if lengths is None:
        return x[::-1]
    steps = np.arange(len(x))[:, None]
    source = np.where(steps < lengths, lengths - 1 - steps, steps)
    return np.take_along_axis(x, source[:, :, None], 0)


def _unprepared(node: Node, X: Array, W: Array, R: Array, B: Any = None, lengths: Any = None, *states: Any) -> Any:
    return prepared(node, {})(node, X, W, R, B, lengths, *states)


for _kind in LAYERS:
    _own = {"GRU": ("linear_before_reset",), "LSTM": ("input_forget",), "RNN": ()}[_kind]
    operator(*COMMON, *_own, name=_kind)(_unprepared)
