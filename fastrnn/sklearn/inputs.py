"""X in each of its forms as a list of arrays (T_i, F), one a sequence.

There is one rule: X has N items, and an item is (T_i, F), or (T_i,) for a series of one feature. So a 3-D array is N
sequences of T steps, and a table, a 2-D array or frame (N, T), is N series of one feature. One sequence alone is
``[sequence]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from fastrnn.module import FloatArray


def read(
    estimator: BaseEstimator, X: Any, lengths: Any, dtype: Any, *, reset: bool, lists_are_rows: bool = True
) -> list[FloatArray]:
    """Return the sequences of X in dtype.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets `n_features_in_` where reset is true, and is held to what it has otherwise: also to the order of the
        columns where items are frames, and to lengths for padded arrays.
    X : list, object array or pandas.Series of N arrays (T_i, F) or (T_i,), array (N, T, F), or table (N, T)
        Of a table `n_features_in_` is T, as scikit-learn counts its columns, of all other forms F.
    lengths : (N,) integers in 1..T, or None
        Of a 3-D array: the steps of each sequence. What comes after is never read.
    dtype : "float32" or "float64"
    reset : bool
    lists_are_rows : bool
        Whether lists of numbers, all of one length, are a table, as in scikit-learn, or a list of series.

    Raises
    ------
    TypeError, ValueError
        No such form, an empty sequence, NaN, infinity or masked values, features of another number or order than at
        the fit, no lengths where the fit had some.
    """
    who = type(estimator).__name__
    items = items_of(X, lists_are_rows)
    if items is None:
        if isinstance(X, (Iterator, Mapping, Set, str, bytes)) and not hasattr(X, "shape"):  # as sparse arrays
            raise TypeError(f"{who}: X is a {type(X).__name__}; expected a list of arrays (T_i, F), or an array")
        if lengths is not None:
            raise ValueError(f"{who}: lengths go with X (N, T, F); expected none with any other form")
        _refuse_one_series(who, X)
        _refuse_cells(who, X)
        return _rows(estimator, X, dtype, reset)
    if not len(items):
        raise ValueError(f"{who}: X has no sequences; expected at least 1")
    _settle_lengths(estimator, X, lengths, reset)
    if lengths is not None:
        items = _cut(who, X, items, lengths)
    sequences = [_sequence(who, i, item, dtype) for i, item in enumerate(items)]
    _settle_features(estimator, sequences, reset)
    _settle_names(estimator, X if isinstance(X, (list, tuple)) else items, reset)
    return sequences


def items_of(X: Any, lists_are_rows: bool = True) -> Any:
    """Return the N items of X; None of what scikit-learn reads as a table, or refuses."""
    if getattr(X, "ndim", None) == 3:
        return np.asanyarray(X)  # a mask is looked at later
    if getattr(X, "ndim", None) == 1 and getattr(getattr(X, "dtype", None), "kind", None) == "O":
        return np.asarray(X)  # also a pandas.Series, whose own indices are labels
    if isinstance(X, np.ndarray):
        return None
    if not isinstance(X, (list, tuple)):
        return None
    if any(isinstance(item, np.ndarray) for item in X):
        return X
    try:
        array = np.asarray(X)
    except ValueError:  # items of different lengths
        return X
    return X if array.ndim == 3 or (array.ndim == 2 and not lists_are_rows) else None


def _refuse_one_series(who: str, X: Any) -> None:
    """Refuse numbers (T,), which are one item and not N; scikit-learn asks for the words "Reshape your data"."""
    shape = np.shape(X) if isinstance(X, (list, tuple)) else getattr(X, "shape", None)
    if shape == (0,):
        raise ValueError(f"{who}: X has no sequences; expected at least 1")
    if shape is not None and len(shape) == 1:
        raise ValueError(f"{who}: X has shape {shape}; expected a list of series. Reshape your data: [series] for one")


def _refuse_cells(who: str, X: Any) -> None:
    """Refuse a table with a sequence in each cell, which NumPy would do without a name."""
    cells = np.asarray(X) if getattr(X, "ndim", None) == 2 else np.zeros((0, 0))
    if cells.ndim == 2 and cells.dtype == object and cells.size and np.ndim(cells[0, 0]):
        raise TypeError(f"{who}: X has a sequence in each cell; expected one column of it, or a list of arrays")


def are_tokens(X: Any) -> bool:
    """Whether X is strings, or sequences (T_i,) of strings or integers, not vectors."""
    if getattr(X, "ndim", None) == 1:
        X = np.asarray(X)  # a pandas.Series, too
    if not isinstance(X, (list, tuple, np.ndarray)) or not len(X):
        return False
    if isinstance(X[0], str):
        return True
    first = np.asarray(X[0])
    return first.ndim == 1 and first.dtype.kind in "iuUSO"


def _rows(estimator: BaseEstimator, table: Any, dtype: Any, reset: bool) -> list[FloatArray]:
    """Return the rows of a table, each a series of one feature."""
    _refuse_mask(type(estimator).__name__, "X", table)
    if reset or getattr(estimator, "_read_a_table", False):
        array = validate_data(estimator, table, dtype=dtype, reset=reset, order="C")
    else:
        array = check_array(table, dtype=dtype, order="C", estimator=estimator, input_name="X")
        _settle_features(estimator, [array[:1].T], reset)
    if reset:
        estimator._read_a_table, estimator._had_lengths = True, False
    return list(array[:, :, np.newaxis])


def _cut(who: str, X: Any, items: Any, lengths: Any) -> list[Any]:
    """Return each item of a 3-D array without its padding."""
    if getattr(X, "ndim", None) != 3:
        raise ValueError(f"{who}: lengths go with X (N, T, F); expected none with a list, whose items have their own")
    steps = check_array(lengths, ensure_2d=False, dtype=None, input_name="lengths")
    check_consistent_length(items, steps)
    T = X.shape[1]
    if steps.ndim != 1 or steps.dtype.kind not in "iu" or steps.min() < 1 or steps.max() > T:
        raise ValueError(f"{who}: lengths are {steps.tolist()}; expected (N,) integers in 1..{T}")
    return [item[:length] for item, length in zip(items, steps, strict=True)]


def _sequence(who: str, i: int, item: Any, dtype: Any) -> FloatArray:
    """Return one item as (T_i, F)."""
    _refuse_mask(who, f"X[{i}]", item)
    try:
        array = np.asarray(item)
    except ValueError:
        raise ValueError(f"{who}: X[{i}] has steps of different sizes; expected (T, F), all of one F") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{who}: X[{i}] has dtype {array.dtype}; expected numbers")
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{who}: X[{i}] has shape {array.shape}; expected (T, F), at least one step of one feature")
    array = np.ascontiguousarray(array, dtype=dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"{who}: X[{i}] contains NaN or infinity in {array.dtype}; expected finite numbers")
    return array


def _refuse_mask(who: str, name: str, array: Any) -> None:
    """Refuse masked values, which NumPy would hand on as if they were none."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(f"{who}: {name} has masked values; expected none: fill them, or give lengths")


