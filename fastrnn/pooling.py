"""Between the layers of a whole model: lists of sequences as rows, and one row for each sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, lists, runtime
from fastrnn._core import elementwise, memory
from fastrnn.layers import Recurrent

Array = NDArray[Any]

POOLS = ("last", "mean")


def listed(inputs: Any) -> Any:
    """Sequences as a list: those of an array (B, T, ...) or a tuple, too, and each of Python's integers as an array."""
    if not isinstance(inputs, (list, tuple, np.ndarray)):
        return inputs
    return [np.asarray(one) if isinstance(one, list) and all(type(k) is int for k in one) else one for one in inputs]


def one_step(who: str, tokens: Any) -> Array:
    """Tokens (N,) of each sequence as one step (1, N)."""
    given = _check.array_of(f"{who}.step", "tokens", tokens, "(N,) integers")
    if not given.ndim:
        raise ValueError(f"{who}.step: tokens is {_check.shown(tokens)}; expected (N,) integers, one a sequence")
    return given[None]


def split(rows: Array, like: list[Array]) -> list[Array]:
    """Rows (N, ...) as a list of the lengths of another."""
    return np.split(rows, np.cumsum([len(one) for one in like[:-1]]))


def embedded(embedding: Any, x: Any, num_threads: int | None) -> Any:
    """What an embedding makes of x; without one x itself."""
    return x if embedding is None else embedding(x, num_threads=num_threads)


def embed(embedding: Any, x: Any, num_threads: int | None) -> tuple[Any, Any]:
    """The same, and the tape."""
    return (x, None) if embedding is None else embedding.forward(x, num_threads=num_threads)


def unembed(embedding: Any, tape: Any, dx: Any, num_threads: int | None) -> Any:
    """The gradient of what `embed` was given: None where that was tokens."""
    return dx if embedding is None else embedding.backward(tape, dx, num_threads=num_threads)


def tanh(rows: Array, num_threads: int | None) -> Array:
    """tanh by the cells' own code: NumPy's has other bits on other processors."""
    result: Array = memory.empty(rows.shape, rows.dtype)
    elementwise.tanh(rows.reshape(-1), result.reshape(-1), runtime.resolve("tanh", num_threads))
    return result


def padded(who: str, name: str, given: Any, number: int | None = None) -> tuple[Array, NDArray[np.int64]]:
    """Sequences (T_i, ...) as one array (T, B, ...) with zeros after each one's end, and the lengths (B,)."""
    several = given if isinstance(given, (list, tuple, np.ndarray)) else []
    arrays = [_check.array_of(who, f"{name}[{i}]", one, "an array (T_i, ...)") for i, one in enumerate(several)]
    if not arrays:
        raise ValueError(f"{who}: {name} is {_check.shown(given)}; expected a list of arrays, at least one")
    if number not in (None, len(arrays)):
        raise ValueError(f"{who}: {name} has {len(arrays)} items; expected {number}, as inputs has")
    kind = (arrays[0].dtype, arrays[0].shape[1:])
    if arrays[0].ndim == 1 and arrays[0].size and kind[0].kind not in "iu":
        raise TypeError(f"{who}: {name}[0] has dtype {kind[0]}; expected integers (T_i,), or floats (T_i, I)")
    for index, one in enumerate(arrays):
        if not one.size or not one.ndim or (one.dtype, one.shape[1:]) != kind:
            raise ValueError(
                f"{who}: {name}[{index}] is {one.dtype} of shape {one.shape}; expected one step or more, of dtype and "
                f"features as {name}[0]: {kind[0]} (T_i{', ' if kind[1] else ','}{', '.join(map(str, kind[1]))})"
            )
    lengths = np.array([len(one) for one in arrays], dtype=np.int64)
    x = np.zeros((max(lengths), len(arrays), *kind[1]), kind[0])
    for b, one in enumerate(arrays):
        x[: len(one), b] = one
    return x, lengths


def between(who: str, targets: Any, before: list[int], after: list[int]) -> list[NDArray[np.int64]]:
    """Tokens (S_i,) of each target with others before and after them."""
    found = []
    for index, target in enumerate(targets):
        given = _check.array_of(who, f"targets[{index}]", target, "(S_i,) tokens")
        if given.ndim != 1:
            raise ValueError(f"{who}: targets[{index}] has shape {given.shape}; expected (S_i,) tokens")
        tokens = _check.integers(who, f"targets[{index}]", given) if given.size else np.zeros(0, np.int64)
        found.append(lists.joined_indices([np.array(before, np.int64), tokens, np.array(after, np.int64)]))
    return found


