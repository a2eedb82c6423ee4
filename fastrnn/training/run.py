"""A run: epochs, steps, and what is due between them: validation, the log, the checkpoint, callbacks."""

from __future__ import annotations

import math
import os
import time
from typing import Any, NamedTuple

from fastrnn import _check, archive
from fastrnn.errors import UserError
from fastrnn.optim import Optimizer
from fastrnn.trainable import Data, Model
from fastrnn.words import AnyPath

from . import checkpoint as files
from .batches import epoch_steps, lengths_of, naming, plain_batches, taken
from .callbacks import Callback
from .fingerprint import fingerprint
from .history import History, Log, Tally, require_writable
from .ranks import Alone
from .schedules import Factor
from .step import Done, Stepper


class Place(NamedTuple):
    """Where a run is written: the files, and after how many steps besides each epoch's end."""

    checkpoint: str | None
    resume: bool
    save_every: int | None
    log: str | None


_CALLBACK = "a callback stopped the run"


class Run:
    """A training run: where it stands, and one epoch after the other.

    Attributes
    ----------
    model, optimizer, history
    epoch, step : int
        Epochs and updates done.
    loss, gradient_norm, lr : float
        Of the last step: the mean, before clipping, and the learning rate.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        validation: Data | None,
        optimizer: Optimizer,
        schedule: Factor | None,
        settings: dict[str, Any],
        callbacks: list[Callback],
        ranks: Alone,
        num_threads: int | None,
    ) -> None:
        self.model, self.optimizer, self.history = model, optimizer, History()
        self.epoch = self.step = 0
        self.loss = self.gradient_norm = self.lr = math.nan
        self._data, self._validation, self._schedule, self._settings = data, validation, schedule, settings
        self._callbacks, self._ranks, self._threads = callbacks, ranks, num_threads
        self._lengths = lengths_of(data[0])
        self._place, self._tally, self._stop = 0, Tally(), False
        self._best: files.Tensors = {}
        self._rate: float = optimizer.lr
        self._stepper = Stepper(model, optimizer, data, settings["clip_norm"], settings["seed"], ranks, num_threads)
        self._checkpoint: AnyPath | None = None
        self._log: Log | None = None
        self._whole = True  # between two steps: what is there may be saved

    def stop(self) -> None:
        """End the run after this step."""
        self._stop = True

    @property
    def steps_per_epoch(self) -> int:
        size: int = self._settings["batch_size"]
        together: int = self._settings["batches_per_step"]
        batches = math.ceil(len(self._lengths) / size)
        return math.ceil(batches / together)

    # ------------------------------------------------------------------------------------ beginning

    def open(self, place: Place, asked: dict[str, Any]) -> None:
        """Begin, or go on from a checkpoint; every rank with the weights of rank 0.

        What was `asked` for besides the settings must be the same on every rank, too.
        """
        checkpoint, resume, self._save_every, log = place
        if checkpoint is not None or self._ranks.size > 1:
            self._settings["data"] = fingerprint(self._data, self._validation)
        self._ranks.first(lambda: None if checkpoint is None else _may_write(checkpoint, resume))
        asked |= {"checkpoint": checkpoint is None, "resume": resume, "log": log is None}
        _same_of_all(self._ranks.gather(self._settings | asked))
        self._log = self._ranks.first(lambda: None if log is None else Log(log, resume))
        if checkpoint is not None and resume and self._ranks.first(lambda: os.path.exists(checkpoint)):
            self._take(self._ranks.first(lambda: self._load(checkpoint)))
        elif self._ranks.size > 1:
            self._take(self._ranks.first(self._saved))
        if self._ranks.rank == 0:
            self._checkpoint = checkpoint
            self._write_log()  # an interrupted run may have left it an epoch behind
        else:
            self._log = None

    def _load(self, path: AnyPath) -> files.Saved:
        saved = files.load(path, self._settings, self.model.state_dict(), self.optimizer.state_dict())
        if saved.place > self.steps_per_epoch:
            raise UserError(f"{path}: run: place is {saved.place}; expected at most {self.steps_per_epoch} steps")
        return saved

    def _take(self, saved: files.Saved) -> None:
        """Go on where a run stood."""
        self.model.load_state_dict(saved.model)
        self.optimizer.load_state_dict(saved.optimizer)
        self.epoch, self.step, self._place, self._rate = saved.epoch, saved.step, saved.place, saved.rate
        self.history, self._tally, self._best = saved.history, saved.tally, saved.best
        if self.history.stopped == _CALLBACK:  # this run may have other callbacks
            self.history.stopped = ""

    def _saved(self) -> files.Saved:
        place = (self._settings, self.epoch, self.step, self._place, self._rate, self.history, self._tally)
        return files.Saved(*place, self.model.state_dict(), self._best, self.optimizer.state_dict())

    def _save(self) -> None:
        if self._checkpoint is not None:
            files.save(self._checkpoint, self._saved())

    # --------------------------------------------------------------------------------------- running

    def go(self, epochs: int, bar: Any) -> History:
        """Train until the last epoch, or until something stops the run."""
        try:
            while self.epoch < epochs and not self.history.stopped:
                self._one_epoch(bar)
        except KeyboardInterrupt:
            if self._whole:
                self._save()
            raise
        finally:
            self.optimizer.lr = self._rate
        if self._best:
            self.model.load_state_dict(self._best)
        return self.history

    def _one_epoch(self, bar: Any) -> None:
        together, seed = self._settings["batches_per_step"], self._settings["seed"]
        size, bucket = self._settings["batch_size"], self._settings["bucket"]
        steps = epoch_steps(self._lengths, size, together, bucket, seed, self.epoch)
        for batches in steps[self._place :]:
            if self._one_step(batches, len(steps)):
                break
            bar.update(1)
        if self._place == len(steps):
            self._end_epoch(bar)
        self._save()

    def _one_step(self, batches: Any, steps: int) -> bool:
        """Take a step; returns whether the run ends with it, in the middle of an epoch."""
        begin = time.perf_counter()
        self.lr = self._rate_at(self.epoch + self._place / steps)
        done = self._stepper.prepare(self.step, batches)
        self._whole = False
        self._stepper.apply(done, self.lr)
        self._count(done, time.perf_counter() - begin)
        self._whole = True
        for callback in self._callbacks:
            callback.on_step(self)
        if self._stops():
            return True
        if self._save_every and self.step % self._save_every == 0 and self._place < steps:
            self._save()
        return False

    def _stops(self) -> bool:
        """Whether a callback of any rank has stopped the run."""
        if stop := any(self._ranks.gather(self._stop)):
            self.history.stopped = _CALLBACK
        return stop

    def _count(self, done: Done, seconds: float) -> None:
        self._tally.add(done.loss, done.weight, done.norm, done.clipped, seconds, self.lr)
        self.step, self._place = self.step + 1, self._place + 1
        self.loss, self.gradient_norm = done.loss / done.weight if done.weight else math.nan, done.norm

    def _rate_at(self, epoch: float) -> float:
        if self._schedule is None:
            return self._rate
        factor = self._schedule(epoch, self.history.losses)
        rate = self._rate * _check.factor("fit", "schedule's factor", factor)
        least, _ = _check.float_range(_check.FLOAT32)
        return rate if rate >= least else 0.0  # what moves no weight, but is refused

    def _end_epoch(self, bar: Any) -> None:
        measured = None if self._validation is None else self.measure(self._validation)
        self._whole = False
        self.epoch, self._place = self.epoch + 1, 0
        self.history.epochs.append(self._tally.epoch(self.epoch, self.step, measured))
        self._tally = Tally()
        if measured is not None and self.history.best_epoch == self.epoch:
            self._best = self.model.state_dict()
        patience = self._settings["patience"]
        if patience is not None and self.history.epochs_since_best >= patience:
            self.history.stopped = f"no better loss in {patience} epochs"
        self._whole = True
        bar.set_postfix_str(_shown(self.history), refresh=False)
        for callback in self._callbacks:
            callback.on_epoch(self)
        if not self.history.stopped:
            self._stops()
        self._write_log()

    def _write_log(self) -> None:
        if self._log is not None:
            self._log.write(self.history)

    def measure(self, data: Data) -> float:
        """Mean loss over sequences, without dropout; the ranks share the batches."""
        batches = plain_batches(lengths_of(data[0]), self._settings["batch_size"])
        mine = range(self._ranks.rank, len(batches), self._ranks.size)
        own = []
        for number in mine:
            batch = taken(data[0], batches[number]), taken(data[1], batches[number])
            with naming("the validation", batches[number]):
                own.append(self.model.measure(*batch, num_threads=self._threads))
        every = [pair for part in self._ranks.gather(own) for pair in part]
        weight = math.fsum(weight for _, weight in every)
        return math.fsum(loss for loss, _ in every) / weight if weight else math.nan


def _same_of_all(told: list[dict[str, Any]]) -> None:
    """Refuse what is not the same on all ranks: they would wait for each other for ever, or train different things."""
    for name in dict.fromkeys(name for one in told for name in one):
        if any(other.get(name) != told[0].get(name) for other in told):
            called = "accumulate" if name == "batches_per_step" else name
            raise ValueError(f"fit: the ranks of comm were called with different {called}; expected the same on all")


def _may_write(path: AnyPath, resume: bool) -> None:
    """Raise unless there is no file, or a checkpoint that the run goes on from, and it can be written."""
    archive.library()  # or the first epoch could not be saved
    if os.path.exists(path) and not files.is_checkpoint(path):
        raise UserError(f"fit: checkpoint {os.fspath(path)} is there and is no checkpoint; expected a new name")
    if os.path.exists(path) and not resume:
        raise UserError(f"fit: checkpoint {os.fspath(path)} is there; expected resume=True to go on, or a new name")
    require_writable("checkpoint", path)


def _shown(history: History) -> str:
    last = history.epochs[-1]
    validation = "" if last.validation_loss is None else f", validation {last.validation_loss:.4f}"
    return f"loss {last.train_loss:.4f}{validation}"
