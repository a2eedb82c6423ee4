"""Every rule about arguments and every message about a broken one: who, what, got, expected."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]  # float32 or float64
DType = np.dtype[np.floating[Any]]
IndexArray = NDArray[np.int64]

FLOAT32: DType = np.dtype(np.float32)
FLOAT64: DType = np.dtype(np.float64)

# What a C int holds; products of two such numbers stay below 2^63.
MOST = 2**31 - 1


# ---------------------------------------------------------------------------------------- numbers and words


def shown(value: Any) -> str:
    """What a message shows of a value: one line of no great length."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an object that fails at everything
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def integer(who: str, name: str, value: Any, least: int, most: float, expected: str) -> int:
    """Return value as an int in least..most, which `expected` says in words."""
    value = plain(who, name, value)
    if isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{who}: {name} is {value}; expected {expected}")
    try:
        number = operator.index(value)
    except Exception:  # whatever an object's __index__ raises
        raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected {expected}") from None
    if number < least:
        raise ValueError(f"{who}: {name} is {number}; expected {expected}")
    if number > most:
        raise ValueError(f"{who}: {name} is {number}; expected an integer in {least}..{most}")
    return number


def count(who: str, name: str, value: Any, most: int = MOST) -> int:
    """Return value as an int in 1..most."""
    return integer(who, name, value, 1, most, "an integer >= 1")


def token(who: str, name: str, value: Any) -> int:
    """Return value as an int in 0..most."""
    return integer(who, name, value, 0, MOST, "an integer >= 0")


def number(who: str, name: str, value: Any, expected: str) -> float:
    """Return any real number but a truth value as a float: NumPy's scalars, arrays without axes, fractions."""
    value = plain(who, name, value)
    without_axes = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf"
    if isinstance(value, (bool, np.timedelta64)) or not (isinstance(value, Real) or without_axes):
        raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected {expected}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{who}: {name} is beyond every float; expected {expected}") from None


def probability(who: str, name: str, value: Any) -> float:
    """Return value as a float in [0, 1)."""
    expected = "a number in [0, 1)"
    given = number(who, name, value, expected)
    if not 0 <= given < 1:
        raise ValueError(f"{who}: {name} is {value}; expected {expected}")
    return given


def share(who: str, name: str, value: Any) -> float:
    """Return value as a float in (0, 1]."""
    expected = "a number in (0, 1]"
    given = number(who, name, value, expected)
    if not 0 < given <= 1:
        raise ValueError(f"{who}: {name} is {given}; expected {expected}")
    return given


def length_penalty(who: str, name: str, value: Any) -> float:
    """Return value as a float in [0, 30]: no length to that power is beyond a float."""
    expected = "a number in [0, 30]"
    given = number(who, name, value, expected)
    if not 0 <= given <= 30:
        raise ValueError(f"{who}: {name} is {given}; expected {expected}")
    return given


def dropout(who: str, name: str, value: Any) -> float:
    """Return value as a float in [0, 1) that is below 1 as a float32, too: what is kept grows by 1 / (1 - value)."""
    given = probability(who, name, value)
    if np.float32(given) == 1:
        raise ValueError(f"{who}: {name} is {given}, 1 as a float32; expected a number in [0, 1)")
    return given


def float_range(dtype: DType) -> tuple[float, float]:
    """The least and the most of what dtype holds and the kernels do not count as zero."""
    numbers = np.finfo(dtype)
    return float(numbers.tiny), float(numbers.max)


def positive(
    who: str, name: str, value: Any, *, zero: bool = False, infinite: bool = False, dtype: DType = FLOAT32
) -> float:
    """Return value as a float above 0 that dtype holds; 0 or infinity where they have a meaning."""
    expected = f"a {'' if infinite else 'finite '}number {'>= 0' if zero else '> 0'}"
    given = number(who, name, value, expected)
    if not given >= 0 or (given == 0 and not zero) or (given == math.inf and not infinite):
        raise ValueError(f"{who}: {name} is {given}; expected {expected}")
    least, most = float_range(dtype)
    if 0 < given < least or (given > most and not infinite):
        raise ValueError(
            f"{who}: {name} is {given}; expected {expected} in the range of {dtype}, {least:.2g} to {most:.2g}"
        )
    return given


def factor(who: str, name: str, value: Any) -> float:
    """Return value as a finite float >= 0, however small."""
    expected = "a finite number >= 0"
    given = number(who, name, value, expected)
    if not 0 <= given < math.inf:
        raise ValueError(f"{who}: {name} is {given}; expected {expected}")
    return given


