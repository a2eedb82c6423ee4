"""Carries `fastrnn bench` out: one process after another, tables as the results come, then the files."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrnn import config
from fastrnn._core import probe
from fastrnn.bench import peers, plot, worker
from fastrnn.bench.cases import QUICK, Case, parse, table
from fastrnn.bench.charmodel import RIVALS
from fastrnn.bench.cores import stolen_seconds
from fastrnn.bench.report import Report, geometric_means, versions

from .output import err, out
from .paths import Output, check
from .picture import picture_bytes

Record = dict[str, Any]

BUSY = 0.3  # load beyond this many running processes is said aloud
STOLEN = 0.02  # and so is time beyond this share that other virtual machines got


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes
    ----------
    cases : to be timed; their training steps to be weighed by `memory`
    cores : numbers of cores
    rivals : peers
    seconds, rounds : for each case
    latency, busy, model, memory : the other sections, wanted or not
    """

    cases: Sequence[Case]
    cores: Sequence[int]
    rivals: Sequence[peers.Peer]
    seconds: float
    rounds: int
    latency: bool = False
    busy: bool = False
    model: bool = False
    memory: bool = False
    json: Output | None = None
    plot: Output | None = None


def json_file(path: str) -> Output:
    """The file that --json names."""
    return Output(Path(path), "the table of figures", _is_document, "--json")


def run(request: Request) -> None:
    """Measure, print, write the files.

    Raises
    ------
    ValueError
        A file could not be written or drawn, or there is nothing to weigh; found before anything is measured.
    """
    files = [output for output in (request.json, request.plot) if output is not None]
    _check(request)
    check([], files)
    installed = [("fastrnn", config()["fastrnn"]), *((p.name, p.version()) for p in request.rivals)]
    out.line(versions(installed))
    for name, remark in peers.remarks(request.rivals).items():
        out.line(f"{name}: {remark}")
    _warn_if_busy()
    stolen, start = stolen_seconds(), time.monotonic()
    report = Report([peer.name for peer in request.rivals], out.line)
    for plan in _plans(request):
        for record in worker.records(plan):
            if not any(_same_machine(record, shown) for shown in report.records):
                report.show(record)
            if out.lost and not files:  # nobody will see the rest
                return
    if request.memory:
        for record in _memory(request):
            report.show(record)
    report.end()
    share = (stolen_seconds() - stolen) / (time.monotonic() - start) / (os.cpu_count() or 1)
    if share > STOLEN:
        _warn(f"other virtual machines got {share:.0%} of this one's processors")
    if request.json is not None:
        text = json.dumps({**_document(request, report.records), "stolen": share}, indent=1)
        request.json.replace(f"{text}\n".encode())
    cases = plot.cases_of(report.records)
    if request.plot is not None and cases:  # else every peer has failed, and the table says why
        machine = next(r for r in report.records if r["kind"] == "machine")
        title = f"{machine['processor']}, {machine['isa']}; {versions(installed)}"
        request.plot.replace(picture_bytes(lambda: plot.draw(cases, title), request.plot.path))


def _check(request: Request) -> None:
    if request.memory and not any(case.training for case in request.cases):
        raise ValueError("--memory weighs the training steps of --cases; there are none")
    if request.plot is not None and not any(peer.supports(case) for peer in request.rivals for case in request.cases):
        raise ValueError("--plot draws cases beside peers; there are none")


def _warn_if_busy() -> None:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        _warn(f"the machine is busy (load {load:.1f})")


def _warn(why: str) -> None:
    err.line(f"fastrnn bench: {why}: do not trust these figures")


def _plans(request: Request) -> Iterator[worker.Plan]:
    names = [peer.name for peer in request.rivals]
    models = [name for name in RIVALS if name in names or name == "numpy"]
    for cores in request.cores:
        common = (cores, names, request.seconds, request.rounds)
        if request.cases:
            yield worker.Plan("cases", *common, cases=request.cases)
        if request.latency:
            yield worker.Plan("latency", *common)
        if request.busy:
            yield worker.Plan("busy", *common)
        if request.model:
            yield worker.Plan("model", cores, models, request.seconds, request.rounds)


def _same_machine(record: Record, shown: Record) -> bool:
    """Every process measures the machine; one table of it is enough."""
    machines = record["kind"] == shown["kind"] == "machine"
    return machines and bool(record["cores"] == shown["cores"])


def _memory(request: Request) -> Iterator[Record]:
    for cores in request.cores:
        for case in request.cases:
            if case.training:
                yield _memory_record(case, cores, request)


def _memory_record(case: Case, cores: int, request: Request) -> Record:
    names = ["fastrnn", *(p.name for p in request.rivals if p.supports(case))]
    found = {}
    for name in names:
        plan = worker.Plan("memory", cores, [name], request.seconds, request.rounds, [case])
        found[name] = next(iter(list(worker.records(plan))))
    return {
        "kind": "memory",
        "name": str(case),
        "cores": cores,
        "steps": {name: record["step"] for name, record in found.items()},
        "peaks": {name: record["peak"] for name, record in found.items()},
    }


def _document(request: Request, records: Sequence[Record]) -> Record:
    """What `--json` writes."""
    return {
        "command": ["fastrnn", *sys.argv[1:]],
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "system": platform.platform(),
        "versions": {
            **config(),
            "compiler": probe.compiler(),
            **{peer.package: peer.version() for peer in request.rivals},
        },
        "remarks": peers.remarks(request.rivals),
        "machine": [record for record in records if record["kind"] == "machine"],
        "records": [record for record in records if record["kind"] != "machine"],
        "means": geometric_means(records),
    }


_FIRST_BYTES = b'{\n "command": [\n  "fastrnn"'


def _is_document(path: Path) -> bool:
    """Whether a file is what `--json` has written, by how it begins."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_FIRST_BYTES)) == _FIRST_BYTES
    except OSError:
        return False


def choose_cases(words: Sequence[str] | None, cells: Sequence[str], quick: bool) -> list[Case]:
    """The cases of the command line: its words, else the quick ones or both tables; a mode's together, in one table."""
    if words is None:
        return [case for case in (QUICK if quick else table()) if case.cell in cells]
    return sorted((case for word in words for case in parse(word, cells)), key=lambda case: case.training)