def stacked(targets: Any, dtype: Any) -> Array:
    """Targets as one array; Python's own floats become floats of the model's dtype."""
    if isinstance(targets, np.ndarray):
        return targets
    given = list(targets)
    if not given:  # which NumPy takes for floats: a sequence of no labels
        return np.zeros(0, np.int64)
    array = np.asarray(given)
    own = array.dtype.kind == "f" and not isinstance(given[0], (np.ndarray, np.generic))
    return array.astype(dtype) if own else array


def time_first(who: str, name: str, layer: Recurrent) -> None:
    """Raise where a layer is batch first: a model has lists of sequences, and arrays of its own."""
    if layer.batch_first:
        raise ValueError(f"{who}: {name} is batch first; expected batch_first=False, a model takes lists of sequences")


class Pool:
    """What the head takes of recurrent outputs y and the final state: all steps, the last states or the mean.

    Attributes
    ----------
    kind : None, "last" or "mean"
    width : int
        Its features.
    """

    def __init__(self, who: str, layer: Recurrent, kind: str | None, head: Any) -> None:
        self.kind = kind if kind is None else _check.choice(who, "pool", kind, POOLS)
        time_first(who, "recurrent", layer)
        self._dtype, self._outputs = head.dtype, head.out_features
        self._directions = 2 if layer.bidirectional else 1
        side_by_side = layer.merge == "concat" or kind == "last"
        self.width = (layer.proj_size or _widths(layer)[-1]) * (self._directions if side_by_side else 1)
        if head.in_features != self.width:
            raise ValueError(f"{who}: head takes {head.in_features} features; expected {self.width}")

    def __call__(self, y: Any, state: Any) -> Any:
        """Rows (N, width) of all steps, or (B, width)."""
        if self.kind == "last":
            top = self._top(state)
            return top.transpose(1, 0, 2).reshape(top.shape[1], self.width)
        if self.kind is None:
            return np.concatenate(y)
        return np.stack([one.sum(axis=0) / one.dtype.type(max(1, len(one))) for one in y])

    def stepwise(self, who: str) -> None:
        """Raise where outputs of one step need steps that are still to come."""
        if self.kind is not None or self._directions == 2:
            what = "is bidirectional" if self.kind is None else f"has pool={self.kind!r}"
            raise ValueError(f"{who}: the model {what}; expected one of a single direction with pool=None")

    def split(self, rows: Array, y: Any, inputs: Any) -> Any:
        """Outputs in the form of the inputs, or (B, V) as they are."""
        if self.kind is not None:
            return rows
        if isinstance(inputs, np.ndarray) and inputs.ndim > 1:  # an array of arrays is as a list
            return rows.reshape(*inputs.shape[:2], -1)
        return split(rows, y)

    def form(self, outputs: Any) -> lists.Form:
        """The shape of the outputs, or of each in a list."""
        return [one.shape for one in outputs] if isinstance(outputs, list) else outputs.shape

    def rows(self, who: str, doutputs: Any, form: lists.Form) -> Array:
        """Gradients as rows (N, V); they must be of the outputs' form, or they would be those of other steps."""
        meaning = "the shape of the outputs"
        flat = lists.checked(f"{who}.backward", "doutputs", doutputs, form, meaning=meaning, dtype=self._dtype)
        return flat.reshape(-1, self._outputs)

    def targets(self, who: str, targets: Any, outputs: Any) -> Any:
        """Targets in the form of the outputs: one array, or a list of one for each sequence."""
        if not isinstance(outputs, list):
            return stacked(targets, self._dtype)
        if any(np.ndim(one) == 0 for one in targets):
            raise ValueError(
                f"{who}: targets has one value for a sequence; expected an array (T_i, ...) for its steps, or a model "
                "with pool='last' or pool='mean'"
            )
        return [stacked(one, self._dtype) for one in targets]

    def backward(self, drows: Array, y: Any, state: Any) -> tuple[Any, Any]:
        """The gradients of y and of the final state, None for zeros."""
        if self.kind == "last":
            return None, self._dstate(drows, state)
        if self.kind is None:
            return split(drows, y), None
        each = zip(drows, y, strict=True)
        return [np.broadcast_to(d / d.dtype.type(max(1, len(one))), one.shape) for d, one in each], None

    def _top(self, state: Any) -> Any:
        """h of the last layer (directions, B, width of one)."""
        h = state[0] if isinstance(state, tuple) else state
        return h[-1] if isinstance(h, list) else h[-self._directions :]

    def _dstate(self, drows: Array, state: Any) -> Any:
        zeros = tuple(_zeros(kind) for kind in state) if isinstance(state, tuple) else _zeros(state)
        top = self._top(zeros)
        top[...] = drows.reshape(len(drows), self._directions, -1).transpose(1, 0, 2)
        return zeros