def flag(who: str, name: str, value: Any) -> bool:
    """Return value if it is true or false."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{who}: {name} is {shown(value)}; expected True or False")
    return bool(value)


def widths(who: str, name: str, value: Any) -> int | tuple[int, ...]:
    """Return the units of all layers, or of each."""
    if not isinstance(value, (list, tuple, np.ndarray)) or (isinstance(value, np.ndarray) and value.ndim != 1):
        return count(who, name, value)
    if not len(value):
        raise ValueError(f"{who}: {name} is empty; expected an integer, or one for each layer")
    return tuple(count(who, f"{name}[{layer}]", one) for layer, one in enumerate(value))


def layers_of(who: str, num_layers: Any, hidden_size: int | tuple[int, ...]) -> Any:
    """Return the number of layers, which a width for each of them says already."""
    if not isinstance(hidden_size, tuple):
        return num_layers
    if num_layers not in (1, len(hidden_size)):
        raise ValueError(
            f"{who}: num_layers is {shown(num_layers)} and hidden_size has {len(hidden_size)} widths; "
            f"expected num_layers={len(hidden_size)}, or hidden_size alone"
        )
    return len(hidden_size)


def projection(who: str, name: str, value: Any) -> int:
    """Return the size of a projection, 0 for none."""
    return integer(who, name, value, 0, MOST, "an integer >= 0")


def options_fit(
    who: str, states: tuple[str, ...], widths: tuple[int, ...], proj_size: int, bidirectional: bool, merge: str
) -> None:
    """Refuse options that say nothing or the impossible together."""
    if proj_size and len(states) == 1:
        raise ValueError(f"{who}: proj_size is {proj_size}; only an LSTM has projections, expected 0")
    if proj_size >= min(widths):
        raise ValueError(f"{who}: proj_size is {proj_size}; expected less than hidden_size={min(widths)}")
    if merge != "concat" and not bidirectional:
        raise ValueError(f"{who}: merge is {merge!r} with one direction; expected bidirectional=True, or no merge")


def instance(who: str, name: str, value: Any, kind: type, expected: str, *, optional: bool = False) -> Any:
    """Return value if it is of a kind, which `expected` says in words, or None where it may be left out."""
    if isinstance(value, kind) or (optional and value is None):
        return value
    raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected {expected}{' or None' if optional else ''}")


def function(who: str, name: str, value: Any, expected: str) -> Any:
    """Return value if it can be called with what `expected` says in words."""
    if callable(value):
        return value
    raise TypeError(f"{who}: {name} is {shown(value)}; expected a callable {expected}")


def path(who: str, name: str, value: Any) -> str | None:
    """Return the path of a file as a string, None for None."""
    if value is None:
        return None
    if isinstance(value, str | os.PathLike):
        found = os.fspath(value)
        if isinstance(found, str) and found and "\0" not in found:
            return found
    raise TypeError(f"{who}: {name} is {shown(value)}; expected a path, as a string or a pathlib.Path")


def checkpoint(who: str, value: Any) -> int:
    """Return after how many steps a state is kept, -1 for "auto"."""
    if isinstance(value, str):
        choice(who, "checkpoint", value, ("auto",))
        return -1
    return count(who, "checkpoint", value)


def generator(who: str, seed: Any) -> np.random.Generator:
    """Return the random numbers that a seed stands for."""
    ready = (np.random.SeedSequence, np.random.BitGenerator, np.random.Generator)
    if seed is None or isinstance(seed, ready):
        return np.random.default_rng(seed)
    expected = "a non-negative integer, a numpy.random.SeedSequence or None"
    several = isinstance(seed, (list, tuple))
    # Plain numbers: NumPy itself goes into whatever it is given and does not come back from everything.
    whole = [integer(who, "seed", each, 0, math.inf, expected) for each in (seed if several else [seed])]
    return np.random.default_rng(whole if several else whole[0])


def random_numbers(who: str, name: str, value: Any) -> np.random.Generator:
    """Return value if it is a generator of random numbers."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(
            f"{who}: {name} is a {type(value).__name__}; expected a numpy.random.Generator (np.random.default_rng(0))"
        )
    return value


