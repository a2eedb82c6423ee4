"""The picture of a run: how many times fastrnn's time every peer takes, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .report import counts

Record = dict[str, Any]

_ROW_INCHES, _PANEL_INCHES = 0.28, 6.0


def cases_of(records: Sequence[Record]) -> list[Record]:
    """The cases that can be drawn: those in which a peer could be timed."""
    return [record for record in records if counts(record) and record["best_peer"]]


def draw(cases: Sequence[Record], title: str) -> Any:
    """A matplotlib figure of at least one case, with a panel for every mode and number of cores."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((r["mode"], r["cores"]) for r in cases))
    peers = list(dict.fromkeys(n for r in cases for n in r["timings"] if n != "fastrnn"))
    rows = max(sum((r["mode"], r["cores"]) == panel for r in cases) for panel in panels)
    size = (_PANEL_INCHES * len(panels), 1.5 + _ROW_INCHES * rows)
    figure = Figure(figsize=size)
    axes = figure.subplots(1, len(panels), squeeze=False)
    for (mode, cores), axis in zip(panels, axes[0], strict=True):
        group = [r for r in cases if (r["mode"], r["cores"]) == (mode, cores)]
        _draw_panel(axis, group, peers)
        axis.set_title(f"{mode}, {cores} core{'s' * (cores > 1)}")
    axes[0][0].legend(loc="lower right")
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def _draw_panel(axis: Any, group: Sequence[Record], peers: Sequence[str]) -> None:
    for index, peer in enumerate(peers):
        points = [
            (r["timings"][peer]["median"] / r["timings"]["fastrnn"]["median"], row)
            for row, r in enumerate(group)
            if peer in r["timings"]
        ]
        if points:
            axis.plot(*zip(*points, strict=True), "o", color=f"C{index}", label=peer)
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    axis.set_xlabel("time / fastrnn's time (B,T,I,H)")
    axis.set_yticks(range(len(group)), [record["name"] for record in group])
    axis.invert_yaxis()
    axis.grid(axis="x", which="both", alpha=0.3)
