"""The table of formats, and what all of them share: finding the right one, checking what it read, replacing a file.

A format is a module with

    NAME, EXTENSIONS                      its name in words, and what its files' names end in
    recognise(path, head) -> bool         by content, of which `head` is the beginning; then names decide
    read(path, ...) -> Model              arguments by keyword say what the files leave open
    write(model, path)                    absent where it is read only
    written_here(path) -> bool            whether `write` made a file that is recognised; absent for "never"
    KEEPS                                 endings of notes, of `LOSSES`, that `write` keeps; absent for none

and is imported when a file calls for it, as is the package that reads its files.
"""

from __future__ import annotations

import errno
import inspect
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from fastrnn.convert import assumptions
from fastrnn.convert.layer import Row
from fastrnn.convert.model import LOSSES, NOT_READ, Model

AnyPath = str | os.PathLike[str]
Format = Any  # a module

# In the order in which they are asked: those with a magic number first.
_FORMATS = {
    "keras": "fastrnn.convert.keras",
    "npz": "fastrnn.convert.npz",
    "pytorch": "fastrnn.convert.pytorch",
    "safetensors": "fastrnn.convert.safetensors",
    "rtneural": "fastrnn.convert.rtneural",
    "dynet": "fastrnn.convert.dynet",
    "paddle": "fastrnn.convert.paddle",
    "onnx": "fastrnn.convert.onnx",
}
_HEAD = 65_536
_MOST_NAMES = 8  # in a message
_WEIGHTS_ALONE = (".npz", ".safetensors", ".h5", ".hdf5")  # what these hold need not be a chain

# What readers raise on a file that is cut off or scrambled, besides the ValueErrors that say what it is.
_DAMAGE = (
    *(KeyError, IndexError, TypeError, AttributeError, EOFError, OverflowError, RuntimeError, NotImplementedError),
    *(struct.error, zlib.error),
)


def _formats() -> Iterator[Format]:
    for module in _FORMATS.values():
        try:
            yield import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise


def recognise(path: AnyPath) -> Format | None:
    """The format of a file, a module, or None for none that is known.

    Parameters
    ----------
    path : path

    Raises
    ------
    OSError
        There is no such file, or it cannot be opened.
    """
    path = Path(path)
    if not path.is_file() and not path.is_dir():
        raise FileNotFoundError(f"{path}: " + ("not a file" if path.exists() else "no such file"))
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(_HEAD)
    by_content = (one for one in _formats() if one.recognise(path, head))
    by_name = (one for one in _formats() if path.name.lower().endswith(tuple(one.EXTENSIONS)))
    return next(by_content, None) or next(by_name, None)


def read(path: AnyPath, **assume: Any) -> Model:
    """Read a file of any format, found by its content and then by its name.

    Parameters
    ----------
    path : path
    **assume
        What files of some formats do not say: nonlinearity="relu", merge="sum", reset_after=False, forget_bias=1.0,
        recurrent_activation="sigmoid", linear="decoder,head". Each format has its own; another one's is an error.
        order="body,head", of any format, says that these are all layers, and follow each other so.

    Returns
    -------
    Model
        Checked: each layer has all its tensors, in the right shapes, of one dtype, finite.

    Raises
    ------
    ValueError
        An unknown format, a damaged file, or one with what fastrnn's layers cannot do; the message names it.
    TypeError
        An assumption that the format has not.
    ImportError
        A package that reads the format is not installed.
    """
    form = recognise(path)
    if form is None:
        raise ValueError(f"{os.fspath(path)}: of no format that fastrnn reads; expected one of {_listed(_formats())}")
    _check_names(form, assume)
    assume = assumptions.parsed(assume)
    order = assume.pop("order", None)
    try:
        model: Model = form.read(Path(path), **assume)
        model.check()
        assumptions.check(assume, model.layers)
        if order is not None:
            model.put_in_order(order.split(","))
    except (ValueError, zipfile.BadZipFile) as error:
        raise _about(path, error) from error
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that one comes of a place that is none
            raise
        raise ValueError(
            f"{os.fspath(path)}: not a whole file of the format {form.NAME} ({type(error).__name__}: {error})"
        ) from error
    return model


def _about(path: AnyPath, error: Exception) -> ValueError:
    """The error with the file's name before it."""
    message = str(error)
    return ValueError(message if message.startswith(os.fspath(path)) else f"{os.fspath(path)}: {message}")


def _check_names(form: Format, assume: dict[str, Any]) -> None:
    parameters = inspect.signature(form.read).parameters.values()
    known = [*(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY), "order"]
    for name in assume:
        if name not in known:
            expected = ", ".join(known)
            raise TypeError(f"{form.NAME}: nothing is left open that {name} could say; expected {expected}")


