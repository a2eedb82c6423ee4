"""Model files: one safetensors file holds the model and all that resuming its training needs.

    tensors    recurrent.*, head.*     the parameters, with torch's names and shapes
               optimizer.*             the optimiser's arrays
               state.0, state.1        carried state, in the middle of an epoch
    metadata   format, version         what the file is
               model                   JSON: cell, layers, hidden, dropout
               vocabulary              JSON: one string, all characters in order
               training                JSON: settings, position, random state, text, history
               sha256                  of all tensors, so that damaged weights are noticed

Nothing in a file is executed or names code: each value goes through a closed table (settings.py)
or is compared with what the settings imply, and whatever is left over is an error. Shapes are
compared before memory is taken.

A file is replaced in one step (see files.py), so a crash or a power cut leaves the old file or the
new one, whole.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .files import replace_file
from .model import CharacterModel, Floats, Shape, parameter_shapes
from .settings import ModelSettings, model_options, settings_from
from .text import AnyPath, Vocabulary

FORMAT = "fastrnn character model"
VERSION = "1"

_METADATA_KEYS = {"format", "version", "model", "vocabulary", "training", "sha256"}
_EXTRA_PREFIXES = ("optimizer.", "state.")


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
        The training record as it stands in the file; `train.py` gives it meaning.
    """

    settings: ModelSettings
    vocabulary: Vocabulary
    parameters: dict[str, Floats]
    extras: dict[str, Floats]
    training: dict[str, Any] | None

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
        name: _finite(name, np.asarray(value, order="C"))
        for name, value in {**model.state_dict(), **(extras or {})}.items()
    }
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "model": json.dumps(model_options(model.settings)),
        "vocabulary": json.dumps(vocabulary.characters),
        "sha256": _digest(tensors),
    }
    if training is not None:
        metadata["training"] = json.dumps(training, allow_nan=False)
    replace_file(path, _safetensors().numpy.save(tensors, metadata))


def is_model(path: AnyPath) -> bool:
    """Whether a file is a whole model file of any version, by its head alone."""
    safetensors = _safetensors()
    if not Path(path).is_file():
        return False
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return bool((file.metadata() or {}).get("format") == FORMAT)
    except (OSError, safetensors.SafetensorError):
        return False


def _finite(name: str, value: Floats) -> Floats:
    if not np.isfinite(value).all():
        raise FloatingPointError(f"{name} is not finite everywhere, so it was not saved")
    return value


def _digest(tensors: Mapping[str, Floats]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError:
        message = "model files need the package safetensors: pip install safetensors"
        raise UserError(message) from None
    return safetensors


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
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: " + ("not a file" if path.exists() else "no such file"))
    safetensors = _safetensors()
    with (
        _blame(path, safetensors.SafetensorError),
        safetensors.safe_open(path, framework="numpy") as file,
    ):
        return _checked(file)


@contextmanager
def _blame(path: Path, library_error: type[Exception]) -> Iterator[None]:
    """Errors of the block as UserErrors that begin with the file's name."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except library_error as error:
        raise UserError(f"{path}: not a whole safetensors file: {error}") from None


def _checked(file: Any) -> ModelFile:
    metadata = _checked_metadata(file.metadata())
    settings = settings_from(ModelSettings, _from_json(metadata, "model"))
    vocabulary = _checked_vocabulary(_from_json(metadata, "vocabulary"))
    names = file.keys()
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    extra_names = [name for name in shapes if name.startswith(_EXTRA_PREFIXES)]
    _check_shapes(
        {name: shape for name, shape in shapes.items() if name not in set(extra_names)},
        settings,
        len(vocabulary),
    )
    tensors = {name: _checked_tensor(file, name) for name in sorted(shapes)}
    if "sha256" in metadata and metadata["sha256"] != _digest(tensors):
        raise UserError("the tensors are damaged: their checksum is not the one in the file")
    extras = {name: tensors.pop(name) for name in extra_names}
    training = _from_json(metadata, "training") if "training" in metadata else None
    if training is not None and not isinstance(training, dict):
        raise UserError("training: expected a mapping")
    return ModelFile(settings, vocabulary, tensors, extras, training)


def _checked_metadata(metadata: dict[str, str] | None) -> dict[str, str]:
    metadata = metadata or {}
    if metadata.get("format") != FORMAT:
        raise UserError("a safetensors file, but not a model that `fastrnn train` wrote")
    if metadata.get("version") != VERSION:
        version = metadata.get("version")
        raise UserError(f"the file has format version {version!r}; this program reads {VERSION!r}")
    if unknown := sorted(set(metadata) - _METADATA_KEYS):
        raise UserError(f"unknown metadata {', '.join(map(repr, unknown))}")
    if missing := sorted({"model", "vocabulary"} - set(metadata)):
        raise UserError(f"missing metadata {', '.join(map(repr, missing))}")
    return metadata


def _from_json(metadata: dict[str, str], key: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    try:
        return json.loads(metadata[key], parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise UserError(f"{key}: not readable as JSON: {error}") from None


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
        raise UserError(f"missing tensor {', '.join(missing[:4])}")
    if unexpected := sorted(set(shapes) - set(expected)):
        raise UserError(f"unexpected tensor {', '.join(map(repr, unexpected[:4]))}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise UserError(f"{name} has shape {shapes[name]}; expected {shape}")


def _checked_tensor(file: Any, name: str) -> Floats:
    """The tensor `name`, float32 and finite."""
    dtype = file.get_slice(name).get_dtype()
    if dtype != "F32":
        raise UserError(f"{name} has dtype {dtype}; expected F32")
    value: Floats = file.get_tensor(name)
    if not np.isfinite(value).all():
        raise UserError(f"{name} holds a value that is not finite")
    return value