class Bridge:
    """From the encoder's final state to the decoder's initial one: the directions of each layer side by side.

    Raises
    ------
    ValueError
        The two differ in cell or number of layers, or a decoder's layer is not as wide as the encoder's directions.
    """

    def __init__(self, who: str, encoder: Recurrent, decoder: Recurrent) -> None:
        self._directions = 2 if encoder.bidirectional else 1
        time_first(who, "encoder", encoder)
        time_first(who, "decoder", decoder)
        self._width = decoder.proj_size or _widths(decoder)[-1]
        side_by_side = self._directions if encoder.merge == "concat" else 1
        self._memory = (encoder.proj_size or _widths(encoder)[-1]) * side_by_side
        if decoder.bidirectional:
            raise ValueError(f"{who}: decoder is bidirectional; expected one that reads what it has written alone")
        for what, one, other in (
            ("states", encoder.STATES, decoder.STATES),
            ("layers", encoder.num_layers, decoder.num_layers),
            ("units", [width * self._directions for width in _widths(encoder)], _widths(decoder)),
            ("projections to", encoder.proj_size * self._directions, decoder.proj_size),
        ):
            if one != other:
                raise ValueError(f"{who}: decoder has {what} {other}; expected {one}, as the encoder leaves them")

    def check(self, who: str, head: Any, start: int, end: int, attention: Any, combine: Any, embedding: Any) -> None:
        """Raise where what comes after the decoder does not fit it, or a token is none of the head's."""
        if combine is not None and attention is None:
            raise ValueError(f"{who}: combine is given without attention; expected both or neither")
        if attention is not None and (attention.query_size, attention.key_size) != (self._width, self._memory):
            raise ValueError(
                f"{who}: attention has query_size={attention.query_size} and key_size={attention.key_size}; expected "
                f"{self._width}, the decoder's outputs, and {self._memory}, the encoder's"
            )
        width = self._width if attention is None else self._width + self._memory
        for name, layer in (("combine", combine), ("head", head)):
            if layer is not None and layer.in_features != width:
                raise ValueError(f"{who}: {name} takes {layer.in_features} features; expected {width}")
            width = width if layer is None else layer.out_features
        for name, token in (("start", start), ("end", end)):
            if token >= head.out_features:
                raise ValueError(f"{who}: {name} is {token}; expected one of head's out_features={head.out_features}")
        if embedding is not None and embedding.num_embeddings < head.out_features:
            raise ValueError(
                f"{who}: target_embedding has {embedding.num_embeddings} rows; expected {head.out_features}, head's"
            )

    def __call__(self, state: Any) -> Any:
        """The decoder's initial state."""
        return self._each(state, self._side_by_side)

    def backward(self, dstate: Any) -> Any:
        """The gradient of the encoder's final state, of that of the decoder's initial one."""
        return self._each(dstate, self._apart)

    def _each(self, state: Any, change: Callable[[Array], Array]) -> Any:
        if isinstance(state, tuple | list):
            return type(state)(self._each(one, change) for one in state)
        return change(state)

    def _side_by_side(self, h: Array) -> Array:
        apart = h.reshape(-1, self._directions, *h.shape[1:])  # (layers, D, B, H)
        return apart.transpose(0, 2, 1, 3).reshape(len(apart), h.shape[1], -1)

    def _apart(self, dh: Array) -> Array:
        apart = dh.reshape(*dh.shape[:2], self._directions, -1)  # (layers, B, D, H)
        return np.ascontiguousarray(apart.transpose(0, 2, 1, 3).reshape(-1, dh.shape[1], apart.shape[3]))


def _widths(layer: Recurrent) -> list[int]:
    size = layer.hidden_size
    return list(size) if isinstance(size, tuple) else [size] * layer.num_layers


def _zeros(kind: Any) -> Any:
    return [np.zeros_like(one) for one in kind] if isinstance(kind, list) else np.zeros_like(kind)
