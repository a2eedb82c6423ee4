"""What is measured: the table of cases, and the arithmetic and the bytes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastrnn.cells import CELLS

# (cell, B, T, I, H, layers). The UGRNN rows repeat LSTM shapes: no other package has the cell, so it is compared with
# our own LSTM.
INFERENCE_CASES = [
    ("lstm", 1, 1, 64, 64, 1),
    ("lstm", 1, 1, 256, 256, 1),
    ("lstm", 1, 1, 512, 512, 1),
    ("lstm", 1, 100, 16, 32, 1),
    ("lstm", 1, 100, 128, 128, 1),
    ("lstm", 1, 100, 512, 512, 1),
    ("lstm", 1, 100, 1024, 1024, 1),
    ("lstm", 8, 50, 256, 256, 1),
    ("lstm", 32, 50, 256, 256, 2),
    ("lstm", 64, 50, 512, 512, 1),
    ("gru", 1, 100, 128, 128, 1),
    ("gru", 1, 100, 512, 512, 1),
    ("gru", 32, 50, 256, 256, 1),
    ("gru", 64, 50, 512, 512, 1),
    ("rnn", 1, 100, 128, 128, 1),
    ("rnn", 32, 50, 256, 256, 1),
    ("ugrnn", 8, 50, 256, 256, 1),
]

TRAINING_CASES = [
    ("lstm", 1, 25, 64, 100, 1),
    ("lstm", 16, 50, 64, 64, 1),
    ("lstm", 32, 50, 128, 128, 2),
    ("lstm", 64, 50, 256, 256, 1),
    ("lstm", 50, 50, 512, 512, 3),
    ("lstm", 128, 100, 128, 128, 1),
    ("gru", 1, 25, 64, 100, 1),
    ("gru", 32, 50, 128, 128, 2),
    ("gru", 64, 50, 256, 256, 1),
    ("gru", 50, 50, 512, 512, 3),
    ("rnn", 32, 50, 128, 128, 1),
    ("ugrnn", 32, 50, 128, 128, 2),
    ("ugrnn", 64, 50, 256, 256, 1),
]

BENCHMARK_CASES = INFERENCE_CASES + TRAINING_CASES

MODES = {"inference": INFERENCE_CASES, "training": TRAINING_CASES}


@dataclass(frozen=True)
class Case:
    """One shape of one cell, run forward alone or as a training step.

    A training step is forward and backward with the gradients of all weights, all biases and the inputs; the initial
    state is zero and has no gradient.
    """

    mode: str
    cell: str
    batch: int
    time: int
    inputs: int
    hidden: int
    layers: int = 1

    def __str__(self) -> str:
        layers = f" L{self.layers}" if self.layers > 1 else ""
        return f"{self.cell} {self.batch},{self.time},{self.inputs},{self.hidden}{layers}"

    @property
    def training(self) -> bool:
        return self.mode == "training"

    def layer_inputs(self) -> list[int]:
        """Input size of each layer."""
        return [self.inputs] + [self.hidden] * (self.layers - 1)

    def flops(self, at_rest: bool = True) -> float:
        """Floating-point operations of the matrix products, 2 to a multiply-add; the gates' own are not counted.

        From a zero state (`at_rest`) forward's first step needs no recurrent product. Training has three products
        for one of forward: outputs, gradients of inputs and states, gradients of weights.
        """
        unit = 2.0 * len(CELLS[self.cell].gates) * self.hidden * self.batch
        every = unit * self.time * sum(inputs + self.hidden for inputs in self.layer_inputs())
        forward = every - at_rest * unit * self.layers * self.hidden
        return forward + 2 * every if self.training else forward

    def resident_bytes(self, at_rest: bool = True) -> list[int]:
        """Bytes of weights that are read again and again, a list with an entry for each place they live in.

        Over many steps that is each layer's recurrent matrix by itself; over one step, call after call, all weights
        of all layers together, from a zero state the input weights.
        """
        gates = len(CELLS[self.cell].gates)
        if self.time > 1:
            return [4 * gates * self.hidden * self.hidden] * self.layers
        states = 0 if at_rest else self.hidden
        return [sum(4 * gates * self.hidden * (inputs + states) for inputs in self.layer_inputs())]

    def sweeps(self, at_rest: bool = True) -> int:
        """How often those weights are read: once a step, from a zero state not the first; once a step backward."""
        forward = max(1, self.time - at_rest)
        return forward + self.time if self.training else forward


def table(modes: Sequence[str] = ("inference", "training")) -> list[Case]:
    """The cases of the tables above."""
    return [Case(mode, *row) for mode in modes for row in MODES[mode]]


# Small and different, for a first look: a second or two in all.
QUICK = [
    Case("inference", "lstm", 1, 1, 64, 64),
    Case("inference", "lstm", 1, 100, 128, 128),
    Case("inference", "gru", 1, 100, 128, 128),
    Case("inference", "rnn", 1, 100, 128, 128),
    Case("training", "lstm", 16, 50, 64, 64),
    Case("training", "gru", 1, 25, 64, 100),
    Case("training", "ugrnn", 1, 25, 64, 100),
]


def parse(text: str, cells: Sequence[str]) -> list[Case]:
    """The cases of one word of the command line: a mode, or `[MODE:]B,T,I,H[,LAYERS]` for every cell.

    Raises
    ------
    ValueError
        The text is none of these.
    """
    if text in MODES:
        return [case for case in table([text]) if case.cell in cells]
    mode, colon, sizes = text.rpartition(":")
    try:
        numbers = [int(number) for number in sizes.split(",")]
    except ValueError:
        numbers = []
    sizes_fit = len(numbers) in (4, 5) and all(1 <= number < 2**31 for number in numbers)
    if not sizes_fit or (colon and mode not in MODES):
        raise ValueError(
            f"--cases is {text!r}; expected inference, training or [MODE:]B,T,I,H[,LAYERS], "
            "as in training:32,50,128,128,2"
        )
    modes = [mode] if colon else list(MODES)
    return [Case(mode, cell, *numbers) for mode in modes for cell in cells]
