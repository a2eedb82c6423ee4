"""fastrnn: recurrent networks on the CPU that train, in one small wheel that needs only NumPy.

    lstm = fastrnn.LSTM(input_size, hidden_size, num_layers)
    y, state = lstm(x)                        inference
    y, state, tape = lstm.forward(x)          training
    dx, dstate = lstm.backward(tape, dy)      adds to lstm.grads

README.md has the tour, `fastrnn.reference` the same equations in plain NumPy.
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING
from typing import Any as _Any

from fastrnn import _command  # noqa: F401  (first: it shows what fails below)

if _find_spec("fastrnn._core.kernels") is None:
    raise ImportError(
        f"fastrnn: {__path__[0]} is the source, without its compiled modules; expected to be imported from "
        "another folder, or after `pip install -e .` in this one"
    )

from fastrnn.clipping import clip_grad_norm_, clip_grad_value_
from fastrnn.layers import GRU, LSTM, RNN, UGRNN
from fastrnn.linear import Linear
from fastrnn.losses import softmax_cross_entropy
from fastrnn.optim import SGD, Adagrad, Adam, RMSprop
from fastrnn.runtime import config, get_num_threads, set_num_threads, show_config
from fastrnn.stream import Stream
from fastrnn.windows import streams, tbptt

if TYPE_CHECKING:
    __version__: str
    from fastrnn import decoding, inspect, training  # noqa: F401
    from fastrnn.attention import Attention
    from fastrnn.ctc import ctc_loss
    from fastrnn.dropout import Dropout
    from fastrnn.element_losses import (
        binary_cross_entropy,
        gaussian_nll,
        huber_loss,
        negative_binomial_nll,
        squared_error,
    )
    from fastrnn.embedding import Embedding
    from fastrnn.model import EncoderDecoder, SequenceModel
    from fastrnn.training import fit

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "UGRNN",
    "Adagrad",
    "Adam",
    "Attention",
    "Dropout",
    "Embedding",
    "EncoderDecoder",
    "Linear",
    "RMSprop",
    "SequenceModel",
    "Stream",
    "__version__",
    "binary_cross_entropy",
    "clip_grad_norm_",
    "clip_grad_value_",
    "config",
    "ctc_loss",
    "decoding",
    "fit",
    "gaussian_nll",
    "get_num_threads",
    "huber_loss",
    "negative_binomial_nll",
    "set_num_threads",
    "show_config",
    "softmax_cross_entropy",
    "squared_error",
    "streams",
    "tbptt",
]

# Read when they are asked for, so that a program that runs a layer begins at once.
_LATER = {
    **{module: module for module in ("decoding", "inspect", "training")},
    "Attention": "attention",
    "ctc_loss": "ctc",
    "Dropout": "dropout",
    "Embedding": "embedding",
    "EncoderDecoder": "model",
    "SequenceModel": "model",
    "fit": "training",
    **dict.fromkeys(
        ["binary_cross_entropy", "gaussian_nll", "huber_loss", "negative_binomial_nll", "squared_error"],
        "element_losses",
    ),
}


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        from fastrnn.runtime import installed_version

        return globals().setdefault(name, installed_version())
    if name not in _LATER:
        raise AttributeError(f"module 'fastrnn' has no attribute {name!r}")
    module = _import_module("." + _LATER[name], __name__)
    return globals().setdefault(name, module if name == _LATER[name] else getattr(module, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "__version__"})
