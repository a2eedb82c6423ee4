"""What a program here tells `run.py`: one JSON line on standard output when its work is done.

    options = record.options(__doc__)          # --profile, and what the program adds
    with record.Record(options) as run:        # the part that is timed
        model.learn(...)
    run.report(actions=...)                    # results that two runs can be compared by

The losses of the first training steps come from `Tensor.backward`, which every library here calls on its loss.
"""

import argparse
import json
import time

import numpy as np
import torch

FIRST = 20  # training steps, or entries of a result
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")

torch.set_num_threads(1)


def options(description):
    """An argument parser with what all programs take; each adds its own."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--profile", action="store_true", help="measure the time inside recurrent layers, too")
    return parser


class Record:
    """Times a `with` block, keeps the losses of its first training steps and prints them."""

    def __init__(self, arguments):
        self.losses = []
        self.steps = 0
        self.seconds = None
        self._recurrent = RecurrentTime() if arguments.profile else None

    def __enter__(self):
        self._backward = torch.Tensor.backward
        torch.Tensor.backward = self._keeping_losses(torch.Tensor.backward)
        if self._recurrent is not None:
            self._recurrent.watch()
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self._begin
        torch.Tensor.backward = self._backward
        if self._recurrent is not None:
            self._recurrent.leave()

    def _keeping_losses(self, function):
        def backward(loss, *args, **kwargs):
            self.steps += 1
            if len(self.losses) < FIRST:
                self.losses.append(loss.item())
            return function(loss, *args, **kwargs)

        return backward

    def report(self, **results):
        """Print the JSON line; of every array in `results` what `summary` says."""
        line = {"seconds": self.seconds, "steps": self.steps, "losses": self.losses}
        if self._recurrent is not None:
            line["recurrent_seconds"] = self._recurrent.seconds
        line["results"] = {name: summary(values) for name, values in results.items()}
        print(json.dumps(line), flush=True)


def summary(values):
    """What stands for an array in the JSON line: its shape, mean, largest absolute value and first entries."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a result holds NaN or infinity: this run proves nothing")
    return {
        "shape": list(values.shape),
        "mean": values.mean(),
        "largest": np.abs(values).max(),
        "first": values.ravel()[:FIRST].tolist(),
    }


class RecurrentTime:
    """Seconds inside PyTorch's recurrent functions, forward and backward.

    The autograd engine runs the newest node that is ready. So all of a call's backward lies between the moment its
    outputs' gradients arrive and the moment the gradient of a weight leaves it, which a node on either side notes.
    """

    def __init__(self):
        self.seconds = 0.0
        self._functions = {name: getattr(torch._VF, name) for name in RECURRENT}

    def watch(self):
        for name, function in self._functions.items():
            setattr(torch._VF, name, self._timed(function))

    def leave(self):
        for name, function in self._functions.items():
            setattr(torch._VF, name, function)

    def _timed(self, function):
        def call(*args):
            training = torch.is_grad_enabled() and any(
                weight.requires_grad for weights in args if isinstance(weights, list) for weight in weights
            )
            if training:
                args = [self._with_end(each) if isinstance(each, list) else each for each in args]
            self._start()
            outputs = function(*args)
            self._stop()
            return Mark.apply(self._start, *outputs) if training else outputs

        return call

    def _with_end(self, weights):
        """The flat list of weights, the first behind a mark."""
        return [*Mark.apply(self._stop, weights[0]), *weights[1:]]

    def _start(self):
        self._begin = time.perf_counter()

    def _stop(self):
        self.seconds += time.perf_counter() - self._begin


class Mark(torch.autograd.Function):
    """Hands its tensors on, and calls `note` when their gradients come back."""

    @staticmethod
    def forward(ctx, note, *tensors):
        ctx.note = note
        ctx.set_materialize_grads(False)
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx, *gradients):
        ctx.note()
        return (None, *gradients)
