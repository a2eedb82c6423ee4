"""Odd values for the test_every_argument files, and what each stands for: refused by name, or the same as a plain one.

A value that is accepted must give the result of the plain value that it stands for, say 2 for np.int64(2).
"""

import decimal
import fractions
import math
import operator
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from runs import floats

import fastrnn

T, B, I, H, L, V = 3, 2, 4, 5, 2, 6  # noqa: E741
REFUSED, ANYTHING, LEFT_OUT = object(), object(), object()


class Uncooperative:
    """Whatever is asked of it, it raises."""

    def __index__(self):
        raise RuntimeError("no")

    __float__ = __len__ = __iter__ = __getitem__ = __bool__ = __index__

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None

    def __repr__(self):
        return "Uncooperative()"


class Three:
    def __index__(self):
        return 3


VALUES = [
    None, True, False, np.True_, 0, 1, 2, -1, 2**31, 2**63, 2**64, 10**400, -(10**400), 0.0, 0.5, 1.0, 1.5, 2.0, -0.5,
    math.nan, math.inf, -math.inf, 1e39, 1e-46, 1e-39, 5e-324, 1 - 1e-9, 1e300, "", "2", "yes", "tanh", b"2", [], [1],
    [[]], (), (2,), {}, {1}, {"a": 1}, object(), len, lambda *_: None, type, Ellipsis, NotImplemented, slice(None),
    slice("a"), range(2), iter([1]), np.int8(2), np.int64(2), np.uint64(2), np.uint64(2**64 - 1), np.float16(0.5),
    np.float32(2), np.float64(0.5), np.longdouble(0.5), np.array(2), np.array(2, np.uint8), np.array(0.5),
    np.array([2]), np.array([[2]]), np.array(True), np.array("2"), np.array(None), np.array(2 + 0j), np.complex64(1),
    1j, np.datetime64("2026-01-01"), np.timedelta64(2, "s"), np.ma.masked, np.ma.array(2), np.ma.array(2, mask=True),
    np.zeros(0), np.zeros((0, 0), np.float32), np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.float32),
    np.zeros((1, 1), np.int64), np.full((1, 1), 2**62), np.full((1, 1), np.nan, np.float32), np.zeros(3, "f4,i4"),
    np.array([1, "a"], object), np.ones((1, 1)).view(np.matrix), np.zeros(2, "S3"), fractions.Fraction(1, 2),
    fractions.Fraction(2), decimal.Decimal("0.5"), Three(), Uncooperative(), Exception("value"),
    np.random.RandomState(0),
]  # fmt: skip


# -------------- what a value stands for, by the kind of argument


def is_masked(value):
    return isinstance(value, np.ma.MaskedArray)


def without_axes(value, kinds):
    return type(value) is np.ndarray and value.ndim == 0 and value.dtype.kind in kinds


def count(value, least=1, most=2**31 - 1):
    if isinstance(value, (bool, np.bool_, np.timedelta64)) or is_masked(value):
        return REFUSED
    if not isinstance(value, (int, np.integer, Three)) and not without_axes(value, "iu"):
        return REFUSED
    return operator.index(value) if least <= operator.index(value) <= most else REFUSED


def threads(value):
    return None if value is None else count(value)


def nothing(value):
    return None if value is None else REFUSED


def absent(value):
    return REFUSED


def flag(value):
    return bool(value) if isinstance(value, (bool, np.bool_)) else REFUSED


def lengths(value):
    """The values that are a length for each of two rows."""
    return None if value is None else np.array([0, 1]) if isinstance(value, range) else REFUSED


def number(value):
    if isinstance(value, (bool, np.bool_, np.timedelta64)) or is_masked(value):
        return REFUSED
    if isinstance(value, (int, float, np.integer, np.floating, fractions.Fraction)) or without_axes(value, "iuf"):
        try:
            return float(value)
        except OverflowError:
            return REFUSED
    return REFUSED


