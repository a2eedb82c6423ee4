"""Times `fastrnn.fit` beside the same training in PyTorch, both on one thread, and prints the ratio of their times.

    python benchmarks/fit.py                 all
    python benchmarks/fit.py lstm --rounds 9

Both begin with the same weights and take the same batches of sequences of like lengths in the same order: two epochs of
Adam with the norm clipped at 1. PyTorch's sequences are tensors before the clock runs, and go through its layers in two
ways, as a PackedSequence and padded. Before that, the losses of both epochs must agree. The sides take turns; a time is
the median of the rounds, of the time that the process ran. A case is N sequences, their lengths, I inputs and H units.
"""

import argparse
import copy
import statistics
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import rnn

import fastrnn
from fastrnn.training.batches import epoch_steps

BATCH, CLASSES, EPOCHS, RATE, CLIP, SEED = 32, 5, 2, 1e-3, 1.0, 0
AGREEMENT = 1e-3  # of the mean loss of an epoch; rounding adds up over the steps


@dataclass(frozen=True)
class Case:
    """What is trained: one class for each sequence, or one for each step (`tags`)."""

    cell: str
    sequences: int
    lengths: tuple[int, int]
    inputs: int
    hidden: int
    layers: int = 1
    directions: int = 1
    tags: bool = False

    def __str__(self):
        least, most = self.lengths
        words = [f"{self.cell.lower()} {self.sequences},{least}-{most},{self.inputs},{self.hidden}"]
        words += [f"{self.layers} layers"] * (self.layers > 1) + ["bidirectional"] * (self.directions > 1)
        return ", ".join([*words, "a class a step" if self.tags else "a class a sequence"])

    def data(self):
        rng = np.random.default_rng(SEED)
        counts = rng.integers(self.lengths[0], self.lengths[1] + 1, self.sequences)
        inputs = [rng.standard_normal((n, self.inputs)).astype(np.float32) for n in counts]
        shapes = counts if self.tags else [()] * len(counts)
        return counts, inputs, [rng.integers(CLASSES, size=shape) for shape in shapes]


CASES = [
    Case("GRU", 1000, (3, 10), 2, 8), Case("LSTM", 1000, (5, 20), 4, 16), Case("GRU", 1000, (30, 30), 8, 32),
    Case("GRU", 1000, (20, 100), 16, 64), Case("LSTM", 1000, (20, 100), 16, 64),
    Case("LSTM", 500, (50, 150), 16, 128, layers=2, tags=True), Case("GRU", 500, (50, 150), 16, 128, directions=2),
    Case("LSTM", 300, (50, 150), 64, 256),
]  # fmt: skip


class Theirs(torch.nn.Module):
    """The same model and loop of PyTorch's."""

    def __init__(self, case, ours):
        super().__init__()
        kind = getattr(torch.nn, case.cell)
        self.recurrent = kind(case.inputs, case.hidden, case.layers, bidirectional=case.directions == 2)
        self.head = torch.nn.Linear(case.directions * case.hidden, CLASSES)
        self.case = case
        self.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()})

    def loss(self, inputs, targets, packed):
        counts = torch.tensor([len(one) for one in inputs])
        x = rnn.pack_sequence(inputs, enforce_sorted=False) if packed else rnn.pad_sequence(inputs)
        y, state = self.recurrent(x)
        if self.case.tags:
            logits = self.head(rnn.pad_packed_sequence(y)[0] if packed else y)
            labels = rnn.pad_sequence(targets, padding_value=-100)
            return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        if packed:
            h = state[0] if isinstance(state, tuple) else state
            last = torch.cat(list(h[-self.case.directions :]), dim=-1)
        else:
            last = y[counts - 1, torch.arange(len(inputs))]
        return functional.cross_entropy(self.head(last), torch.stack(targets))

    def fit(self, inputs, targets, plan, packed):
        optimizer = torch.optim.Adam(self.parameters(), lr=RATE)
        losses = []
        for steps in plan:
            sums = []
            for batch in steps:
                loss = self.loss([inputs[i] for i in batch], [targets[i] for i in batch], packed)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.parameters(), CLIP)
                optimizer.step()
                weight = sum(len(targets[i]) for i in batch) if self.case.tags else len(batch)
                sums.append((loss.item() * weight, weight))
            losses.append(sum(loss for loss, _ in sums) / sum(weight for _, weight in sums))
        return losses


def sides(case):
    """By name: functions that train from the same weights, and return the loss of every epoch."""
    counts, inputs, targets = case.data()
    cell = getattr(fastrnn, case.cell)
    recurrent = cell(case.inputs, case.hidden, case.layers, bidirectional=case.directions == 2, seed=SEED)
    head = fastrnn.Linear(case.directions * case.hidden, CLASSES, seed=SEED)
    model = fastrnn.SequenceModel(recurrent, head, pool=None if case.tags else "last")
    plan = [
        [batches[0].tolist() for batches in epoch_steps(counts, BATCH, 1, True, SEED, epoch)] for epoch in range(EPOCHS)
    ]
    tensors = [torch.from_numpy(one) for one in inputs], [torch.as_tensor(one) for one in targets]

    def ours():
        history = fastrnn.fit(
            copy.deepcopy(model), inputs, targets, epochs=EPOCHS, batch_size=BATCH, seed=SEED, clip_norm=CLIP,
            optimizer=partial(fastrnn.Adam, lr=RATE), num_threads=1,
        )
        return history.train_loss

    def theirs(packed):
        return Theirs(case, model).fit(*tensors, plan, packed)

    # A reverse direction over padding is another model.
    ways = {"packed": True} if case.directions == 2 else {"packed": True, "padded": False}
    return {"fastrnn": ours, **{name: partial(theirs, packed) for name, packed in ways.items()}}


def seconds(call):
    begin = time.process_time()
    call()
    return time.process_time() - begin


def compare(case, rounds):
    calls = sides(case)
    expected = calls["fastrnn"]()
    for name, call in calls.items():
        losses = call()
        if not np.allclose(losses, expected, rtol=AGREEMENT):
            raise SystemExit(f"fit.py: {case}: {name} has losses {losses}, fastrnn {expected}; expected the same")
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    medians = {name: statistics.median(values) for name, values in times.items()}
    own = medians.pop("fastrnn")
    figures = "".join(f"{one:10.2f}{one / own:7.1f}" for one in medians.values())
    print(f"{case!s:52}{own:8.2f}{figures}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="part of the names of the cases to time")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'seconds':52}{'fastrnn':>8}{'packed':>10}{'ratio':>7}{'padded':>10}{'ratio':>7}")
    for case in CASES:
        if arguments.name in str(case):
            compare(case, arguments.rounds)


if __name__ == "__main__":
    main()
