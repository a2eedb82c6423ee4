"""Times every option of the layers beside PyTorch, one row of figures an option, and says which goals are reached.

    python benchmarks/layers.py                          all rows on one core
    python benchmarks/layers.py ragged reset --cores 2   some of them on two

Each row runs in a process of its own, pinned to its cores, in which both sides take turns on the same weights and
inputs. Before that, outputs and all gradients must agree. `--malloc-kept` starts the processes with glibc's malloc
kept, for both sides. Sizes are B,T,I,H; a time is the median of a training step.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fastrnn
from fastrnn.bench import apart, cores, measure
from fastrnn.bench.problem import Job, disagreement

SEED = 0
DOUBLE = {"outputs": 1e-11, "gradients": 1e-10}  # the tolerances of float64
LONG = {"steps": 100_000, "inputs": 16, "hidden": 256}  # x, y and gradients of both have 220 MB of the 300


@dataclass(frozen=True)
class Sizes:
    batch: int
    time: int
    inputs: int
    hidden: int

    def __str__(self):
        return f"{self.batch},{self.time},{self.inputs},{self.hidden}"


@dataclass(frozen=True)
class Session:
    """What the command line asks of a row."""

    threads: int
    budget: measure.Budget

    def compare(self, title, jobs, agree=(), **tolerances):
        """Check that the jobs named in `agree` have the results of the first of them, time all, print; return seconds.

        Raises
        ------
        SystemExit
            Two disagree.
        """
        print(f"\n{title}")
        results = {name: jobs[name].results(jobs[name].run()) for name in agree}
        for name in agree[1:]:
            wrong = disagreement(results[agree[0]], results[name], **tolerances)
            if wrong is not None:
                sys.exit(f"{title}: {name} beside {agree[0]}: {wrong}")
        timings = measure.compare({name: job.run for name, job in jobs.items()}, self.budget, self.threads)
        for name, timing in timings.items():
            print(f"    {name:24}{timing.median * 1e3:12.3f} ms   ({timing.rounds} rounds)")
        return {name: timing.median for name, timing in timings.items()}


def verdict(what, figure, goal=None, least=True):
    """Print a figure, and whether it reaches its goal."""
    if goal is None:
        print(f"  {what:48}{figure:8.3f}")
        return
    reached = figure >= goal if least else figure <= goal
    words = f"{'at least' if least else 'at most'} {goal:.2f}"
    print(f"  {what:48}{figure:8.3f}   {words:14} {'reached' if reached else 'NOT reached'}")


# ------------------------------------------------------------------------------------------------ training steps


def arrays(sizes, outputs, dtype=np.float32):
    """x (T, B, I) and dy (T, B, outputs)."""
    rng = np.random.default_rng(SEED)
    lead = (sizes.time, sizes.batch)
    return rng.standard_normal((*lead, sizes.inputs)).astype(dtype), rng.standard_normal((*lead, outputs)).astype(dtype)


def layers(cell, sizes, num_layers=1, dtype="float32", **options):
    """PyTorch's layer and ours with its weights."""
    import torch

    torch.manual_seed(SEED)
    theirs = getattr(torch.nn, cell)(
        sizes.inputs, sizes.hidden, num_layers, dtype=getattr(torch, dtype), **options
    )
    if dtype != "float32":
        options["dtype"] = dtype
    ours = getattr(fastrnn, cell)(sizes.inputs, sizes.hidden, num_layers, seed=SEED, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def our_job(session, layer, x, dy, **how):
    """A training step of ours; `how` goes to `forward`."""

    def step():
        layer.zero_grad()
        y, _, tape = layer.forward(x, num_threads=session.threads, **how)
        dx, _ = layer.backward(tape, dy, num_threads=session.threads)
        return y, dx

    def results(value):
        y, dx = value
        grads = {f"d{name}": grad.copy() for name, grad in layer.grads.items()}
        return {"y": y.copy(), "dx": dx.copy(), **grads}

    return Job(step, results)


def torch_job(session, layer, x, dy, forward=None):
    """One of PyTorch's; forward (layer, x) gives y, by default the layer's own."""
    import torch

    torch.set_num_threads(session.threads)
    forward = forward or (lambda layer, x: layer(x)[0])
    x, dy = torch.from_numpy(x).clone().requires_grad_(), torch.from_numpy(dy)

    def step():
        x.grad = None
        layer.zero_grad(set_to_none=True)
        y = forward(layer, x)
        y.backward(dy)
        return y

    def results(y):
        grads = {f"d{name}": p.grad.numpy().copy() for name, p in layer.named_parameters()}
        return {"y": y.detach().numpy().copy(), "dx": x.grad.numpy().copy(), **grads}

    return Job(step, results)


# ------------------------------------------------------------------------------------------------ rows


def ragged(session):
    """Sequences of different lengths in one batch, beside the padded one and a PackedSequence."""
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    sizes = Sizes(64, 100, 256, 256)
    lengths = np.random.default_rng(SEED).integers(1, sizes.time + 1, sizes.batch)
    share = lengths.sum() / (sizes.batch * sizes.time)

    def packed(layer, x):
        sequences = pack_padded_sequence(x, lengths.tolist(), enforce_sorted=False)
        return pad_packed_sequence(layer(sequences)[0], total_length=sizes.time)[0]

    x, dy = arrays(sizes, sizes.hidden)
    for cell in ("LSTM", "GRU"):
        theirs, ours = layers(cell, sizes)
        jobs = {
            "fastrnn, lengths": our_job(session, ours, x, dy, lengths=lengths),
            "fastrnn, padded": our_job(session, ours, x, dy),
            "torch, PackedSequence": torch_job(session, theirs, x, dy, packed),
            "torch, padded": torch_job(session, theirs, x, dy),
        }
        title = f"{cell} {sizes}, lengths 1 to {sizes.time}, their sum is {share:.3f} of B*T"
        seconds = session.compare(title, jobs, ("fastrnn, lengths", "torch, PackedSequence"))
        part = seconds["fastrnn, lengths"] / seconds["fastrnn, padded"]
        verdict("lengths / padded", part)
        verdict("lengths / padded, over the lengths' share", part / share, 1.2, least=False)
        verdict("PackedSequence / fastrnn", seconds["torch, PackedSequence"] / seconds["fastrnn, lengths"], 1.3)


def reset(session):
    """States set to zero inside sequences, beside PyTorch's loop over steps and its packed pieces."""
    import torch

    sizes, often = Sizes(16, 128, 256, 256), 0.03
    marks = np.random.default_rng(SEED).random((sizes.time, sizes.batch)) < often
    keep = torch.from_numpy(1 - marks.astype(np.float32))[:, None, :, None]
    order, rows = pieces(marks)  # not timed: made once here, though every batch has its own

    def by_steps(layer, x):
        h, c = (x.new_zeros(1, sizes.batch, sizes.hidden) for _ in range(2))
        outputs = []
        for t in range(sizes.time):
            y, (h, c) = layer(x[t : t + 1], (h * keep[t], c * keep[t]))
            outputs.append(y)
        return torch.cat(outputs)

    def by_pieces(layer, x):
        packed = torch.nn.utils.rnn.PackedSequence(x.flatten(0, 1)[order], rows)
        y = torch.zeros(len(order), sizes.hidden).index_copy(0, order, layer(packed)[0].data)
        return y.view(sizes.time, sizes.batch, sizes.hidden)

    theirs, ours = layers("LSTM", sizes)
    x, dy = arrays(sizes, sizes.hidden)
    jobs = {
        "fastrnn, reset": our_job(session, ours, x, dy, reset=marks),
        "fastrnn, no resets": our_job(session, ours, x, dy),
        "torch, no resets": torch_job(session, theirs, x, dy),
        "torch, packed pieces": torch_job(session, theirs, x, dy, by_pieces),
        "torch, loop over steps": torch_job(session, theirs, x, dy, by_steps),
    }
    title = f"LSTM {sizes}, {marks.sum()} resets, {often:.0%} of the steps"
    agree = ("fastrnn, reset", "torch, packed pieces", "torch, loop over steps")
    seconds = session.compare(title, jobs, agree)
    verdict("reset / no resets", seconds["fastrnn, reset"] / seconds["fastrnn, no resets"], 1.3, least=False)
    for name in agree[1:]:
        verdict(f"{name} / fastrnn", seconds[name] / seconds["fastrnn, reset"])


def pieces(marks):
    """Rows of the flattened (T*B) input in the order of a PackedSequence of the pieces between resets, and its rows.

    The pieces, longest first, stand side by side: first all their first steps, then all their second ones.
    """
    import torch

    time, batch = marks.shape
    found = []
    for b in range(batch):
        starts = [0, *(t for t in range(1, time) if marks[t, b])]
        found += [(end - start, start, b) for start, end in zip(starts, [*starts[1:], time], strict=True)]
    found.sort(key=lambda piece: -piece[0])
    order = [(start + t) * batch + b for t in range(found[0][0]) for length, start, b in found if t < length]
    rows = [sum(t < length for length, _, _ in found) for t in range(found[0][0])]
    return torch.tensor(order), torch.tensor(rows)


def bidirectional(session):
    """Two layers in both directions, beside the same in one."""
    sizes = Sizes(32, 50, 128, 128)
    for cell in ("LSTM", "GRU"):
        jobs = {}
        for way, directions in (("both directions", 2), ("one direction", 1)):
            theirs, ours = layers(cell, sizes, num_layers=2, **({"bidirectional": True} if directions == 2 else {}))
            x, dy = arrays(sizes, directions * sizes.hidden)
            jobs[f"fastrnn, {way}"] = our_job(session, ours, x, dy)
            jobs[f"torch, {way}"] = torch_job(session, theirs, x, dy)
        names = ("fastrnn, both directions", "torch, both directions")
        seconds = session.compare(f"{cell} {sizes}, two layers", jobs, names)
        plain = seconds["torch, one direction"] / seconds["fastrnn, one direction"]
        verdict("torch / fastrnn, one direction", plain)
        verdict("torch / fastrnn, both directions", seconds[names[1]] / seconds[names[0]], 0.95 * plain)


def proj_size(session):
    """An LSTM whose outputs are projected to fewer."""
    sizes, outputs = Sizes(32, 50, 512, 512), 128
    theirs, ours = layers("LSTM", sizes, proj_size=outputs)
    x, dy = arrays(sizes, outputs)
    _beside(session, f"LSTM {sizes} to {outputs}", ours, theirs, x, dy)


def float64(session):
    """Everything in double precision."""
    sizes = Sizes(32, 50, 128, 128)
    x, dy = arrays(sizes, sizes.hidden, np.float64)
    for cell in ("LSTM", "GRU"):
        theirs, ours = layers(cell, sizes, dtype="float64")
        _beside(session, f"{cell} {sizes} in float64", ours, theirs, x, dy, **DOUBLE)


def _beside(session, title, ours, theirs, x, dy, **tolerances):
    jobs = {"fastrnn": our_job(session, ours, x, dy), "torch": torch_job(session, theirs, x, dy)}
    seconds = session.compare(title, jobs, ("fastrnn", "torch"), **tolerances)
    verdict("torch / fastrnn", seconds["torch"] / seconds["fastrnn"], 1.2)


def checkpoint(session):
    """A very long sequence with few states kept: the memory of it, and its gradients beside those of the plain run."""
    print(f"\nLSTM 1,{LONG['steps']},{LONG['inputs']},{LONG['hidden']}, each way in a process of its own")
    found = {}
    for way in ("auto", "None"):
        answer = inside("_checkpoint", session.threads, session.budget, {}, way, capture=True)
        if not answer.startswith("peak"):
            print(f"    {answer.strip()}")
            return
        _, peak, step, sums = answer.split()
        found[way] = int(peak), sums
        print(f"    checkpoint={way:8} peak {int(peak) / 1e6:7.0f} MB, the step adds {int(step) / 1e6:7.0f} MB")
    verdict("peak of the process, MB", found["auto"][0] / 1e6, 300, least=False)
    verdict("outputs and gradients bit for bit the same (1: yes)", found["auto"][1] == found["None"][1], 1)


def _checkpoint(session, way):
    """One step; prints the peak of this process's memory, what the step added, and a checksum of what came out."""
    from fastrnn.bench import memory

    layer = fastrnn.LSTM(LONG["inputs"], LONG["hidden"], seed=SEED)
    rng = np.random.default_rng(SEED)
    lead = (LONG["steps"], 1)
    x = rng.standard_normal((*lead, LONG["inputs"]), dtype=np.float32)
    dy = rng.standard_normal((*lead, LONG["hidden"]), dtype=np.float32)
    before = memory.start_peak()
    how = {} if way == "None" else {"checkpoint": way}
    y, _, tape = layer.forward(x, num_threads=session.threads, **how)
    dx, _ = layer.backward(tape, dy, num_threads=session.threads)
    peak = memory.peak_bytes()
    sums = hashlib.sha256()
    for array in (y, dx, *layer.grads.values()):
        sums.update(array)
    print("peak", peak, peak - before, sums.hexdigest())


ROWS = {row.__name__: row for row in (ragged, reset, bidirectional, proj_size, float64, checkpoint)}
HIDDEN_ROWS = {"_checkpoint": _checkpoint}


# ------------------------------------------------------------------------------------------------ processes


def inside(name, threads, budget, environment, *words, capture=False):
    """Run a row in a process of its own, pinned to so many cores; return what it printed, if that is asked."""
    command = [sys.executable, str(Path(__file__)), "--inside", name, *words]
    command += ["--cores", str(threads), "--seconds", str(budget.seconds), "--rounds", str(budget.rounds)]
    with cores.pinned(cores.choose(threads)):
        done = subprocess.run(
            command, env={**cores.environment(threads), **environment}, text=True,
            stdout=subprocess.PIPE if capture else None,
        )  # fmt: skip
    if done.returncode:
        print(f"{name} ended with code {done.returncode}")
    return done.stdout


def run_inside(words, session):
    """In that process: carry one row out."""
    name, *rest = words
    {**ROWS, **HIDDEN_ROWS}[name](session, *rest)


def heading(options):
    import torch

    kept = ", malloc kept" if options.malloc_kept else ""
    many = "1 core" if options.cores == 1 else f"{options.cores} cores"
    print(f"{cores.model_name()}, {fastrnn.config()['isa']}, {many}{kept}; load {os.getloadavg()[0]:.1f}")
    print(f"fastrnn {fastrnn.__version__}, PyTorch {torch.__version__}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)} [all]")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="for all turns of a comparison [10]")
    parser.add_argument("--rounds", type=int, default=7, help="at least so many [7]")
    parser.add_argument("--malloc-kept", action="store_true", help="start the processes with glibc's malloc kept")
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    budget = measure.Budget(options.seconds, options.rounds)
    if options.inside:
        run_inside(options.inside, Session(options.cores, budget))
        return
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; expected some of {', '.join(ROWS)}")
    heading(options)
    for name in options.rows or ROWS:
        inside(name, options.cores, budget, apart.KEPT if options.malloc_kept else {})


if __name__ == "__main__":
    main()
