"""Tables in the terminal, written line by line as the records come, and the geometric means under them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Record = dict[str, Any]

NAME_WIDTH, WIDTH = 30, 11


def counts(record: Record) -> bool:
    """Whether a record goes into the means: for one step of time `stream.step` does, not the layer's call."""
    if record["kind"] != "case":
        return False
    streamed = record["mode"] == "inference" and record["time"] == 1
    return bool(record["call"] == ("stream.step" if streamed else "layer"))


def geometric_means(records: Sequence[Record]) -> list[Record]:
    """Per mode and number of cores: how many times as long the best peer, and each one, takes.

    Returns
    -------
    list of dicts with mode, cores, peer ("best" or a name), ratio and cases, the number of cases that have it
    """
    means = []
    counted = [record for record in records if counts(record)]
    for mode, cores in dict.fromkeys((r["mode"], r["cores"]) for r in counted):
        group = [r for r in counted if (r["mode"], r["cores"]) == (mode, cores)]
        names = dict.fromkeys(n for r in group for n in r["timings"] if n != "fastrnn")
        for peer in ("best", *names):
            ratios = [ratio for r in group if (ratio := _ratio(r, peer)) is not None]
            if ratios:
                mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
                means.append(
                    {
                        "mode": mode,
                        "cores": cores,
                        "peer": peer,
                        "ratio": mean,
                        "cases": len(ratios),
                    }
                )
    return means


def _ratio(record: Record, peer: str) -> float | None:
    timings, name = record["timings"], record["best_peer"] if peer == "best" else peer
    if name not in timings:
        return None
    return float(timings[name]["median"] / timings["fastrnn"]["median"])


