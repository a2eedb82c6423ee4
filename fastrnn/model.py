"""Whole models: recurrent layers with what comes before and after them, as one thing to train.

    SequenceModel     [embedding] -> recurrent -> [pool] -> dropout -> head -> loss
    EncoderDecoder    encoder -> final state -> decoder -> [attention over the encoder] -> dropout -> head -> loss
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from fastrnn import _check, decoding
from fastrnn._check import FloatArray, IndexArray
from fastrnn.attention import Attention
from fastrnn.embedding import Embedding
from fastrnn.layers import Recurrent
from fastrnn.linear import Linear
from fastrnn.losses import softmax_cross_entropy
from fastrnn.pooling import Array, Bridge, Pool, between, embed, embedded, joined, listed, padded, tanh, unembed
from fastrnn.trainable import Model


class SequenceModel(Model):
    """Recurrent layers and a head: outputs at each step, or with a pool once for each sequence.

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
        self._pool, self.pool = Pool(self._who, recurrent, pool, head), pool

    def __call__(self, inputs: Any, *, num_threads: int | None = None) -> Any:
        """Return the outputs of sequences, without dropout: a list of (T_i, V), or (B, T, V); with a pool (B, V).

        Inputs are a list of B arrays (T_i, I), or (T_i,) integers; or, of equal lengths, an array (B, T, I) or (B, T).
        """
        x = embedded(self.embedding, listed(inputs), num_threads)
        y, state = self.recurrent(x, num_threads=num_threads)
        return self._pool.split(self.head(self._pool(y, state), num_threads=num_threads), y, inputs)

    def forward(self, inputs: Any, *, num_threads: int | None = None) -> tuple[Any, Any]:
        """Return the outputs, with dropout, and the tape that `backward` needs."""
        x, looked_up = embed(self.embedding, listed(inputs), num_threads)
        y, state, ran = self.recurrent.forward(x, num_threads=num_threads)
        rows, dropped = self._dropout.forward(self._pool(y, state), num_threads=num_threads)
        outputs, headed = self.head.forward(rows, num_threads=num_threads)
        return self._pool.split(outputs, y, inputs), (looked_up, ran, (y, state), dropped, headed)

    def backward(self, tape: Any, doutputs: Any, *, num_threads: int | None = None) -> Any:
        """Add to the gradients, use the tape up and return dinputs; None for integers."""
        looked_up, ran, (y, state), dropped, headed = tape
        drows = self.head.backward(headed, joined(doutputs), num_threads=num_threads)
        drows = self._dropout.backward(dropped, drows, num_threads=num_threads)
        dy, dstate = self._pool.backward(drows, y, state)
        dx, _ = self._through("recurrent", ran, dy, dstate, num_threads)
        return unembed(self.embedding, looked_up, dx, num_threads)

    def _loss(self, outputs: Any, targets: Any, num_threads: int | None) -> Any:
        targets = self._pool.targets(self._who, targets, outputs, self.dtype)
        return self.loss(outputs, targets, reduction="sum_and_weight", num_threads=num_threads)

    def begin(self, n: int) -> Any:
        """The state in which n sequences begin, for `step` and `fastrnn.decoding`: zeros."""
        self._pool.stepwise(f"{self._who}.begin")
        return self.recurrent.stream(_check.count(f"{self._who}.begin", "n", n)).state

    def step(self, tokens: Array, state: Any = None, *, num_threads: int | None = None) -> tuple[FloatArray, Any]:
        """One step of a language model: logits (N, V) of what follows tokens (N,), and the state after them."""
        self._pool.stepwise(f"{self._who}.step")
        x = embedded(self.embedding, tokens[None], num_threads)
        y, state = self.recurrent(x, state, num_threads=num_threads)
        return self.head(y[0], num_threads=num_threads), state


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
    dropout, label_smoothing : float in [0, 1)
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
        self._bridge.check(self._who, head, self.start, self.end, attention, combine, target_embedding)

    def forward(self, inputs: Any, targets: Any, *, num_threads: int | None = None) -> tuple[FloatArray, Any]:
        """Return the logits of each target's tokens and its end (S, B, V), and the tape that `backward` needs.

        Inputs are a list of B arrays (T_i, I), or (T_i,) integers; targets of (S_i,) tokens without start and end.
        """
        x, lengths = padded(self._who, "inputs", inputs)
        tokens, steps = padded(self._who, "targets", between(self._who, targets, [self.start], []))
        x, source = embed(self.source_embedding, x, num_threads)
        memory, state, read = self.encoder.forward(x, lengths=lengths, num_threads=num_threads)
        x, target = embed(self.target_embedding, tokens, num_threads)
        y, _, wrote = self.decoder.forward(x, self._bridge(state), lengths=steps, num_threads=num_threads)
        rows, looked = self._look(y, memory, lengths, num_threads)
        rows, dropped = self._dropout.forward(rows, num_threads=num_threads)
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
        rows = tanh(rows, num_threads)
        return rows, (attended, combined, rows)

    def backward(self, tape: Any, dlogits: FloatArray, *, num_threads: int | None = None) -> Any:
        """Add to the gradients and use the tape up."""
        source, read, target, wrote, looked, dropped, headed = tape
        dy = self.head.backward(headed, dlogits, num_threads=num_threads)
        dy = self._dropout.backward(dropped, dy, num_threads=num_threads)
        dmemory = None
        if self.attention is not None:
            attended, combined, rows = looked
            if self.combine is not None:
                dy = self.combine.backward(combined, dy * (1 - rows * rows), num_threads=num_threads)
            dcontext, dy = np.split(dy, [self.attention.key_size], axis=-1)
            dqueries, dmemory = self.attention.backward(attended, dcontext, num_threads=num_threads)
            dy = dqueries + dy
        dx, dstate = self._through("decoder", wrote, dy, None, num_threads)
        unembed(self.target_embedding, target, dx, num_threads)
        dx, _ = self._through("encoder", read, dmemory, self._bridge.backward(dstate), num_threads)
        return unembed(self.source_embedding, source, dx, num_threads)

    def _train(self, inputs: Any, targets: Any, num_threads: int | None) -> tuple[Any, Any]:
        return self.forward(inputs, targets, num_threads=num_threads)

    def _infer(self, inputs: Any, targets: Any, num_threads: int | None) -> FloatArray:
        tokens, _ = padded(self._who, "targets", between(self._who, targets, [self.start], []))
        return self._logits(tokens, self.begin(inputs, num_threads=num_threads), num_threads)[0]

    def _loss(self, logits: FloatArray, targets: Any, num_threads: int | None) -> Any:
        following, lengths = padded(self._who, "targets", between(self._who, targets, [], [self.end]))
        return self.loss(logits, following, lengths=lengths, reduction="sum_and_weight", num_threads=num_threads)

    def begin(self, inputs: Any, *, num_threads: int | None = None) -> Any:
        """The state in which the decoder begins, for `step` and `fastrnn.decoding`."""
        x, lengths = padded(self._who, "inputs", inputs)
        x = embedded(self.source_embedding, x, num_threads)
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
        x = embedded(self.target_embedding, tokens, num_threads)
        rows, after = self.decoder(x, state[0], num_threads=num_threads)
        if self.attention is not None:
            memory, lengths, *keys = state[1:]
            known = {"keys": keys[0]} if keys else {}
            context, _ = self.attention(rows, memory, lengths[0], **known, num_threads=num_threads)
            rows = np.concatenate((context, rows), axis=-1)
            rows = rows if self.combine is None else tanh(self.combine(rows, num_threads=num_threads), num_threads)
        return self.head(rows, num_threads=num_threads), (after, *state[1:])

    def decode(
        self, inputs: Any, *, length: int, width: int = 4, length_penalty: float = 0.6, num_threads: int | None = None
    ) -> list[IndexArray]:
        """Return the best tokens found for each input; the options are those of `decoding.beam_search`."""
        step, state = partial(self.step, num_threads=num_threads), self.begin(inputs, num_threads=num_threads)
        options: dict[str, Any] = {"length": length, "width": width, "length_penalty": length_penalty}
        return [one[0].tokens for one in decoding.beam_search(step, state, self.start, end=self.end, **options)]