def write(model: Model, path: AnyPath) -> None:
    """Write a model in the format that the file's name ends in, replacing a file there in one step.

    Parameters
    ----------
    model : Model
    path : path

    Raises
    ------
    ValueError
        No format has this ending, it is read only, or the model has what it cannot hold; the message names it.
    """
    path = Path(os.path.realpath(path))
    form = for_writing(path)
    model.check()
    _check_rest(model)
    if not path.name.lower().endswith(_WEIGHTS_ALONE):
        _check_whole(model, form, path.suffix)
    with tempfile.TemporaryDirectory(prefix=".fastrnn-", dir=path.parent) as folder:
        beside = Path(folder) / path.name
        form.write(model, beside)
        os.replace(beside, path)


def _check_rest(model: Model) -> None:
    if model.rest:
        names = ", ".join(list(model.rest)[:_MOST_NAMES]) + (", ..." if len(model.rest) > _MOST_NAMES else "")
        count = "1 tensor" if len(model.rest) == 1 else f"{len(model.rest)} tensors"
        raise ValueError(
            f"{count} of layers that fastrnn has not: {names}{_not_read(model)}; expected none, or to be told to leave "
            f"{'it' if len(model.rest) == 1 else 'them'} out (--leave-out, leave_out=True)"
        )


def _not_read(model: Model) -> str:
    """What the notes name."""
    names = [f"; {name} is {words}" for name, words in model.notes.items() if words.endswith(NOT_READ)]
    return "".join(names[:_MOST_NAMES])


def _check_whole(model: Model, form: Format, suffix: str) -> None:
    """Raise ValueError unless the layers are all of a model, and the format has all that they do."""
    if not model.chain:
        names = ",".join(layer.name for layer in model.layers)
        said = "its layers follow each other" if len(model.layers) > 1 else "its one layer is all that it does"
        without = _not_read(model)
        raise ValueError(
            f"nothing says that {said}, as in a file of {form.NAME} ({suffix}){without}; "
            f"expected that it is said{', which leaves that out' if without else ''}: "
            f"order={names}{' or another order' if len(model.layers) > 1 else ''}"
        )
    for name, words in model.notes.items():
        ending = name.rpartition(".")[2]
        if ending in LOSSES and ending not in getattr(form, "KEEPS", ()):
            raise ValueError(f"{name} is {words}; {form.NAME} ({suffix}) cannot say that; expected {LOSSES[ending]}")


def for_writing(path: AnyPath) -> Format:
    """The format that a new file's name calls for: the one with the longest ending that fits.

    Parameters
    ----------
    path : path

    Raises
    ------
    ValueError
        There is none, or it is read only.
    """
    name = Path(path).name.lower()
    fitting = [
        (len(ending), place, form)
        for place, form in enumerate(_formats())
        for ending in form.EXTENSIONS
        if name.endswith(ending)
    ]
    writing = [form for form in _formats() if hasattr(form, "write")]
    if not fitting:
        endings = ", ".join(ending for form in writing for ending in form.EXTENSIONS)
        raise ValueError(f"{os.fspath(path)}: the name says no format; expected one that ends in {endings}")
    form = max(fitting, key=lambda item: (item[0], -item[1]))[2]
    if form not in writing:
        raise ValueError(f"{os.fspath(path)}: {form.NAME} files are only read; expected {_listed(writing)}")
    return form


def convert(source: AnyPath, target: AnyPath, *, leave_out: bool = False, **assume: Any) -> list[Row]:
    """Read `source`, write `target`, and return a row for each tensor: from, to, shape.

    Parameters
    ----------
    source, target : paths of two files
    leave_out : bool
        Leave out tensors of layers that fastrnn has not, instead of refusing them.
    **assume
        As in `read`.

    Raises
    ------
    As `read` and `write`; nothing has been written then.
    """
    if os.path.realpath(source) == os.path.realpath(target):
        raise ValueError(f"{os.fspath(target)}: is the file to convert; expected another name")
    for_writing(target)
    model = read(source, **assume)
    if leave_out:
        model.rest.clear()
    try:
        write(model, target)
    except ValueError as error:
        raise _about(source, error) from error
    return list(model.rows())


def written_here(path: AnyPath) -> bool:
    """Whether `write` has made the file at a path, by a mark that it leaves.

    Parameters
    ----------
    path : path
    """
    try:
        form = recognise(path)
        return form is not None and hasattr(form, "written_here") and bool(form.written_here(Path(path)))
    except (OSError, ValueError, ImportError, zipfile.BadZipFile, json.JSONDecodeError, *_DAMAGE):
        return False


def _listed(forms: Any) -> str:
    return ", ".join(f"{form.NAME} ({' '.join(form.EXTENSIONS)})" for form in forms)
