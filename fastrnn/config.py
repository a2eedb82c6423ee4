"""What this installation is and runs on."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from fastrnn import _kernels, _threads
from fastrnn._version import __version__


def config() -> dict[str, Any]:
    """Return the instruction set in use and those available, threads, OpenMP and versions."""
    isa = _kernels.isa()
    return {
        "fastrnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "isa": isa["name"],
        "isas": _kernels.available(),
        "vector": isa["vector"],
        "tile_rows": isa["tile_rows"],
        "openmp": _kernels.openmp(),
        "num_threads": _threads.get_num_threads(),
    }


def show_config() -> None:
    """Print what `config` returns, one line each."""
    for name, value in config().items():
        print(f"{name:12} {', '.join(value) if isinstance(value, list) else value}")
