"""PyTorch's own files (.pt, .pth, .ckpt), read without PyTorch and without running anything that is in them.

They are zip archives of raw storages and a pickle that says which tensor lies where. The pickle is read by an unpickler
that knows those few names and refuses every other.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastrnn.convert.archives import names_in
from fastrnn.convert.layer import Array
from fastrnn.convert.model import Model
from fastrnn.convert.names import are_a_chain, layers_of

NAME = "PyTorch"
EXTENSIONS = (".pt", ".pth", ".ckpt", ".bin")

_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
_NOT_IN_NUMPY = {"BFloat16Storage": "bfloat16", "ComplexHalfStorage": "complex32"}
_MOST_ENTRIES = 5  # in a message
_MEND = (
    "expected arrays alone; save them in PyTorch: "
    "safetensors.torch.save_file(torch.load(FILE)['state_dict' or the like], 'weights.safetensors')"
)


def recognise(path: Path, head: bytes) -> bool:
    """A zip archive with a pickle called data.pkl; or an old file, a bare pickle."""
    if head.startswith(b"\x80") and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    return any(name.endswith("/data.pkl") for name in names_in(path, head))


def read(
    path: Path,
    *,
    nonlinearity: str | None = None,
    merge: str | None = None,
    linear: str = "",
    entry: str | None = None,
) -> Model:
    """The layers of a state_dict, or of the one state_dict among a checkpoint's entries.

    Parameters
    ----------
    nonlinearity, merge, linear
        As in `names.layers_of`.
    entry : str, optional
        Which of a checkpoint's entries is the state_dict, where there are several.

    Raises
    ------
    ValueError
        A pickle that holds anything but tensors and plain values, several state_dicts of which none is said, a damaged
        file.
    """
    if not zipfile.is_zipfile(path):
        if path.read_bytes()[:1] != b"\x80":
            raise ValueError("no zip archive as torch.save writes it, or cut off; expected a whole one")
        raise ValueError(f"a bare pickle, which could run code when it is read; {_MEND}")
    with zipfile.ZipFile(path) as archive:
        content = _Unpickler(archive).load()
    name, tensors = _state_dict(content, entry)
    layers, rest, notes = layers_of(tensors, nonlinearity=nonlinearity, merge=merge, linear=linear)
    return Model(layers, "pytorch", {**({"entry": name} if name else {}), **notes}, rest, are_a_chain(layers, rest))


def _state_dict(content: Any, entry: str | None) -> tuple[str, dict[str, Array]]:
    """The tensors by name, and under which entry they are."""
    if not isinstance(content, dict):
        raise ValueError(f"holds a {type(content).__name__}; expected a state_dict, or a dict with one")
    if _is_state_dict(content):
        if entry is not None:
            raise ValueError(f"entry is {entry}, but the file is one state_dict, not a dict of them; expected no entry")
        return "", dict(content)
    found = {str(name): value for name, value in content.items() if _is_state_dict(value)}
    if not found:
        names = ", ".join(map(str, list(content)[:_MOST_ENTRIES])) or "none"
        raise ValueError(f"no entry is a state_dict (names and tensors) among its entries: {names}; expected one")
    names, first = ", ".join(list(found)[:_MOST_ENTRIES]), next(iter(found))
    if entry is None and len(found) > 1:
        raise ValueError(
            f"has {len(found)} entries that are state_dicts: {names}; expected that one is said: entry={first}"
        )
    name = first if entry is None else entry
    if name not in found:
        raise ValueError(f"entry is {name}; expected one that is a state_dict: {names}")
    return name, dict(found[name])


def _is_state_dict(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(one, np.ndarray) for name, one in value.items())


class _Storage(NamedTuple):
    """What the pickle calls torch.FloatStorage and the like."""

    name: str


class _Unpickler(pickle.Unpickler):
    """Reads dicts, lists, numbers, words and tensors, and looks up no name but these."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} pickles called data.pkl; expected one, as torch.save writes it")
        self._archive, self._folder = archive, pickles[0].removesuffix("data.pkl")
        if any(name.startswith(f"{self._folder}code/") for name in archive.namelist()):
            raise ValueError(f"a TorchScript program, not weights alone; {_MEND}")
        if self._entry("byteorder", b"little") != b"little":
            raise ValueError("its byteorder is big; expected little")
        super().__init__(io.BytesIO(archive.read(pickles[0])))

    def _entry(self, name: str, default: bytes) -> bytes:
        full = self._folder + name
        return self._archive.read(full).strip() if full in self._archive.namelist() else default

    def load(self) -> Any:
        try:
            return super().load()
        except ValueError:
            raise
        except Exception as error:  # a scrambled pickle may end in any of them
            raise ValueError(f"its pickle cannot be read: {type(error).__name__}: {error}") from None

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _tensor(*arguments)  # another one each time: a pickle may write to it
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *rest: tensor
        if module == "torch" and name in _DTYPES:
            return _Storage(name)
        if module == "torch" and name in _NOT_IN_NUMPY:
            raise ValueError(
                f"has tensors of {_NOT_IN_NUMPY[name]}, which NumPy has not; expected float32 or float64: in PyTorch, "
                "save {name: tensor.float() for name, tensor in state_dict.items()}"
            )
        raise ValueError(f"its pickle calls for {module}.{name}, which could run code; {_MEND}")

    def persistent_load(self, identity: Any) -> Array:
        kind, storage, key, _, count = identity
        if kind != "storage" or not isinstance(storage, _Storage):
            raise ValueError(f"its pickle has a storage of {storage!r}; expected one of {', '.join(_DTYPES)}")
        data = self._archive.read(f"{self._folder}data/{key}")
        array = np.frombuffer(data, _DTYPES[storage.name])
        if len(array) != count:
            raise ValueError(f"storage {key} has {len(array)} numbers; expected {count}")
        return array


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Array:
    """The tensor as a copy of its own."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise ValueError("its pickle makes a tensor of something else than a storage; expected a storage")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"a tensor of shape {shape} and strides {strides}; expected as many integers of both")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > len(storage) or (math.prod(shape) and last >= len(storage)):
        raise ValueError(f"a tensor of shape {shape} and strides {strides} leaves its {len(storage)} numbers")
    bytes_apart = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, bytes_apart, writeable=False).copy()
