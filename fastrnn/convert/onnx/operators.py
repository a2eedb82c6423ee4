"""The table of operators, and those that compute element by element, multiply, or choose.

An operator is a function of its node and its inputs, None for one that is left out. It returns an array, or a tuple of
them for several outputs. Where an opset changed the rules it asks for `node.opset`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrnn.convert.onnx.graph import OLDEST, Array, Node

Function = Callable[..., Any]


@dataclass(frozen=True)
class Operator:
    """What runs a node: the function, the attributes it heeds, and the opset that it came with."""

    run: Function
    attributes: frozenset[str]
    since: int

    def check(self, node: Node) -> None:
        """Refuse what the function would ignore."""
        if unknown := sorted(set(node.attributes) - self.attributes):
            known = ", ".join(sorted(self.attributes)) or "none"
            raise ValueError(f"{node.who} has the attribute {unknown[0]}; expected of its attributes: {known}")
        try:
            inspect.signature(self.run).bind(node, *node.inputs)
        except TypeError:
            raise ValueError(f"{node.who} has {len(node.inputs)} inputs; expected the number of its operator") from None


OPERATORS: dict[str, Operator] = {}


def operator(*attributes: str, since: int = OLDEST, name: str = "") -> Callable[[Function], Function]:
    """Enter a function into the table, by its own name unless another is given."""

    def enter(function: Function) -> Function:
        OPERATORS[name or function.__name__] = Operator(function, frozenset(attributes), since)
        return function

    return enter


def same_dtype(node: Node, *arrays: Array | None) -> None:
    """Refuse operands that NumPy would cast."""
    dtypes = {str(array.dtype) for array in arrays if array is not None}
    if len(dtypes) > 1:
        raise ValueError(f"{node.who}: its inputs are {' and '.join(sorted(dtypes))}; expected one dtype")


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    floor = np.floor_divide(a, b)  # integers are divided as in C, towards zero
    return np.asarray(floor + ((floor < 0) & (floor * b != a)).astype(a.dtype))


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))  # never overflows
    return np.asarray(np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype))


def _relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def _of_one(function: Function) -> Operator:
    return Operator(lambda node, x: function(x), frozenset(), OLDEST)


def _of_two(function: Function) -> Operator:
    def run(node: Node, a: Array, b: Array) -> Any:
        same_dtype(node, a, b)
        return function(a, b)

    return Operator(run, frozenset(), OLDEST)


OPERATORS |= {
    "Abs": _of_one(np.abs),
    "Add": _of_two(np.add),
    "Div": _of_two(_divide),
    "Equal": _of_two(np.equal),
    "Exp": _of_one(np.exp),
    "Log": _of_one(np.log),
    "Mul": _of_two(np.multiply),
    "Neg": _of_one(np.negative),
    "Relu": _of_one(_relu),
    "Sigmoid": _of_one(_sigmoid),
    "Softplus": _of_one(_softplus),
    "Softsign": _of_one(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _of_one(np.sqrt),
    "Sub": _of_two(np.subtract),
    "Tanh": _of_one(np.tanh),
}


@operator("alpha")
def LeakyRelu(node: Node, x: Array) -> Array:  # noqa: N802  (operators have ONNX's names)
    return np.where(x < 0, node.attributes.get("alpha", 0.01) * x, x)


@operator("alpha")
def Elu(node: Node, x: Array) -> Array:  # noqa: N802
    return np.where(x < 0, node.attributes.get("alpha", 1.0) * np.expm1(np.minimum(x, 0)), x)


@operator("alpha", "gamma")
def Selu(node: Node, x: Array) -> Array:  # noqa: N802
    alpha = node.attributes.get("alpha", 1.67326319217681884765625)
    gamma = node.attributes.get("gamma", 1.05070102214813232421875)
    return np.asarray(gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))))


@operator("alpha", "beta")
def HardSigmoid(node: Node, x: Array) -> Array:  # noqa: N802
    return np.asarray(np.clip(node.attributes.get("alpha", 0.2) * x + node.attributes.get("beta", 0.5), 0, 1))


@operator("min", "max")
def Clip(node: Node, x: Array, least: Array | None = None, most: Array | None = None) -> Array:  # noqa: N802
    bounds = node.argument("min", least, 11), node.argument("max", most, 11)
    same_dtype(node, x, least, most)
    low, high = (None if bound is None else x.dtype.type(bound[0]) for bound in bounds)
    result = x if low is None else np.maximum(x, low)
    return result if high is None else np.minimum(result, high)


@operator()
def MatMul(node: Node, a: Array, b: Array) -> Array:  # noqa: N802
    same_dtype(node, a, b)
    return np.asarray(a @ b)


@operator("alpha", "beta", "transA", "transB")
def Gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:  # noqa: N802
    if c is None and node.opset < 11:
        raise ValueError(f"{node.who} has no input C in opset {node.opset}; expected one before opset 11")
    same_dtype(node, a, b, c)
    a = a.T if node.attributes.get("transA", 0) else a
    b = b.T if node.attributes.get("transB", 0) else b
    product = scaled(a @ b, node.attributes.get("alpha", 1.0))
    return np.asarray(product if c is None else product + scaled(c, node.attributes.get("beta", 1.0)))


def scaled(x: Array, factor: float) -> Array:
    """x times a factor, x itself for 1."""
    return x if factor == 1 else np.asarray(x * x.dtype.type(factor))


@operator("axis")
def Softmax(node: Node, x: Array) -> Array:  # noqa: N802
    return np.exp(LogSoftmax(node, x)) if x.size else x


@operator("axis")
def LogSoftmax(node: Node, x: Array) -> Array:  # noqa: N802
    if node.opset >= 13:
        return _log_softmax(x, node.attributes.get("axis", -1))
    # Until then all axes from `axis` on are one.
    axis = front_axis(node, node.attributes.get("axis", 1), x.ndim)
    rows = int(np.prod(x.shape[:axis]))
    return _log_softmax(x.reshape(rows, -1) if x.size else x, -1).reshape(x.shape)


def _log_softmax(x: Array, axis: int) -> Array:
    if not x.size:
        return x
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def front_axis(node: Node, axis: int, rank: int, most: int | None = None) -> int:
    """An axis counted from the front; `most` is the last that is allowed, rank - 1 if it is left out."""
    if not -rank <= axis <= (rank - 1 if most is None else most):
        raise ValueError(f"{node.who}: axis is {axis}; expected one of the {rank} axes of its input")
    return axis + rank if axis < 0 else axis


@operator(since=9)
def Where(node: Node, condition: Array, x: Array, y: Array) -> Array:  # noqa: N802
    same_dtype(node, x, y)
    return np.where(condition, x, y)


@operator("ratio", "seed")
def Dropout(  # noqa: N802
    node: Node, x: Array, ratio: Array | None = None, training_mode: Array | None = None
) -> tuple[Array, Array]:
    """What it is outside of training: x itself."""
    if training_mode is not None and training_mode:
        raise ValueError(f"{node.who}: training_mode is true; expected false, for models run without dropout here")
    return x, np.ones(x.shape, bool if node.opset >= 10 else x.dtype)
