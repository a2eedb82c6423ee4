"""Strings, or sequences of labels, as numbers, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]


def sequences_of(who: str, name: str, items: Any) -> list[list[Any]]:
    """Return N sequences of symbols as lists: the characters of strings, the labels of lists or arrays (T_i,)."""
    if items is None:
        raise ValueError(f"{who}: requires y to be passed, but the target y is None")
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        found = "one string" if isinstance(items, (str, bytes)) else f"a {type(items).__name__}"
        raise TypeError(f"{who}: {name} is {found}; expected a list of strings, or of sequences of labels")
    lists = []
    for i, item in enumerate(items):
        if not isinstance(item, (str, list, tuple, np.ndarray)) or (isinstance(item, np.ndarray) and item.ndim != 1):
            raise TypeError(f"{who}: {name}[{i}] is a {type(item).__name__}; expected a string or a sequence of labels")
        lists.append(item.tolist() if isinstance(item, np.ndarray) else list(item))
    if not lists:
        raise ValueError(f"{who}: {name} has no sequences; expected at least 1")
    return lists


class Symbols:
    """A set of symbols, sorted, each with its place.

    Parameters
    ----------
    items : iterable of sequences of symbols
        Of which every symbol is taken.
    strings : bool
        Whether `decode` gives strings; else lists.
    who, name : str
        What an error says of whose items they are.

    Raises
    ------
    TypeError
        Symbols that cannot be sorted together, or looked up.
    """

    def __init__(self, items: Iterable[list[Any]], strings: bool, who: str = "Symbols", name: str = "items") -> None:
        symbols = [symbol for item in items for symbol in item]
        try:
            self.values: list[Any] = sorted(set(symbols))
        except TypeError:  # from the symbols' own comparison or hash
            kinds = " and ".join(sorted({type(symbol).__name__ for symbol in symbols}))
            raise TypeError(
                f"{who}: {name} has symbols of type {kinds}; expected all strings or all integers"
            ) from None
        self.strings = strings
        self._places = {symbol: place for place, symbol in enumerate(self.values)}

    def __len__(self) -> int:
        return len(self.values)

    def encode(self, items: list[list[Any]], first: int = 0) -> list[Tokens]:
        """Return arrays (T_i,) of places plus `first`; what is not in the set gets the place after the last."""
        other = len(self)
        return [np.array([self._places.get(symbol, other) + first for symbol in item], np.int64) for item in items]

    def check(self, who: str, name: str, items: list[list[Any]]) -> None:
        """Refuse symbols that are not in the set."""
        for i, item in enumerate(items):
            for symbol in item:
                if symbol not in self._places:
                    raise ValueError(f"{who}: {name}[{i}] has {symbol!r}; expected one of the {len(self)} at the fit")

    def decode(self, tokens: Iterable[int], first: int = 0) -> Any:
        """Return a string, or a list, of the symbols at these places plus `first`."""
        symbols = [self.values[int(token) - first] for token in tokens]
        return "".join(symbols) if self.strings else symbols


def are_strings(items: Any) -> bool:
    """Whether every item is a string."""
    return all(isinstance(item, str) for item in items)


def edit_distance(one: list[Any], other: list[Any]) -> int:
    """Return the least number of insertions, deletions and substitutions between two sequences (Levenshtein, 1966)."""
    row = list(range(len(other) + 1))
    for i, symbol in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, mate in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (symbol != mate))
    return row[-1]


def error_rate(expected: list[list[Any]], predicted: list[Any]) -> float:
    """Return the edits from predicted to expected, of all sequences together, for each expected symbol."""
    edits = sum(edit_distance(one, list(other)) for one, other in zip(expected, predicted, strict=True))
    return edits / max(1, sum(map(len, expected)))
