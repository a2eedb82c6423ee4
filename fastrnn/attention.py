"""Attention: a mean of the memory for every query, weighted by how well each of its rows fits the query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import DTypeLike

from fastrnn import _check, lists, runtime, tape
from fastrnn import init as initial_values
from fastrnn._check import IndexArray
from fastrnn._core import dense, elementwise
from fastrnn._core import memory as kept
from fastrnn._core.attention import Sequences
from fastrnn._core.weights import LinearWeights
from fastrnn.module import FloatArray, Initialiser, Module, SetOnce

KINDS = ("dot", "general", "additive")


@dataclass(frozen=True)
class Border:
    """The form in which a batch came, and where its sequences lie among the rows that attention runs on.

    Attributes
    ----------
    queries, memory, weights : the form of each array, as `lists.joined` says it
    sequences : Sequences
    numbers : int
        How many weights there are.
    source : (N,) rows of the memory that are run on, or None for all
    target : (rows of the memory,) where each of them went, or -1; or None
    """

    queries: lists.Form
    memory: lists.Form
    weights: lists.Form
    sequences: Sequences
    numbers: int
    source: IndexArray | None = None
    target: IndexArray | None = None

    @property
    def batch_size(self) -> int:
        return len(self.queries) if isinstance(self.queries, list) else self.queries[1]


@dataclass(frozen=True)
class Run:
    """What backward needs of a forward run: rows (N, ...) of what was given, projected where the kind projects."""

    border: Border
    queries: FloatArray
    memory: FloatArray
    projected: FloatArray
    keys: FloatArray
    weights: FloatArray


class AttentionTape(tape.Tape[Run]):
    """A forward run of attention, kept for one backward run."""


class Attention(Module):
    """context = sum over s of weights[s] memory[s], with weights the softmax over s of score(query, memory[s]).

    "dot"       score(q, m) = q . m                     (Luong, Pham and Manning, 2015)
    "general"   score(q, m) = (weight_query q) . m      (the same)
    "additive"  score(q, m) = weight_score . tanh(weight_query q + weight_key m)  (Bahdanau, Cho and Bengio, 2015)

    Parameters
    ----------
    query_size : int
        Q, numbers of a query.
    key_size : int
        K, numbers of a row of the memory; Q for "dot".
    kind : {"dot", "general", "additive"}
    hidden_size : int, optional
        A, the width of the additive score; K by default. Only for "additive".
    dtype : {"float32", "float64"}
        Of parameters, gradients and all arrays.
    seed : int, numpy.random.SeedSequence or None
        Of the initial weights, which are Glorot-uniform, weight_score as a matrix of one row.
    init : callable (name, shape, rng) -> array or None, optional
        As for the recurrent layers.

    Attributes
    ----------
    params, grads : Parameters
        "dot": none. "general": weight_query (K, Q).
        "additive": weight_query (A, Q), weight_key (A, K), weight_score (A,).
    """

    query_size = SetOnce(_check.count)
    key_size = SetOnce(_check.count)
    kind = SetOnce(partial(_check.choice, allowed=KINDS))
    hidden_size = SetOnce(_check.count_or_none)

    _REBUILT: ClassVar[tuple[str, ...]] = (*Module._REBUILT, "_score")

    def __init__(
        self,
        query_size: int,
        key_size: int,
        kind: str = "dot",
        *,
        hidden_size: int | None = None,
        dtype: DTypeLike = "float32",
        seed: int | np.random.SeedSequence | None = None,
        init: Initialiser | None = None,
    ) -> None:
        self.dtype = dtype
        self.query_size = query_size
        self.key_size = key_size
        self.kind = kind
        _check.attention_sizes(self._who, self.kind, self.query_size, self.key_size, hidden_size)
        self.hidden_size = self.key_size if hidden_size is None and self.kind == "additive" else hidden_size
        self._create(self._default, init, _check.generator(self._who, seed))

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        Q, K, A = self.query_size, self.key_size, self.hidden_size
        if self.kind == "general":
            return {"weight_query": (K, Q)}
        return {"weight_query": (A, Q), "weight_key": (A, K), "weight_score": (A,)} if self.kind == "additive" else {}

    def _compile(self, params: dict[str, FloatArray], grads: dict[str, FloatArray]) -> None:
        none: FloatArray = np.zeros(0, self.dtype)
        self._weights = {
            name: LinearWeights(self._version, params[name], None) for name in params if name != "weight_score"
        }
        self._score = params.get("weight_score", none)
        self._gradients = grads

    def _default(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
        matrix = shape if len(shape) == 2 else (1, *shape)
        return initial_values.glorot_uniform(matrix, rng, dtype=self.dtype).reshape(shape)

    # ------------------------------------------------------------------------------------------ running

    @overload
    def __call__(
        self, queries: FloatArray, memory: FloatArray, lengths: Any = None, *, keys: FloatArray | None = None,
        num_threads: int | None = None,
    ) -> tuple[FloatArray, FloatArray]: ...

    @overload
    def __call__(
        self, queries: list[FloatArray], memory: list[FloatArray], *, keys: list[FloatArray] | None = None,
        num_threads: int | None = None,
    ) -> tuple[list[FloatArray], list[FloatArray]]: ...

    def __call__(
        self, queries: Any, memory: Any, lengths: Any = None, *, keys: Any = None, num_threads: int | None = None
    ) -> tuple[Any, Any]:
        """Return the context of every query and its weights, and keep nothing for backward.

        Parameters
        ----------
        queries : (Tq, B, Q) in the layer's dtype, or a list of B arrays (Tq_i, Q)
        memory : (Tk, B, K), or a list of B arrays (Tk_i, K)
            Keys and values in one: an encoder's outputs.
        lengths : (B,) integers in 0..Tk, optional
            Rows of each sequence's memory; what comes after is padding: never read, its weights exactly 0. Not with
            lists, which have lengths of their own.
        keys : as `keys` returns them for this memory and these weights, optional
            Saves a decoder that goes step by step to work them out at each. The result is the same bit for bit.
        num_threads : int, optional
            At most so many threads; the default is `get_num_threads()`. The result is the same bit for bit, and that of
            a sequence does not depend on the others.

        Returns
        -------
        context : (Tq, B, K), or a list of (Tq_i, K)
            0 where there is no memory.
        weights : (Tq, B, Tk), or a list of (Tq_i, Tk_i)
            Each row adds up to 1, but to 0 where there is no memory.

        Raises
        ------
        TypeError, ValueError
            A wrong dtype or shape, an array with a list, lengths with lists.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long call.
        """
        context, run = self._run(self._who, queries, memory, lengths, num_threads, keys)
        return context, lists.formed(run.weights, run.border.weights)

    @overload
    def keys(self, memory: FloatArray, *, num_threads: int | None = None) -> FloatArray | None: ...

    @overload
    def keys(self, memory: list[FloatArray], *, num_threads: int | None = None) -> list[FloatArray] | None: ...

    def keys(self, memory: Any, *, num_threads: int | None = None) -> Any:
        """Return what the additive score takes of the memory, weight_key m, for calls with the same memory.

        Parameters
        ----------
        memory : (Tk, B, K), or a list of B arrays (Tk_i, K)

        Returns
        -------
        keys : (Tk, B, A), or a list of (Tk_i, A); None for "dot" and "general", whose keys are the memory
        """
        who = f"{self._who}.keys"
        threads = runtime.resolve(who, num_threads)
        rows, form = lists.joined(self._checked(who, "memory", memory, self.key_size))
        if self.kind != "additive":
            return None
        keys = self._projected("weight_key", rows.reshape(-1, self.key_size), threads)
        return lists.formed(keys.reshape(-1), _rows(form), keys.shape[1])

    @overload
    def forward(
        self, queries: FloatArray, memory: FloatArray, lengths: Any = None, *, num_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray, AttentionTape]: ...

    @overload
    def forward(
        self, queries: list[FloatArray], memory: list[FloatArray], *, num_threads: int | None = None
    ) -> tuple[list[FloatArray], list[FloatArray], AttentionTape]: ...

    def forward(
        self, queries: Any, memory: Any, lengths: Any = None, *, num_threads: int | None = None
    ) -> tuple[Any, Any, AttentionTape]:
        """Return context, weights and the tape that `backward` needs; leave queries and memory as they are until then.

        The weights are read-only: they are what the tape keeps.
        """
        version = self._version.number
        context, run = self._run(f"{self._who}.forward", queries, memory, lengths, num_threads)
        weights = lists.formed(kept.view_of(run.weights, False), run.border.weights)
        return context, weights, AttentionTape(self, version, run)

    def _run(
        self, who: str, queries: Any, memory: Any, lengths: Any, num_threads: int | None, keys: Any = None
    ) -> tuple[Any, Run]:
        threads = runtime.resolve(who, num_threads)
        if keys is not None:
            keys = self._checked_keys(who, keys, memory)
        border, queries, memory = self._border(who, queries, memory, lengths, self.kind == "additive" and keys is None)
        projected = self._projected("weight_query", queries, threads)
        if keys is None:
            keys = self._projected("weight_key", memory, threads) if self.kind == "additive" else memory[:0]
        # What no query sees stays 0.
        weights: FloatArray = np.zeros(border.numbers, self.dtype)
        context: FloatArray = np.zeros((len(queries), self.key_size), self.dtype)
        border.sequences.forward(projected, keys, memory, self._score, weights, context, threads)
        run = Run(border, queries, memory, projected, keys, weights)
        return lists.formed(context.reshape(-1), _rows(border.queries), self.key_size), run

    def _projected(self, name: str, rows: FloatArray, threads: int) -> FloatArray:
        """rows @ params[name].T, or rows where there is no such parameter."""
        weights = self._weights.get(name)
        if weights is None:
            return rows
        result: FloatArray = kept.empty((len(rows), self._gradients[name].shape[0]), self.dtype)
        weights.refresh()
        if len(rows):
            dense.linear_forward(weights, rows, result, threads)
        return result

    # ------------------------------------------------------------------------------------------- borders

    def _border(
        self, who: str, queries: Any, memory: Any, lengths: Any, projects: bool
    ) -> tuple[Border, FloatArray, FloatArray]:
        """The batch's border, and its queries and memory as rows (N, ...); projects: whether all of the memory is."""
        listed = isinstance(queries, list) or isinstance(memory, list)
        if listed:
            _check.attention_lists(who, queries, memory, lengths)
        queries = self._checked(who, "queries", queries, self.query_size)
        memory = self._checked(who, "memory", memory, self.key_size)
        if listed:
            border = _border_of_lists(queries, memory)
        else:
            Tk, B, _ = memory.shape
            _check.same_batch(who, queries.shape[1], B)
            counts = np.full(B, Tk, np.int64) if lengths is None else _check.lengths(who, lengths, B, Tk)
            packs = projects and bool((counts < Tk).any())  # or the padding would be projected, too
            border = _border_of_arrays(queries.shape, memory.shape, counts, packs)
        rows = lists.joined(queries)[0].reshape(-1, self.query_size)
        seen = lists.joined(memory)[0].reshape(-1, self.key_size)
        return border, rows, seen if border.source is None else _taken(seen, border.source)

    def _checked(self, who: str, name: str, given: Any, size: int) -> Any:
        """An array (T, B, size), or a list of (T_i, size)."""
        T, letter = ("Tq", "Q") if name == "queries" else ("Tk", "K")
        if not isinstance(given, list):
            return _check.rows_of(who, name, given, f"({T}, B, {letter})", size, 3, dtype=self.dtype)
        return [
            _check.rows_of(who, f"{name}[{i}]", one, f"({T}_i, {letter})", size, 2, dtype=self.dtype)
            for i, one in enumerate(_check.arrays(who, name, given, "float arrays"))
        ]

    def _checked_keys(self, who: str, keys: Any, memory: Any) -> FloatArray:
        """The rows (N, A) of keys that go with the memory."""
        if self.kind != "additive":
            raise ValueError(f"{who}: keys are given for {self.kind!r}, whose keys are the memory; expected None")
        _, form = lists.joined(self._checked(who, "memory", memory, self.key_size))
        size, rows = self.hidden_size, _rows(form)
        return lists.checked(who, "keys", keys, rows, size, meaning="keys(memory)", dtype=self.dtype).reshape(-1, size)

    # ---------------------------------------------------------------------------------------- gradients

    @overload
    def backward(
        self, tape: AttentionTape, dcontext: FloatArray, *, num_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]: ...

    @overload
    def backward(
        self, tape: AttentionTape, dcontext: list[FloatArray], *, num_threads: int | None = None
    ) -> tuple[list[FloatArray], list[FloatArray]]: ...

    def backward(self, tape: AttentionTape, dcontext: Any, *, num_threads: int | None = None) -> tuple[Any, Any]:
        """Add to `grads`, use the tape up and return the gradients of queries and memory.

        Parameters
        ----------
        tape : AttentionTape
            Of this layer's `forward`, with these weights.
        dcontext : as the context
            Gradient of the loss by it, in the layer's dtype.
        num_threads : int, optional
            As in a call.

        Returns
        -------
        dqueries, dmemory : as queries and memory
            dmemory is 0 in the padding.

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype, a tape of another layer, used up, or older than the weights. Nothing has changed.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long call. `grads` is as before the call, the tape is used up.
        """
        who = f"{self._who}.backward"
        threads = runtime.resolve(who, num_threads)
        run = AttentionTape._open(tape, self, who)
        border = run.border
        flat = lists.checked(
            who, "dcontext", dcontext, _rows(border.queries), self.key_size, meaning="the shape of context",
            dtype=self.dtype,
        )
        with self._lock:
            for weights in self._weights.values():
                weights.refresh_transposed()
            tape._use_up(self, who)
            before = self._grads.flat.copy()
            try:
                dqueries, dmemory = self._gradients_of(run, flat.reshape(-1, self.key_size), threads)
            except BaseException:
                self._grads.flat[:] = before
                raise
        if border.target is not None:
            dmemory = _taken(dmemory, border.target)
        return lists.formed(dqueries.reshape(-1), border.queries), lists.formed(dmemory.reshape(-1), border.memory)

    def _gradients_of(self, run: Run, dcontext: FloatArray, threads: int) -> tuple[FloatArray, FloatArray]:
        """The gradients of the rows of queries and memory; `grads` is added to."""
        shapes = [rows.shape for rows in (run.projected, run.keys, run.memory)]
        dprojected, dkeys, dmemory = (np.zeros(shape, self.dtype) for shape in shapes)
        dscore: FloatArray = np.zeros((run.border.batch_size, len(self._score)), self.dtype)
        run.border.sequences.backward(
            run.projected, run.keys, run.memory, self._score, run.weights, dcontext,
            dprojected, dkeys, dmemory, dscore, threads,
        )
        dqueries = self._unprojected("weight_query", run.queries, dprojected, threads)
        if self.kind == "additive":
            dmemory += self._unprojected("weight_key", run.memory, dkeys, threads)
            target = self._gradients["weight_score"].reshape(1, -1)
            elementwise.add_rows(dscore, np.zeros(len(dscore), np.int64), target)
        return dqueries, dmemory

    def _unprojected(self, name: str, rows: FloatArray, gradient: FloatArray, threads: int) -> FloatArray:
        """Backward of `_projected`."""
        weights = self._weights.get(name)
        if weights is None:
            return gradient
        result: FloatArray = kept.empty(rows.shape, self.dtype)
        if len(rows):
            none = np.zeros(0, self.dtype)
            dense.linear_backward(weights, rows, gradient, result, self._gradients[name], none, threads)
        return result


