"""`fastrnn train`: learn a text, save the model, go on where an earlier run stopped."""

import argparse
import functools
import math
import os
import shlex
import shutil
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import checkpoint, progress, train
from .errors import UserError
from .interrupt import StopRequest
from .model import describe
from .options import Commands, add_text, add_threads, load_model, read_text, set_threads
from .reading import read_once
from .record import TrainingRecord
from .settings import Settings, changed, fine_tuned, option_name

DEFAULT_OUT = "model.safetensors"


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "train",
        help="learn a text",
        description="Learn a text character by character. Ctrl-C saves the model and says how to "
        "go on; a resumed run ends with exactly the weights of an uninterrupted one.",
    )
    add_text(parser)
    # SUPPRESS: only options that were given appear, so that a resumed run keeps its own values.
    for item in fields(Settings):
        rule = item.metadata
        choices = f" ({', '.join(rule['choices'])})" if "choices" in rule else ""
        parser.add_argument(
            option_name(item.name),
            type=rule["kind"],
            default=argparse.SUPPRESS,
            metavar=rule["kind"].__name__.upper(),
            help=f"{rule['help']}{choices} [{item.default}]".replace("%", "%%"),
        )
    add_threads(parser)
    parser.add_argument("--out", metavar="FILE", help=f"model file to write [{DEFAULT_OUT}]")
    parser.add_argument(
        "--resume", metavar="FILE", help="go on where this model file stands; it is --out as well"
    )
    parser.add_argument(
        "--init-from",
        metavar="FILE",
        help="start with the weights and the vocabulary of this model file, all else as in a new run",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="FLOAT",
        help="after this time validate, save and say how to go on",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the losses into this picture")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says; returns the exit code."""
    begin = time.monotonic()
    if arguments.seconds is not None and not arguments.seconds > 0:
        raise UserError(f"--seconds is {arguments.seconds}; expected more than 0")
    if arguments.plot:
        progress.require_matplotlib()
    set_threads(arguments)
    out = _checked_out(Path(arguments.out or arguments.resume or DEFAULT_OUT))
    trainer = _make_trainer(arguments)
    _say(
        f"{describe(trainer.settings, len(trainer.vocabulary))}, "
        f"{trainer.model.parameter_count} parameters; "
        f"{trainer.windows_per_epoch} steps an epoch; model goes to {out}"
    )
    if not arguments.resume:
        _keep_previous(out)
    limit = math.inf if arguments.seconds is None else arguments.seconds
    with StopRequest() as request:
        _train(trainer, out, request, begin + limit)
    if arguments.plot:
        progress.plot_losses(progress.read_log(progress.log_path(out)), arguments.plot)
    if trainer.finished:
        _say(f"saved {out}; write with it: {_program()} sample {shlex.quote(str(out))}")
        return 0
    again = "".join(f" (give the text of {name} again)" for name in arguments.text if read_once(name))
    _say(f"saved {out} after step {trainer.step} of {trainer.steps}; go on with{again}")
    _say(f"  {_command_to_go_on(arguments, out)}")
    return 0 if request.signal is None else 128 + request.signal


def _make_trainer(arguments: argparse.Namespace) -> train.Trainer:
    given = {
        item.name: getattr(arguments, item.name)
        for item in fields(Settings)
        if hasattr(arguments, item.name)
    }
    if arguments.init_from is not None:
        return _fine_tune(arguments, given)
    if arguments.resume is None:
        return train.Trainer(Settings(**given), _read(arguments))
    model_file = load_model(arguments.resume)
    with checkpoint.blame(arguments.resume):
        record = TrainingRecord.from_json(model_file.training, model_file.settings)
    settings = changed(record.settings, given)
    text = _read(arguments)
    with checkpoint.blame(arguments.resume):
        trainer = train.Trainer.resume(model_file, record, settings, text)
    if trainer.finished:
        raise UserError(
            f"{arguments.resume} has all its {settings.epochs} epochs; --epochs "
            f"{settings.epochs + 10} would add ten"
        )
    _say(f"going on after step {trainer.step} of {trainer.steps}")
    return trainer


def _fine_tune(arguments: argparse.Namespace, given: dict[str, Any]) -> train.Trainer:
    if arguments.resume is not None:
        raise UserError("--init-from begins a new run and --resume goes on with one; expected one of them")
    model_file = load_model(arguments.init_from)
    trainer = train.Trainer.fine_tune(model_file, fine_tuned(model_file.settings, given), _read(arguments))
    _say(f"starting with the weights of {arguments.init_from}")
    if trainer.left_out:
        _say(f"left out {trainer.left_out} characters that the model does not know")
    return trainer


def _read(arguments: argparse.Namespace) -> str:
    text, name = read_text(arguments)
    _say(f"learning {name}: {len(text)} characters")
    return text


def _train(trainer: train.Trainer, out: Path, request: StopRequest, deadline: float) -> None:
    bar = progress.open_progress(
        trainer.steps, trainer.step, trainer.characters_per_step, trainer.settings.epochs
    )
    try:
        train.run(
            trainer,
            bar,
            interrupted=lambda: bool(request),
            save=lambda: trainer.save(out),
            log=functools.partial(progress.append_to_log, progress.log_path(out)),
            deadline=deadline,
        )
    except FloatingPointError as error:
        raise UserError(
            f"step {trainer.step + 1}: {error}; a smaller --lr or --clip may help"
        ) from None
    finally:
        bar.close()


def _checked_out(out: Path) -> Path:
    """Raise before hours of training are spent on a file that cannot be written."""
    if out.suffix == ".jsonl":
        raise UserError(f"{out}: the ending .jsonl is for the log; name the model otherwise")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"{out}: cannot be written there")
    return out


def _keep_previous(out: Path) -> None:
    """Put an earlier model and its log aside, one generation of them."""
    for path in (out, progress.log_path(out)):
        if path.exists():
            aside = path.with_name(f"{path.stem}.previous{path.suffix}")
            os.replace(path, aside)
            _say(f"kept the earlier {path} as {aside}")


def _command_to_go_on(arguments: argparse.Namespace, out: Path) -> str:
    """The command line that resumes this run; settings are in the model file."""
    words = [*_program().split(), "train", *arguments.text, "--resume", str(out)]
    if arguments.threads:
        words += ["--threads", str(arguments.threads)]
    if arguments.plot:
        words += ["--plot", arguments.plot]
    return shlex.join(words)


def _program() -> str:
    """How this command was called: `fastrnn`, by its path, or `python -m fastrnn`."""
    called = sys.argv[0]
    if Path(called).name == "fastrnn":
        return "fastrnn" if shutil.which("fastrnn") == called else called
    python = "python" if shutil.which("python") == sys.executable else sys.executable
    return f"{python} -m fastrnn"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