def dimensions(who: str, value: Any) -> tuple[int, ...]:
    """Return the shape of an array to be made."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{who}: shape is {shown(value)}; expected a tuple of integers")
    shape = tuple(integer(who, f"shape[{i}]", n, 0, MOST, "an integer >= 0") for i, n in enumerate(value))
    parameter_bytes(who, {"shape": shape})
    return shape


def count_or_none(who: str, name: str, value: Any) -> int | None:
    """Return value as an int >= 1, or None."""
    return None if value is None else integer(who, name, value, 1, MOST, "an integer >= 1 or None")


def attention_sizes(who: str, kind: str, query_size: int, key_size: int, hidden_size: Any) -> None:
    """Refuse sizes that do not go with the kind of attention."""
    if kind == "dot" and query_size != key_size:
        raise ValueError(
            f"{who}: query_size is {query_size} and key_size {key_size}; expected equal ones for 'dot', or 'general'"
        )
    if kind != "additive" and hidden_size is not None:
        raise ValueError(f"{who}: hidden_size is {shown(hidden_size)}; only 'additive' has one, expected None")


def attention_lists(who: str, queries: Any, memory: Any, lengths: Any) -> None:
    """Refuse anything but two lists alike, of sequences that say their lengths themselves."""
    if not (isinstance(queries, list) and isinstance(memory, list)):
        got = f"queries is a {type(queries).__name__} and memory a {type(memory).__name__}"
        raise TypeError(f"{who}: {got}; expected two arrays or two lists")
    if len(queries) != len(memory):
        raise ValueError(f"{who}: queries has {len(queries)} sequences and memory {len(memory)}; expected as many")
    if lengths is not None:
        raise ValueError(f"{who}: lengths are given with lists, which have their own; expected None")


def same_batch(who: str, queries: int, memory: int) -> None:
    """Refuse batches of different sizes."""
    if queries != memory:
        raise ValueError(f"{who}: queries has a batch of {queries} and memory of {memory}; expected (T, B, ...) each")


def rows_of(who: str, name: str, array: Any, expected: str, size: int, axes: int, *, dtype: DType) -> FloatArray:
    """Return array if it has so many axes, the last of that size."""
    given = floats(who, name, array, dtype=dtype)
    if given.ndim != axes or given.shape[-1] != size:
        raise ValueError(f"{who}: {name} has shape {given.shape}; expected {expected} with {expected[-2]}={size}")
    return given


def index_or_none(who: str, name: str, value: Any) -> int | None:
    """Return value as an int >= 0, or None."""
    return None if value is None else integer(who, name, value, 0, MOST, "an integer >= 0 or None")


def padding_fits(who: str, padding_index: int | None, size: int) -> None:
    """Refuse an index of padding that is none of 0..size-1."""
    if padding_index is not None and padding_index >= size:
        raise ValueError(
            f"{who}: padding_index is {padding_index}; expected one of 0..{size - 1} (num_embeddings={size})"
        )


def matrix(who: str, value: Any) -> tuple[int, int]:
    """Return the shape of a matrix that is not empty."""
    shape = dimensions(who, value)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"{who}: shape is {shape}; expected (rows, columns), each at least 1")
    return shape[0], shape[1]


def rows_per_gate(who: str, shape: tuple[int, ...], gates: Any) -> int:
    """Return how many rows of an array of that shape each gate has."""
    blocks = count(who, "gates", gates)
    if not shape or shape[0] % blocks:
        raise ValueError(f"{who}: shape is {shape}; expected rows in {blocks} equal blocks")
    return shape[0] // blocks


def choice(who: str, name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return value if it is one of the allowed names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{who}: {name} is {shown(value)}; expected one of {', '.join(allowed)}")
    return str(value)


def dtype(who: str, name: str, value: Any) -> DType:
    """Return the type of floats that a layer or an array is to have, of its name, a NumPy type or a dtype."""
    if isinstance(value, (str, type, np.dtype)):  # of None NumPy would make float64
        with suppress(Exception):  # whatever NumPy raises
            for each in (FLOAT32, FLOAT64):
                if np.dtype(value) == each:
                    return each
    raise ValueError(f"{who}: {name} is {shown(value)}; expected 'float32' or 'float64'")


def dtype_of(array: Any) -> DType:
    """What goes with array: float64 if that is an ndarray of it, otherwise float32."""
    return FLOAT64 if isinstance(array, np.ndarray) and array.dtype == FLOAT64 else FLOAT32


def parameter_bytes(who: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of parameters if an array of any dtype can hold them."""
    total = sum(map(math.prod, shapes.values()))
    if total > np.iinfo(np.intp).max // 8:
        raise ValueError(f"{who}: {total} parameters; expected what fits in memory")
    return total


# --------------------------------------------------------------------------------------------------- arrays


def _unmasked(who: str, name: str, value: Any) -> None:
    if isinstance(value, np.ma.MaskedArray):
        code = name.split(" (")[0]
        raise TypeError(
            f"{who}: {name} is a masked array, whose mask would be lost; expected a plain one ({code}.filled(0)), with "
            "a number of your choice in the place of what is masked"
        )


