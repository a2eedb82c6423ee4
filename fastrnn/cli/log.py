"""The log beside a model, one line of JSON for each report, and the picture of it."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastrnn.charlm.record import Report
from fastrnn.errors import UserError
from fastrnn.words import AnyPath


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
