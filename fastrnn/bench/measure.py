"""Rounds in which everybody takes a turn, so that what disturbs the machine disturbs them all."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from .apart import RunApart

Run = Callable[[], object]

# A turn: long against the clock's own 0.1 us, and a call of 2 us is not timed alone.
TURN_SECONDS = 0.002
# A call so long finds whatever it needs on its way; no other goes before it.
LONG_SECONDS = 0.05
WARM_SECONDS = 0.05
WARM_CALLS = 3
MOST_ROUNDS = 500
MOST_CALLS = 200_000  # timed one by one
# How long is waited, at a time and at most, for threads that spin after their last work: PyTorch's do so for 6 ms,
# ONNX Runtime's for 60 here. Meanwhile calls under 10 ms had one core of two, whoever's turn it was.
PAUSE_SECONDS = 0.01
MOST_PAUSE_SECONDS = 0.5
# Uncounted calls after it: one's own threads sleep by then, and an idle processor has slowed down.
WAKE_SECONDS = 0.005


def where_it_runs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of a function (run, ...): calls it in the process that has `run`, so that its clock and threads are meant."""

    @wraps(function)
    def call(run: Run, *arguments: Any) -> Any:
        if isinstance(run, RunApart):
            return run.measure(call, *arguments)
        return function(run, *arguments)

    return call


@dataclass(frozen=True)
class Budget:
    """`seconds` for all turns of one case together, but at least `rounds` rounds."""

    seconds: float
    rounds: int


@dataclass(frozen=True)
class Timing:
    """Seconds of a call: the median over the rounds, and the least."""

    median: float
    least: float
    rounds: int


def compare(runs: Mapping[str, Run], budget: Budget, cores: int) -> dict[str, Timing]:
    """Time every callable, round by round.

    Parameters
    ----------
    runs : dict of callables
    budget : Budget
    cores : int
        How many the callables use.

    Returns
    -------
    dict of Timing, by the names of `runs`
    """
    several = cores > 1
    wake = WAKE_SECONDS if several else 0.0
    if several:
        settle()
    once, round_seconds = {}, 0.0
    for name, run in runs.items():
        once[name], settled = first_calls(run, several)
        s = once[name]
        round_seconds += settled + max(TURN_SECONDS, s) + (max(s, wake) if s < LONG_SECONDS else 0.0)
    rounds = min(max(budget.rounds, int(budget.seconds / round_seconds)), MOST_ROUNDS)
    calls = {name: max(1, int(TURN_SECONDS / s)) for name, s in once.items()}
    samples: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            first = turn % len(names)  # nobody always follows the same one
            for name in names[first:] + names[:first]:
                warm = wake if once[name] < LONG_SECONDS else None
                samples[name].append(turn_of(runs[name], calls[name], warm, several))
    finally:
        if collecting:
            gc.enable()
    return {n: Timing(statistics.median(s), min(s), rounds) for n, s in samples.items()}


@where_it_runs
def first_calls(run: Run, several: bool) -> tuple[float, float]:
    """Warm up; return the least seconds of a call, and those that its threads took to rest, 0 on one core."""
    once = _warm_up(run, WARM_CALLS, WARM_SECONDS)
    return once, settle() if several else 0.0


@where_it_runs
def turn_of(run: Run, calls: int, warm: float | None, several: bool) -> float:
    """One turn: uncounted calls for `warm` seconds unless None, then those that count; return the seconds of one.

    On several cores it ends when its threads rest, so that they do not disturb the next turn.
    """
    if warm is not None:
        _warm_up(run, fewest=1, least=warm)
    seconds = _turn(run, calls)
    if several:
        settle()
    return seconds


def settle() -> float:
    """Wait until no thread of this process computes or spins any more; return the seconds that took."""
    start = time.perf_counter()
    while True:
        busy, since = time.process_time(), time.perf_counter()
        time.sleep(PAUSE_SECONDS)
        now = time.perf_counter()
        idle = time.process_time() - busy < 0.1 * (now - since)
        if idle or now - start > MOST_PAUSE_SECONDS:
            return now - start


def _warm_up(run: Run, fewest: int, least: float) -> float:
    """Call until caches, thread pools and compiled code are there; return the least seconds of a call."""
    seconds: list[float] = []
    start = time.perf_counter()
    while len(seconds) < fewest or time.perf_counter() - start < least:
        seconds.append(_turn(run, 1))
    return min(seconds)


def _turn(run: Run, calls: int) -> float:
    """Seconds a call takes."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


@where_it_runs
def percentiles(run: Run, seconds: float, fewest: int = 1_000) -> dict[str, float]:
    """Call for so long, but `fewest` times at least, and take the time of each call.

    Returns
    -------
    dict
        "calls", their number, and in seconds p50, p99, p99.9 and the most. The clock's own 0.05 us are in them.
    """
    settle()
    _warm_up(run, WARM_CALLS, WARM_SECONDS)
    clock = time.perf_counter_ns
    times: list[int] = []
    end = clock() + int(seconds * 1e9)
    while len(times) < fewest or (clock() < end and len(times) < MOST_CALLS):
        start = clock()
        run()
        times.append(clock() - start)
    times.sort()
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "most": 1.0}
    ranks = {name: nearest_rank(times, share) * 1e-9 for name, share in shares.items()}
    return {"calls": len(times), **ranks}


def nearest_rank(times: Sequence[int], share: float) -> int:
    """The least of the sorted times that so large a share of them does not exceed."""
    return times[max(1, math.ceil(round(share * len(times), 6))) - 1]
