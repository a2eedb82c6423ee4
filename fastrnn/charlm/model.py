"""The character model: recurrent layers, and a linear head that gives a logit per character."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

import fastrnn
from fastrnn import init
from fastrnn.cells import CELLS
from fastrnn.errors import UserError
from fastrnn.layers import Recurrent
from fastrnn.module import Module, Parameters

from .settings import ModelSettings
from .text import Codes

Floats = NDArray[np.float32]
State = Floats | tuple[Floats, ...] | None
Shape = tuple[int, ...]

_LAYERS: dict[str, Callable[..., Recurrent]] = {cell: getattr(fastrnn, row.name) for cell, row in CELLS.items()}


class CharacterModel:
    """Predicts the next character of B texts from those before it, in float32: its files have no other dtype.

    Parameters
    ----------
    settings : ModelSettings
    vocabulary_size : int
        V, the number of characters.
    seed : int
        Of the initial weights and of dropout's masks.
    """

    def __init__(self, settings: ModelSettings, vocabulary_size: int, seed: int) -> None:
        self.settings = settings
        self.vocabulary_size = vocabulary_size
        recurrent_seed, head_seed = np.random.SeedSequence(seed).spawn(2)

        def uniform(name: str, shape: Shape, rng: np.random.Generator) -> Floats:
            """PyTorch's initial values: on tinyshakespeare 0.05 nats better after two epochs than the layers' own."""
            return init.uniform(shape, rng, settings.hidden**-0.5)

        self.recurrent = _LAYERS[settings.cell](
            vocabulary_size,
            settings.hidden,
            settings.layers,
            dropout=settings.dropout,
            seed=recurrent_seed,
            init=uniform,
        )
        self.head = fastrnn.Linear(settings.hidden, vocabulary_size, seed=head_seed, init=uniform)

    @property
    def modules(self) -> list[Module]:
        return [self.recurrent, self.head]

    @property
    def grads(self) -> list[Parameters]:
        """The gradients of all modules: what clipping takes as one vector."""
        return [module.grads for module in self.modules]

    @property
    def parameter_count(self) -> int:
        return sum(module.flat_params.size for module in self.modules)

    def __call__(self, codes: Codes, state: State = None) -> tuple[Floats, State]:
        """Logits without dropout, and nothing kept for a backward pass.

        Parameters
        ----------
        codes : integer array (T, B)
        state : state of the recurrent layers, or None for zeros

        Returns
        -------
        logits : float32 (T, B, V)
        state : the state after the T characters
        """
        hidden, state = self.recurrent(codes, state)
        return self.head(hidden), state

    def add_gradients(
        self, codes: Codes, targets: Codes, state: State = None
    ) -> tuple[float, State]:
        """Loss of one window; its gradients are added to the modules' `grads`.

        Parameters
        ----------
        codes, targets : integer arrays (T, B)
        state : state before the window (no gradient flows into it), or None for zeros

        Returns
        -------
        loss : float
            Mean over the window's T * B predictions, in nats.
        state : the state after the window
        """
        hidden, state, recurrent_tape = self.recurrent.forward(codes, state)
        logits, head_tape = self.head.forward(hidden)
        loss, d_logits = fastrnn.softmax_cross_entropy(logits, targets)
        d_hidden = self.head.backward(head_tape, d_logits)
        self.recurrent.backward(recurrent_tape, d_hidden)
        return loss, state

    def state_dict(self) -> dict[str, Floats]:
        """Copies of all parameters, named `recurrent.*` and `head.*`."""
        return {
            f"{prefix}.{name}": value
            for prefix, module in self._named_modules()
            for name, value in module.state_dict().items()
        }

    def load_state_dict(self, tensors: Mapping[str, Floats]) -> None:
        """Take the parameters from a mapping as `state_dict` gives it."""
        for prefix, module in self._named_modules():
            start = prefix + "."
            module.load_state_dict(
                {
                    name.removeprefix(start): value
                    for name, value in tensors.items()
                    if name.startswith(start)
                }
            )

    def _named_modules(self) -> Iterable[tuple[str, Module]]:
        return (("recurrent", self.recurrent), ("head", self.head))


def parameter_shapes(settings: ModelSettings, vocabulary_size: int) -> dict[str, Shape]:
    """Names and shapes of a model's parameters, worked out without building it.

    A file's tensors are held against this before memory is taken for the model it describes.
    """
    hidden, size = settings.hidden, vocabulary_size
    rows = len(CELLS[settings.cell].gates) * hidden
    shapes: dict[str, Shape] = {}
    for layer in range(settings.layers):
        shapes[f"recurrent.weight_ih_l{layer}"] = (rows, hidden if layer else size)
        shapes[f"recurrent.weight_hh_l{layer}"] = (rows, hidden)
        shapes[f"recurrent.bias_ih_l{layer}"] = (rows,)
        shapes[f"recurrent.bias_hh_l{layer}"] = (rows,)
    return {**shapes, "head.weight": (size, hidden), "head.bias": (size,)}


def state_shapes(settings: ModelSettings, batch: int) -> list[Shape]:
    """Shapes of the arrays that make up a carried state of B rows."""
    count = len(CELLS[settings.cell].states)
    return [(settings.layers, batch, settings.hidden)] * count


def state_arrays(state: State) -> list[Floats]:
    """A state as a list of arrays: [h, c] for the LSTM, [h] for the others, [] for None."""
    if state is None:
        return []
    return list(state) if isinstance(state, tuple) else [state]


def state_from_arrays(settings: ModelSettings, arrays: list[Floats]) -> State:
    """What `state_arrays` was made of."""
    if not arrays:
        return None
    return tuple(arrays) if len(CELLS[settings.cell].states) > 1 else arrays[0]


def describe(settings: ModelSettings, vocabulary_size: int) -> str:
    """One line that says what a model is: `lstm 2x128, 65 characters`."""
    return f"{settings.cell} {settings.layers}x{settings.hidden}, {vocabulary_size} characters"


def check_size(settings: ModelSettings, vocabulary_size: int) -> None:
    """Raise UserError if the parameters cannot fit into memory's address range."""
    rows = len(CELLS[settings.cell].gates) * settings.hidden
    largest = rows * max(settings.hidden, vocabulary_size)
    if largest * settings.layers >= 2**40:
        raise UserError(
            f"a model of {describe(settings, vocabulary_size)} would have more than 2**40 weights"
        )
