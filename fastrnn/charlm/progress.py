"""What a training run shows and writes while it goes: a bar or lines, a log, a plot."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from .errors import UserError
from .text import AnyPath


@dataclass(frozen=True)
class Report:
    """One line of the log.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    step : int
        Windows trained so far, over all epochs.
    loss : float
        Mean training loss since the last report, nats per character.
    val_loss : float or None
        Validation loss, where it was measured at this step.
    chars_per_second : float
        Training speed since the last report, without validation, samples and saving.
    seconds : float
        Time spent in training steps, over all resumed runs.
    """

    epoch: int
    step: int
    loss: float
    val_loss: float | None
    chars_per_second: float
    seconds: float


def open_progress(
    steps: int, done: int, characters_per_step: int, epochs: int, stream: TextIO | None = None
) -> "Lines | Bar":
    """A `Bar` where `stream` (standard error) is a terminal and tqdm is there, else `Lines`."""
    stream = stream or sys.stderr
    if _has_screen(stream):
        try:
            return Bar(steps, done, characters_per_step, epochs, stream)
        except ModuleNotFoundError:
            pass
    return Lines(steps, characters_per_step, epochs, stream)


def _has_screen(stream: TextIO) -> bool:
    """Whether a bar can be seen: on a terminal that knows its size (some say 0 x 0)."""
    try:
        return 0 not in os.get_terminal_size(stream.fileno())
    except OSError:
        return False


class Lines:
    """One plain line for each report; samples go to standard output."""

    def __init__(self, steps: int, characters_per_step: int, epochs: int, stream: TextIO) -> None:
        self._steps = steps
        self._characters_per_step = characters_per_step
        self._epochs = epochs
        self._stream = stream

    def advance(self, epoch: int, loss: float) -> None:
        """A step is done; `loss` is the mean loss since the last report."""

    def report(self, report: Report) -> None:
        validation = "" if report.val_loss is None else f"  val {report.val_loss:.4f}"
        characters = (self._steps - report.step) * self._characters_per_step
        left = characters / max(report.chars_per_second, 0.1)
        self.say(
            f"epoch {report.epoch}/{self._epochs}  step {report.step}/{self._steps}  "
            f"loss {report.loss:.4f}{validation}  {report.chars_per_second:.0f} chars/s  "
            f"{_clock(report.seconds)} gone, {_clock(left)} left"
        )

    def say(self, message: str) -> None:
        print(message, file=self._stream, flush=True)

    def sample(self, text: str) -> None:
        print(text, flush=True)

    def close(self) -> None:
        pass


class Bar:
    """A tqdm bar over the characters of all epochs; it counts time left by itself."""

    def __init__(
        self, steps: int, done: int, characters_per_step: int, epochs: int, stream: TextIO
    ) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        self._epochs = epochs
        self._characters_per_step = characters_per_step
        self._stream = stream
        self._validation = ""
        self._bar = tqdm(
            total=steps * characters_per_step,
            initial=done * characters_per_step,
            unit="char",
            unit_scale=True,
            dynamic_ncols=True,
            file=stream,
        )

    def advance(self, epoch: int, loss: float) -> None:
        bar = self._bar
        # Text is made for the few steps only after which tqdm draws.
        if bar.n - bar.last_print_n + self._characters_per_step >= bar.miniters:
            bar.set_description_str(f"epoch {epoch}/{self._epochs}", refresh=False)
            bar.set_postfix_str(f"loss {loss:.3f}{self._validation}", refresh=False)
        bar.update(self._characters_per_step)

    def report(self, report: Report) -> None:
        if report.val_loss is not None:
            self._validation = f", val {report.val_loss:.3f}"

    def say(self, message: str) -> None:
        self._bar.write(message, file=self._stream)

    def sample(self, text: str) -> None:
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        self._bar.close()


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


# --------------------------------------------------------------------------------------------- log


def log_path(model_path: AnyPath) -> Path:
    """The log beside a model: `model.jsonl` for `model.safetensors`."""
    return Path(model_path).with_suffix(".jsonl")


def append_to_log(path: AnyPath, report: Report) -> None:
    """Add one report to a log, as one line of JSON."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(report)) + "\n")


def read_log(path: AnyPath) -> list[Report]:
    """The reports of a log, each step once.

    A run that was killed is resumed from its last save, so steps after that save are in the log
    twice: what a later line goes back before is left out.

    Returns
    -------
    list of Report, by step
    """
    reports: list[Report] = []
    try:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            report = Report(**json.loads(line))
            while reports and reports[-1].step >= report.step:
                reports.pop()
            reports.append(report)
    except (ValueError, TypeError):
        raise UserError(f"{path}: not a log that `fastrnn train` wrote") from None
    return reports


# -------------------------------------------------------------------------------------------- plot


def require_matplotlib() -> None:
    """Raise UserError unless plots can be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError:
        message = "--plot needs the package matplotlib: pip install matplotlib"
        raise UserError(message) from None


def plot_losses(reports: list[Report], path: AnyPath) -> None:
    """Draw training and validation loss over steps into the picture file `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([r.step for r in reports], [r.loss for r in reports], label="training")
    measured = [(r.step, r.val_loss) for r in reports if r.val_loss is not None]
    if measured:
        axes.plot(*zip(*measured, strict=True), "o-", markersize=3, label="validation")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per character)")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:  # an ending that names no picture format
        raise UserError(f"{path}: {error}") from None
