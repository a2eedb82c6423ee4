"""How many calls took which way."""

from __future__ import annotations

from fastrnn.torch.bridge import counts


def report() -> dict[str, dict[str, int]]:
    """Count the calls of each operator by the way they took.

    Returns
    -------
    dict
        {"lstm": {"fastrnn": 120, "torch: autocast": 3}, ...}: operators that were called, "fastrnn" for calls that ran
        here, "torch: " and the reason for calls that PyTorch's own operator computed. Backward runs are not counted.
        Counts of threads that call at the same time may be a few too low.
    """
    return {name: dict(ways) for name, ways in counts.items() if ways}


def reset_report() -> None:
    """Set all counts to zero."""
    for ways in counts.values():
        ways.clear()
