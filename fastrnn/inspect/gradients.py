"""The gradient of the loss by h after every step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import runtime
from fastrnn._core.gradients import Gradients
from fastrnn.layers import Tape
from fastrnn.module import FloatArray

from .walks import Walk, opened, packed, walks_of


def hidden_gradients(
    tape: Tape, dy: Any, dstate: Any = None, *, num_threads: int | None = None
) -> list[FloatArray]:
    """Backpropagate, and return the gradient of the loss by h after every step, over all paths from there on.

    That is what an h gives to y, to the layer above and to all later steps of its own. `grads` stay as they are, and so
    does the tape.

    Parameters
    ----------
    tape : Tape
        What `forward` returned, not used up. It may have checkpoints.
    dy, dstate, num_threads
        As in `backward`.

    Returns
    -------
    list of arrays (T, B, H), or (T, B, P) with a projection
        One for each layer and direction; 0 where a row takes no step.

    Raises
    ------
    TypeError, ValueError
        As in `backward`.
    """
    walks, gradients, _ = watched("inspect.hidden_gradients", tape, dy, dstate, num_threads)
    return [walk.placed(rows) for walk, rows in zip(walks, gradients, strict=True)]


def watched(
    who: str, tape: Any, dy: Any, dstate: Any, num_threads: int | None
) -> tuple[list[Walk], list[FloatArray], list[FloatArray]]:
    """The tape's walks, the gradient of each one's h (N, P), and dy (N, width), of each direction or of both."""
    layer, records, border = opened(who, tape)
    threads = runtime.resolve(who, num_threads)
    dy, final, _ = layer._upstream(who, records, border, dy, dstate)
    walks = walks_of(who, layer, records, border)
    nowhere = [tuple(Gradients() for _ in directions) for directions in layer._weights]
    with layer._lock:
        layer._stack.prepare_backward(records, False)
        tape._begin(layer, who, keep=True)
        try:
            for record in records:
                record.watch(True)
            layer._stack.backward(records, dy, final, False, nowhere, threads)
            gradients = [own for record in records for own in record.dh or []]
        finally:
            for record in records:
                record.watch(False)
            tape._end()
    given = dy if isinstance(dy, list) else [] if dy is None else [dy]
    return walks, gradients, [packed(part) for part in given if part is not None]


def gradient_norms(
    tape: Tape, dy: Any, dstate: Any = None, *, num_threads: int | None = None
) -> NDArray[np.float64]:
    """Return the norm of `hidden_gradients` at every step: they vanish or explode towards the first one.

    A gradient that passes many steps shrinks or grows by about the same factor at each (Bengio, Simard and Frasconi,
    1994; Pascanu, Mikolov and Bengio, 2013). A dy of the last step alone shows that best.

    Parameters
    ----------
    tape, dy, dstate, num_threads
        As in `hidden_gradients`.

    Returns
    -------
    (layers * directions, T) float64
        Each is the Euclidean norm over all rows and units.
    """
    walks, gradients, _ = watched("inspect.gradient_norms", tape, dy, dstate, num_threads)
    return norms_of(walks, gradients)


def norms_of(walks: list[Walk], gradients: list[FloatArray]) -> NDArray[np.float64]:
    """Norms (layers * directions, T), of what `watched` returns."""
    squares = [np.square(rows, dtype=np.float64).sum(axis=1) for rows in gradients]
    of_steps = [walk.placed(rows).sum(axis=1) for walk, rows in zip(walks, squares, strict=True)]
    norms: NDArray[np.float64] = np.sqrt(np.stack(of_steps))
    return norms
