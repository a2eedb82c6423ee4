"""Times every loss with its gradient beside PyTorch's, both on one thread, and prints the ratio of their times.

    python benchmarks/losses.py                 all
    python benchmarks/losses.py ctc             those whose name has `ctc` in it
    python benchmarks/losses.py --rounds 31

Both sides take turns on the same arrays, first one and then the other; a time is the median of the rounds, of the time
that the process ran, in milliseconds. Before that, losses and gradients must agree with PyTorch's in float64: those of
its CTC in float32 are off in the third digit. PyTorch's side is forward and backward from logits, `log_softmax` and
`ctc_loss`. `ctc T,B,V,S` has T steps, B sequences, V symbols and S labels in each; `sharp` are logits of a standard
deviation of 30, whose sums run over logarithms. The others are T,B and outputs or targets a step.
"""

import argparse
import statistics
import time
from functools import partial

import numpy as np
import torch
from torch.nn import functional

import fastrnn

CTC = [
    (100, 1, 30, 10), (100, 8, 30, 20), (200, 32, 50, 30), (1000, 1, 30, 100), (1000, 8, 100, 100), (1000, 32, 30, 100),
]  # fmt: skip
AGREEMENT = 1e-5  # of the loss, and of the largest entry of the gradient
STEPS, BATCH, OUTPUTS = 100, 32, 80


def draw(rng, *shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def gradient_of(loss, outputs, *given):
    """Loss and gradient of a function of PyTorch's."""
    z = torch.from_numpy(outputs).requires_grad_()
    value = loss(z, *given)
    value.backward()
    return value.item(), z.grad.numpy()


def softplus_pair(z):
    return (functional.softplus(part) + 1e-6 for part in z.chunk(2, -1))


def gaussian(z, y):
    mean, raw = z.chunk(2, -1)
    return functional.gaussian_nll_loss(mean, y, (functional.softplus(raw) + 1e-6) ** 2, full=True)


def negative_binomial(z, y):
    mean, dispersion = softplus_pair(z)
    r = 1 / dispersion
    known = torch.lgamma(y + 1) + torch.lgamma(r) - torch.lgamma(y + r)
    growth = torch.log1p(mean * dispersion)
    return (known + r * growth + y * (growth - torch.log(mean * dispersion))).mean()


def of_rows(loss, V):
    return lambda z, y: loss(z.reshape(-1, V), y.reshape(-1))


def ctc_of_logits(z, *given):
    return functional.ctc_loss(z.log_softmax(-1), *given)


def ctc_cases():
    for scale, word in ((1.0, ""), (30.0, " sharp")):
        for T, B, V, S in CTC:
            rng = np.random.default_rng([T, B, V, S])
            logits, targets = draw(rng, T, B, V, scale=scale), rng.integers(1, V, (B, S))
            given = torch.from_numpy(targets), torch.full((B,), T), torch.full((B,), S)
            theirs = partial(gradient_of, ctc_of_logits, logits, *given)
            yield f"ctc {T},{B},{V},{S}{word}", partial(fastrnn.ctc_loss, logits, targets, num_threads=1), theirs


def other_cases():
    rng = np.random.default_rng(0)
    z, whole = draw(rng, STEPS, BATCH, OUTPUTS), rng.integers(OUTPUTS, size=(STEPS, BATCH))
    share, real = rng.random(z.shape, dtype=np.float32), draw(rng, *z.shape)
    counts = rng.integers(0, 30, z.shape).astype(np.float32)
    half, one = OUTPUTS // 2, np.ascontiguousarray(z[..., :2])
    rows = [
        ("softmax", fastrnn.softmax_cross_entropy, of_rows(functional.cross_entropy, OUTPUTS), z, whole),
        ("softmax, smoothed", partial(fastrnn.softmax_cross_entropy, label_smoothing=0.1),
         of_rows(partial(functional.cross_entropy, label_smoothing=0.1), OUTPUTS), z, whole),
        ("binary", fastrnn.binary_cross_entropy, functional.binary_cross_entropy_with_logits, z, share),
        ("squared", fastrnn.squared_error, functional.mse_loss, z, real),
        ("huber", fastrnn.huber_loss, functional.huber_loss, z, real),
        ("gaussian", fastrnn.gaussian_nll, gaussian, z, real[..., :half]),
        ("gaussian of one", fastrnn.gaussian_nll, gaussian, one, real[..., :1]),
        ("negative binomial", fastrnn.negative_binomial_nll, negative_binomial, z, counts[..., :half]),
        ("negative binomial of one", fastrnn.negative_binomial_nll, negative_binomial, one, counts[..., :1]),
    ]  # fmt: skip
    for name, ours, theirs, outputs, targets in rows:
        given = np.ascontiguousarray(targets)
        call = partial(ours, outputs, given, num_threads=1)
        title = f"{name} {STEPS},{BATCH},{given.shape[-1] if given.ndim == 3 else OUTPUTS}"
        yield title, call, partial(gradient_of, theirs, outputs, torch.from_numpy(given))


def check(name, ours, theirs):
    function, *given = theirs.args
    doubles = [np.float64(one) if isinstance(one, np.ndarray) else one for one in given]
    doubles = [one.double() if torch.is_tensor(one) and one.is_floating_point() else one for one in doubles]
    (loss, gradient), (expected, wanted) = ours(), gradient_of(function, *doubles)
    near = np.abs(gradient - wanted).max() <= AGREEMENT * np.abs(wanted).max()
    if not near or not np.isclose(loss, expected, rtol=AGREEMENT):
        raise SystemExit(f"losses.py: {name}: got {loss}, PyTorch {expected}; expected the same")


def seconds(call):
    begin = time.process_time()
    call()
    return time.process_time() - begin


def compare(name, ours, theirs, rounds):
    check(name, ours, theirs)
    times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, other = (1000 * statistics.median(side) for side in zip(*times, strict=True))
    print(f"{name:32}{mine:12.3f}{other:12.3f}{other / mine:8.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="part of the names of the losses to time")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'ms':32}{'fastrnn':>12}{'PyTorch':>12}{'ratio':>8}")
    for name, ours, theirs in [*ctc_cases(), *other_cases()]:
        if arguments.name in name:
            compare(name, ours, theirs, arguments.rounds)


if __name__ == "__main__":
    main()