def plain(who: str, name: str, value: Any) -> Any:
    """Return an ndarray of a subclass as what it is in memory, whatever its class says of itself; else the value."""
    if type(value) is np.ndarray or not isinstance(value, np.ndarray):
        return value
    _unmasked(who, name, value)
    return np.asarray(value)


def array_of(who: str, name: str, value: Any, expected: str) -> NDArray[Any]:
    """Return anything that NumPy reads as an array: lists, tensors, data frames."""
    value = plain(who, name, value)
    try:
        return np.asarray(value)
    except Exception as error:  # whatever the other library raises
        reason = " ".join(str(error).split())
        raise TypeError(
            f"{who}: {name} is a {type(value).__name__} that cannot be read as an array ({reason}); expected {expected}"
        ) from None


def _is_tensor(value: Any) -> bool:
    """Whether value is like a tensor of PyTorch, which may hold a gradient, a type of its own or lie on a device."""
    return all(hasattr(value, name) for name in ("detach", "cpu", "numpy"))


def floats_code(name: str, value: Any, dtype: DType) -> str:
    """What to type for value as an array of floats of that dtype."""
    code = name.split(" (")[0]
    if _is_tensor(value):
        return f"{code}.{'float' if dtype == FLOAT32 else 'double'}().numpy(force=True)"
    if not isinstance(value, np.ndarray):
        return f"np.asarray({code}, dtype=np.{dtype})"
    if value.dtype.names:
        return f"{code}[{value.dtype.names[0]!r}].astype(np.{dtype})"
    return f"{code}{'.real' if value.dtype.kind == 'c' else ''}.astype(np.{dtype})"


def _meaning(dtype: DType) -> str:
    return f"{dtype}, the dtype of the layer"


def _integer_code(name: str, value: Any) -> str:
    """What to type for value as an integer array."""
    if _is_tensor(value):
        return f"{name}.long().numpy(force=True)"
    if isinstance(value, np.ndarray):
        return f"{name}{'.real' if value.dtype.kind == 'c' else ''}.astype(np.int64)"
    return f"np.asarray({name}, dtype=np.int64)"


def floats(
    who: str, name: str, array: Any, otherwise: str = "", *, dtype: DType = FLOAT32, meaning: str = ""
) -> FloatArray:
    """Return array if it is an ndarray of dtype, of this machine's byte order: nothing is cast. Plain and aligned, for
    C.

    The name may go on after a blank; `otherwise` says what else would have done, `meaning` why it must be that dtype.
    """
    array = plain(who, name, array)
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{who}: {name} is a {type(array).__name__}; expected a {dtype} numpy array "
            f"({floats_code(name, array, dtype)}){otherwise}"
        )
    if array.dtype != dtype:
        raise TypeError(
            f"{who}: {name} has dtype {array.dtype}; expected {meaning or _meaning(dtype)} "
            f"({floats_code(name, array, dtype)}){otherwise}"
        )
    return array if array.flags.aligned else array.copy()


def shape(
    who: str,
    name: str,
    array: Any,
    expected: tuple[int, ...],
    meaning: str,
    otherwise: str = "",
    *,
    dtype: DType = FLOAT32,
) -> FloatArray:
    """Return array as a C-contiguous array of dtype of exactly that shape; `otherwise` as for `floats`."""
    array = floats(who, name, array, otherwise, dtype=dtype)
    if array.shape != expected:
        raise ValueError(
            f"{who}: {name} has shape {array.shape}; expected {meaning} = {expected}"
        )
    return np.ascontiguousarray(array)


def output(
    who: str, name: str, array: Any, expected: tuple[int, ...], meaning: str, *, dtype: DType = FLOAT32
) -> FloatArray:
    """Return an array of dtype of exactly that shape as what C may fill: its own memory, contiguous and writable."""
    code = f"{name} = np.empty({expected}, np.{dtype})"
    plain_array = plain(who, name, array)
    if not isinstance(plain_array, np.ndarray):
        raise TypeError(f"{who}: {name} is a {type(array).__name__}; expected a {dtype} numpy array ({code})")
    if plain_array.dtype != dtype:
        raise TypeError(f"{who}: {name} has dtype {plain_array.dtype}; expected {dtype} ({code})")
    if plain_array.shape != expected:
        raise ValueError(f"{who}: {name} has shape {plain_array.shape}; expected {meaning} = {expected}")
    if not (plain_array.flags.c_contiguous and plain_array.flags.writeable):
        raise ValueError(f"{who}: {name} is not writable and C-contiguous; expected both ({code})")
    return plain_array


