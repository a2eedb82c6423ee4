"""What the processor can do: multiply-adds, reading from each cache, a barrier; and the bound that makes for a case."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fastrnn._core import kernels, probe
from fastrnn._core.memory import empty

from . import cores
from .cases import Case

# A trial is short, so that some fit between two interruptions on a busy machine; the best of them counts.
TRIAL_SECONDS = 0.003
TRIALS = 15
MOST_BYTES = 1 << 28  # of all buffers for reading memory


@dataclass(frozen=True)
class Machine:
    """Figures of `cores` cores working together, with the instruction set that the kernels run.

    Attributes
    ----------
    fma_gflops : float
        Multiply-adds at their best, 2 FLOP each.
    bandwidth : dict
        GB/s read in all, each core its own buffer, from L1, L2, L3 and memory.
    sizes : dict
        Bytes of each cache that one core sees.
    barrier_ns : float
        OpenMP's barrier; 0 for one core.
    """

    cores: int
    isa: str
    processor: str
    fma_gflops: float
    bandwidth: dict[str, float]
    sizes: dict[str, int]
    barrier_ns: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def level(self, size: float) -> str:
        """The first level that holds `size` bytes, whatever else it must hold: the fastest possible one."""
        for level, capacity in self.sizes.items():
            if size <= capacity and level in self.bandwidth:
                return level
        return list(self.bandwidth)[-1]

    def bound(self, case: Case, at_rest: bool = True) -> tuple[float, str]:
        """The least time of a case in seconds, and what sets it: "FMA" or the level its weights live in.

        All multiply-adds at the peak; or every sweep over the weights, each core reading its part of them, at the
        bandwidth of the level that holds that part. A sweep that keeps some of the weights in a faster level than
        the one that holds them all can be quicker than this bound.
        """
        arithmetic = case.flops(at_rest) / (self.fma_gflops * 1e9)
        reading, levels = 0.0, []
        for size in case.resident_bytes(at_rest):
            levels.append(self.level(size / self.cores))
            reading += case.sweeps(at_rest) * size / (self.bandwidth[levels[-1]] * 1e9)
        return max((arithmetic, "FMA"), (reading, levels[-1]))


def measure(threads: int) -> Machine:
    """Measure `threads` threads of this process; takes about a second.

    Parameters
    ----------
    threads : int
        1 in a build without OpenMP.
    """
    if not kernels.openmp():
        threads = 1
    sizes = dict(cores.cache_sizes())
    return Machine(
        cores=threads,
        isa=kernels.isa()["name"],
        processor=cores.model_name(),
        fma_gflops=fma_peak(threads),
        bandwidth={
            level: _read_rate(size // 4, threads)
            for level, size in _buffers(sizes, threads).items()
        },
        sizes=sizes,
        barrier_ns=_barrier(threads) * 1e9 if threads > 1 else 0.0,
    )


def fma_peak(threads: int) -> float:
    """GFLOP/s of multiply-adds on `threads` threads."""
    # One thread says how many rounds make a trial: on a busy machine it takes long until several have met.
    rounds = _rounds(lambda rounds: probe.multiply_add(rounds, 1))
    return _best_rate(lambda: probe.multiply_add(rounds, threads)) / 1e9


def _buffers(sizes: dict[str, int], threads: int) -> dict[str, int]:
    """Bytes for each thread to read that lie in one level and not in the one before it."""
    buffers, before = {}, 0
    for level, size in sizes.items():
        share = size // threads if level == "L3" else size
        if share > 2 * before:
            buffers[level] = max(min(share // 2, 8 * before or share), 2 * before)
            before = size
    buffers["memory"] = min(4 * max(sizes.values()), MOST_BYTES) // threads
    return buffers


def _read_rate(floats: int, threads: int) -> float:
    """GB/s."""
    data = empty((threads, floats))
    data[:] = 1  # real pages, not the one page of zeros
    rounds = _rounds(lambda rounds: probe.read(rounds, data[:1]))
    return _best_rate(lambda: probe.read(rounds, data)) / 1e9


def _barrier(threads: int) -> float:
    """Seconds."""
    rounds = _rounds(lambda rounds: probe.barriers(rounds, threads))

    def run() -> float:
        probe.barriers(rounds, threads)
        return float(rounds)

    return 1 / _best_rate(run)


def _rounds(run: Callable[[int], object]) -> int:
    """How many rounds make a trial."""
    rounds = 1
    while min(_seconds(run, rounds) for _ in range(3)) < TRIAL_SECONDS:
        rounds *= 2
    return rounds


def _best_rate(run: Callable[[], float]) -> float:
    """The most work a second in a few trials, `run` returning the work done."""
    best = 0.0
    for _ in range(TRIALS):
        start = time.perf_counter()
        work = run()
        best = max(best, work / (time.perf_counter() - start))
    return best


def _seconds(run: Callable[[int], object], rounds: int) -> float:
    start = time.perf_counter()
    run(rounds)
    return time.perf_counter() - start
