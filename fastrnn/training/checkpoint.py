"""The file from which a run goes on, bit for bit: one safetensors file, replaced in one step.

    tensors    model.*                 the weights after the last step
               best.*                  those of the best epoch, where a run keeps them
               optimizer.*             the optimiser's arrays
    metadata   format, version         what the file is
               run                     JSON: settings, place, history, the optimiser's numbers
               sha256                  of all tensors and all other metadata

Order, dropout and learning rates follow from the seed and the place alone, so no generator is saved. Nothing in a file
is executed or names code: each entry must be one that the run at hand has, of its shape and type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn import _check, archive
from fastrnn._check import FloatArray
from fastrnn.errors import UserError
from fastrnn.files import replace_file
from fastrnn.words import AnyPath, listed, shown

from .history import Epoch, History, Tally, plain

FORMAT = "fastrnn training"
VERSION = "1"
_PREFIXES = ("model", "best", "optimizer")
_DTYPES = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}
_LOSSES = {"loss", "train_loss", "validation_loss"}  # a density may be above 1, and its -log below 0
_RUN = {"settings", "epoch", "step", "place", "rate", "optimizer", "history", "stopped", "tally"}

Tensors = dict[str, FloatArray]


@dataclass
class Saved:
    """A run between two steps.

    Attributes
    ----------
    settings : dict
        What must be the same for a run to go on, JSON-able.
    epoch, step, place : int
        Epochs done, updates done, steps done in the epoch that is going on.
    rate : float
        The optimiser's own learning rate, which schedules multiply.
    history, tally
    model, best : dicts of arrays
        `best` is empty where there is none yet.
    optimizer : dict
        Its state_dict.
    """

    settings: dict[str, Any]
    epoch: int
    step: int
    place: int
    rate: float
    history: History
    tally: Tally
    model: Tensors
    best: Tensors
    optimizer: dict[str, Any]


def save(path: AnyPath, saved: Saved) -> None:
    """Write a checkpoint, replacing the one at `path` in one step.

    Raises
    ------
    FloatingPointError
        A tensor holds an infinity or a NaN; the file at `path` stays as it is.
    OSError, UserError
        It cannot be written; the file at `path` stays as it is.
    """
    arrays = {name: value for name, value in saved.optimizer.items() if isinstance(value, np.ndarray)}
    groups: dict[str, Tensors] = {"model": saved.model, "best": saved.best, "optimizer": arrays}
    tensors = {
        f"{prefix}.{name}": archive.finite(name, np.asarray(value, order="C"))
        for prefix, group in groups.items()
        for name, value in group.items()
    }
    run = {name: getattr(saved, name) for name in ("settings", "epoch", "step", "place", "rate")}
    run["optimizer"] = {name: value for name, value in saved.optimizer.items() if name not in arrays}
    run["history"] = [asdict(one) for one in saved.history.epochs]
    run |= {"stopped": saved.history.stopped, "tally": asdict(saved.tally)}
    metadata = {"format": FORMAT, "version": VERSION, "run": json.dumps(plain(run), allow_nan=False)}
    metadata["sha256"] = archive.digest(tensors, metadata)
    replace_file(path, archive.library().numpy.save(tensors, metadata))


def load(path: AnyPath, settings: Mapping[str, Any], model: Tensors, optimizer: Mapping[str, Any]) -> Saved:
    """Read and check the checkpoint of a run.

    Parameters
    ----------
    path : path
    settings : dict
        Of the run that is to go on.
    model, optimizer : dicts
        The state_dicts of its model and its optimiser: the names, shapes and types that the file must have.

    Raises
    ------
    UserError
        It is not a whole checkpoint of this version, or one of another run; says what differs.
    OSError
        It cannot be read.
    """
    path = Path(path)
    path.open("rb").close()  # its error names the file
    safetensors = archive.library()
    with archive.blame(path):
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                run = _run(file.metadata() or {})
                tensors = _tensors(file, model, optimizer)
                metadata = file.metadata()
        except safetensors.SafetensorError as error:
            raise UserError(f"not a whole safetensors file: {error}") from None
        if metadata.get("sha256") != archive.digest(tensors, metadata):
            raise UserError("the file is damaged: its checksum is not that of its content")
        _compare(run["settings"], settings)
        numbers = _mapping("optimizer", run["optimizer"], {k for k in optimizer if not _is_array(optimizer[k])})
        return Saved(
            settings=dict(settings),
            epoch=_count("epoch", run["epoch"]),
            step=_count("step", run["step"]),
            place=_count("place", run["place"]),
            rate=_real("rate", run["rate"]),
            history=_history(run["history"], run["stopped"], run["epoch"]),
            tally=Tally(**_numbers("tally", run["tally"], Tally)),
            model=_group(tensors, "model"),
            best=_group(tensors, "best"),
            optimizer={**{k: _real(k, value) for k, value in numbers.items()}, **_group(tensors, "optimizer")},
        )


def is_checkpoint(path: AnyPath) -> bool:
    """Whether a file is a checkpoint of any version, by its head."""
    try:
        return archive.metadata(path).get("format") == FORMAT
    except (OSError, UserError):
        return False


def _run(metadata: Mapping[str, str]) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise UserError("a safetensors file, but not a checkpoint that fastrnn.fit wrote")
    if metadata.get("version") != VERSION:
        raise UserError(f"the file has format version {shown(metadata.get('version'))}; expected {VERSION!r}")
    if wrong := set(metadata) ^ {"format", "version", "run", "sha256"}:
        raise UserError(f"missing or unknown metadata {listed(sorted(wrong))}")
    return _mapping("run", archive.from_json(metadata, "run"), _RUN)


def _tensors(file: Any, model: Tensors, optimizer: Mapping[str, Any]) -> Tensors:
    arrays = {f"optimizer.{name}": value for name, value in optimizer.items() if _is_array(value)}
    weights = {f"model.{name}": value for name, value in model.items()}
    best = {f"best.{name}": value for name, value in model.items()}
    names = set(file.keys())
    expected = {**weights, **arrays, **(best if any(name in names for name in best) else {})}
    if wrong := names ^ set(expected):
        raise UserError(f"missing or unexpected tensor {listed(sorted(wrong))}; expected those of this model")
    for name, value in expected.items():
        shape, dtype = tuple(file.get_slice(name).get_shape()), file.get_slice(name).get_dtype()
        if (shape, dtype) != (value.shape, _DTYPES[value.dtype]):
            raise UserError(f"{name} has {dtype} {shape}; expected {_DTYPES[value.dtype]} {value.shape}")
    return {name: archive.tensor(file, name, ("F32", "F64")) for name in expected}


def _group(tensors: Tensors, prefix: str) -> Tensors:
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _compare(saved: Any, settings: Mapping[str, Any]) -> None:
    """Raise UserError where the file is of a run with other settings or data."""
    saved = _mapping("settings", saved, set(settings))
    for name, value in settings.items():
        if saved[name] != value:
            raise UserError(
                f"the run was begun with {name} {shown(saved[name])}; expected the same, this run has {shown(value)}"
            )


def _history(entries: Any, stopped: Any, epochs: int) -> History:
    if not isinstance(entries, list) or len(entries) != epochs:
        raise UserError(f"run: history is not a list of {epochs} epochs")
    if not isinstance(stopped, str) or not re.fullmatch(r"[\w ]{0,60}", stopped, re.ASCII):
        raise UserError(f"run: stopped is {shown(stopped)}; expected a reason in plain words")
    return History([Epoch(**_numbers("an epoch of the history", one, Epoch)) for one in entries], stopped)


def _numbers(what: str, given: Any, kind: type) -> dict[str, Any]:
    """Values of a dataclass of numbers, each of the type that its annotation says."""
    values = _mapping(what, given, {item.name for item in fields(kind)})
    for item in fields(kind):
        value = values[item.name]
        if item.type == "int":
            _count(item.name, value)
        elif value is not None or "None" not in str(item.type):
            values[item.name] = _real(item.name, value, negative=item.name in _LOSSES)
    return values


def _mapping(what: str, given: Any, names: set[str]) -> dict[str, Any]:
    if not isinstance(given, dict) or set(given) != names:
        raise UserError(f"run: {what} does not have the entries {listed(sorted(names), 20)}")
    return given


def _count(name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _check.MOST:
        raise UserError(f"run: {name} is {shown(value)}; expected a whole number from 0 to {_check.MOST}")
    return value


def _real(name: str, value: Any, negative: bool = False) -> float:
    if type(value) is str and value in ("inf", "nan", *(["-inf"] if negative else [])):
        return float(value)
    if type(value) not in (int, float) or (value < 0 and not negative):
        raise UserError(f"run: {name} is {shown(value)}; expected a number{'' if negative else ' >= 0'}")
    return value  # type: ignore[no-any-return]


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)