def items(who: str, name: str, value: Any) -> NDArray[Any]:
    """Return a sequence of numbers or of rows of them as an array (N, ...)."""
    expected = "integers or floats"
    array = array_of(who, name, value, f"an array of {expected}")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{who}: {name} has dtype {array.dtype}; expected {expected}")
    if array.ndim == 0:
        raise ValueError(f"{who}: {name} has shape (); expected (N, ...)")
    return array


def is_index(array: Any) -> bool:
    """Whether array is an integer ndarray, which stands for one-hot vectors."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "iu"


def integers(who: str, name: str, array: Any) -> NDArray[Any]:
    """Return array if it is an integer ndarray, as a plain one."""
    array = plain(who, name, array)
    if not is_index(array):
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{who}: {name} are {got}; expected an integer array ({_integer_code(name, array)})")
    return array  # type: ignore[no-any-return]


def indices(
    who: str, name: str, array: NDArray[Any], axes: str, size: int, meaning: str, *, dtype: DType = FLOAT32
) -> IndexArray:
    """Return a copy of array as C-contiguous int64 indices in 0..size-1, with as many axes as `axes` names.

    A copy, because the kernels address memory by them: whoever writes to his array later must not move that.
    """
    letters = axes.split(", ")
    if array.ndim != len(letters):
        _wrong_index_axes(who, name, array, f"({axes})", size, meaning, dtype)
    _not_empty(who, name, array, letters)
    return index_range(who, name, array, size, meaning)


def _wrong_index_axes(
    who: str, name: str, array: NDArray[Any], axes: str, size: int, meaning: str, dtype: DType
) -> NoReturn:
    raise ValueError(
        f"{who}: {name} holds integers and has shape {array.shape}; expected {axes} indices "
        f"below {meaning}={size}, or vectors as {dtype} ({floats_code(name, array, dtype)})"
    )


def index_range(who: str, name: str, array: NDArray[Any], size: int, meaning: str) -> IndexArray:
    """Return a copy of integers, not empty, as C-contiguous int64, all in 0..size-1."""
    array = np.array(array, order="C")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        raise IndexError(
            f"{who}: {name} holds index {wrong}; expected indices in 0..{size - 1} ({meaning}={size})"
        )
    return array.astype(np.int64, copy=False)


def places(who: str, name: str, value: Any, size: int) -> IndexArray:
    """Return a copy of an integer ndarray of any shape as C-contiguous int64, all in 0..size-1."""
    array = np.array(integers(who, name, value), order="C")
    if array.size and (array.min() < 0 or array.max() >= size):
        at = tuple(map(int, np.argwhere((array < 0) | (array >= size))[0]))
        raise IndexError(
            f"{who}: {name} has value {array[at]} at {at[0] if len(at) == 1 else at}; expected 0..{size - 1}"
        )
    return array.astype(np.int64, copy=False)


def arrays(who: str, name: str, value: list[Any], expected: str) -> list[Any]:
    """Return a list of arrays that is one: not empty, and no numbers."""
    if not value or not all(isinstance(one, np.ndarray) or _is_tensor(one) for one in value):
        raise TypeError(
            f"{who}: {name} is the list {shown(value)}; expected an array, or a list of {expected}, one a sequence"
        )
    return value


def sequence(who: str, x: Any, axes: tuple[str, str], features: int, *, dtype: DType = FLOAT32) -> NDArray[Any]:
    """Return x, (T, B, features) of dtype or integers (T, B), or one axis less for a single sequence; not empty."""
    x = plain(who, "x", x)
    if is_index(x):
        if x.ndim not in (1, 2):
            _wrong_index_axes(who, "x", x, f"({', '.join(axes)}) or (T,)", features, "input_size", dtype)
        return indices(who, "x", x, ", ".join(axes if x.ndim == 2 else ("T",)), features, "input_size", dtype=dtype)
    listed = ", or a list of arrays, one a sequence" if isinstance(x, list) else ""
    vectors = floats(who, "x", x, f", or integers ({', '.join(axes)}){listed}", dtype=dtype)
    if vectors.ndim == 2 and vectors.shape[1] == features:
        _not_empty(who, "x", vectors, ["T"])
        return vectors
    return _batch(who, vectors, axes, features, f", or (T, input_size={features}) of a single sequence")


def padded_sequence(who: str, x: Any, axes: tuple[str, str], features: int, *, dtype: DType = FLOAT32) -> NDArray[Any]:
    """Return x as `sequence` does, but no single one, and with any indices: padding may hold what it likes."""
    x = plain(who, "x", x)
    if not is_index(x):
        return _batch(who, floats(who, "x", x, f", or integers ({', '.join(axes)})", dtype=dtype), axes, features)
    if x.ndim != 2:
        _wrong_index_axes(who, "x", x, f"({', '.join(axes)})", features, "input_size", dtype)
    _not_empty(who, "x", x, list(axes))
    return x  # type: ignore[no-any-return]


def _batch(
    who: str, x: FloatArray, axes: tuple[str, str], features: int, otherwise: str = ""
) -> FloatArray:
    """Return x if it is (T, B, features) and not empty; `otherwise` says what else would have done."""
    if x.ndim != 3 or x.shape[2] != features:
        expected = f"({', '.join(axes)}, input_size={features})"
        raise ValueError(f"{who}: x has shape {x.shape}; expected {expected}{'' if x.ndim == 3 else otherwise}")
    _not_empty(who, "x", x, list(axes))
    return x


def _not_empty(who: str, name: str, array: NDArray[Any], letters: list[str]) -> None:
    for letter, n in zip(letters, array.shape, strict=False):
        if n == 0:
            raise ValueError(
                f"{who}: {name} has shape {array.shape}; expected {letter} >= 1, nothing runs on "
                "an empty batch or no time steps"
            )


def sequences(
    who: str, x: list[Any], axes: tuple[str, str], features: int, *, dtype: DType = FLOAT32
) -> list[NDArray[Any]]:
    """Return the arrays of a list, all (T_i, features) of dtype or all integers (T_i,), T_i >= 0, not all of them 0."""
    if x and not any(isinstance(one, np.ndarray) or _is_tensor(one) for one in x):
        sequence(who, x, axes, features, dtype=dtype)  # numbers in a list, which it refuses
    arrays = [plain(who, f"x[{b}]", one) for b, one in enumerate(x)]
    if not arrays:
        raise ValueError(f"{who}: x is an empty list; expected one array (T_i, input_size) or more")
    integers_expected = is_index(arrays[0])
    for b, one in enumerate(arrays):
        if is_index(one) and integers_expected:
            if one.ndim != 1:
                raise ValueError(f"{who}: x[{b}] holds integers and has shape {one.shape}; expected (T_i,)")
            continue
        floats(who, f"x[{b}]", one, "" if integers_expected else ", or a list of integers (T_i,)", dtype=dtype)
        if integers_expected:
            raise TypeError(f"{who}: x[0] holds integers and x[{b}] {dtype}; expected all arrays of one kind")
        if one.ndim != 2 or one.shape[1] != features:
            raise ValueError(f"{who}: x[{b}] has shape {one.shape}; expected (T_i, input_size={features})")
    if not any(len(one) for one in arrays):
        raise ValueError(f"{who}: x holds no steps; expected one array with T_i >= 1 or more")
    return arrays


def list_of(who: str, name: str, value: Any, n: int, expected: str) -> list[Any]:
    """Return a list or tuple of n things."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected a list of {n}, {expected}")
    if len(value) != n:
        raise ValueError(f"{who}: {name} has {len(value)} items; expected {n}, {expected}")
    return list(value)


