"""Looking into a run: gates, the gradient at every step, and where a number first ceased to be finite.

    y, state, tape = lstm.forward(x)
    print(*inspect.saturation(tape), sep="\\n")
    norms = inspect.gradient_norms(tape, dy)    # (layers * directions, T)
    print(inspect.first_nan(tape, dy))          # None, or the place where it began
    lstm.backward(tape, dy)                     # the tape is as it was
    inspect.look(model, inputs, targets)        # the same of a whole model's layers

All but `look` read a tape before `backward` has used it up, and leave it and the layer as they are. They see that very
run: its dropout, its resets, its rows of different lengths. Time comes first in all that they return, whatever the
layer's `batch_first`, and what is behind a row's end is 0. The directions of a layer stand as in a state: layer 0,
layer 0 reverse, layer 1, ...

    gates.py        activations, saturation
    gradients.py    hidden_gradients, gradient_norms
    finite.py       first_nan, non_finite
    models.py       look
    clipping.py     Clipping
    walks.py        what a tape has, for all of them
"""

from .clipping import Clipping
from .finite import NonFinite, first_nan, non_finite
from .gates import Activations, Saturation, activations, saturation
from .gradients import gradient_norms, hidden_gradients
from .models import Look, look

__all__ = [
    "Activations",
    "Clipping",
    "Look",
    "NonFinite",
    "Saturation",
    "activations",
    "first_nan",
    "gradient_norms",
    "hidden_gradients",
    "look",
    "non_finite",
    "saturation",
]
