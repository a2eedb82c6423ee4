"""The training loop: steps, and what is due between them: validation, saves, reports, samples."""

import math
import time
from collections.abc import Callable
from typing import Protocol

from .record import Report
from .train import Trainer


class Progress(Protocol):
    """Who watches a run."""

    def advance(self, epoch: int, loss: float) -> None:
        """A step is done; `loss` is the mean loss since the last report."""

    def report(self, report: Report) -> None: ...

    def sample(self, text: str) -> None: ...


def run(
    trainer: Trainer,
    progress: Progress,
    *,
    interrupted: Callable[[], bool],
    save: Callable[[], None],
    log: Callable[[Report], None],
    deadline: float = math.inf,
) -> None:
    """Train until the last epoch is done, `interrupted()` is true, or the deadline has passed.

    Parameters
    ----------
    trainer : Trainer
    progress : Progress
    interrupted : callable
        Asked after each step; true means: save and leave.
    save : callable
        Writes the model file.
    log : callable
        Takes each Report, after the save of its step where there is one.
    deadline : float
        In the seconds of `time.monotonic`; the run then validates, saves and leaves.
    """
    settings = trainer.settings
    meter = _Meter(trainer)
    stopping = False
    while not trainer.finished and not stopping:
        meter.add(trainer.train_step())
        progress.advance(trainer.epoch, meter.loss)
        epoch_ended = trainer.window == 0
        late = time.monotonic() >= deadline
        stopping = late or interrupted()
        report = None
        if epoch_ended or stopping or trainer.step % settings.report_every == 0:
            # An interrupted user waits, so only the other two reasons are worth a validation.
            validate = epoch_ended or late
            report = meter.report(trainer.validation_loss() if validate else None)
            if validate:
                trainer.history.append(report)
        # Before anything is said about the step: that may fail, and the model must not be lost.
        if epoch_ended or stopping or _every(settings.save_every, trainer.step):
            save()
        if report is not None:
            progress.report(report)
            log(report)
        if _every(settings.sample_every, trainer.step) and not stopping:
            progress.sample(f"--- sample after step {trainer.step}\n{trainer.sample()}\n---")


def _every(interval: int, step: int) -> bool:
    """Whether something done every `interval` steps is due; 0 is never."""
    return interval > 0 and step % interval == 0


class _Meter:
    """Mean loss and speed since the last report."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._restart()

    def _restart(self) -> None:
        self._total = 0.0
        self._count = 0
        self._seconds = self._trainer.seconds

    def add(self, loss: float) -> None:
        self._total += loss
        self._count += 1

    @property
    def loss(self) -> float:
        return self._total / self._count

    def report(self, val_loss: float | None) -> Report:
        trainer = self._trainer
        characters = self._count * trainer.characters_per_step
        report = Report(
            epoch=trainer.epoch,
            step=trainer.step,
            loss=round(self.loss, 6),
            val_loss=None if val_loss is None else round(val_loss, 6),
            chars_per_second=round(characters / max(trainer.seconds - self._seconds, 1e-9), 1),
            seconds=round(trainer.seconds, 3),
        )
        self._restart()
        return report
