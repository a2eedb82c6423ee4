"""What a training run shows and writes while it goes: a bar or lines, a log, a plot."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from . import output
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
    """A `Bar` where `stream` (standard error) is a terminal and tqdm can draw there, else `Lines`."""
    channel = output.err if stream is None else output.Channel(lambda: stream)
    bar = _tqdm(steps * characters_per_step, done * characters_per_step, channel) if channel.has_screen() else None
    lines = Lines(steps, characters_per_step, epochs, channel)
    return lines if bar is None else Bar(bar, lines, characters_per_step, epochs)


def _tqdm(total: int, done: int, channel: output.Channel) -> Any:
    """A tqdm bar; None where the package is missing, TQDM_DISABLE is set or another TQDM_ variable wrong."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]

        bar = tqdm(total=total, initial=done, unit="char", unit_scale=True, dynamic_ncols=True, file=channel)
    except Exception:
        return None
    return None if bar.disable else bar


class Lines:
    """One plain line for each report; samples go to standard output."""

    def __init__(self, steps: int, characters_per_step: int, epochs: int, channel: output.Channel) -> None:
        self._steps = steps
        self._characters_per_step = characters_per_step
        self._epochs = epochs
        self._channel = channel

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
        self._channel.line(message)

    def sample(self, text: str) -> None:
        output.out.text(text + "\n")

    def close(self) -> None:
        pass


class Bar:
    """A tqdm bar over the characters of all epochs; it counts time left by itself.

    Where tqdm fails, lines go on in its place.
    """

    def __init__(self, bar: Any, lines: Lines, characters_per_step: int, epochs: int) -> None:
        self._bar = bar
        self._lines = lines
        self._epochs = epochs
        self._characters_per_step = characters_per_step
        self._validation = ""

    def advance(self, epoch: int, loss: float) -> None:
        self._draw(lambda bar: self._advance(bar, epoch, loss))

    def _advance(self, bar: Any, epoch: int, loss: float) -> None:
        # Text is made for the few steps only after which tqdm draws.
        if bar.n - bar.last_print_n + self._characters_per_step >= bar.miniters:
            bar.set_description_str(f"epoch {epoch}/{self._epochs}", refresh=False)
            bar.set_postfix_str(f"loss {loss:.3f}{self._validation}", refresh=False)
        bar.update(self._characters_per_step)

    def report(self, report: Report) -> None:
        if self._bar is None:
            self._lines.report(report)
        elif report.val_loss is not None:
            self._validation = f", val {report.val_loss:.3f}"

    def say(self, message: str) -> None:
        self._draw(lambda bar: bar.clear())
        self._lines.say(message)

    def sample(self, text: str) -> None:
        self._draw(lambda bar: bar.clear())
        self._lines.sample(text)
        self._draw(lambda bar: bar.refresh())

    def close(self) -> None:
        self._draw(lambda bar: bar.close())

    def _draw(self, draw: Callable[[Any], object]) -> None:
        if self._bar is None:
            return
        try:
            draw(self._bar)
        except Exception:
            self._bar.disable = True  # else it fails once more when it is deleted
            self._bar = None


_LONGEST_SECONDS = 86400 * 99_999  # more than timedelta can say is as good as for ever


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds if seconds < _LONGEST_SECONDS else _LONGEST_SECONDS)))


# --------------------------------------------------------------------------------------------- log


def log_path(model_path: AnyPath) -> Path:
    """The log beside a model: `model.jsonl` for `model.safetensors`, `run-0.01.jsonl` for `run-0.01`."""
    path = Path(model_path)
    return path.with_name(path.name.removesuffix(".safetensors") + ".jsonl")


def prepare_log(path: AnyPath) -> None:
    """Have a log that can be added to: make it, or cut its last line off where a crash has torn it.

    Raises
    ------
    UserError
        The file is not a log.
    OSError
        It cannot be written.
    """
    with open(path, "a+b") as file:
        file.seek(0)
        data = file.read()
        _, whole = _parse_log(path, data)
        if whole < len(data):
            file.truncate(whole)
        if whole > 0 and data[whole - 1 : whole] != b"\n":
            file.write(b"\n")


def append_to_log(path: AnyPath, report: Report) -> None:
    """Add one report to a log, as one line of JSON; after an error the log is as before."""
    line = json.dumps(asdict(report)).encode() + b"\n"
    with open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            written = file.write(line)
            if written < len(line):  # the disk is full in the middle of it
                file.write(line[written:])
        except OSError:
            file.truncate(end)
            raise


def read_log(path: AnyPath) -> list[Report]:
    """The reports of a log, each step once.

    A run that was killed is resumed from its last save, so steps after that save are in the log
    twice: what a later line goes back before is left out. So is a last line that a crash has torn.

    Returns
    -------
    list of Report, by step
    """
    reports: list[Report] = []
    for report in _parse_log(path, Path(path).read_bytes())[0]:
        while reports and reports[-1].step >= report.step:
            reports.pop()
        reports.append(report)
    return reports


def is_log(path: AnyPath) -> bool:
    """Whether a file is such a log, by its first line; a missing or empty one is not."""
    try:
        with open(path, "rb") as file:
            line = file.readline(_LONGEST_LINE)
    except OSError:
        return False
    return _parse_report(line) is not None or _begins_as_a_log(line)


_LONGEST_LINE = 4096
_NUMBER = re.compile(rb"-?[0-9][0-9.e+-]*|n(u(ll?)?)?")


def _shape(line: bytes) -> bytes:
    """A line with 0 for every number and null, also for one that is cut."""
    return _NUMBER.sub(b"0", line)


_SHAPE = _shape(json.dumps(asdict(Report(0, 0, 0, None, 0, 0))).encode())


def _parse_log(path: AnyPath, data: bytes) -> tuple[list[Report], int]:
    """The reports in a log, and the length of what is whole: all of it but a torn last line."""
    reports: list[Report] = []
    whole = 0
    for line in data.splitlines(keepends=True):
        report = _parse_report(line)
        if report is None:
            is_last = whole + len(line) == len(data)
            if not (is_last and (_begins_as_a_log(line) or (whole > 0 and _is_no_text(line)))):
                raise UserError(f"{path}: not a log that `fastrnn train` wrote; move it away")
            break
        reports.append(report)
        whole += len(line)
    return reports, whole


def _begins_as_a_log(line: bytes) -> bool:
    """Whether this is what a crash may leave of a line: its beginning, perhaps with NULs after it."""
    written = line.rstrip(b"\0")
    return written != b"" and _SHAPE.startswith(_shape(written))


def _is_no_text(line: bytes) -> bool:
    """Whether nobody has typed this: blanks, NULs, or bytes of another file after a power cut."""
    try:
        return not line.decode().strip("\0 \r\n")
    except UnicodeDecodeError:
        return True


def _parse_report(line: bytes) -> Report | None:
    try:
        values = json.loads(line)
        report = Report(**values)
        numbers = [value for name, value in values.items() if (name, value) != ("val_loss", None)]
        return report if all(type(n) in (int, float) and abs(n) < 2**63 for n in numbers) else None
    except (ValueError, TypeError, RecursionError):
        return None


# -------------------------------------------------------------------------------------------- plot


def loss_figure(reports: list[Report]) -> Any:
    """A matplotlib figure of training and validation loss over steps."""
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
    return figure
