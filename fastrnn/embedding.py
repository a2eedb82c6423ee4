"""The embedding, a row of numbers for every index, and its gradient."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastrnn import _check, lists, runtime, tape
from fastrnn._core import elementwise, memory
from fastrnn.module import FloatArray, Initialiser, Module, SetOnce


class EmbeddingTape(tape.Tape[tuple[_check.IndexArray, lists.Form]]):
    """An embedding's forward run, kept for one backward run."""


class Embedding(Module):
    """y = weight[index].

    Parameters
    ----------
    num_embeddings : int
        V, how many indices there are: 0..V-1.
    embedding_dim : int
        E, numbers of each.
    padding_index : int in 0..V-1, optional
        The index that stands for nothing: its row starts as zeros, whatever init returns, and gets no gradient.
    dtype : {"float32", "float64"}
        Of parameters, gradients and y.
    seed : int, numpy.random.SeedSequence or None
        Of the initial weights: standard normal, as PyTorch's.
    init : callable (name, shape, rng) -> array or None, optional
        As for the recurrent layers.

    Attributes
    ----------
    params, grads : Parameters
        weight (V, E), PyTorch's name and shape.
    """

    num_embeddings = SetOnce(_check.count)
    embedding_dim = SetOnce(_check.count)
    padding_index = SetOnce(_check.index_or_none)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        padding_index: int | None = None,
        dtype: DTypeLike = "float32",
        seed: int | np.random.SeedSequence | None = None,
        init: Initialiser | None = None,
    ) -> None:
        self.dtype = dtype
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_index = padding_index
        _check.padding_fits(self._who, self.padding_index, self.num_embeddings)
        self._create(self._default, init, _check.generator(self._who, seed))
        if self.padding_index is not None:
            self._weights[self.padding_index] = 0

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def _compile(self, params: dict[str, FloatArray], grads: dict[str, FloatArray]) -> None:
        self._weights, self._gradients = params["weight"], grads["weight"]

    def _default(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
        return rng.standard_normal(shape).astype(self.dtype, copy=False)

    @overload
    def __call__(self, indices: NDArray[Any], *, num_threads: int | None = None) -> FloatArray: ...

    @overload
    def __call__(self, indices: list[NDArray[Any]], *, num_threads: int | None = None) -> list[FloatArray]: ...

    def __call__(self, indices: Any, *, num_threads: int | None = None) -> Any:
        """Return y (..., E) of integers (...) in 0..V-1; of a list of arrays a list.

        Raises
        ------
        TypeError, ValueError, IndexError
            No integers, no list of arrays, an index outside 0..V-1.
        """
        return self._run(self._who, indices, num_threads)[0]

    @overload
    def forward(
        self, indices: NDArray[Any], *, num_threads: int | None = None
    ) -> tuple[FloatArray, EmbeddingTape]: ...

    @overload
    def forward(
        self, indices: list[NDArray[Any]], *, num_threads: int | None = None
    ) -> tuple[list[FloatArray], EmbeddingTape]: ...

    def forward(self, indices: Any, *, num_threads: int | None = None) -> tuple[Any, EmbeddingTape]:
        """Return y and the tape that `backward` needs, which refers to none of the arguments."""
        version = self._version.number
        y, kept = self._run(f"{self._who}.forward", indices, num_threads)
        return y, EmbeddingTape(self, version, kept)

    def _run(self, who: str, indices: Any, num_threads: int | None) -> tuple[Any, tuple[_check.IndexArray, lists.Form]]:
        """y, and the indices (N,) with their form."""
        threads = runtime.resolve(who, num_threads)
        if isinstance(indices, list):
            indices = _check.arrays(who, "indices", indices, "integer arrays")
            checked = [_check.places(who, f"indices[{i}]", one, self.num_embeddings) for i, one in enumerate(indices)]
            rows, form = lists.joined(checked)
        else:
            rows, form = lists.joined(_check.places(who, "indices", indices, self.num_embeddings))
        y: FloatArray = memory.empty((len(rows), self.embedding_dim), self.dtype)
        elementwise.take_rows(self._weights, rows, y, threads)
        return lists.formed(y.reshape(-1), form, self.embedding_dim), (rows, form)

    def backward(
        self, tape: EmbeddingTape, dy: FloatArray | list[FloatArray], *, num_threads: int | None = None
    ) -> None:
        """Add dy to the rows of `grads` that the indices stand for, in their order, and use the tape up.

        Parameters
        ----------
        tape : EmbeddingTape
            Of this layer's `forward`, with these weights.
        dy : as y
            Gradient of the loss by y, in the layer's dtype.
        num_threads : int, optional
            For the sake of one form for all layers: the sums have one order, and run on one thread.

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype, a tape of another layer, used up, or older than the weights. Nothing has changed.
        """
        who = f"{self._who}.backward"
        runtime.resolve(who, num_threads)
        rows, form = EmbeddingTape._open(tape, self, who)
        flat = lists.checked(who, "dy", dy, form, self.embedding_dim, meaning="the shape of y", dtype=self.dtype)
        if self.padding_index is not None:
            rows = np.where(rows == self.padding_index, -1, rows)
        with self._lock:
            tape._use_up(self, who)
            elementwise.add_rows(flat.reshape(len(rows), self.embedding_dim), rows, self._gradients)