def lengths(who: str, value: Any, B: int, T: int, name: str = "lengths", letter: str = "T") -> IndexArray:
    """Return how many steps each row of a batch has, (B,) in 0..T."""
    array = integers(who, name, value if isinstance(value, np.ndarray) else array_of(
        who, name, value, "(B,) integers"))
    if array.shape != (B,):
        raise ValueError(f"{who}: {name} have shape {array.shape}; expected (B,) = {(B,)}")
    wrong = array[(array < 0) | (array > T)]
    if len(wrong):
        raise ValueError(f"{who}: {name} hold {wrong[0]}; expected 0..{letter}={T}")
    return array.astype(np.int64)


def flags(who: str, name: str, value: Any, expected: tuple[int, ...], meaning: str) -> NDArray[np.bool_]:
    """Return an array of booleans of exactly that shape."""
    array = array_of(who, name, value, f"{meaning} booleans")
    if array.dtype != bool:
        raise TypeError(f"{who}: {name} has dtype {array.dtype}; expected booleans ({name} != 0)")
    if array.shape != expected:
        raise ValueError(f"{who}: {name} has shape {array.shape}; expected {meaning} = {expected}")
    return array


StateShape = tuple[int, ...] | list[tuple[int, ...]]  # of a kind: of one array, or of one for each layer


