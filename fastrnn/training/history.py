"""What a run measured, epoch by epoch, and the log file beside it."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fastrnn.errors import UserError
from fastrnn.files import replace_file, try_writing
from fastrnn.words import AnyPath


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    step : int
        Updates so far, over all epochs.
    train_loss : float
        Mean over what the epoch's batches counted, each before its update.
    validation_loss : float or None
    learning_rate : float
        Of the last step.
    gradient_norm : float
        Mean over the steps, before clipping.
    clipped : float
        Share of the steps whose gradient was clipped.
    seconds : float
        Time in training steps, without validation.
    """

    epoch: int
    step: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float
    gradient_norm: float
    clipped: float
    seconds: float

    @property
    def loss(self) -> float:
        """What early stopping and schedules look at: the validation loss where there is one."""
        return self.train_loss if self.validation_loss is None else self.validation_loss


@dataclass
class History:
    """The epochs of a run, and how it ended.

    Attributes
    ----------
    epochs : list of Epoch
    stopped : str
        Why the run ended before its last epoch; empty if it did not.
    """

    epochs: list[Epoch] = field(default_factory=list)
    stopped: str = ""

    @property
    def train_loss(self) -> list[float]:
        return [one.train_loss for one in self.epochs]

    @property
    def validation_loss(self) -> list[float | None]:
        return [one.validation_loss for one in self.epochs]

    @property
    def losses(self) -> list[float]:
        """What early stopping and schedules look at, by epoch."""
        return [one.loss for one in self.epochs]

    @property
    def best_epoch(self) -> int:
        """The epoch of the least loss, counted from 1, the first of equal ones; 0 if there is none."""
        losses = [math.inf if math.isnan(loss) else loss for loss in self.losses]
        return losses.index(min(losses)) + 1 if losses else 0

    @property
    def epochs_since_best(self) -> int:
        return len(self.epochs) - self.best_epoch


@dataclass
class Tally:
    """Sums over the steps of an epoch that is going on."""

    loss: float = 0.0
    weight: float = 0.0
    norm: float = 0.0
    clipped: int = 0
    steps: int = 0
    seconds: float = 0.0
    learning_rate: float = 0.0  # of the last step

    def add(self, loss: float, weight: float, norm: float, clipped: bool, seconds: float, learning_rate: float) -> None:
        self.loss += loss
        self.weight += weight
        self.norm += norm
        self.clipped += clipped
        self.steps += 1
        self.seconds += seconds
        self.learning_rate = learning_rate

    def epoch(self, number: int, step: int, validation_loss: float | None) -> Epoch:
        steps = max(1, self.steps)
        mean = self.loss / self.weight if self.weight else math.nan
        shares = (self.norm / steps, self.clipped / steps, self.seconds)
        return Epoch(number, step, mean, validation_loss, self.learning_rate, *shares)


def require_writable(name: str, path: AnyPath) -> None:
    """Raise where a file that is to be written cannot be: an hour of training would be lost."""
    if not Path(path).resolve().parent.is_dir():
        raise FileNotFoundError(f"fit: {name} {os.fspath(path)}: its folder is not there; expected one that is")
    try_writing(path)


NAMES = [item.name for item in fields(Epoch)]


def plain(value: Any) -> Any:
    """A value for JSON, which has no infinity and no NaN: the loss of an epoch may be either, and becomes a string."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


class Log:
    """A file with a line for each epoch: JSON lines, or CSV where the name ends in .csv. A resumed run writes it anew.

    A loss that is no number is the string "nan" or "inf".

    Raises
    ------
    UserError
        A file of that name is there and no such log.
    """

    def __init__(self, path: AnyPath, resume: bool) -> None:
        self._path = Path(path)
        self._csv = self._path.suffix.lower() == ".csv"
        if not self._path.exists():
            require_writable("log", path)
            return
        start = self._start()
        if not self._is_log(start):
            raise UserError(f"fit: log {self._path} is there and is no training log; expected a new name")
        if not resume and start not in ("", self._lines([])):  # a run that failed in its first epoch leaves no lines
            raise UserError(f"fit: log {self._path} is there; expected resume=True to go on, or a new name")

    def _start(self) -> str:
        """The file's first characters; what no log begins with where it is no file."""
        if not self._path.is_file():
            return "\0"
        with open(self._path, encoding="utf-8", errors="replace") as file:
            return file.read(1000)

    def _is_log(self, start: str) -> bool:
        if self._csv:
            own = start.startswith(self._lines([]))
        else:
            own = start.startswith('{"epoch": ') and '"train_loss"' in start.partition("\n")[0]
        return own or not start

    def write(self, history: History) -> None:
        """Write all epochs so far, in one step."""
        replace_file(self._path, self._lines(history.epochs).encode())

    def _lines(self, epochs: list[Epoch]) -> str:
        if not self._csv:
            return "".join(json.dumps(plain(asdict(one)), allow_nan=False) + "\n" for one in epochs)
        text = io.StringIO()
        writer = csv.DictWriter(text, NAMES, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(one) for one in epochs)
        return text.getvalue()
