"""What the checks share: the examples as modules, the largest difference, texts to try."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

EXAMPLES = Path(__file__).parents[1]


def example(name):
    """The names in an example. It is not imported: some have the name of the package that they are held against."""
    sys.path.append(str(EXAMPLES))
    try:
        return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))
    finally:
        sys.path.remove(str(EXAMPLES))


class Comparison:
    """Collects how far results are apart, and ends the program if they are too far."""

    def __init__(self, name, tolerance):
        self.name, self.tolerance, self.largest, self.numbers, self.equal = name, tolerance, 0.0, 0, 0

    def near(self, got, expected):
        """Add two arrays of numbers."""
        got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
        if got.shape != expected.shape:
            sys.exit(f"{self.name}: got shape {got.shape}; expected {expected.shape}")
        self.largest = max(self.largest, float(np.abs(got - expected).max()))
        self.numbers += got.size

    def same(self, got, expected):
        """Add two results that must be equal, words for example."""
        if got != expected:
            sys.exit(f"{self.name}: got {got}; expected {expected}")
        self.equal += 1

    def report(self, against):
        if not self.numbers or not self.largest <= self.tolerance:
            sys.exit(f"{self.name}: {self.numbers} numbers, apart by {self.largest:.2g}; expected {self.tolerance:.2g}")
        results = f", {self.equal} results the same" if self.equal else ""
        print(f"{self.name:12} {self.numbers:7} numbers, apart by {self.largest:.1e}{results}; against {against}")