def _rows(form: lists.Form) -> lists.Form:
    """The form of an array's rows: without its last axis."""
    return [shape[:-1] for shape in form] if isinstance(form, list) else form[:-1]


def _starts(counts: IndexArray) -> IndexArray:
    """Where each of so many things begins if they lie without gaps."""
    return np.cumsum(counts) - counts


def _taken(rows: FloatArray, index: IndexArray) -> FloatArray:
    """rows[index], zeros where it is -1."""
    result: FloatArray = kept.empty((len(index), rows.shape[1]), rows.dtype)
    elementwise.take_rows(rows, index, result, 1)
    return result


def _border_of_lists(queries: list[FloatArray], memory: list[FloatArray]) -> Border:
    Tq, Tk = (np.array([len(one) for one in each], np.int64) for each in (queries, memory))
    layout = np.stack([_starts(Tq), Tq, _starts(Tk), Tk, _starts(Tq * Tk), Tk], axis=1)
    weights: lists.Form = [(len(one), len(seen)) for one, seen in zip(queries, memory, strict=True)]
    shapes = [one.shape for one in queries], [one.shape for one in memory]
    return Border(*shapes, weights, Sequences(layout, 1, 1), int((Tq * Tk).sum()))


def _border_of_arrays(queries: tuple[int, ...], memory: tuple[int, ...], counts: IndexArray, packs: bool) -> Border:
    """counts: the rows of each sequence's memory; packs: whether those are to be run on alone."""
    (Tq, B, _), Tk, each = queries, memory[0], np.arange(len(counts))
    source = target = None
    first, key_step = each, B
    if packs:
        rows, times = np.nonzero(np.arange(Tk) < counts[:, None])
        source = times * B + rows
        target = np.full(Tk * B, -1, np.int64)
        target[source] = np.arange(len(source))
        first, key_step = _starts(counts), 1
    layout = np.stack([each, np.full(B, Tq), first, counts, each * Tk, np.full(B, B * Tk)], axis=1)
    sequences = Sequences(layout.astype(np.int64, copy=False), max(B, 1), max(key_step, 1))
    return Border(queries, memory, (Tq, B, Tk), sequences, Tq * B * Tk, source, target)
