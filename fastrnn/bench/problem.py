"""Weights and inputs of a case, the same for everybody; what is made of them; and whether two results agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.cells import CELLS

from .cases import Case

FloatArray = NDArray[np.float32]
Results = dict[str, FloatArray]

# Largest difference, relative to the largest entry of an array. Float32 sums of a thousand terms over a hundred steps
# leave 1e-6 to 1e-5; peers that approximate tanh leave more; bfloat16 would leave 1e-2.
OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 5e-4


@dataclass(frozen=True)
class Job:
    """A case, ready to be run again and again.

    Attributes
    ----------
    run : callable () -> anything
        What is timed; when it returns, the results are there.
    results : callable (what `run` returned) -> dict of arrays
        The results by name, as `disagreement` takes them. Not timed.
    """

    run: Callable[[], Any]
    results: Callable[[Any], Any]


@dataclass(frozen=True)
class Problem:
    """A case with its arrays.

    Attributes
    ----------
    weights : dict
        PyTorch's names and shapes: weight_ih_l0 (G*H, I), weight_hh_l0 (G*H, H), bias_ih_l0, bias_hh_l0 (G*H,), ...
    x : (T, B, I)
    dy : (T, B, H), the gradient of a loss by the outputs
    """

    case: Case
    weights: dict[str, FloatArray]
    x: FloatArray
    dy: FloatArray

    def layer(self, layer: int) -> tuple[FloatArray, ...]:
        """weight_ih, weight_hh, bias_ih, bias_hh of one layer."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(self.weights[f"{name}_l{layer}"] for name in names)


def make(case: Case, seed: int = 0) -> Problem:
    """Random arrays: weights as PyTorch starts them, inputs and gradients of order one."""
    rng = np.random.default_rng(seed)
    rows, limit = len(CELLS[case.cell].gates) * case.hidden, case.hidden**-0.5
    weights = {}
    for layer, inputs in enumerate(case.layer_inputs()):
        shapes = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, case.hidden),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        for name, shape in shapes.items():
            weights[f"{name}_l{layer}"] = rng.uniform(-limit, limit, shape).astype(np.float32)
    lead = (case.time, case.batch)
    x = rng.standard_normal((*lead, case.inputs), dtype=np.float32)
    dy = rng.standard_normal((*lead, case.hidden), dtype=np.float32)
    return Problem(case, weights, x, dy)


def disagreement(
    ours: Results, theirs: Results, outputs: float = OUTPUT_TOLERANCE, gradients: float = GRADIENT_TOLERANCE
) -> str | None:
    """Where results differ by more than the tolerance, in words; None where they agree.

    Parameters
    ----------
    ours, theirs : dict
        "y", and of a training step "dx" and "d" + name for every parameter.
    outputs, gradients : float
        The tolerances of y and of all others, relative to the largest entry of an array.
    """
    if ours.keys() != theirs.keys():
        return f"results {sorted(theirs)}; expected {sorted(ours)}"
    for name, expected in ours.items():
        actual = np.asarray(theirs[name])
        if actual.shape != expected.shape:
            return f"{name} has shape {actual.shape}; expected {expected.shape}"
        scale = float(np.abs(expected).max())
        error = float(np.abs(actual - expected).max())
        allowed = outputs if name == "y" else gradients
        if not error <= allowed * scale:
            return f"{name} differs by {error / scale:.1e} of its largest entry; allowed {allowed:.0e}"
    return None
