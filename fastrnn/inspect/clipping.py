"""How many steps of a training run were clipped."""

from __future__ import annotations

import math

from fastrnn import _check, clipping


class Clipping:
    """Counts how many steps of a training run were clipped.

        norm = fastrnn.clip_grad_norm_(lstm.grads, limit)
        clipping.add(norm, limit)

    A share near 1 says that the limit, not the learning rate, sets the length of the steps; a share near 0 that only
    rare explosions are cut.

    Attributes
    ----------
    norms : list of float
        The global norm of each step before clipping.
    clipped : int
        Steps at which `clip_grad_norm_` scaled the gradients down.
    """

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.clipped = 0

    def add(self, norm: float, limit: float) -> None:
        """Count a step.

        Parameters
        ----------
        norm : float
            What `clip_grad_norm_` returned, finite and at least 0.
        limit : float
            Its `max_norm`, above 0; math.inf for a step that was only measured.

        Raises
        ------
        TypeError, ValueError
            Another number.
        """
        who = "Clipping.add"
        norm = _check.number(who, "norm", norm, "a finite number of at least 0")
        if not 0 <= norm < math.inf:
            raise ValueError(f"{who}: norm is {norm}; expected a finite number of at least 0")
        limit = _check.positive(who, "limit", limit, infinite=True)
        self.clipped += clipping.factor(norm, limit) < 1
        self.norms.append(norm)

    @property
    def steps(self) -> int:
        """How many steps were added."""
        return len(self.norms)

    @property
    def share(self) -> float:
        """The share of clipped steps in 0..1; 0 before the first one."""
        return self.clipped / max(1, self.steps)

    def __str__(self) -> str:
        largest = f", largest norm {max(self.norms):.3g}" if self.norms else ""
        return f"{self.clipped} of {self.steps} steps clipped ({self.share:.1%}){largest}"
