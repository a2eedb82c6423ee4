"""Where Keras's files keep what: each layout brought to one form, a list of `Saved` layers in their order."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.convert.keras_models import Config, is_chain, is_model, layers_in, name_of
from fastrnn.convert.layer import Array
from fastrnn.convert.record import KEY

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

_ROOTS = ("layers", "_layer_checkpoint_dependencies")  # Keras 3; the first files of that kind, of Keras 2.12 and 2.13
_INNER = re.compile(r"(?:(?P<side>forward_layer|backward_layer|layer)/)?(?:cell/)?vars/(?P<number>\d+)")
_OF_TRAINING = ("optimizer", "optimizer_weights", "_optimizer")
_SEEDS = "seed_generator"  # the random state of dropout


@dataclass
class Saved:
    """A layer as the file has it.

    Attributes
    ----------
    name : str
        The layer's, in the model.
    config : dict or None
        Of the model, if the file has it.
    group : str
        Where its weights are; in new files it begins with the class's name.
    directions : list of one or two dicts
        (name in the file, array) by Keras's names of weights, or by "0", "1", ... in new files.
    others : dict
        Arrays that are at no place of a weight of the layers known here, by their names in the file.
    """

    name: str
    config: Config | None
    group: str
    directions: list[dict[str, tuple[str, Array]]] = field(default_factory=lambda: [{}])
    others: dict[str, Array] = field(default_factory=dict)

    def everything(self) -> dict[str, Array]:
        return {**self.others, **{source: array for one in self.directions for source, array in one.values()}}


@dataclass
class Content:
    """A file: its layers, which version of Keras wrote it ("" for unknown), notes, whether its layers are a chain.

    `said` are options by layers' names, which `write` keeps beside weights.
    """

    layers: list[Saved]
    version: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    chain: bool = False
    said: dict[str, dict[str, Any]] = field(default_factory=dict)


def library() -> Any:
    """h5py; an ImportError says where it is to be had."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"Keras's files need the package h5py: pip install 'fastrnn[convert]' ({error})") from None
    return h5py


def open_content(path: Path) -> Content:
    """All of a file of any of the layouts.

    Raises
    ------
    ValueError
        It is damaged, or not Keras's.
    """
    h5py = library()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read(CONFIG))
                version = json.loads(archive.read(METADATA)).get("keras_version", "")
                with h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r") as file:
                    layers = list(_new(file, _root(file), config, ""))
                    return Content(layers, version, _notes(file), is_chain(config))
        with h5py.File(path, "r") as file:
            return _of_hdf5(file)
    except (OSError, RuntimeError) as error:  # what h5py makes of damage
        raise ValueError(f"not a whole HDF5 file: {str(error)[:200]}") from None


def _of_hdf5(file: Any) -> Content:
    mark: dict[str, Any] = json.loads(file.attrs[KEY]) if KEY in file.attrs else {"layers": {}, "chain": False}
    chain, said, kept = mark["chain"] is True, mark["layers"], mark.get("notes", {})
    config = json.loads(file.attrs["model_config"]) if "model_config" in file.attrs else None
    group = file.get("model_weights", file)
    old = "layer_names" in group.attrs or "layer_names0" in group.attrs
    if not old and any(root in file for root in _ROOTS):
        return Content(list(_new(file, _root(file), None, "")), "3", _notes(file) | kept, chain, said)
    if not old:
        raise ValueError("an HDF5 file, but not one of Keras: it has neither layer_names nor a group called layers")
    version = _text(group.attrs.get("keras_version", file.attrs.get("keras_version", "")))
    return Content(list(_old(group, config)), version, _notes(file) | kept, is_chain(config) or chain, said)


def _notes(file: Any) -> dict[str, str]:
    """Weights of an optimizer are training's, not the model's."""
    here = [name for name in _OF_TRAINING if name in file and len(file[name])]
    return {"optimizer": "its state is left out"} if here else {}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# ------------------------------------------------------------------------------------- the older layout


def _old(group: Any, config: Config | None) -> Iterator[Saved]:
    configs = {name_of(one): one for one in layers_in(config)}
    names = [*configs, *(name for name in _names(group, "layer_names") if name not in configs)]
    names += [name for name in ("top_level_model_weights",) if name in group and name not in names]
    for name in names:
        weights = _names(group[name], "weight_names") if name in group else []
        own = {one: (f"{group.name}/{name}/{one}".lstrip("/"), group[name][one][()]) for one in weights}
        yield from _old_layer(name, configs.get(name), own)


def _old_layer(name: str, config: Config | None, weights: dict[str, tuple[str, Array]]) -> Iterator[Saved]:
    """A layer of weights by their names; of a model inside the model each of its layers, which the names tell apart."""
    if config is not None and is_model(config):
        for one in layers_in(config):
            own = {weight: weights.pop(weight) for weight in list(weights) if name_of(one) in weight.split("/")[:-1]}
            yield from _old_layer(f"{name}/{name_of(one)}", one, own)
        if weights:
            yield Saved(name, config, name, others=dict(weights.values()))
        return
    saved = Saved(name, config, name)
    for weight, (source, array) in weights.items():
        _put_old(saved, source, weight, array)
    yield saved


