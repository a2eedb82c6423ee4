"""PyTorch's recurrent layers on fastrnn's engine. Only who imports this needs torch.

Three ways in, from narrow to wide: the layers `LSTM`, `GRU` and `RNN` for who writes a model, `accelerate` for a model
that exists, `enable` for a whole program. `report` says which calls ran here, and why the others did not.
"""

from __future__ import annotations

import torch

from fastrnn.torch import versions

versions.check(torch.__version__)

from fastrnn.torch.counts import report, reset_report  # noqa: E402  # only after the check
from fastrnn.torch.episodes import run_with_resets  # noqa: E402
from fastrnn.torch.memory import release_memory  # noqa: E402
from fastrnn.torch.modules import GRU, LSTM, RNN, Accelerated, accelerate, restore  # noqa: E402
from fastrnn.torch.override import disable, enable, enabled, is_enabled  # noqa: E402

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Accelerated",
    "accelerate",
    "disable",
    "enable",
    "enabled",
    "is_enabled",
    "release_memory",
    "report",
    "reset_report",
    "restore",
    "run_with_resets",
]
