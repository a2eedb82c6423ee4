"""Training a whole model on lists of sequences: `fastrnn.fit`, and what it is made of.

    fitting.py     fit, and its arguments
    run.py         the loop: epochs, steps, what is due between them
    batches.py     which sequences make a batch, in which order
    step.py        one step: gradients of its batches, clipping, the update
    schedules.py   learning rates over epochs
    history.py     what was measured; the log file
    checkpoint.py  the file from which a run goes on, bit for bit
    ranks.py       one process, or several over MPI
"""

from .callbacks import Callback
from .fitting import fit
from .history import Epoch, History
from .schedules import CosineDecay, ExponentialDecay, ReduceOnPlateau, Schedule, StepDecay, WarmUp

__all__ = [
    "Callback",
    "CosineDecay",
    "Epoch",
    "ExponentialDecay",
    "History",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "fit",
]
