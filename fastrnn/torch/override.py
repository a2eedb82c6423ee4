"""Every recurrent operator of PyTorch on this machine's CPU runs on fastrnn: `enable`, `disable`, `enabled`.

The dispatcher is told to call our operators in place of torch's own, so programs, subclasses, TorchScript files and
packed sequences need no change. An operator is registered for both of the dispatcher's keys that a call on the CPU can
meet first: AutogradCPU, and CPU under `torch.inference_mode`. Because of the latter, what torch decomposes without
gradients (`run_decompositions` of an exported program) keeps recurrent operators whole while they are registered.

What is registered can only be taken back while no other thread may be on its way to it: the dispatcher frees it at
once, even between a thread's look at the table and the call. With other threads about, `disable` leaves it in place,
and each call goes on to torch's own operator.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fastrnn.torch.bridge import Override, override
from fastrnn.torch.operators import OPERATORS

KEYS = ("AutogradCPU", "CPU")

_lock = threading.Lock()
_library: torch.library.Library | None = None  # there may be one that is not in force
_in_force = False


def enable() -> None:
    """Let all recurrent operators of this process that run on the CPU run here, where that is possible.

    What is not possible runs as before: see `report`. Calling it again changes nothing. Call it before other threads
    run recurrent layers for the first time.
    """
    with _lock:
        if _library is None:
            _register()
        _set_in_force(True)


def disable() -> None:
    """Give PyTorch its own operators back. Graphs made before run backward as they would have."""
    global _library
    with _lock:
        _set_in_force(False)
        if _library is not None and len(sys._current_frames()) == 1:
            _library._destroy()
            _library = None


def is_enabled() -> bool:
    """Whether `enable` is in force."""
    return _in_force


def _register() -> None:
    global _library
    library = torch.library.Library("aten", "IMPL")
    for operator in OPERATORS:
        for key in KEYS:
            library.impl(operator.overload, Override(operator), key)
    _library = library


def _set_in_force(wanted: bool) -> None:
    global _in_force
    _in_force = wanted
    override(wanted)


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
