"""What all estimators share: parameters, the way from X to a list of sequences, building, training, running."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

import fastrnn
from fastrnn import _check
from fastrnn.cells import CELLS
from fastrnn.layers import Recurrent
from fastrnn.module import FloatArray
from fastrnn.sklearn import inputs, threads

Seeds = list[np.random.SeedSequence]

_AT_ONCE = 256  # sequences that are predicted in one call; bits do not depend on it


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceEstimator(BaseEstimator):
    """Base of the estimators. Parameters are only stored by the constructor and checked by `fit`.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn", "ugrnn"}
    hidden_size : int
        H, units of a layer.
    num_layers : int
    bidirectional : bool
        Whether every layer has a second direction, from the last step to the first.
    dropout : float in [0, 1)
        In training: the share of outputs that is zeroed between layers and before the head.
    max_epochs : int
        Passes over the sequences that `fit` makes at most.
    batch_size : int
    learning_rate : float
        Of Adam.
    clip_norm : float or None
        The most that the norm of all gradients together may be; None for any.
    patience : int or None
        Epochs without a better validation loss after which `fit` ends, with the best weights kept. None trains on all
        sequences for max_epochs.
    validation_fraction : float in (0, 1)
        Share of the sequences that is set aside for that where patience is given.
    dtype : {"float32", "float64"}
        Of weights and arithmetic. X is converted to it; by the forecaster when each series is in its own units.
    random_state : int, numpy.random.RandomState or None
        Of initial weights, order and dropout. The same int gives the same bits.
    num_threads : int or None
        At most so many threads a call; None for `fastrnn.get_num_threads()`, in joblib's workers as
        `fastrnn.sklearn.threads.allowed` says.
    verbose : bool
        Whether `fit` shows a bar.

    Attributes
    ----------
    n_features_in_ : int
        F; of a 2-D X, where each row is a series of one feature, the number of its columns.
    model_ : fastrnn.SequenceModel or fastrnn.EncoderDecoder
    history_ : what `fastrnn.fit` returned last
    n_iter_ : int
        Epochs that were made.
    """

    cell: str = "lstm"
    hidden_size: int = 64
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    max_epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 0.005
    clip_norm: float | None = 1.0
    patience: int | None = None
    validation_fraction: float = 0.1
    dtype: str = "float32"
    random_state: Any = None
    num_threads: int | None = None
    verbose: bool = False

    _OF_THE_MODEL: ClassVar[tuple[str, ...]] = (  # what a new fit alone changes
        *("cell", "hidden_size", "num_layers"),
        *("bidirectional", "dropout", "dtype"),
    )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # ------------------------------------------------------------- what an estimator says of itself

    def _targets(self, y: Any, sequences: list[FloatArray], fresh: bool) -> Any:
        """Return what the loss takes for each sequence; learn first what there is to know of y if `fresh`."""
        raise NotImplementedError

    def _build(self, seeds: Seeds) -> Any:
        """Return a new model."""
        raise NotImplementedError

    def _data(self, X: Any, y: Any, lengths: Any, fresh: bool) -> tuple[Any, Any]:
        """Return the N inputs and targets that `fastrnn.fit` takes."""
        sequences = self._sequences(X, lengths, reset=fresh)
        return sequences, self._targets(y, sequences, fresh)

    # ------------------------------------------------------------------------------------- training

    def fit(self, X: Any, y: Any, *, lengths: Any = None) -> Self:
        """Train a new model.

        Parameters
        ----------
        X : list or object array of N arrays (T_i, F), array (N, T, F), or table (N, T)
            Sequences of any lengths; see `fastrnn.sklearn.inputs.read`. Integers (T_i,) are numbers of one feature,
            not the one-hots that `fastrnn.fit` reads them as: give codes 0..n-1 as ``np.eye(n)[codes]``.
        y : as the class says
        lengths : (N,) integers, optional
            Of an X (N, T, F): the steps of each sequence.

        Returns
        -------
        self
        """
        return self._train(X, y, lengths, fresh=True, epochs=self.max_epochs, patience=self.patience)

    def partial_fit(self, X: Any, y: Any, *, lengths: Any = None) -> Self:
        """Train for one epoch more, a new model if there is none. Arguments are those of `fit`.

        A parameter of the model that was set since, as hidden_size, is refused: only `fit` makes a new model.
        """
        return self._one_epoch(X, y, lengths)

    def _one_epoch(self, X: Any, y: Any, lengths: Any, **more: Any) -> Self:
        return self._train(X, y, lengths, fresh=not hasattr(self, "model_"), epochs=1, patience=None, **more)

    def _train(
        self, X: Any, y: Any, lengths: Any, *, fresh: bool, epochs: int, patience: int | None, **more: Any
    ) -> Self:
        if fresh:
            self._check_parameters()
            self._made_of = {name: getattr(self, name) for name in self._OF_THE_MODEL}
            self.__dict__.pop("model_", None)  # a fit that fails leaves no model beside attributes of another
        else:
            self._check_kept()
        sequences, targets = self._data(X, y, lengths, fresh, **more)
        if fresh:
            self._random = check_random_state(self.random_state)
            model = self._build(np.random.SeedSequence(self._seed()).spawn(4))
            self._optimizer = fastrnn.Adam(list(model.modules.values()))
            self.n_iter_ = 0
        else:
            model = self.model_
        self._optimizer.lr = self.learning_rate
        kept, aside = self._split(len(sequences), patience)
        self.history_ = fastrnn.fit(
            model,
            [sequences[i] for i in kept],
            [targets[i] for i in kept],
            validation=([sequences[i] for i in aside], [targets[i] for i in aside]) if len(aside) else None,
            epochs=epochs,
            batch_size=self.batch_size,
            optimizer=self._optimizer,
            clip_norm=self.clip_norm,
            patience=patience,
            seed=self._seed(),
            progress=bool(self.verbose),
            num_threads=threads.allowed(self.num_threads),
        )
        self.model_: Any = model
        self.n_iter_ += len(self.history_.train_loss)
        return self

    def _check_parameters(self) -> None:
        """Refuse what neither the layers nor `fastrnn.fit` would refuse by its own name."""
        one_of(type(self).__name__, "cell", self.cell, CELLS)
        inside(type(self).__name__, "validation_fraction", self.validation_fraction)

    def _check_kept(self) -> None:
        """Refuse what was set since the fit and would change nothing."""
        for name, was in self._made_of.items():
            if (value := getattr(self, name)) != was:
                who = type(self).__name__
                raise ValueError(f"{who}: {name} is {value!r}; expected {was!r}, as at the fit, or a new fit")

    def _seed(self) -> int:
        return int(self._random.randint(2**31 - 1))

    def _split(self, n: int, patience: int | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of the sequences to train on, and of those to validate with."""
        if patience is None:
            return np.arange(n), np.arange(0)
        order = self._random.permutation(n)
        aside = max(1, round(n * self.validation_fraction))
        if aside >= n:
            raise ValueError(
                f"{type(self).__name__}: n_samples={n} leaves none to train on with patience; expected more, or "
                "patience=None"
            )
        return np.sort(order[aside:]), np.sort(order[:aside])

    @property
    def _features(self) -> int:
        """F of each step."""
        return 1 if self._read_a_table else int(self.n_features_in_)

    def _recurrent(self, features: int, hidden_size: int, bidirectional: bool, seed: Any) -> Recurrent:
        layers: Recurrent = getattr(fastrnn, CELLS[self.cell].name)(
            features,
            hidden_size,
            self.num_layers,
            dropout=self.dropout if self.num_layers > 1 else 0.0,  # one layer has no such place
            bidirectional=bidirectional,
            dtype=self.dtype,
            seed=seed,
        )
        return layers

    def _sequence_model(self, seeds: Seeds, outputs: int, loss: Any, pool: Any = None) -> Any:
        """Return recurrent layers with a linear head."""
        width = self.hidden_size * (2 if self.bidirectional else 1)
        return fastrnn.SequenceModel(
            self._recurrent(self._features, self.hidden_size, self.bidirectional, seeds[0]),
            fastrnn.Linear(width, outputs, dtype=self.dtype, seed=seeds[1]),
            loss,
            dropout=self.dropout,
            pool=pool,
            seed=seeds[2],
        )

    # -------------------------------------------------------------------------------------- running

    def _sequences(self, X: Any, lengths: Any, reset: bool = False) -> list[FloatArray]:
        return inputs.read(self, X, lengths, self.dtype, reset=reset)

    def _outputs(self, X: Any, lengths: Any) -> list[FloatArray]:
        """Return the model's outputs of every sequence."""
        check_is_fitted(self, "model_")
        run = partial(self.model_, num_threads=threads.allowed(self.num_threads))
        return [one for some in blocks(self._sequences(X, lengths)) for one in run(some)]


