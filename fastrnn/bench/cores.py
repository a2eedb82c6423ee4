"""Which processors a measurement runs on, and how a process is kept on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_STATISTICS = Path("/proc/stat")

# Every library's own setting; XLA has none and goes by the affinity alone.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "FASTRNN_NUM_THREADS",
)


def allowed() -> list[int]:
    """Numbers of the processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def choose(count: int) -> list[int]:
    """`count` processors, on as many different cores as possible: two threads of one core share its units.

    Raises
    ------
    ValueError
        There are not so many.
    """
    cpus = allowed()
    if not 1 <= count <= len(cpus):
        raise ValueError(f"--cores is {count}; expected 1 to {len(cpus)}, the processors this process may run on")
    seen: set[str] = set()
    first: list[int] = []
    for cpu in cpus:
        core = _siblings(cpu)
        if core not in seen:
            first.append(cpu)
        seen.add(core)
    rest = [cpu for cpu in cpus if cpu not in first]
    return (first + rest)[:count]


def _siblings(cpu: int) -> str:
    try:
        return (_CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def environment(count: int) -> dict[str, str]:
    """The environment of a process that shall use `count` threads."""
    return {
        **os.environ,
        **{name: str(count) for name in _THREAD_VARIABLES},
        "JAX_PLATFORMS": "cpu",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": os.pathsep.join(
            filter(None, sys.path)
        ),  # the same fastrnn as in this process
    }


@contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Keep this thread, and the processes it starts, on these processors; on all of before afterwards."""
    if not hasattr(os, "sched_setaffinity"):  # macOS: the numbers of threads must do
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def start(module: str, cpus: Sequence[int], more: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start `python -m module` on these processors, with pipes: it is pinned before its libraries count them.

    Its environment has `more` than that of other processes here.
    """
    with pinned(cpus):
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            env={**environment(len(cpus)), **more},
            text=True,
            errors="backslashreplace",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def cache_sizes() -> Mapping[str, int]:
    """Bytes of the data caches L1, L2 and L3 that one core sees, those that the system tells of."""
    sizes = {}
    for folder in sorted((_CPUS / f"cpu{allowed()[0]}/cache").glob("index*")):
        try:
            kind = (folder / "type").read_text().strip()
            level = (folder / "level").read_text().strip()
            size = (folder / "size").read_text().strip()
        except OSError:
            continue
        if kind != "Instruction":
            sizes[f"L{level}"] = int(size.removesuffix("K")) * 1024
    return sizes or {"L1": 32 << 10, "L2": 512 << 10, "L3": 8 << 20}


def model_name() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def stolen_seconds() -> float:
    """Processor time that a hypervisor has given to others while processes here wanted it; 0 where nobody counts it."""
    try:
        fields = _STATISTICS.read_text().split(maxsplit=9)
        # cpu user nice system idle iowait irq softirq steal, in ticks, all processors together
        return int(fields[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0
