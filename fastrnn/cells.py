"""What a cell is: the one table that layers, initial values, the character model, the benchmark and converters read.

The equations are in `fastrnn.reference` and `src/cells/`; the C table's rows have the same numbers of gates and states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CELLS", "Cell"]


@dataclass(frozen=True)
class Cell:
    """A row.

    Attributes
    ----------
    name : str
        Of the layer's class; in lower case it is the cell's name on the command line and in files.
    gates : tuple of str
        In the order of the blocks of rows in the weights, which is PyTorch's.
    candidate : str
        The gate that is what may enter the state, a tanh or the nonlinearity of an RNN; the others are logistic.
    states : tuple of str
        What a step hands on: h, or h and c.
    open_gate : str or None
        The gate whose bias starts at 1, so that it holds on to the old state.
    onnx : tuple of str or None
        The same gates in ONNX's order; None where ONNX has no such cell.
    compiled : tuple of str
        Names of its rows in the C table, one for each form of the cell.
    """

    name: str
    gates: tuple[str, ...]
    candidate: str
    states: tuple[str, ...] = ("h",)
    open_gate: str | None = None
    onnx: tuple[str, ...] | None = None
    compiled: tuple[str, ...] = field(default=())

    def onnx_order(self) -> tuple[int, ...]:
        """For each gate of ONNX the place of ours."""
        if self.onnx is None:
            raise ValueError(f"{self.name}: ONNX has no such cell; expected LSTM, GRU or RNN")
        return tuple(self.gates.index(gate) for gate in self.onnx)


CELLS: Mapping[str, Cell] = {
    cell.name.lower(): cell
    for cell in (
        Cell(
            "LSTM",
            gates=("i", "f", "g", "o"),
            candidate="g",
            states=("h", "c"),
            open_gate="f",
            onnx=("i", "o", "f", "g"),
            compiled=("lstm",),
        ),
        Cell(
            "GRU",
            gates=("r", "z", "n"),
            candidate="n",
            onnx=("z", "r", "n"),
            compiled=("gru_reset_after", "gru_reset_before"),
        ),
        Cell(
            "RNN",
            gates=("h",),
            candidate="h",
            onnx=("h",),
            compiled=("rnn_tanh", "rnn_relu", "rnn_sigmoid"),
        ),
        Cell(
            "UGRNN",
            gates=("g", "c"),
            candidate="c",
            open_gate="g",
            compiled=("ugrnn",),
        ),
    )
}