def blocks(items: list[Any]) -> Iterator[list[Any]]:
    """Yield the items in lists short enough for one call."""
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def one_of(who: str, name: str, value: Any, names: Collection[str]) -> None:
    """Refuse what is none of the names."""
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{who}: {name} is {_check.shown(value)}; expected one of {', '.join(names)}")


def inside(who: str, name: str, value: Any) -> None:
    """Refuse what is no number in (0, 1)."""
    expected = "a number in (0, 1)"
    if not 0 < _check.number(who, name, value, expected) < 1:
        raise ValueError(f"{who}: {name} is {value}; expected {expected}")


def of_weight(who: str, weights: Any) -> NDArray[np.intp]:
    """Return which of N weights are not 0: the others' sequences teach nothing, and alone they validate nothing."""
    found = np.flatnonzero(weights)
    if not len(found):
        raise ValueError(f"{who}: every sequence has weight 0; expected some above")
    return found


def required(who: str, y: Any) -> None:
    """Refuse None, in scikit-learn's words."""
    if y is None:
        raise ValueError(f"{who}: requires y to be passed, but the target y is None")


def per_step(who: str, y: Any, sequences: list[FloatArray]) -> list[NDArray[Any]]:
    """Return y as a list of arrays (T_i,), one value a step of its sequence."""
    required(who, y)
    check_consistent_length(sequences, y)
    arrays = [np.asarray(one) for one in y]
    for i, (array, sequence) in enumerate(zip(arrays, sequences, strict=True)):
        if array.shape != (len(sequence),):
            raise ValueError(f"{who}: y[{i}] has shape {array.shape}; expected ({len(sequence)},), one for each step")
    return arrays