class Report:
    """Writes records by `line`, which takes one line of text; `peers` are the columns."""

    def __init__(self, peers: Sequence[str], line: Callable[[str], object]) -> None:
        self._line = line
        self._peers = [name for name in peers if name != "fastrnn"]
        self._group: tuple[Any, ...] | None = None
        self._first_cores: dict[tuple[Any, ...], Record] = {}
        self.records: list[Record] = []

    def show(self, record: Record) -> None:
        """Print one record, under a heading if it starts a new table."""
        mode = record["mode"] if record["kind"] == "case" else None
        group = (record["kind"], mode, record["cores"])
        if group != self._group:
            self._end_group()
            self._group = group
            _HEADINGS[record["kind"]](self, record)
        _ROWS[record["kind"]](self, record)
        for name, reason in record.get("failed", {}).items():
            self._line(f"    {name} left out: {reason}")
        self.records.append(record)

    def end(self) -> None:
        """Finish the last table."""
        self._end_group()
        self._group = None

    def _end_group(self) -> None:
        if self._group is None or self._group[0] != "case":
            return
        _, mode, cores = self._group
        means = {
            mean["peer"]: mean["ratio"]
            for mean in geometric_means(self.records)
            if (mean["mode"], mean["cores"]) == (mode, cores)
        }
        if means:
            cells = [_cell(means.get(name), ".2f", "x") for name in self._peers]
            cells += [f"{'':{WIDTH}}", _cell(means.get("best"), ".2f", "x")]
            self._line(f"{'geometric mean of the ratios':{NAME_WIDTH + WIDTH}}{''.join(cells)}")
        self._compare_ugrnn(mode, cores)

    def _compare_ugrnn(self, mode: str, cores: int) -> None:
        """Few packages have the UGRNN: say what part of our own LSTM's time it takes."""
        ours = {
            (r["cell"], r["name"].partition(" ")[2]): r["timings"]["fastrnn"]["median"]
            for r in self.records
            if counts(r) and (r["mode"], r["cores"]) == (mode, cores)
        }
        for (cell, sizes), seconds in ours.items():
            if cell == "ugrnn" and ("lstm", sizes) in ours:
                share = seconds / ours["lstm", sizes]
                self._line(f"ugrnn {sizes} takes {share:.2f} of the time of lstm {sizes}")

    def _heading(self, text: str) -> None:
        self._line("")
        self._line(text)

    # -------------------------------------------------------------------------------------- cases

    def _case_heading(self, record: Record) -> None:
        cores = record["cores"]
        self._heading(f"{record['mode']}, {_cores(cores)}: median microseconds of a call (B,T,I,H)")
        columns = (
            "fastrnn",
            *self._peers,
            "best",
            "ratio",
            "GFLOP/s",
            "bound",
            "set by",
            "speed-up",
        )
        self._line(f"{'':{NAME_WIDTH}}" + "".join(f"{name:>{WIDTH}}" for name in columns))

    def _case_row(self, record: Record) -> None:
        call = " stream.step" if record["call"] != "layer" else ""
        times = {name: timing["median"] * 1e6 for name, timing in record["timings"].items()}
        cells = [_cell(times.get(name), ".1f") for name in ("fastrnn", *self._peers)]
        cells += [f"{record['best_peer'] or '-':>{WIDTH}}", _cell(record["ratio"], ".2f", "x")]
        cells += [_cell(record["gflops"], ".1f"), _cell(100 * record["share"], ".0f", "%")]
        cells += [f"{record['limit']:>{WIDTH}}", self._speed_up(record)]
        self._line(f"{record['name'] + call:{NAME_WIDTH}}{''.join(cells)}")

    def _speed_up(self, record: Record) -> str:
        """Against the smallest number of cores that the same case was measured with."""
        key = (record["mode"], record["name"], record["call"])
        first = self._first_cores.setdefault(key, record)
        if first["cores"] == record["cores"]:
            return ""
        ratio = first["timings"]["fastrnn"]["median"] / record["timings"]["fastrnn"]["median"]
        return _cell(ratio, ".2f", "x")

    # ------------------------------------------------------------------------------------- others

    def _machine_heading(self, record: Record) -> None:
        self._heading(f"{record['processor']}, {record['isa']}, {_cores(record['cores'])}")

    def _machine_row(self, record: Record) -> None:
        sizes = record["sizes"]
        reads = [
            f"{level}{f' ({sizes[level] >> 10} KiB)' if level in sizes else ''} {rate:.0f} GB/s"
            for level, rate in record["bandwidth"].items()
        ]
        barrier = f"; barrier {record['barrier_ns']:.0f} ns" if record["barrier_ns"] else ""
        self._line(f"FMA {record['fma_gflops']:.0f} GFLOP/s; reads {', '.join(reads)}{barrier}")

    def _latency_heading(self, record: Record) -> None:
        self._heading(f"single calls, {_cores(record['cores'])}, microseconds")
        columns = ("calls", "p50", "p99", "p99.9", "most")
        self._line(f"{'':{NAME_WIDTH + 14}}" + "".join(f"{name:>{WIDTH}}" for name in columns))

    def _latency_row(self, record: Record) -> None:
        for name, times in record["timings"].items():
            who = {"stream": "stream.step", "fastrnn": "layer call"}.get(name, name)
            columns = ("p50", "p99", "p99.9", "most")
            figures = "".join(_cell(times[column] * 1e6, ".2f") for column in columns)
            self._line(f"{record['name']:{NAME_WIDTH}}{who:14}{times['calls']:{WIDTH}}{figures}")

    def _busy_heading(self, record: Record) -> None:
        self._heading(f"beside a process that uses a share of a core, {_cores(record['cores'])}, milliseconds")
        columns = ("share", "p50", "p99", "p50/quiet", "p99/quiet")
        self._line(f"{'':{NAME_WIDTH + 14}}" + "".join(f"{name:>{WIDTH}}" for name in columns))

    def _busy_row(self, record: Record) -> None:
        for name, times in record["timings"].items():
            figures = [_cell(100 * record["share"], ".0f", "%")]
            figures += [_cell(times[key] * 1e3, ".3f") for key in ("p50", "p99")]
            figures += [_cell(times[key] / times["quiet"], ".2f", "x") for key in ("p50", "p99")]
            self._line(f"{record['name']:{NAME_WIDTH}}{name:14}{''.join(figures)}")

    def _model_heading(self, record: Record) -> None:
        self._heading(f"character model, whole training step, {_cores(record['cores'])}: median ms")

    def _model_row(self, record: Record) -> None:
        times = {name: timing["median"] for name, timing in record["timings"].items()}
        ours = times["fastrnn"]
        self._line(
            f"{record['name']:{NAME_WIDTH}} fastrnn {ours * 1e3:.1f} "
            f"({record['characters'] / ours:,.0f} characters/s)"
            + "".join(
                f", {n} {t * 1e3:.1f} ({t / ours:.2f}x)" for n, t in times.items() if t != ours
            )
        )

    def _memory_heading(self, record: Record) -> None:
        self._heading(f"memory of training steps, {_cores(record['cores'])}: MB above what stood before")

    def _memory_row(self, record: Record) -> None:
        steps = ", ".join(f"{n} {size / 1e6:.1f}" for n, size in record["steps"].items())
        peaks = ", ".join(f"{n} {size / 1e6:.0f}" for n, size in record["peaks"].items())
        self._line(f"{record['name']:{NAME_WIDTH}} {steps}    (whole process: {peaks})")


_KINDS = ("case", "machine", "latency", "busy", "model", "memory")
_HEADINGS = {kind: getattr(Report, f"_{kind}_heading") for kind in _KINDS}
_ROWS = {kind: getattr(Report, f"_{kind}_row") for kind in _KINDS}


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _cell(value: float | None, form: str, unit: str = "") -> str:
    return f"{'-' if value is None else format(value, form) + unit:>{WIDTH}}"


def versions(lines: Iterable[tuple[str, str | None]]) -> str:
    """One line of names and versions."""
    return ", ".join(f"{name} {version}" for name, version in lines if version)
