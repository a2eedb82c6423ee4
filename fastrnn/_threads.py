"""How many threads a call may use. Results never depend on it."""

import os
import weakref
from pathlib import Path
from typing import Protocol

from fastrnn import _check, _team

_default: int | None = None
_forked = False


class LockOwner(Protocol):
    def _renew_lock(self) -> None: ...


# By identity: a user's layer may compare by value, or not be hashable.
_owners: weakref.WeakValueDictionary[int, LockOwner] = weakref.WeakValueDictionary()


def renew_in_children(owner: LockOwner) -> None:
    """Have a forked child renew the owner's lock, whose holder may not exist there."""
    _owners[id(owner)] = owner


def _after_fork() -> None:
    """GNU OpenMP hangs in a child forked after the parent ran a parallel region: stay serial."""
    global _forked
    _forked = True
    _team.stay_serial()
    for owner in list(_owners.values()):
        owner._renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def set_num_threads(n: int | None) -> None:
    """Set how many threads calls use that name no number themselves.

    Parameters
    ----------
    n : int or None
        At least 1; None returns to the machine's own number (see `get_num_threads`).
    """
    global _default
    _default = None if n is None else _check.count("set_num_threads", "n", n)


def get_num_threads() -> int:
    """Return how many threads a call uses that names no number itself.

    That is what `set_num_threads` set; else FASTRNN_NUM_THREADS; else the smallest of
    OMP_NUM_THREADS, the CPUs this process may run on and its control group's CPU quota. In a
    child forked from this process it is 1. Calls use fewer where there is little to share, and
    on Linux while other processes are busy on the same cores.
    """
    global _default
    if _forked:
        return 1
    if _default is None:
        own = _from_environment("FASTRNN_NUM_THREADS")
        _default = own if own is not None else _machine_threads()
    return _default


def resolve(who: str, num_threads: int | None) -> int:
    """Return the number of threads for one call of `who`."""
    if num_threads is None:
        return get_num_threads()
    n = _check.count(who, "num_threads", num_threads)
    return n


def _machine_threads() -> int:
    limits = [_cpus_allowed()]
    openmp = _from_environment("OMP_NUM_THREADS")
    if openmp is not None:
        limits.append(openmp)
    quota = _cgroup_quota()
    if quota is not None:
        limits.append(quota)
    return max(1, min(limits))


def _cpus_allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _from_environment(name: str) -> int | None:
    """Return the variable's value; OMP_NUM_THREADS may be a list by nesting level: its first."""
    text = os.environ.get(name, "").split(",")[0].strip()
    if not text:
        return None
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name} is {text!r}; expected an integer >= 1. Mend it or unset it.")
    return int(text)


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
    except (OSError, ValueError):
        return None
    return None
