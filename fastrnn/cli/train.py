"""`fastrnn train`: learn a text, save the model, go on where an earlier run stopped."""

import argparse
import errno
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fastrnn import archive
from fastrnn.charlm import checkpoint, loop
from fastrnn.charlm.model import describe
from fastrnn.charlm.record import Report, TrainingRecord
from fastrnn.charlm.settings import Settings, changed, fine_tuned, option_name
from fastrnn.charlm.text import default_text_files
from fastrnn.charlm.train import Trainer
from fastrnn.errors import UserError

from . import log, output, paths, progress, shell
from .interrupt import StopRequest
from .lock import held, lock_path
from .options import Commands, add_text, add_threads, file_name, load_model, read_text, set_threads
from .picture import picture, picture_bytes
from .reading import read_once

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
    parser.add_argument("--out", type=file_name, metavar="FILE", help=f"model file to write [{DEFAULT_OUT}]")
    parser.add_argument(
        "--resume", type=file_name, metavar="FILE", help="go on where this model file stands; it is --out as well"
    )
    parser.add_argument(
        "--init-from",
        type=file_name,
        metavar="FILE",
        help="start with the weights and the vocabulary of this model file, all else as in a new run",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="FLOAT",
        help="after this time validate, save and say how to go on",
    )
    parser.add_argument("--plot", type=file_name, metavar="FILE", help="draw the losses into this picture")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train as the command line says; returns the exit code."""
    begin = time.monotonic()
    if arguments.seconds is not None and not arguments.seconds > 0:
        raise UserError(f"--seconds is {arguments.seconds}; expected more than 0")
    if arguments.resume is not None and arguments.init_from is not None:
        raise UserError("--init-from begins a new run and --resume goes on with one; expected one of them")
    files = _Files(arguments)
    set_threads(arguments)
    with held(files.lock, files.out):
        trainer = _make_trainer(arguments)
        _say(
            f"{describe(trainer.settings, len(trainer.vocabulary))}, "
            f"{trainer.model.parameter_count} parameters; "
            f"{trainer.windows_per_epoch} steps an epoch; model goes to {files.out}"
        )
        limit = math.inf if arguments.seconds is None else arguments.seconds
        with StopRequest() as request:
            files.make_way()
            _train(trainer, files, request, begin + limit)
        _say_how_to_go_on(arguments, trainer, files.out)
        if files.picture is not None:
            reports = log.read_log(files.log.path)
            files.picture.replace(picture_bytes(lambda: log.loss_figure(reports), files.picture.path))
    return 0 if trainer.finished or request.signal is None else 128 + request.signal


def _say_how_to_go_on(arguments: argparse.Namespace, trainer: Trainer, out: Path) -> None:
    if trainer.finished:
        sample = shell.command_line([*shell.program(), "sample", *shell.after_options([str(out)])])
        _say(f"saved {out}; write with it: {sample}")
    else:
        again = "".join(f" (give the text of {name} again)" for name in arguments.text if read_once(name))
        _say(f"saved {out} after step {trainer.step} of {trainer.steps}; go on with{again}")
        _say(f"  {_command_to_go_on(arguments, out)}")


class _Files:
    """The files of a run, checked.

    Attributes
    ----------
    out : Path
        The model file.
    model, log, picture : paths.Output, the picture or None
    lock : Path
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        archive.library()  # a first save that finds it missing would come too late
        self.out = Path(arguments.out or arguments.resume or DEFAULT_OUT)
        if self.out.suffix == ".jsonl":
            raise UserError(f"{self.out}: the ending .jsonl is for the log; name the model otherwise")
        if arguments.resume is not None and not checkpoint.is_model(arguments.resume):
            checkpoint.load(arguments.resume)  # says what it is instead
        target = Path(os.path.realpath(self.out))
        resumed = arguments.resume is not None and os.path.realpath(arguments.resume) == str(target)
        self.model = paths.Output(self.out, "the model", checkpoint.is_model, "--out", keep=not resumed)
        # A run that ended before its first save has left a log alone: moved, it would replace the earlier model's.
        alone = not target.exists() and self.model.aside.exists()
        beside = log.log_path(self.out)
        self.log = paths.Output(beside, "the log", log.is_log, "--out", keep=not resumed and not alone)
        self.picture = None if arguments.plot is None else picture(arguments.plot)
        # By the log: two models may share one.
        self.lock = lock_path(log.log_path(target))
        outputs = [self.model, self.log, *([] if self.picture is None else [self.picture])]
        models = ("init_from",) if resumed else ("resume", "init_from")
        paths.check([*_texts(arguments), *_models(arguments, models)], outputs, self.lock)

    def make_way(self) -> None:
        """Put aside what is in the way and make the log: what can fail here fails before the first step."""
        moved = [item for item in (self.model, self.log) if item.in_the_way()]
        if moved:
            aside = self.model.aside
            with held(lock_path(log.log_path(aside)), aside):
                for item in moved:
                    item.make_way()
        # From here on there is this run's own, but for what somebody puts there in the meantime.
        self.model, self.log = (replace(item, keep=False) for item in (self.model, self.log))
        log.prepare_log(self.log.path)