def share(value):
    given = number(value)
    return given if given is not REFUSED and 0 <= given < 1 else REFUSED


def dropout(value):
    given = share(value)
    return given if given is not REFUSED and np.float32(given) < 1 else REFUSED


LEAST, MOST = np.finfo(np.float32).tiny, float(np.finfo(np.float32).max)


def positive(value):
    given = number(value)
    return given if given is not REFUSED and LEAST <= given <= MOST else REFUSED


def seed(value):
    if value is None:
        return LEFT_OUT  # never the same
    if isinstance(value, (list, tuple)):
        return REFUSED if any(count(each, 0) is REFUSED for each in value) else [count(each, 0) for each in value]
    return count(value, 0, math.inf)


def initialiser(value):
    """What another callable raises is its own affair."""
    return LEFT_OUT if callable(value) else None if value is None else REFUSED


def names(*allowed):
    return lambda value: value if isinstance(value, str) and value in allowed else REFUSED


def function(value):
    """What another callable raises is its own affair."""
    return LEFT_OUT if callable(value) else REFUSED


# ------------------------------------------------------------------------------------------------- the callables


class Call(NamedTuple):
    who: str  # as messages have it
    function: object  # of the arguments
    arguments: dict  # name: (what it is called with otherwise, what a value stands for)
    aliases: dict = {}  # name: the word for it in messages  # noqa: RUF012


def x():
    return floats(T, B, I)


def head():
    return fastrnn.Linear(I, V, seed=0)


THREADS = {"num_threads": (None, threads)}


# -------------------------------------------------------------------------------------------------- the test


# What a refusal may be; anything else that comes out of a call fails the test.
ERRORS = (TypeError, ValueError, IndexError, KeyError, NotImplementedError, AttributeError)
WARNINGS = (
    ".*dropout is", "overflow encountered", "invalid value encountered", "divide by zero encountered",
    "Casting complex values",
)  # fmt: skip


def each_argument_of(calls):
    """Give a test every argument of every call, without the warnings that odd numbers are right to bring."""
    cases = [(index, call, name) for index, call in enumerate(calls) for name in call.arguments]
    names = [f"{call.who} {name} {index}" for index, call, name in cases]

    def decorate(test):
        for warning in WARNINGS:
            test = pytest.mark.filterwarnings(f"ignore:{warning}")(test)
        return pytest.mark.parametrize(("call", "name"), [case[1:] for case in cases], ids=names)(test)

    return decorate


def flattened(result):
    """Every number of a result, as bytes."""
    if isinstance(result, (list, tuple)):
        return [number for part in result for number in flattened(part)]
    return [] if result is None else [np.asarray(result).tobytes()]


def freshly(value):
    """An argument that a call may use up or change, made again."""
    return np.random.default_rng(0) if isinstance(value, np.random.Generator) else value


def words(error):
    return str(error.args[0]) if error.args else ""


def assert_refused_or_stands_for(call, name):
    """Every odd value of an argument is refused by name, or gives what the plain value that it stands for gives."""
    meaning = call.arguments[name][1]

    def result_of(value):
        given = {other: freshly(default) for other, (default, _) in call.arguments.items() if default is not ANYTHING}
        return flattened(call.function(**{**given, name: value}))

    for value in VALUES:
        stands_for = meaning(value)
        label = f"{call.who}({name}={value!r:.40})"
        if stands_for is REFUSED:
            assert_refused(call, name, label, partial(result_of, value))
        elif stands_for is ANYTHING:
            result_of(value)
        elif stands_for is not LEFT_OUT:
            assert result_of(value) == result_of(stands_for), label


def assert_refused(call, name, label, run):
    try:
        run()
    except ERRORS as error:
        message = words(error)
        assert message.startswith(call.who), f"{label}: {message}"
        assert any(word in message for word in call.aliases.get(name, name).split("|")), f"{label}: {message}"
        assert "expected" in message, f"{label}: {message}"
        assert "\n" not in message, label
    else:
        pytest.fail(f"{label} was accepted")