def state(
    who: str,
    name: str,
    value: Any,
    names: tuple[str, ...],
    expected: Sequence[StateShape],
    meanings: Sequence[str],
    *,
    dtype: DType = FLOAT32,
) -> list[Any]:
    """Return the kinds of a state: h alone, or a pair (h, c), each an array or a list of one for each layer."""
    said = [f"{meaning} = {shapes}" for meaning, shapes in zip(meanings, expected, strict=True)]
    if len(names) == 1:
        if isinstance(value, (tuple, list)) and not isinstance(expected[0], list):
            raise TypeError(
                f"{who}: {name} is a {type(value).__name__} of {len(value)}; expected the array h {said[0]} alone"
            )
        parts = [value]
    else:
        if not isinstance(value, (tuple, list)) or len(value) != len(names):
            got = type(value).__name__
            if isinstance(value, (tuple, list)):
                got += f" of {len(value)}"
            each = f"each {said[0]}" if len(set(said)) == 1 else " and ".join(said)
            raise TypeError(f"{who}: {name} is a {got}; expected the pair (h, c), {each}")
        parts = list(value)
    kinds: list[Any] = []
    for i, (part, shapes, meaning) in enumerate(zip(parts, expected, meanings, strict=True)):
        label, kind = (name, "") if len(names) == 1 else (f"{name}[{i}]", f" ({names[i]})")
        if isinstance(shapes, list):
            arrays = list_of(who, f"{label}{kind}", part, len(shapes), "one array for each layer")
            kinds.append([
                shape(who, f"{label}[{layer}]{kind}", array, one, meaning, dtype=dtype)
                for layer, (array, one) in enumerate(zip(arrays, shapes, strict=True))
            ])
        else:
            kinds.append(shape(who, f"{label}{kind}", part, shapes, meaning, dtype=dtype))
    return kinds


def rows(who: str, value: Any, B: int) -> slice | IndexArray:
    """Return rows of a batch, given as one index, several, a slice or a mask, as what indexes axis 0."""
    expected = "expected an integer, several, a slice or a mask (B,)"
    if isinstance(value, slice):
        try:
            value.indices(B)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{who}: rows is {shown(value)}; {expected}") from None
        return value
    array = array_of(who, "rows", value, expected.removeprefix("expected "))
    if array.dtype == np.bool_:
        if array.shape != (B,):
            raise ValueError(f"{who}: rows is a mask of shape {array.shape}; expected (B,) = {(B,)}")
        return np.flatnonzero(array)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(f"{who}: rows is {shown(value)}; {expected}")
    if array.shape == (B,) and np.isin(array, (0, 1)).all():
        raise ValueError(
            f"{who}: rows is {shown(value)}, {B} integers 0 or 1 for a batch of {B}, which may be a mask or row "
            "numbers; expected the mask (np.asarray(rows, dtype=bool)), or for row numbers "
            f"np.isin(np.arange({B}), rows)"
        )
    if array.min() < -B or array.max() >= B:
        raise IndexError(f"{who}: rows is {shown(value)}; expected integers in {-B}..{B - 1}")
    return array.reshape(-1).astype(np.int64)


# ----------------------------------------------------------------------------------------------------- state dicts


class Keys(NamedTuple):
    """Names that a state dict had too few and too many, as PyTorch returns them."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"Keys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def mapping(who: str, given: Any) -> dict[Any, Any]:
    """Return what a mapping holds: it is asked once."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{who}: got a {type(given).__name__}; expected a mapping of names to arrays")
    return dict(given)


def names(who: str, given: Mapping[Any, Any], expected: Mapping[str, Any], strict: bool) -> Keys:
    """Return the names that are missing and those that are unexpected, neither of which there may be if strict."""
    missing, unexpected = [n for n in expected if n not in given], [n for n in given if n not in expected]
    if strict and (missing or unexpected):
        raise KeyError(
            f"{who}: missing {sorted(missing) or 'nothing'}, unexpected {sorted(unexpected, key=repr) or 'nothing'}; "
            f"expected exactly {sorted(expected)} (strict=False ignores the difference)"
        )
    return Keys(missing, unexpected)


def tensor(
    who: str, name: str, value: Any, expected: tuple[int, ...], *, dtype: DType = FLOAT32
) -> FloatArray:
    """Return a copy of a finite array of dtype of exactly that shape, or of a tensor that NumPy reads as one."""
    code = f"a {dtype} numpy array ({floats_code(name, value, dtype)})"
    array = array_of(who, name, value, code)
    if array.dtype != dtype:
        raise TypeError(
            f"{who}: {name} has dtype {array.dtype}; expected {_meaning(dtype)} "
            f"({floats_code(name, array if isinstance(value, np.ndarray) else value, dtype)})"
        )
    if array.shape != expected:
        raise ValueError(f"{who}: {name} has shape {array.shape}; expected {expected}")
    array = np.array(array, order="C")  # it may look into what is about to change
    if not np.isfinite(array).all():
        raise ValueError(f"{who}: {name} holds NaN or infinity; expected finite values")
    return array


