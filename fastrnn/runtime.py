"""What this installation is and runs on, and how many threads a call may use. Results never depend on the latter."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn._core import kernels, team

BY_DEFAULT = 0  # in place of a number of threads: worked out in team.pyx, where more than one is worth it

_settled = False


def installed_version() -> str:
    """The version that is installed."""
    from importlib.metadata import PackageNotFoundError, version  # here: it reads a dozen modules

    try:
        return version("fastrnn")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"


def config() -> dict[str, Any]:
    """Return the instruction set in use and those available, threads, OpenMP and versions."""
    isa = kernels.isa()
    return {
        "fastrnn": installed_version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "isa": isa["name"],
        "isas": kernels.available(),
        "vector": isa["vector"],
        "tile_rows": isa["tile_rows"],
        "openmp": kernels.openmp(),
        "num_threads": get_num_threads(),
    }


def show_config() -> None:
    """Print what `config` returns, one line each."""
    for name, value in config().items():
        print(f"{name:12} {', '.join(value) if isinstance(value, list) else value}")


def set_num_threads(n: int | None) -> None:
    """Set how many threads calls use that name no number themselves.

    Parameters
    ----------
    n : int or None
        At least 1; None returns to the machine's own number (see `get_num_threads`).
    """
    global _settled
    if n is not None:
        team.set_default(_check.count("set_num_threads", "n", n), _check.MOST)
    _settled = n is not None


def get_num_threads() -> int:
    """Return how many threads a call uses that names no number itself.

    That is what `set_num_threads` set; else FASTRNN_NUM_THREADS; else the smallest of
    OMP_NUM_THREADS, the CPUs this thread may run on at the moment and its control group's CPU
    quota. It is never more than OpenMP's own number where that was lowered since the import, as
    `threadpoolctl.threadpool_limits` does, and 1 in a child forked from this process. Calls use
    fewer where there is little to share, where the system refuses more threads, and on Linux
    while other processes are busy on the same cores.

    Raises
    ------
    ValueError
        FASTRNN_NUM_THREADS is no number of threads; a foreign variable that is none counts as unset.
    """
    _settle()
    return team.default_threads()


def resolve(who: str, num_threads: int | None) -> int:
    """Return the number of threads for one call of `who`, BY_DEFAULT for None."""
    if num_threads is not None:
        return _check.count(who, "num_threads", num_threads)
    if not _settled:
        _settle()
    return BY_DEFAULT


def _settle() -> None:
    """Read once what the environment and the control group say, unless a number was set."""
    global _settled
    if not _settled:
        own = _own_number()
        limits = [n for n in (_openmp_number(), _cgroup_quota()) if n is not None]
        team.set_default(own or 0, min([*limits, _check.MOST]))
        _settled = True


def _own_number() -> int | None:
    """FASTRNN_NUM_THREADS, None if unset."""
    text = os.environ.get("FASTRNN_NUM_THREADS", "").strip()
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,20}", text) or not 1 <= int(text) <= _check.MOST:
        raise ValueError(
            f"FASTRNN_NUM_THREADS is {text!r}; expected an integer in 1..{_check.MOST}. Mend it or unset it."
        )
    return int(text)


def _openmp_number() -> int | None:
    """OMP_NUM_THREADS as OpenMP reads it: a number, or a list by nesting level; what is neither counts as unset.

    OpenMP itself warns of the latter where it reads the variable.
    """
    text = os.environ.get("OMP_NUM_THREADS", "")
    if not re.fullmatch(r"\s*\+?0*[1-9][0-9]{0,17}\s*(,\s*\+?0*[1-9][0-9]{0,17}\s*)*", text, re.ASCII):
        return None
    return min(int(text.split(",")[0]), _check.MOST)


def _cgroup_quota() -> int | None:
    """CPUs' worth of time per period that the control group grants, rounded up; None if free."""
    root = Path("/sys/fs/cgroup")
    try:
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        for _, controllers, path in own:
            if controllers == "":
                quota, period = (root / path.lstrip("/") / "cpu.max").read_text().split()
            elif "cpu" in controllers.split(","):
                folder = root / controllers / path.lstrip("/")
                quota = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            else:
                continue
            if quota not in ("max", "-1"):
                return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return None
