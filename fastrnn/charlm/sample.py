"""Drawing text from a model, one character at a time."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastrnn import decoding
from fastrnn.decoding.drawing import draw
from fastrnn.errors import UserError

from .model import CharacterModel
from .text import Codes, Vocabulary

Weights = NDArray[np.float64]


def generate(
    model: CharacterModel,
    vocabulary: Vocabulary,
    prime: Codes | Iterable[int],
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    rng: np.random.Generator | None = None,
) -> Iterator[str]:
    """Characters that the model draws after `prime`, each yielded as soon as it is drawn.

    Parameters
    ----------
    model : CharacterModel
    vocabulary : Vocabulary
    prime : integer array (N,)
        Codes that the model reads first, N >= 1.
    length : int
        Number of characters to draw.
    temperature : float
        Divides the logits: below 1 the likely becomes likelier, 0 always takes the likeliest.
    top_k : int
        Draw among the k likeliest characters only; 0: among all.
    top_p : float
        Draw among the likeliest characters that together have this probability; 1: among all.
    rng : numpy.random.Generator, optional

    Yields
    ------
    str
        One character.
    """
    check_options(length, temperature, top_k, top_p)
    rng = rng or np.random.default_rng()
    stream = model.recurrent.stream(batch_size=1)
    *first, code = prime
    for known in first:
        stream.step(np.array([known]))
    for _ in range(length):
        logits = model.head(stream.step(np.array([code])))[0]
        code = draw(probabilities(logits, temperature, top_k, top_p), rng)
        yield vocabulary.characters[code]


def check_options(length: int, temperature: float, top_k: int, top_p: float) -> None:
    """Raise UserError unless all are in their ranges."""
    if length < 0:
        raise UserError(f"--length is {length}; expected at least 0")
    if not 0.0 <= temperature < math.inf:
        raise UserError(f"--temperature is {temperature}; expected at least 0 and finite")
    if top_k < 0:
        raise UserError(f"--top-k is {top_k}; expected at least 1, or 0 for all")
    if not 0.0 < top_p <= 1.0:
        raise UserError(f"--top-p is {top_p}; expected more than 0 and at most 1")


def probabilities(
    logits: ArrayLike, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Weights:
    """Probabilities (V,) to draw from, as `fastrnn.decoding.probabilities` works them out.

    Raises
    ------
    FloatingPointError
        If a logit is not finite: the weights are too large.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise FloatingPointError("the model's logits are not finite: its weights are too large")
    return decoding.probabilities(scores, temperature, top_k, top_p)


def default_prime(vocabulary: Vocabulary) -> str:
    """What a text begins after: a line end, or the first character where there is none."""
    return "\n" if "\n" in vocabulary else vocabulary.characters[0]