def _texts(arguments: argparse.Namespace) -> list[paths.Input]:
    """The texts that are read; `-` is standard input."""
    if not arguments.text:
        return [paths.Input(path, f"the text {path}") for path in default_text_files()]
    return [paths.Input(0 if name == "-" else name, f"the text {name}") for name in arguments.text]


def _models(arguments: argparse.Namespace, options: Iterable[str]) -> list[paths.Input]:
    names = [getattr(arguments, option, None) for option in options]
    return [paths.Input(name, f"the model {name}") for name in names if name is not None]


def _make_trainer(arguments: argparse.Namespace) -> Trainer:
    given = {
        item.name: getattr(arguments, item.name)
        for item in fields(Settings)
        if hasattr(arguments, item.name)
    }
    if arguments.init_from is not None:
        return _fine_tune(arguments, given)
    if arguments.resume is None:
        return Trainer(Settings(**given), _read(arguments))
    model_file = load_model(arguments.resume)
    with archive.blame(arguments.resume):
        record = TrainingRecord.from_json(model_file.training, model_file.settings)
    settings = changed(record.settings, given)
    text = _read(arguments)
    with archive.blame(arguments.resume):
        trainer = Trainer.resume(model_file, record, settings, text)
    if trainer.finished:
        raise UserError(
            f"{arguments.resume} has all its {settings.epochs} epochs; --epochs "
            f"{settings.epochs + 10} would add ten"
        )
    _say(f"going on after step {trainer.step} of {trainer.steps}")
    return trainer


def _fine_tune(arguments: argparse.Namespace, given: dict[str, Any]) -> Trainer:
    model_file = load_model(arguments.init_from)
    trainer = Trainer.fine_tune(model_file, fine_tuned(model_file.settings, given), _read(arguments))
    _say(f"starting with the weights of {arguments.init_from}")
    if trainer.left_out:
        _say(f"left out {trainer.left_out} characters that the model does not know")
    return trainer


def _read(arguments: argparse.Namespace) -> str:
    text, name = read_text(arguments)
    _say(f"learning {name}: {len(text)} characters")
    return text


def _train(trainer: Trainer, files: _Files, request: StopRequest, deadline: float) -> None:
    bar = progress.open_progress(
        trainer.steps, trainer.step, trainer.characters_per_step, trainer.settings.epochs
    )
    try:
        loop.run(
            trainer,
            bar,
            interrupted=lambda: bool(request),
            save=lambda: _save(trainer, files.model),
            log=_Log(files.log, bar.say),
            deadline=deadline,
        )
    except FloatingPointError as error:
        raise UserError(
            f"step {trainer.step + 1}: {error}; a smaller --lr or --clip may help"
        ) from None
    finally:
        bar.close()


# What a full disk says, and limits of the user's.
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def _save(trainer: Trainer, model: paths.Output) -> None:
    try:
        model.make_way()
        trainer.save(model.path)
    except (UserError, OSError) as error:
        reason = str(error).removeprefix(f"{model.path}: ")
        mend = "mend that"
        if isinstance(error, OSError):
            reason = error.strerror or reason
            mend = "make room there or raise the limit" if error.errno in _NO_ROOM else mend
        again = "start again"
        if model.ours(model.path):
            again = f"go on from the step saved before, which is whole, with --resume {model.path}"
        raise UserError(
            f"{model.path}: step {trainer.step} could not be saved: {reason}; {mend}, then {again}"
        ) from error


class _Log:
    """Adds reports to a log; where that fails, training is worth more, so it goes on and says so once."""

    def __init__(self, log: paths.Output, say: Callable[[str], object]) -> None:
        self._log = log
        self._say = say
        self._failed = False

    def __call__(self, report: Report) -> None:
        try:
            self._log.make_way()
            log.append_to_log(self._log.path, report)
        except (UserError, OSError) as error:
            if not self._failed:
                path = self._log.path
                reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{path}: ")
                self._say(f"fastrnn: {path}: {reason}; lines of the log are missing from here on")
            self._failed = True


def _command_to_go_on(arguments: argparse.Namespace, out: Path) -> str:
    """The command line that resumes this run; settings are in the model file."""
    options = shell.option("--resume", str(out))
    if arguments.threads is not None:
        options += ["--threads", str(arguments.threads)]
    if arguments.plot is not None:
        options += shell.option("--plot", arguments.plot)
    texts = shell.after_options(arguments.text)
    # Texts come first but where `--` must keep them from being options.
    words = [*options, *texts] if "--" in texts[:1] else [*texts, *options]
    return shell.command_line([*shell.program(), "train", *words])


def _say(message: str) -> None:
    output.err.line(message)
