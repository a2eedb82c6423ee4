"""Model files: one safetensors file holds the model and all that resuming its training needs.

    tensors    recurrent.*, head.*     the parameters, with torch's names and shapes
               optimizer.*             the optimiser's arrays
               state.0, state.1        carried state, in the middle of an epoch
    metadata   format, version         what the file is
               model                   JSON: cell, layers, hidden, dropout
               vocabulary              JSON: one string, all characters in order
               training                JSON: settings, position, random state, text, history
               sha256                  of all tensors and all other metadata, so that damage is noticed

Nothing in a file is executed or names code: each value goes through a closed table (settings.py, record.py)
or is compared with what the settings imply, and whatever is left over is an error. Shapes are
compared before memory is taken. In version 1 the checksum covered the tensors alone.

A file is replaced in one step (see files.py), so a crash or a power cut leaves the old file or the
new one, whole.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn import archive
from fastrnn.errors import UserError
from fastrnn.files import replace_file
from fastrnn.words import AnyPath, listed, shortened, shown

from .model import CharacterModel, Floats, Shape, parameter_shapes
from .settings import ModelSettings, model_options, settings_from
from .text import Vocabulary

FORMAT = "fastrnn character model"
VERSION = "2"
_VERSION_1 = "1"

_METADATA_KEYS = {"format", "version", "model", "vocabulary", "training", "sha256"}
_EXTRA_PREFIXES = ("optimizer.", "state.")
_MOST_EXTRAS = 16  # two carried states; for each of two modules, the buffers of an optimiser


@dataclass
class ModelFile:
    """A model file's content, checked.

    Attributes
    ----------
    settings : ModelSettings
    vocabulary : Vocabulary
    parameters : dict of float32 arrays
    extras : dict of arrays
        Optimiser and carried state, by their names in the file.
    training : dict or None
        The training record as it stands in the file; `record.py` gives it meaning.
    unchecked : str
        What no checksum covers, in words; empty if all is covered.
    """

    settings: ModelSettings
    vocabulary: Vocabulary
    parameters: dict[str, Floats]
    extras: dict[str, Floats]
    training: dict[str, Any] | None
    unchecked: str

    def build_model(self, seed: int = 0) -> CharacterModel:
        """The model with the file's weights; `seed` starts its dropout."""
        model = CharacterModel(self.settings, len(self.vocabulary), seed)
        model.load_state_dict(self.parameters)
        return model


# ------------------------------------------------------------------------------------------ saving


def save(
    path: AnyPath,
    model: CharacterModel,
    vocabulary: Vocabulary,
    training: Mapping[str, Any] | None = None,
    extras: Mapping[str, Floats] | None = None,
) -> None:
    """Write a model file, replacing the one at `path` in one step.

    Parameters
    ----------
    path : path
    model : CharacterModel
    vocabulary : Vocabulary
    training : JSON-able dict, optional
    extras : dict of arrays, optional
        Names start with `optimizer.` or `state.`.

    Raises
    ------
    FloatingPointError
        If a tensor holds an infinity or a NaN; the file at `path` stays as it is.
    OSError
        If it cannot be written; the file at `path` stays as it is.
    """
    # Row-major order: safetensors 0.8.0 writes other layouts as they lie in memory.
    tensors = {
        name: archive.finite(name, np.asarray(value, order="C"))
        for name, value in {**model.state_dict(), **(extras or {})}.items()
    }
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "model": json.dumps(model_options(model.settings)),
        "vocabulary": json.dumps(vocabulary.characters),
    }
    if training is not None:
        metadata["training"] = json.dumps(training, allow_nan=False)
    metadata["sha256"] = archive.digest(tensors, metadata)
    replace_file(path, archive.library().numpy.save(tensors, metadata))


def is_model(path: AnyPath) -> bool:
    """Whether a file is a whole model file of any version, by its head alone."""
    safetensors = archive.library()
    if not Path(path).is_file():
        return False
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return bool((file.metadata() or {}).get("format") == FORMAT)
    except (OSError, safetensors.SafetensorError):
        return False


