"""`fastrnn info`: what the package computes with, or what a model file holds."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import fastrnn
from fastrnn import archive, convert
from fastrnn.charlm import checkpoint
from fastrnn.charlm.model import parameter_shapes
from fastrnn.charlm.record import TrainingRecord
from fastrnn.charlm.settings import option_name, run_options
from fastrnn.charlm.train import resumable
from fastrnn.errors import UserError
from fastrnn.words import shortened

from . import output, paths
from .options import Commands, add_assumptions, assumptions, file_name

Rows = Iterator[tuple[str, object]]

_EPOCHS_SHOWN = 5


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "info",
        help="show the machine's set-up, or a model file",
        description="Without MODEL: instruction set, threads, OpenMP and versions. "
        "With MODEL: its architecture and training record, after the checks that --resume makes; of a file of another "
        "system its layers, and what `fastrnn convert` would leave out.",
    )
    parser.add_argument("model", nargs="?", type=file_name, help="model file, of `fastrnn train` or another system")
    add_assumptions(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.model is None:
        rows = list(_config_rows())
    else:
        paths.check([paths.Input(arguments.model, f"the model {arguments.model}")], [])
        rows = _foreign_rows(arguments) if _is_foreign(arguments.model) else _own_rows(arguments.model)
    for name, value in rows:
        output.out.line(f"{name:<13}{value}")
    return output.exit_code()


def _is_foreign(path: str) -> bool:
    """Whether a file or folder is of another system, or of none at all, which reading it says."""
    if not Path(path).is_file() and not Path(path).is_dir():
        return False
    form = convert.recognise(path)
    return form is None or not (form.NAME == "safetensors" and not _is_state_dict(path))


def _is_state_dict(path: str) -> bool:
    """Whether a file is a whole safetensors file that does not look like a character model."""
    try:
        return not archive.metadata(path).keys() & {"format", "version", "model", "vocabulary"}
    except UserError:
        return False


def _own_rows(path: str) -> list[tuple[str, object]]:
    model_file = checkpoint.load(path)
    with archive.blame(path):
        return list(_model_rows(model_file))


def _foreign_rows(arguments: argparse.Namespace) -> list[tuple[str, object]]:
    model = convert.read(arguments.model, **assumptions(arguments))
    rows: list[tuple[str, object]] = [("format", model.format)]
    rows += [("layer", f"{layer.name or '(no name)'}: {layer.words()}") for layer in model.layers]
    rows.append(("parameters", sum(array.size for layer in model.layers for array in layer.tensors.values())))
    rows += [("note", f"{name}: {words}") for name, words in model.notes.items()]
    rows += [("not read", f"{name} {np.shape(array)}") for name, array in model.rest.items()]
    return rows


def _config_rows() -> Rows:
    for name, value in fastrnn.config().items():
        yield name, ", ".join(value) if isinstance(value, list) else value


def _model_rows(model_file: checkpoint.ModelFile) -> Rows:
    settings, vocabulary = model_file.settings, model_file.vocabulary
    shapes = parameter_shapes(settings, len(vocabulary)).values()
    yield "cell", settings.cell
    yield "layers", f"{settings.layers} of {settings.hidden} units, dropout {settings.dropout}"
    yield "parameters", sum(int(np.prod(shape)) for shape in shapes)
    yield "vocabulary", f"{len(vocabulary)} characters: {shortened(vocabulary.characters)}"
    yield "checksum", model_file.unchecked or "fits the whole file"
    if model_file.training is None:
        yield "training", "no record"
        return
    yield from _training_rows(resumable(model_file))


def _training_rows(record: TrainingRecord) -> Rows:
    yield (
        "training",
        f"{record.epochs_done} of {record.settings.epochs} epochs, "
        f"window {record.window} of {record.windows_per_epoch}, "
        f"step {record.step}, {record.seconds:.0f} seconds",
    )
    yield "text", f"{record.text_characters} characters, SHA-256 {record.text_sha256}"
    options = run_options(record.settings)
    yield "options", " ".join(f"{option_name(name)} {value}" for name, value in options.items())
    for report in record.history[-_EPOCHS_SHOWN:]:
        validation = "" if report.val_loss is None else f", validation {report.val_loss:.4f}"
        yield f"epoch {report.epoch}", f"step {report.step}: loss {report.loss:.4f}{validation}"
