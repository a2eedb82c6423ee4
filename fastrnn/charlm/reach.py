"""How far back a prediction's gradient reaches, in a trained model and in cells with fresh weights.

The measure: windows of T characters, all from the zero state; the loss is that of the character after each window
alone, so that whatever comes to an earlier step has passed all steps between. Norms are over all windows together, and
relative to that at the last step. They are worked out in float64: a float32 ends at 1e-38, which a factor of 0.6 a step
reaches within 200 steps.
"""

import numpy as np
from numpy.typing import NDArray

import fastrnn
from fastrnn import inspect
from fastrnn.cells import CELLS
from fastrnn.layers import Recurrent, Tape
from fastrnn.module import FloatArray

from .model import CharacterModel
from .text import Codes

Norms = NDArray[np.float64]

MOST_WINDOWS = 16

# Fresh layers to look at beside each other: words for the picture, the class, its options, and a factor of weight_hh,
# which is orthogonal: all its eigenvalues then have this radius.
_FRESH: tuple[tuple[str, str, dict[str, str], float], ...] = (
    ("RNN tanh", "RNN", {"nonlinearity": "tanh"}, 1.0),
    ("RNN tanh, radius 0.5", "RNN", {"nonlinearity": "tanh"}, 0.5),
    ("RNN tanh, radius 1.5", "RNN", {"nonlinearity": "tanh"}, 1.5),
    ("RNN relu", "RNN", {"nonlinearity": "relu"}, 1.0),
    *((row.name, row.name, {}, 1.0) for row in CELLS.values() if row.name != "RNN"),
)


def windows(codes: Codes, steps: int) -> Codes:
    """Windows of a text, and the character after each.

    Parameters
    ----------
    codes : int32 array (N,)
        N >= steps + 1.
    steps : int
        T.

    Returns
    -------
    int32 array (T + 1, B)
        At most MOST_WINDOWS windows, spread evenly over the text; fewer where they would overlap.
    """
    last = len(codes) - steps - 1
    starts = np.linspace(0, last, min(MOST_WINDOWS, 1 + last // (steps + 1))).astype(np.intp)
    chosen: Codes = codes[np.arange(steps + 1)[:, None] + starts]
    return chosen


def of_model(model: CharacterModel, codes: Codes) -> Norms:
    """Relative norms of the gradient by every layer's h.

    Parameters
    ----------
    model : CharacterModel
    codes : int32 array (T + 1, B)
        As `windows` makes them.

    Returns
    -------
    (layers, T) float64
        Where there are several layers, each is relative to its own last step: the last column is 1. All are 0
        where the head passes no gradient.
    """
    own = model.recurrent
    recurrent = type(own)(own.input_size, own.hidden_size, own.num_layers, dtype="float64", seed=0)
    head = fastrnn.Linear(model.head.in_features, model.head.out_features, dtype="float64", seed=0)
    for wide, narrow in ((recurrent, own), (head, model.head)):
        wide.load_state_dict({name: array.astype(np.float64) for name, array in narrow.state_dict().items()})
    y, _, tape = recurrent.forward(codes[:-1])
    logits, head_tape = head.forward(y[-1])
    _, d_logits = fastrnn.softmax_cross_entropy(logits, codes[-1])
    return _relative(tape, y, head.backward(head_tape, d_logits))


def of_fresh_cells(codes: Codes, vocabulary_size: int, hidden: int) -> dict[str, Norms]:
    """Relative norms for one layer of every cell with its default initial weights, by words for it.

    Their loss is the sum of the last h times random numbers. The tanh RNN comes three times, with the spectral radius
    1 of its default weight_hh and with others: the radius is the most by which one of its steps can stretch a gradient.

    Parameters
    ----------
    codes : int32 array (T + 1, B)
        As `windows` makes them; the last row is not used.
    vocabulary_size, hidden : int

    Returns
    -------
    dict of (T,) float64
    """
    found = {}
    for words, name, options, factor in _FRESH:
        layer: Recurrent = getattr(fastrnn, name)(vocabulary_size, hidden, dtype="float64", seed=0, **options)
        with layer.editing() as params:
            params["weight_hh_l0"] *= factor
        y, _, tape = layer.forward(codes[:-1])
        upstream = np.random.default_rng(0).standard_normal(y[-1].shape)
        found[words] = _relative(tape, y, upstream)[0]
    return found


def _relative(tape: Tape, y: FloatArray, d_last: FloatArray) -> Norms:
    """Norms for a gradient of the last step's output alone."""
    dy = np.zeros(y.shape)
    dy[-1] = d_last
    norms = inspect.gradient_norms(tape, dy)
    last = norms[:, -1:]
    return np.divide(norms, last, out=np.zeros_like(norms), where=last > 0)
