"""What a worker can measure, each a generator of records: cases, latencies, the character model."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from . import peers, problem
from .cases import Case
from .charmodel import MODELS, RIVALS
from .machine import Machine
from .measure import Budget, Run, Timing, compare, percentiles

Record = dict[str, Any]

LATENCY_CASES = [
    Case("inference", cell, 1, 1, hidden, hidden)
    for cell, hidden in (("lstm", 64), ("lstm", 256), ("gru", 64))
]
BUSY_CASES = [
    Case("inference", "lstm", 1, 100, 128, 128),
    Case("inference", "lstm", 32, 50, 128, 128),
    Case("training", "lstm", 16, 50, 64, 64),
    Case("training", "lstm", 64, 50, 256, 256),
]
BUSY_CALLS = 100
# What the other process uses of a core, in bursts of so much of every BUSY_PERIOD seconds.
BUSY_SHARES = (0.0, 0.05, 0.15, 0.3, 0.6, 1.0)
BUSY_PERIOD = 0.01
MODEL_TOLERANCE = 1e-4  # relative, of the first loss and the first gradient norm


def run_cases(
    cases: Sequence[Case], rivals: Sequence[peers.Peer], budget: Budget, machine: Machine
) -> Iterator[Record]:
    """Every case by everybody; of one step of time two records, of the layer's call and of `stream.step`."""
    for case in cases:
        runs, failed = _jobs(case, rivals, machine.cores)
        timings = compare(runs, budget, machine.cores)
        theirs = {n: t for n, t in timings.items() if n not in ("fastrnn", "stream")}
        for call, name in (("layer", "fastrnn"), ("stream.step", "stream")):
            if name in timings:
                yield _case_record(
                    case, call, {"fastrnn": timings[name], **theirs}, failed, machine
                )


def _jobs(
    case: Case, rivals: Sequence[peers.Peer], threads: int
) -> tuple[dict[str, Run], dict[str, str]]:
    """What to time, by name, and why of those that cannot be: an error, or a result other than ours."""
    task = problem.make(case)
    ours = peers.OURS.build(task, threads)
    expected = ours.results(ours.run())
    runs: dict[str, Run] = {"fastrnn": ours.run}
    failed = {}
    for peer in (peers.STREAM, *rivals):
        if not peer.supports(case):
            continue
        try:
            job = peer.build(task, threads)
            wrong = problem.disagreement(expected, job.results(job.run()))
        except Exception as error:  # another package's, whatever it is: the others shall still run
            wrong = f"{type(error).__name__}: {error}"
        if wrong is None:
            runs[peer.name] = job.run
        else:
            failed[peer.name] = wrong
    return runs, failed


def _case_record(
    case: Case, call: str, timings: dict[str, Timing], failed: dict[str, str], machine: Machine
) -> Record:
    ours = timings["fastrnn"].median
    theirs = [(t.median, name) for name, t in timings.items() if name != "fastrnn"]
    best = min(theirs, default=None)
    at_rest = call == "layer"  # a stream goes on from its state
    flop = case.flops(at_rest)
    bound, limit = machine.bound(case, at_rest)
    return {
        "kind": "case",
        **asdict(case),
        "name": str(case),
        "call": call,
        "cores": machine.cores,
        "flop": flop,
        "timings": {name: asdict(timing) for name, timing in timings.items()},
        "best_peer": best and best[1],
        "ratio": best and best[0] / ours,
        "gflops": flop / ours / 1e9,
        "bound_seconds": bound,
        "limit": limit,
        "share": bound / ours,
        "failed": failed,
    }


def run_latencies(
    rivals: Sequence[peers.Peer], budget: Budget, machine: Machine
) -> Iterator[Record]:
    """Single calls of one time step: how long the slow ones take."""
    for case in LATENCY_CASES:
        runs, failed = _jobs(case, rivals, machine.cores)
        yield {
            "kind": "latency",
            **asdict(case),
            "name": str(case),
            "cores": machine.cores,
            "timings": {name: percentiles(run, budget.seconds) for name, run in runs.items()},
            "failed": failed,
        }


def run_busy(rivals: Sequence[peers.Peer], budget: Budget, machine: Machine) -> Iterator[Record]:
    """Calls while another process uses a share of a core, from none to all: their percentiles, and the quiet median."""
    for case in BUSY_CASES:
        runs, failed = _jobs(case, rivals, machine.cores)
        quiet: dict[str, float] = {}
        for share in BUSY_SHARES:
            with _neighbour(share):
                timings = {name: percentiles(run, budget.seconds, BUSY_CALLS) for name, run in runs.items()}
            quiet = quiet or {name: times["p50"] for name, times in timings.items()}
            yield {
                "kind": "busy",
                **asdict(case),
                "name": f"{case} {case.mode}",
                "cores": machine.cores,
                "share": share,
                "timings": {name: {**times, "quiet": quiet[name]} for name, times in timings.items()},
                "failed": failed,
            }


@contextmanager
def _neighbour(share: float) -> Iterator[None]:
    """A process that uses a share of a core, on those of this process."""
    if share == 0:
        yield
        return
    script = f"""
import time
while True:
    start = time.process_time()
    while time.process_time() - start < {share * BUSY_PERIOD}:
        pass
    time.sleep({(1 - share) * BUSY_PERIOD})
"""
    process = subprocess.Popen([sys.executable, "-S", "-c", script])
    try:
        time.sleep(0.1)  # until it computes
        yield
    finally:
        process.kill()
        process.wait()


def run_models(names: Sequence[str], budget: Budget, machine: Machine) -> Iterator[Record]:
    """The whole training step of the character model by fastrnn, PyTorch and the NumPy twin."""
    for model in MODELS:
        runs: dict[str, Run] = {}
        failed: dict[str, str] = {}
        first: tuple[float, float] | None = None
        for name in ("fastrnn", *names):
            step = RIVALS[name](model, machine.cores)
            results = step()  # also the first of the warm-up
            if first is None:
                first = results
            if any(
                abs(a - b) > MODEL_TOLERANCE * abs(a) for a, b in zip(first, results, strict=True)
            ):
                failed[name] = f"loss and gradient norm {results}; expected {first}"
            else:
                runs[name] = step
        timings = compare(runs, budget, machine.cores)
        yield {
            "kind": "model",
            "name": str(model),
            "cores": machine.cores,
            "characters": model.batch * model.time,
            "timings": {name: asdict(timing) for name, timing in timings.items()},
            "failed": failed,
        }
