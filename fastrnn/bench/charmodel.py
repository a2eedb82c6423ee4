"""The whole training step of the character model: gather, loss, backward, clip, RMSprop; by three packages, PyTorch
twice.

Each function sets a model up with the same weights and window and returns a step, which returns its
loss and the norm of the gradient before clipping.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastrnn

from .apart import KEPT, Apart
from .problem import FloatArray, Job

LR, ALPHA, EPS, CLIP = 0.002, 0.95, 1e-8, 5.0


@dataclass(frozen=True)
class Model:
    """An LSTM of `layers` layers under a linear head over V characters."""

    layers: int
    hidden: int
    batch: int = 50
    time: int = 50
    vocabulary: int = 65

    def __str__(self) -> str:
        return f"lstm {self.layers}x{self.hidden}, B={self.batch}, T={self.time}"

    def flops(self) -> float:
        """Of the matrix products of a step; the first layer's input product is a gather and counts nothing."""
        products = 4 * self.hidden * self.hidden * (2 * self.layers - 1)
        return 6.0 * self.time * self.batch * (products + self.hidden * self.vocabulary)

    def modules(self) -> tuple[fastrnn.LSTM, fastrnn.Linear]:
        """fastrnn's own layers: every rival starts from their weights."""
        lstm = fastrnn.LSTM(self.vocabulary, self.hidden, self.layers, seed=1)
        return lstm, fastrnn.Linear(self.hidden, self.vocabulary, seed=2)

    def window(self) -> tuple[Any, Any]:
        """Codes and targets (T, B) of random text."""
        codes = np.random.default_rng(0).integers(self.vocabulary, size=(self.time + 1, self.batch))
        return codes[:-1], codes[1:]


MODELS = (Model(2, 128), Model(3, 512))

Step = Callable[[], tuple[float, float]]


def fastrnn_step(model: Model, threads: int) -> Step:
    lstm, head = model.modules()
    codes, targets = model.window()
    optimizer = fastrnn.RMSprop([lstm, head], LR, ALPHA, EPS)
    fastrnn.set_num_threads(threads)

    def step() -> tuple[float, float]:
        optimizer.zero_grad()
        hidden, _, tape = lstm.forward(codes)
        logits, head_tape = head.forward(hidden)
        loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
        lstm.backward(tape, head.backward(head_tape, dlogits))
        norm = fastrnn.clip_grad_norm_([lstm.grads, head.grads], CLIP)
        optimizer.step()
        return loss, norm

    return step


def torch_step(model: Model, threads: int) -> Step:
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(threads)
    functional = torch.nn.functional
    lstm = torch.nn.LSTM(model.vocabulary, model.hidden, model.layers)
    head = torch.nn.Linear(model.hidden, model.vocabulary)
    for theirs, ours in zip((lstm, head), model.modules(), strict=True):
        theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    parameters = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.RMSprop(parameters, lr=LR, alpha=ALPHA, eps=EPS)
    codes, targets = (torch.from_numpy(array) for array in model.window())

    def step() -> tuple[float, float]:
        optimizer.zero_grad()
        # The gather: PyTorch's layers take vectors alone.
        hidden, _ = lstm(functional.one_hot(codes, model.vocabulary).float())
        logits = head(hidden).flatten(0, 1)
        loss = functional.cross_entropy(logits, targets.flatten())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        return loss.item(), norm.item()

    return step


_KEPT = Apart(KEPT)


def torch_kept_step(model: Model, threads: int) -> Step:
    """PyTorch in a process in which malloc is kept."""
    return _KEPT.build(threads, _torch_job, model, threads)


def _torch_job(model: Model, threads: int) -> Job:
    return Job(torch_step(model, threads), lambda loss_and_norm: loss_and_norm)


def numpy_step(model: Model, threads: int) -> Step:
    """The NumPy twins of layer and loss, the rest in as many lines of NumPy."""
    lstm, head = model.modules()
    cell: Any = importlib.import_module("fastrnn.reference.lstm")
    stack: Any = importlib.import_module("fastrnn.reference.stack")
    cross_entropy: Any = importlib.import_module("fastrnn.reference.loss").softmax_cross_entropy
    params: list[FloatArray] = [a.copy() for m in (lstm, head) for a in m.params.values()]
    squares = [np.zeros_like(array) for array in params]
    zeros = np.zeros((model.layers, model.batch, model.hidden), np.float32)
    codes, targets = model.window()

    def step() -> tuple[float, float]:
        weight, bias = params[-2:]
        layers = [tuple(params[4 * i : 4 * i + 4]) for i in range(model.layers)]
        hidden, _, tape = stack.forward(cell, codes, (zeros, zeros), layers)
        loss, dlogits = cross_entropy(hidden @ weight.T + bias, targets)
        rows = dlogits.reshape(-1, model.vocabulary)
        _, _, dlayers = stack.backward(tape, dlogits @ weight, (zeros, zeros))
        dweight = rows.T @ hidden.reshape(-1, model.hidden)
        grads = [*(g for dlayer in dlayers for g in dlayer), dweight, rows.sum(axis=0)]
        norm = float(np.sqrt(sum(np.vdot(g, g) for g in grads)))
        factor = min(1.0, CLIP / (norm + 1e-6))
        for param, grad, square in zip(params, grads, squares, strict=True):
            clipped = grad * factor
            square[:] = ALPHA * square + (1 - ALPHA) * clipped**2
            param -= LR * clipped / (np.sqrt(square) + EPS)
        return float(loss), norm

    return step


RIVALS: dict[str, Callable[[Model, int], Step]] = {
    "fastrnn": fastrnn_step,
    "torch": torch_step,
    "torch-kept": torch_kept_step,
    "numpy": numpy_step,
}
