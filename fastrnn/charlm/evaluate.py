"""How well a model predicts a text, and what general compressors make of the same text.

The measure: the text is cut into B contiguous streams of equal length, all start from the zero
state, and the state is carried from the first character to the last. Every character of a stream
but the first is predicted from those before it, and the mean of all -log p is the loss in nats.
With B = 1 that is the plain definition for one text. Training validates with the streams of its
mini-batch, as B streams take one pass of large matrix products instead of many small ones; each
stream's start costs a little, so its figure is slightly above that of one stream.
"""

import bz2
import lzma
import math

import fastrnn
from fastrnn.windows import streams as streams_of

from .model import CharacterModel, State
from .text import Codes

# Predictions of one call: enough to keep matrix products large, and a bound on memory
# (this many logits per character of the vocabulary).
_PREDICTIONS = 4096


def mean_loss(model: CharacterModel, codes: Codes, streams: int = 1) -> float:
    """Mean loss of a model over a text.

    Parameters
    ----------
    model : CharacterModel
    codes : int32 array (N,)
        The text's codes, N >= streams + 1. The last (N - 1) % streams characters are left out.
    streams : int
        B, into how many contiguous streams the text is cut.

    Returns
    -------
    float
        Nats per character.

    Raises
    ------
    FloatingPointError
        If the loss is not finite: the weights are too large.
    """
    inputs = streams_of(codes[:-1], streams)
    targets = streams_of(codes[1:], streams)
    length = len(inputs)
    window = max(1, _PREDICTIONS // streams)
    state: State = None
    total = 0.0
    for start in range(0, length, window):
        y = targets[start : start + window]
        logits, state = model(inputs[start : start + window], state)
        loss, _ = fastrnn.softmax_cross_entropy(logits, y)
        total += loss * len(y)
    if not math.isfinite(total):
        raise FloatingPointError("the loss over the text is not finite: the model's weights are too large")
    return total / length


def stream_count(characters: int, batch: int, seq: int) -> int:
    """At most `batch` streams, fewer for a short text: each shall be a window long."""
    return max(1, min(batch, (characters - 1) // seq))


def bits(nats: float) -> float:
    return nats / math.log(2)


def compressed_bits(text: str) -> dict[str, float]:
    """Bits per character that `bz2` and `xz` need for `text` at their best settings.

    Returns
    -------
    dict of float
        By the compressor's name.
    """
    data = text.encode("utf-8")
    return {
        "bz2": 8 * len(bz2.compress(data, 9)) / len(text),
        "xz": 8 * len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) / len(text),
    }