def _digest_1(tensors: Mapping[str, Floats]) -> str:
    """The checksum of version 1."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(archive.plain_bytes(value))
    return digest.hexdigest()


# ----------------------------------------------------------------------------------------- loading


def load(path: AnyPath) -> ModelFile:
    """Read and check a model file.

    Returns
    -------
    ModelFile

    Raises
    ------
    UserError
        If it is not a whole, consistent model file of this version; says what is wrong.
    OSError
        If it cannot be read.
    """
    if not os.fspath(path):
        raise UserError("the name of a model is empty; expected a file that `fastrnn train` wrote")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: " + ("not a file" if path.exists() else "no such file"))
    safetensors = archive.library()
    path.open("rb").close()  # its error names the file
    with archive.blame(path):
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                return _checked(file)
        except safetensors.SafetensorError as error:
            raise UserError(f"not a whole safetensors file: {shortened(str(error), 200)}") from None
        except OSError as error:  # the library does not name the file
            raise UserError(f"cannot be read as a safetensors file: {error}") from None


def _checked(file: Any) -> ModelFile:
    metadata = _checked_metadata(file.metadata())
    settings = settings_from(ModelSettings, archive.from_json(metadata, "model"))
    vocabulary = _checked_vocabulary(archive.from_json(metadata, "vocabulary"))
    names = file.keys()
    # Each name costs some time, so a file with a million of them is refused before they are looked at.
    if len(names) > (most := len(parameter_shapes(settings, len(vocabulary))) + _MOST_EXTRAS):
        raise UserError(f"{len(names)} tensors; expected at most {most}")
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    parameter_names = [name for name in shapes if not name.startswith(_EXTRA_PREFIXES)]
    _check_shapes({name: shapes[name] for name in parameter_names}, settings, len(vocabulary))
    extras = {name: archive.tensor(file, name) for name in shapes}
    unchecked = _check_digest(metadata, extras)
    parameters = {name: extras.pop(name) for name in parameter_names}
    return ModelFile(settings, vocabulary, parameters, extras, _training(metadata), unchecked)


def _check_digest(metadata: Mapping[str, str], tensors: Mapping[str, Floats]) -> str:
    """Raise UserError if the checksum is another one; returns what it does not cover, in words."""
    if "sha256" not in metadata:
        return "it has no checksum, so damage is not noticed"
    first = metadata["version"] == _VERSION_1
    if metadata["sha256"] != (_digest_1(tensors) if first else archive.digest(tensors, metadata)):
        raise UserError("the file is damaged: its checksum is not that of its content")
    return "it is of format version 1, whose checksum does not cover vocabulary and training record" if first else ""


def _training(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    if "training" not in metadata:
        return None
    training = archive.from_json(metadata, "training")
    if not isinstance(training, dict):
        raise UserError("training: expected a mapping")
    if metadata["version"] == _VERSION_1 and isinstance(training.get("settings"), dict):
        training["settings"].setdefault("unk", "error")  # what every run did
    return training


def _checked_metadata(metadata: dict[str, str] | None) -> dict[str, str]:
    metadata = metadata or {}
    if metadata.get("format") != FORMAT:
        raise UserError("a safetensors file, but not a model that `fastrnn train` wrote")
    if (version := metadata.get("version")) not in (VERSION, _VERSION_1):
        raise UserError(
            f"the file has format version {shown(version)}; this program reads {VERSION!r} and {_VERSION_1!r}"
        )
    if unknown := sorted(set(metadata) - _METADATA_KEYS):
        raise UserError(f"unknown metadata {listed(unknown)}")
    if missing := sorted({"model", "vocabulary"} - set(metadata)):
        raise UserError(f"missing metadata {listed(missing)}")
    return metadata


def _checked_vocabulary(characters: Any) -> Vocabulary:
    if not isinstance(characters, str):
        raise UserError("vocabulary: expected a string")
    return Vocabulary(characters)


def _check_shapes(
    shapes: Mapping[str, Shape], settings: ModelSettings, vocabulary_size: int
) -> None:
    """Raise UserError unless names and shapes of the parameters are what the settings imply."""
    # A file that claims a billion layers is refused before they are listed.
    if settings.layers > len(shapes):
        raise UserError(f"{settings.layers} layers, but {len(shapes)} parameter tensors")
    expected = parameter_shapes(settings, vocabulary_size)
    if missing := sorted(set(expected) - set(shapes)):
        raise UserError(f"missing tensor {listed(missing)}")
    if unexpected := sorted(set(shapes) - set(expected)):
        raise UserError(f"unexpected tensor {listed(unexpected)}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise UserError(f"{name} has shape {shapes[name]}; expected {shape}")