def _names(group: Any, key: str) -> list[str]:
    """A list of names, which HDF5 keeps in several attributes where it is long."""
    if key in group.attrs:
        return [_text(name) for name in group.attrs[key]]
    found: list[str] = []
    while f"{key}{len(found)}" in group.attrs:
        found.append(f"{key}{len(found)}")
    return [_text(name) for piece in found for name in group.attrs[piece]]


def _put_old(saved: Saved, source: str, weight: str, array: Array) -> None:
    *folders, last = weight.split("/")
    key = last.removesuffix(":0")
    backward = any(folder.startswith("backward_") for folder in folders)
    if saved.config is not None and saved.config["class_name"] == "Bidirectional":  # forward comes first
        backward = backward or len(saved.directions) == 2 or key in saved.directions[0]
    if backward and len(saved.directions) == 1:
        saved.directions.append({})
    direction = saved.directions[1 if backward else 0]
    if key in direction:  # a model inside the model, whose layers nothing tells apart without a configuration
        saved.others[source] = array
    else:
        direction[key] = (source, array)


# --------------------------------------------------------------------------------------- the new layout


def _root(file: Any) -> Any:
    for root in _ROOTS:
        if root in file:
            return file[root]
    raise ValueError("an HDF5 file, but not one of Keras: it has no group called layers")


def _new(file: Any, root: Any, config: Config | None, prefix: str) -> Iterator[Saved]:
    left = {name: root[name] for name in root}
    for one, group_name in _groups(layers_in(config), left):
        group = left.pop(group_name, None)
        yield from _new_layer(file, group, one, f"{prefix}{name_of(one)}", group_name)
    for group_name, group in left.items():
        yield from _new_layer(file, group, None, f"{prefix}{_said_name(group) or group_name}", group_name)
    if not prefix:
        for name in sorted(set(file) - {*_ROOTS, *_OF_TRAINING}):
            if own := _below(file, name):
                yield Saved(name, None, name, others=own)


def _below(file: Any, name: str) -> dict[str, Array]:
    """A dataset, or every one below a group, by its name in the file."""
    if hasattr(file[name], "dtype"):
        return {name: file[name][()]}
    return {f"{name}/{path}": array for path, array in _arrays(file[name])}


def _new_layer(file: Any, group: Any, config: Config | None, name: str, group_name: str) -> Iterator[Saved]:
    for root in _ROOTS:
        if group is not None and root in group:
            yield from _new(file, group[root], config, f"{name}/")
            return
    saved = Saved(name, config, group_name)
    for path, array in _arrays(group):
        source = f"{group.name}/{path}".lstrip("/")
        found = _INNER.fullmatch(path)
        if _SEEDS in path.split("/"):
            continue
        if found is None:
            saved.others[source] = array
            continue
        if found["side"] == "backward_layer" and len(saved.directions) == 1:
            saved.directions.append({})
        direction = saved.directions[1 if found["side"] == "backward_layer" else 0]
        direction[found["number"]] = (source, array)
    yield saved


def _arrays(group: Any) -> Iterator[tuple[str, Array]]:
    """Every array below a group, forward_layer before backward_layer."""
    found: dict[str, Array] = {}

    def visit(path: str, item: Any) -> None:
        if hasattr(item, "dtype"):
            found[path] = item[()]

    if group is not None:
        group.visititems(visit)
    yield from sorted(found.items(), key=lambda item: (not item[0].startswith("forward"), item[0]))


def _said_name(group: Any) -> str:
    """The layer's own name, where the file has it."""
    return _text(group["vars"].attrs.get("name", "")) if "vars" in group else ""


def _groups(configs: list[Config], groups: Mapping[str, Any]) -> Iterator[tuple[Config, str]]:
    """Each layer's group: the one that has its name, else by its class: lstm, lstm_1, ..."""
    named = {name: key for key, group in groups.items() if (name := _said_name(group))}
    counts: dict[str, int] = {}
    for one in configs:
        plain = snake_case(one["class_name"])
        count = counts.get(plain, 0)
        counts[plain] = count + 1
        yield one, named.get(name_of(one), f"{plain}_{count}" if count else plain)


def snake_case(name: str) -> str:
    """A class's name as Keras names groups: SimpleRNN is simple_rnn."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


# ------------------------------------------------------------------------------------------------ marks


def is_marked(path: Path) -> bool:
    """Whether `fastrnn convert` wrote a file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return KEY in json.loads(archive.read(METADATA))
    with library().File(path, "r") as file:
        return KEY in file.attrs


def shape_words(arrays: Mapping[str, tuple[str, Array]]) -> str:
    return ", ".join(f"{name} {np.shape(array)}" for name, (_, array) in arrays.items()) or "none"
