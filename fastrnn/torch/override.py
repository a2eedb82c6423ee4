"""Every recurrent operator of PyTorch on this machine's CPU runs on fastrnn: `enable`, `disable`, `enabled`.

The dispatcher is told to call our operators in place of torch's own, so programs, subclasses, TorchScript files and
packed sequences need no change. An operator is registered for both of the dispatcher's keys that a call on the CPU can
meet first: AutogradCPU, and CPU under `torch.inference_mode`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fastrnn.torch.operators import OPERATORS

KEYS = ("AutogradCPU", "CPU")

_lock = threading.Lock()
_library: torch.library.Library | None = None


def enable() -> None:
    """Let all recurrent operators of this process that run on the CPU run here, where that is possible.

    What is not possible runs as before: see `report`. Calling it again changes nothing.
    """
    global _library
    with _lock:
        if _library is not None:
            return
        library = torch.library.Library("aten", "IMPL")
        for operator in OPERATORS:
            for key in KEYS:
                library.impl(operator.overload, operator, key)
        _library = library


def disable() -> None:
    """Give PyTorch its own operators back. Graphs made before run backward as they would have."""
    global _library
    with _lock:
        if _library is not None:
            _library._destroy()
            _library = None


def is_enabled() -> bool:
    """Whether `enable` is in force."""
    return _library is not None


@contextmanager
def enabled() -> Iterator[None]:
    """`enable` for the length of a with statement, and as it was before afterwards. It concerns every thread."""
    before = is_enabled()
    enable()
    try:
        yield
    finally:
        if not before:
            disable()
