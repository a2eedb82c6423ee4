"""Operators that make, cut, join and turn tensors, as exporters write them around recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrnn.convert.onnx.graph import Array, Node, dtype_of
from fastrnn.convert.onnx.operators import front_axis, operator, same_dtype

_CONSTANTS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


@operator("value", *_CONSTANTS)
def Constant(node: Node) -> Array:  # noqa: N802  (operators have ONNX's names)
    if len(node.attributes) != 1:
        raise ValueError(f"{node.who} has {len(node.attributes)} values; expected one")
    ((name, value),) = node.attributes.items()
    return np.asarray(value, _CONSTANTS.get(name))


@operator("value", since=9)
def ConstantOfShape(node: Node, shape: Array) -> Array:  # noqa: N802
    value = node.attributes.get("value", np.zeros(1, np.float32))
    return np.full(shape.tolist(), value.item(), value.dtype)


@operator("start", "end")
def Shape(node: Node, x: Array) -> Array:  # noqa: N802
    return np.array(x.shape[slice(node.attributes.get("start", 0), node.attributes.get("end"))], np.int64)


@operator()
def Identity(node: Node, x: Array) -> Array:  # noqa: N802
    return x


@operator("to", "saturate", "round_mode")  # the last two are of 8-bit floats, which are refused
def Cast(node: Node, x: Array) -> Array:  # noqa: N802
    return x.astype(dtype_of(node.attributes["to"], node.who))


@operator("axes")
def Squeeze(node: Node, x: Array, axes: Array | None = None) -> Array:  # noqa: N802
    chosen = node.argument("axes", axes, 13)
    return np.squeeze(x, None if chosen is None else tuple(chosen))


@operator("axes")
def Unsqueeze(node: Node, x: Array, axes: Array | None = None) -> Array:  # noqa: N802
    chosen = node.argument("axes", axes, 13)
    if chosen is None:
        raise ValueError(f"{node.who} has no axes; expected some")
    return np.expand_dims(x, tuple(chosen))


@operator("perm")
def Transpose(node: Node, x: Array) -> Array:  # noqa: N802
    return np.transpose(x, node.attributes.get("perm"))


@operator("allowzero")
def Reshape(node: Node, x: Array, shape: Array) -> Array:  # noqa: N802
    wanted = shape.tolist()
    if not node.attributes.get("allowzero", 0):
        if any(n == 0 and axis >= x.ndim for axis, n in enumerate(wanted)):
            raise ValueError(f"{node.who}: shape is {wanted}, x has {x.ndim} axes; expected 0 only for an axis of x")
        wanted = [x.shape[axis] if n == 0 else n for axis, n in enumerate(wanted)]
    return x.reshape(wanted)


@operator("axis")
def Flatten(node: Node, x: Array) -> Array:  # noqa: N802
    axis = front_axis(node, node.attributes.get("axis", 1), x.ndim, most=x.ndim)
    return x.reshape(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))


@operator(since=8)
def Expand(node: Node, x: Array, shape: Array) -> Array:  # noqa: N802
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


@operator("axis")
def Concat(node: Node, *arrays: Array) -> Array:  # noqa: N802
    same_dtype(node, *arrays)
    return np.concatenate(arrays, node.attributes["axis"])


@operator("axis")
def Gather(node: Node, x: Array, indices: Array) -> Array:  # noqa: N802
    return np.asarray(np.take(x, indices, node.attributes.get("axis", 0)))


@operator("axes", "starts", "ends")
def Slice(  # noqa: N802
    node: Node,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    first = node.argument("starts", starts, 10)
    last = node.argument("ends", ends, 10)
    if first is None or last is None:
        raise ValueError(f"{node.who} has no starts or no ends; expected both")
    where = node.argument("axes", axes, 10) or range(len(first))
    step = node.argument("steps", steps, 10) or [1] * len(first)
    index: list[Any] = [slice(None)] * x.ndim
    for axis, *bounds in zip(where, first, last, step, strict=True):
        index[front_axis(node, axis, x.ndim)] = slice(*bounds)
    return np.asarray(x[tuple(index)])


@operator("axis", "split", "num_outputs")
def Split(node: Node, x: Array, split: Array | None = None) -> tuple[Array, ...]:  # noqa: N802
    axis = front_axis(node, node.attributes.get("axis", 0), x.ndim)
    sizes = node.argument("split", split, 13)
    parts, length = len(node.outputs), x.shape[axis]
    if sizes is None:
        size = -(-length // parts)
        sizes = [size] * (parts - 1) + [length - size * (parts - 1)]
        if node.opset < 18 and sizes[-1] != size:
            raise ValueError(f"{node.who}: axis {axis} has length {length}; expected a multiple of {parts} outputs")
    if len(sizes) != parts or sum(sizes) != length or min(sizes) < 0:
        raise ValueError(f"{node.who}: the parts of axis {axis} are {sizes}; expected {parts} that add up to {length}")
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))
