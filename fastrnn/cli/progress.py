"""What a training run shows while it goes: a bar, or lines."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TextIO

from fastrnn.charlm.record import Report

from . import output


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
