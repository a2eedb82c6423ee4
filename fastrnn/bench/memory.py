"""Memory of a training step, each package in a process of its own."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import peers, problem
from .cases import Case

STEPS = 3
# Before the base line is taken: what the package loads and allocates whatever the shape is not the step's.
_WARM_UP = (2, 2, 8, 8)  # B, T, I, H


def run(case: Case, name: str, threads: int) -> Iterator[dict[str, Any]]:
    """Yield one record: the process's peak, and how far the steps rose above what stood before them."""
    peer = peers.OURS if name == "fastrnn" else peers.PEERS[name]
    peer.build(problem.make(Case("training", case.cell, *_WARM_UP)), threads).run()
    job = peer.build(problem.make(case), threads)
    before = start_peak()
    for _ in range(STEPS):
        job.run()
    peak = peak_bytes()
    yield {"kind": "memory", "name": str(case), "peer": name, "peak": peak, "step": peak - before}


def start_peak() -> int:
    """Forget the peak so far where the system can; return the bytes to count from."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """The most that this process has held so far, since `start_peak` where the system can forget."""
    try:
        return _status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    """Bytes of one line of this process's status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in /proc/self/status")
