"""PyTorch: the layers of torch.nn, eager; inference without autograd."""

from __future__ import annotations

import importlib
from typing import Any

from fastrnn.bench import apart
from fastrnn.bench.problem import Job, Problem, Results

from .base import Peer


class Torch(Peer):
    name = package = "torch"

    def build(self, problem: Problem, threads: int) -> Job:
        torch: Any = importlib.import_module("torch")
        torch.set_num_threads(threads)
        case = problem.case
        kind = getattr(torch.nn, case.cell.upper())
        layer = kind(case.inputs, case.hidden, case.layers)
        layer.load_state_dict({k: torch.from_numpy(v) for k, v in problem.weights.items()})
        x, dy = torch.from_numpy(problem.x), torch.from_numpy(problem.dy)
        if not case.training:

            def forward() -> Any:
                with torch.inference_mode():
                    return layer(x)[0]

            return Job(forward, lambda y: {"y": y.numpy()})
        x.requires_grad_()

        def step() -> Any:
            x.grad = None
            layer.zero_grad(set_to_none=True)
            y, _ = layer(x)
            y.backward(dy)
            return y

        def results(y: Any) -> Results:
            grads = {f"d{name}": p.grad.numpy() for name, p in layer.named_parameters()}
            return {"y": y.detach().numpy(), "dx": x.grad.numpy(), **grads}

        return Job(step, results)


class TorchKept(Torch):
    """PyTorch with malloc kept, in a process of its own: its allocator gives no memory back between steps."""

    name = "torch-kept"
    remark = "PyTorch in a process with " + " ".join(f"{name}={value}" for name, value in apart.KEPT.items())

    environment = apart.KEPT

    def __init__(self) -> None:
        self.process = apart.Apart(self.environment)

    def why_not(self) -> str | None:
        return apart.why_not_kept() or super().why_not()

    def build(self, problem: Problem, threads: int) -> Job:
        if apart.is_kept():
            return super().build(problem, threads)
        return apart.job(self.process.build(threads, _build, problem, threads))


def _build(problem: Problem, threads: int) -> Job:
    return Torch().build(problem, threads)


class TorchNative(Torch):
    """PyTorch without oneDNN, which it uses for the LSTM and for matrix products."""

    name = "no-onednn"

    def build(self, problem: Problem, threads: int) -> Job:
        flags: Any = importlib.import_module("torch").backends.mkldnn.flags
        with flags(enabled=False):
            job = super().build(problem, threads)

        def run() -> Any:
            with flags(enabled=False):
                return job.run()

        return Job(run, job.results)