def state_dict(
    who: str, given: Any, shapes: Mapping[str, tuple[int, ...]], strict: Any, *, dtype: DType = FLOAT32
) -> tuple[dict[str, FloatArray], Keys]:
    """Return copies of the given tensors, all of them checked before any is used, and how the names differ."""
    strict = flag(who, "strict", strict)
    given = mapping(who, given)
    keys = names(who, given, shapes, strict)
    return {name: tensor(who, name, given[name], shapes[name], dtype=dtype) for name in shapes if name in given}, keys


# -------------------------------------------------------------------------------------------------------- training


def modules(who: str, given: Any) -> tuple[Any, ...]:
    """Return a layer or several as a tuple, each of them once."""
    found = tuple(given) if isinstance(given, Sequence) else (given,)
    if not found:
        raise ValueError(f"{who}: modules is empty; expected at least one layer")
    for index, module in enumerate(found):
        if not all(hasattr(module, n) for n in ("flat_params", "flat_grads", "editing")):
            got = type(module).__name__
            raise TypeError(f"{who}: modules has a {got}; expected a layer or a list of layers ([lstm, head])")
        first = next(i for i, other in enumerate(found) if other is module)
        if first < index:
            raise ValueError(f"{who}: modules[{index}] is also modules[{first}]; expected each layer once")
    return found


def entries(who: str, given: Mapping[Any, Any], expected: Sequence[str]) -> None:
    """Raise unless given has exactly the expected names."""
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    if missing or unexpected:
        raise KeyError(f"{who}: missing {missing}, unexpected {unexpected}; expected {list(expected)}")


def gradient_dicts(who: str, grads: Any) -> list[Mapping[str, Any]]:
    """The dicts of `grads`, each checked to be one and to come once."""
    dicts = [grads] if isinstance(grads, Mapping) else grads
    if not isinstance(dicts, (list, tuple)) or not all(isinstance(d, Mapping) for d in dicts):
        got = type(grads).__name__
        raise TypeError(
            f"{who}: grads is a {got}; expected a layer's grads or a list of such ([lstm.grads, head.grads])"
        )
    for index, one in enumerate(dicts):
        if any(one is other for other in dicts[:index]):
            raise ValueError(f"{who}: grads[{index}] comes twice; expected distinct dicts")
    return list(dicts)


def gradient_vectors(who: str, dicts: list[Mapping[str, Any]]) -> list[NDArray[Any]]:
    """Every element once, in as few arrays as possible: a layer's one buffer, or dict values."""
    vectors: dict[str, NDArray[Any]] = {}
    for index, one in enumerate(dicts):
        flat = getattr(one, "flat", None)
        if isinstance(flat, np.ndarray):
            vectors[f"grads[{index}]"] = _gradient(who, "flat", flat)
        else:
            vectors.update({f"grads[{index}][{name!r}]": _gradient(who, name, one[name]) for name in one})
    _distinct(who, vectors)
    return list(vectors.values())


def _gradient(who: str, name: str, array: Any) -> NDArray[Any]:
    found = plain(who, name, array)
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
        got = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{who}: {name} is of type {got}; expected an array of floats")
    if not found.flags.writeable:
        raise ValueError(f"{who}: {name} is read-only; expected a writable array")
    return found


def _distinct(who: str, vectors: dict[str, NDArray[Any]]) -> None:
    """Raise if a number would be counted and changed twice."""
    extents = {name: _extent(vector) for name, vector in vectors.items()}
    near: list[str] = []  # those that may reach to the next one's begin
    for name in sorted(extents, key=lambda name: extents[name]):
        begin, end = extents[name]
        if vectors[name].nbytes > end - begin:
            raise ValueError(f"{who}: {name} has several elements in one place; expected every gradient once")
        near = [other for other in near if extents[other][1] > begin]
        for other in near:
            if np.shares_memory(vectors[name], vectors[other]):
                raise ValueError(f"{who}: {name} shares memory with {other}; expected every gradient once")
        near.append(name)


def _extent(array: NDArray[Any]) -> tuple[int, int]:
    """The addresses of an array's first byte and after its last."""
    steps = [stride * (n - 1) for stride, n in zip(array.strides, array.shape, strict=True)]
    if not array.size:
        return 0, 0
    begin = int(array.__array_interface__["data"][0])
    return begin + sum(min(step, 0) for step in steps), begin + sum(max(step, 0) for step in steps) + array.itemsize
