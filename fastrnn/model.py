"""Whole models: recurrent layers with what comes before and after them, as one thing to train.

    SequenceModel     [embedding] -> recurrent -> [pool] -> dropout -> head -> loss
    EncoderDecoder    encoder -> final state -> decoder -> [attention over the encoder] -> dropout -> head -> loss
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, decoding
from fastrnn._check import FloatArray
from fastrnn.attention import Attention
from fastrnn.embedding import Embedding
from fastrnn.layers import Recurrent
from fastrnn.linear import Linear
from fastrnn.losses import softmax_cross_entropy
from fastrnn.pooling import Bridge, Pool, between, joined, padded, stacked
from fastrnn.trainable import Model

Array = NDArray[Any]


class SequenceModel(Model):
    """Recurrent layers and a head that gives outputs at each step, or with a pool once for each sequence.

    Parameters
    ----------
    recurrent : LSTM, GRU, RNN or UGRNN, time first
    head : Linear
        From the recurrent outputs, or what `pool` makes of them, to what `loss` takes.
    loss : callable (outputs, targets, reduction=, num_threads=), one of `fastrnn.losses` or like them
    embedding : Embedding, optional
        In front of the recurrent layers, which else take vectors, or integers as one-hots.
    dropout : float in [0, 1) of what the head takes, in training
    pool : {None, "last", "mean"}
        What the head takes: the outputs at each step; the final states of the last layer, both directions side by side;
        or the mean of the outputs over a sequence's steps.
    seed : int, numpy.random.SeedSequence or None
    """

    LAYERS: ClassVar = {"embedding": Embedding, "recurrent": Recurrent, "head": Linear}
    OPTIONAL: ClassVar = ("embedding",)

    def __init__(
        self,
        recurrent: Recurrent,
        head: Linear,
        loss: Callable[..., Any] = softmax_cross_entropy,
        *,
        embedding: Embedding | None = None,
        dropout: float = 0.0,
        pool: Literal["last", "mean"] | None = None,
        seed: int | np.random.SeedSequence | None = None,
    ) -> None:
        super().__init__({"embedding": embedding, "recurrent": recurrent, "head": head}, dropout, seed)
        self.recurrent, self.head, self.embedding = recurrent, head, embedding
        self.loss = _check.function(self._who, "loss", loss, "(outputs, targets, *, reduction, num_threads)")
        self._pool = Pool(self._who, recurrent, pool)
        if head.in_features != self._pool.width:
            raise ValueError(f"{self._who}: head takes {head.in_features} features; expected {self._pool.width}")

    def __call__(self, inputs: Any, *, num_threads: int | None = None) -> Any:
        """Return the outputs of sequences, without dropout: a list of (T_i, V), or (T, B, V); with a pool (B, V).

        Inputs are a list of B arrays (T_i, I), or (T_i,) integers; or one array (T, B, I) or (T, B).
        """
        x = inputs if self.embedding is None else self.embedding(inputs)
        y, state = self.recurrent(x, num_threads=num_threads)
        return self._pool.split(self.head(self._pool(y, state), num_threads=num_threads), y)

    def forward(self, inputs: Any, *, num_threads: int | None = None) -> tuple[Any, Any]:
        """Return the outputs, with dropout, and the tape that `backward` needs."""
        x, embedded = (inputs, None) if self.embedding is None else self.embedding.forward(inputs)
        y, state, ran = self.recurrent.forward(x, num_threads=num_threads)
        rows, dropped = self._dropout.forward(self._pool(y, state))
        outputs, headed = self.head.forward(rows, num_threads=num_threads)
        return self._pool.split(outputs, y), (embedded, ran, (y, state), dropped, headed)

    def backward(self, tape: Any, doutputs: Any, *, num_threads: int | None = None) -> Any:
        """Add to the gradients, use the tape up and return dinputs; None for integers."""
        embedded, ran, (y, state), dropped, headed = tape
        drows = self.head.backward(headed, joined(doutputs), num_threads=num_threads)
        dy, dstate = self._pool.backward(self._dropout.backward(dropped, drows), y, state)
        dx, _ = self.recurrent.backward(ran, dy, dstate, num_threads=num_threads)
        return dx if self.embedding is None else self.embedding.backward(embedded, dx)

    def _loss(self, outputs: Any, targets: Any, num_threads: int | None) -> Any:
        targets = targets if isinstance(outputs, list) else stacked(targets, self.dtype)
        return self.loss(outputs, targets, reduction="sum_and_weight", num_threads=num_threads)

    def begin(self, n: int) -> None:
        """The state in which n sequences begin, for `step` and `fastrnn.decoding`: zeros."""
        _check.count(f"{self._who}.begin", "n", n)

    def step(self, tokens: Array, state: Any = None) -> tuple[FloatArray, Any]:
        """One step of a language model: logits (N, V) of what follows tokens (N,), and the state after them."""
        x = tokens[None] if self.embedding is None else self.embedding(tokens[None])
        y, state = self.recurrent(x, state)
        return self.head(y[0]), state


class EncoderDecoder(Model):
    """Reads a sequence and writes another: the decoder begins with the encoder's final state (Sutskever et al., 2014).

    With attention the head takes [context; h], or tanh(combine([context; h])) (Luong, Pham and Manning, 2015).

    Parameters
    ----------
    encoder, decoder : recurrent layers of one cell, time first
        As many layers each; a decoder's layer is as wide as both directions of the encoder's together.
    head : Linear
        To the V logits.
    start, end : int
        Tokens before and after each target.
    attention : Attention, optional
    combine : Linear, optional
    source_embedding, target_embedding : Embedding, optional
    dropout : float in [0, 1)
    label_smoothing : float in [0, 1)
    seed : int, numpy.random.SeedSequence or None
    """

    LAYERS: ClassVar = {
        "source_embedding": Embedding, "encoder": Recurrent, "target_embedding": Embedding, "decoder": Recurrent,
        "attention": Attention, "combine": Linear, "head": Linear,
    }  # fmt: skip
    OPTIONAL: ClassVar = ("source_embedding", "target_embedding", "attention", "combine")

    def __init__(
        self,
        encoder: Recurrent,
        decoder: Recurrent,
        head: Linear,
        *,
        start: int,
        end: int,
        attention: Attention | None = None,
        combine: Linear | None = None,
        source_embedding: Embedding | None = None,
        target_embedding: Embedding | None = None,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        seed: int | np.random.SeedSequence | None = None,
    ) -> None:
        before = {"source_embedding": source_embedding, "encoder": encoder, "target_embedding": target_embedding}
        after = {"decoder": decoder, "attention": attention, "combine": combine, "head": head}
        super().__init__({**before, **after}, dropout, seed)
        self.encoder, self.decoder, self.head, self.attention, self.combine = encoder, decoder, head, attention, combine
        self.source_embedding, self.target_embedding = source_embedding, target_embedding
        self.start, self.end = (_check.token(self._who, *named) for named in (("start", start), ("end", end)))
        smoothing = _check.probability(self._who, "label_smoothing", label_smoothing)
        self.loss = partial(softmax_cross_entropy, label_smoothing=smoothing)
        self._bridge = Bridge(self._who, encoder, decoder)
        if combine is not None and attention is None:
            raise ValueError(f"{self._who}: combine is given without attention; expected both or neither")

    def forward(self, inputs: Any, targets: Any, *, num_threads: int | None = None) -> tuple[FloatArray, Any]:
        """Return the logits of each target's tokens and its end (S, B, V), and the tape that `backward` needs.

        Inputs are a list of B arrays (T_i, I), or (T_i,) integers; targets of (S_i,) tokens without start and end.
        """
        x, lengths = padded(inputs)
        tokens, steps = padded(between(self._who, targets, [self.start], []))
        x, source = (x, None) if self.source_embedding is None else self.source_embedding.forward(x)
        memory, state, read = self.encoder.forward(x, lengths=lengths, num_threads=num_threads)
        x, target = (tokens, None) if self.target_embedding is None else self.target_embedding.forward(tokens)
        y, _, wrote = self.decoder.forward(x, self._bridge(state), lengths=steps, num_threads=num_threads)
        rows, looked = self._look(y, memory, lengths, num_threads)
        rows, dropped = self._dropout.forward(rows)
        logits, headed = self.head.forward(rows, num_threads=num_threads)
        return logits, (source, read, target, wrote, looked, dropped, headed)

    def _look(self, y: Any, memory: Any, lengths: Any, num_threads: int | None) -> tuple[FloatArray, Any]:
        """What the head takes of the decoder's outputs (S, B, H)."""
        if self.attention is None:
            return y, None
        context, _, attended = self.attention.forward(y, memory, lengths, num_threads=num_threads)
        both = np.concatenate((context, y), axis=-1)
        if self.combine is None:
            return both, (attended, None, None)
        rows, combined = self.combine.forward(both, num_threads=num_threads)
        rows = np.tanh(rows)
        return rows, (attended, combined, rows)

    def backward(self, tape: Any, dlogits: FloatArray, *, num_threads: int | None = None) -> Any:
        """Add to the gradients and use the tape up."""
        source, read, target, wrote, looked, dropped, headed = tape
        dy = self._dropout.backward(dropped, self.head.backward(headed, dlogits, num_threads=num_threads))
        dmemory = None
        if self.attention is not None:
            attended, combined, rows = looked
            if self.combine is not None:
                dy = self.combine.backward(combined, dy * (1 - rows * rows), num_threads=num_threads)
            dcontext, dy = np.split(dy, [self.attention.key_size], axis=-1)
            dqueries, dmemory = self.attention.backward(attended, dcontext, num_threads=num_threads)
            dy = dqueries + dy
        dx, dstate = self.decoder.backward(wrote, dy, num_threads=num_threads)
        if self.target_embedding is not None:
            self.target_embedding.backward(target, joined(dx))
        dx, _ = self.encoder.backward(read, dmemory, self._bridge.backward(dstate), num_threads=num_threads)
        return dx if self.source_embedding is None else self.source_embedding.backward(source, joined(dx))

    def _train(self, inputs: Any, targets: Any, num_threads: int | None) -> tuple[Any, Any]:
        return self.forward(inputs, targets, num_threads=num_threads)

    def _infer(self, inputs: Any, targets: Any, num_threads: int | None) -> FloatArray:
        tokens, _ = padded(between(self._who, targets, [self.start], []))
        return self._logits(tokens, self.begin(inputs, num_threads=num_threads), num_threads)[0]

    def _loss(self, logits: FloatArray, targets: Any, num_threads: int | None) -> Any:
        following, lengths = padded(between(self._who, targets, [], [self.end]))
        return self.loss(logits, following, lengths=lengths, reduction="sum_and_weight", num_threads=num_threads)

    def begin(self, inputs: Any, *, num_threads: int | None = None) -> Any:
        """The state in which the decoder begins, for `step` and `fastrnn.decoding`."""
        x, lengths = padded(inputs)
        x = x if self.source_embedding is None else self.source_embedding(x)
        memory, state = self.encoder(x, lengths=lengths, num_threads=num_threads)
        if self.attention is None:
            return (self._bridge(state),)
        keys = self.attention.keys(memory, num_threads=num_threads)
        return (self._bridge(state), memory, lengths[None], *([] if keys is None else [keys]))

    def step(self, tokens: Array, state: Any, *, num_threads: int | None = None) -> tuple[FloatArray, Any]:
        """One step of the decoder: logits (N, V) of what follows tokens (N,), and the state after them."""
        logits, state = self._logits(tokens[None], state, num_threads)
        return logits[0], state

    def _logits(self, tokens: Array, state: Any, num_threads: int | None) -> tuple[FloatArray, Any]:
        """Logits (S, B, V) after tokens (S, B), and the state after the last."""
        x = tokens if self.target_embedding is None else self.target_embedding(tokens)
        rows, after = self.decoder(x, state[0], num_threads=num_threads)
        if self.attention is not None:
            memory, lengths, *keys = state[1:]
            known = {"keys": keys[0]} if keys else {}
            context, _ = self.attention(rows, memory, lengths[0], **known, num_threads=num_threads)
            rows = np.concatenate((context, rows), axis=-1)
            rows = rows if self.combine is None else np.tanh(self.combine(rows, num_threads=num_threads))
        return self.head(rows, num_threads=num_threads), (after, *state[1:])

    def decode(self, inputs: Any, *, num_threads: int | None = None, **options: Any) -> list[NDArray[np.int64]]:
        """Return the best tokens for each input: see `decoding.beam_search`, also for options, `length` among them."""
        step, state = partial(self.step, num_threads=num_threads), self.begin(inputs, num_threads=num_threads)
        found = decoding.beam_search(step, state, self.start, end=self.end, **options)
        return [one[0].tokens for one in found]