def _settle_lengths(estimator: Any, X: Any, lengths: Any, reset: bool) -> None:
    """Note whether X is padded, or refuse to read the padding of another as steps."""
    if reset:
        estimator._had_lengths = lengths is not None
    elif estimator._had_lengths and lengths is None and getattr(X, "ndim", None) == 3:
        raise ValueError(
            f"{type(estimator).__name__}: X {X.shape} has no lengths; expected lengths, as at the fit, or list(X), of "
            "which every step counts"
        )


def _settle_names(estimator: Any, items: Any, reset: bool) -> None:
    """Hold frames to the columns of the fit, or of the first among them; arrays have no names."""
    columns = {i: list(item.columns) for i, item in enumerate(items) if hasattr(item, "columns")}
    if not columns:
        return
    first = next(iter(columns))
    known = None if estimator._read_a_table else getattr(estimator, "feature_names_in_", None)
    expected, place = (columns[first], f"as X[{first}] has") if known is None else (list(known), "as at the fit")
    for i, names in columns.items():
        if names != expected:
            raise ValueError(f"{type(estimator).__name__}: X[{i}] has columns {names}; expected {expected}, {place}")
    if reset and all(isinstance(name, str) for name in expected):
        estimator.feature_names_in_ = np.array(expected, object)


def _settle_features(estimator: Any, sequences: list[FloatArray], reset: bool) -> None:
    """Set or check F."""
    who = type(estimator).__name__
    if reset:
        estimator.n_features_in_ = sequences[0].shape[1]
        estimator._read_a_table = False
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    expected = 1 if estimator._read_a_table else estimator.n_features_in_
    for i, sequence in enumerate(sequences):
        if sequence.shape[1] != expected:
            raise ValueError(
                f"{who}: X[{i}] has {sequence.shape[1]} features; expected {expected}, as "
                f"{'X[0] has' if reset else 'at the fit'}"
            )
