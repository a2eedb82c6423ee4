"""`pytest benchmarks/`: the cases of `fastrnn.bench.cases` through pytest-benchmark.

FASTRNN_BENCH_CORES is how many cores everybody gets, 1 by default.
"""

import os
import sys
import time

CORES = int(os.environ.get("FASTRNN_BENCH_CORES", "1"))

# NumPy's BLAS counts the processors when it is loaded, so they must be few by then.
LATE = "numpy" in sys.modules
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

import pytest  # noqa: E402

from fastrnn.bench import machine  # noqa: E402

# Calls are repeated for so long in a round; a call longer than SLOW_SECONDS is measured once.
ROUND_SECONDS = 0.002
SLOW_SECONDS = 0.5
ROUNDS = 3


def pytest_report_header():
    late = "; a plugin loaded NumPy before that was set, its times may be wrong" if LATE else ""
    return f"benchmarks on {CORES} of {os.cpu_count()} processors{late}"


@pytest.fixture(scope="session")
def cores():
    return CORES


@pytest.fixture(scope="session")
def peak():
    """GFLOP/s of multiply-adds on these cores."""
    return machine.fma_peak(CORES)


@pytest.fixture
def timed(benchmark, peak):
    """A function (run, flop) that times `run` and notes its GFLOP/s and its share of the peak beside the times."""

    def measure(run, flop):
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        calls = max(1, int(ROUND_SECONDS / seconds))
        rounds = ROUNDS if seconds < SLOW_SECONDS else 1
        benchmark.pedantic(run, rounds=rounds, iterations=calls, warmup_rounds=rounds - 1)
        if benchmark.stats is not None:  # it is with --benchmark-disable
            gflops = flop / benchmark.stats.stats.median / 1e9
            benchmark.extra_info["GFLOP/s"] = round(gflops, 2)
            benchmark.extra_info["share of FMA peak"] = round(gflops / peak, 4)

    return measure
