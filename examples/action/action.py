"""What is somebody doing? A bidirectional GRU on the path of a hand in a video, and on a watch's accelerometer.

    pip install "fastrnn[examples]"
    python examples/action/action.py [--seed 0]

GunPoint and BasicMotions come with the package aeon; nothing is downloaded. Both have their customary split.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np

import fastrnn
from fastrnn.training import CosineDecay

COPIES, EPOCHS, BATCH, HIDDEN, RATE = 30, 5, 5, 64, 3e-3
RUNS = 5  # trainings with neighbouring seeds: a small test set is a matter of luck
CLASSES = {
    "GunPoint": ["draws a gun", "points a finger"],
    "BasicMotions": ["badminton", "running", "standing", "walking"],
}


def load(name):
    """Training and test data, each (sequences (N, T, F) float32, labels (N,) integers)."""
    try:
        from aeon.datasets import load_basic_motions, load_gunpoint
    except ImportError:
        sys.exit('action.py: the data are in the package aeon, which is not installed: pip install "fastrnn[examples]"')
    read = {"GunPoint": load_gunpoint, "BasicMotions": load_basic_motions}[name]
    (x, labels), (x_test, labels_test) = read(split="train"), read(split="test")
    classes, numbers = np.unique(labels, return_inverse=True)
    swap = partial(np.transpose, axes=(0, 2, 1))  # aeon has the channels before the time
    train = swap(x).astype(np.float32), numbers
    return train, (swap(x_test).astype(np.float32), np.searchsorted(classes, labels_test))


def euclidean(a, b):
    """(N, M) squared distances of sequences (N, T, F) and (M, T, F), step by step."""
    return ((a[:, None] - b[None]) ** 2).sum(axis=(2, 3))


def warped(a, b):
    """(N, M) distances by dynamic time warping over any way through time (Sakoe and Chiba, 1978)."""
    T = a.shape[1]
    before = np.full((T + 1, len(a), len(b)), np.inf)
    before[0] = 0
    for i in range(T):
        now = np.full_like(before, np.inf)
        for j in range(T):
            cost = ((a[:, None, i] - b[None, :, j]) ** 2).sum(axis=-1)
            now[j + 1] = cost + np.minimum(np.minimum(before[j], before[j + 1]), now[j])
        before = now
    return before[T]


def warped_apart(a, b):
    """Dynamic time warping of each channel for itself, added up."""
    return sum(warped(a[..., f : f + 1], b[..., f : f + 1]) for f in range(a.shape[2]))


BASELINES = {"Euclidean": euclidean, "DTW": warped, "DTW, each channel": warped_apart}


def changed(x, rng):
    """Sequences as they might have been: up to 8 steps earlier or later, a little faster, larger and noisier."""
    N, T, F = x.shape
    speed, shift = np.exp(rng.normal(0, 0.1, (N, 1))), rng.integers(-8, 9, (N, 1))
    where = np.clip((np.arange(T) - T / 2) * speed + T / 2 + shift, 0, T - 1)
    left = np.minimum(where.astype(int), T - 2)
    share = (where - left)[..., None]
    rows = np.arange(N)[:, None]
    moved = x[rows, left] * (1 - share) + x[rows, left + 1] * share
    return moved * np.exp(rng.normal(0, 0.1, (N, 1, F))) + rng.normal(0, 0.02, x.shape)


def with_speed(x):
    """A list of arrays (T, 2F): the channels and how they change from step to step."""
    return list(np.concatenate([x, 5 * np.diff(x, axis=1, prepend=x[:, :1])], axis=-1).astype(np.float32))


def train(x, labels, seed):
    """A model of the sequences (N, T, F) and of copies that are a little different."""
    rng = np.random.default_rng(seed)
    inputs = with_speed(np.concatenate([x, *(changed(x, rng) for _ in range(COPIES))]))
    gru = fastrnn.GRU(2 * x.shape[2], HIDDEN, bidirectional=True, seed=seed)
    head = fastrnn.Linear(2 * HIDDEN, labels.max() + 1, seed=seed + 1)
    model = fastrnn.SequenceModel(gru, head, pool="mean", dropout=0.5, seed=seed)
    fastrnn.fit(
        model, inputs, np.tile(labels, COPIES + 1), epochs=EPOCHS, batch_size=BATCH, seed=seed,
        optimizer=partial(fastrnn.Adam, lr=RATE), schedule=CosineDecay(EPOCHS),
    )  # fmt: skip
    return model


def compare(name, seed):
    """Print the accuracies on one data set; return those of the GRU and the baselines, and the last run's guesses."""
    (x, labels), (x_test, expected) = load(name)
    print(f"{name}: {len(x)} sequences to learn from, {len(x_test)} to test; {x.shape[1]} steps of {x.shape[2]}")
    scores = {}
    for label, distance in BASELINES.items():
        scores[label] = np.mean(labels[distance(x_test, x).argmin(axis=1)] == expected)
        print(f"  nearest neighbour, {label:20} {scores[label]:.1%}")
    mean, deviation = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    runs = []
    for run in range(seed, seed + RUNS):
        guessed = train(x, labels, run)(with_speed(x_test)).argmax(axis=-1)
        runs.append(np.mean(guessed == expected))
    print(f"  GRU, mean of {RUNS} trainings            {np.mean(runs):.1%} ({min(runs):.1%} to {max(runs):.1%})")
    return runs, scores, (x_test, expected, guessed)


def draw(results, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), width_ratios=[3, 3, 2])
    for axis, (name, (_, _, (x, expected, guessed))) in zip(axes, results.items(), strict=False):
        for number, label in enumerate(CLASSES[name]):
            for i in np.flatnonzero(expected == number)[:5]:
                wrong = guessed[i] != expected[i]
                axis.plot(x[i, :, 0], color=f"C{number}", linewidth=2.5 if wrong else 0.8, label=label)
                label = None
        axis.set(title=f"{name}: first channel", xlabel="step")
        axis.legend(fontsize=8)
    for row, (runs, scores, _) in enumerate(results.values()):
        axes[2].plot([100 * score for score in scores.values()], [row + 0.1] * len(scores), "k|", markersize=14)
        axes[2].plot([100 * score for score in runs], [row - 0.1] * len(runs), "o", color="C2")
    axes[2].set(yticks=range(len(results)), yticklabels=results, xlabel="%", title="GRU (dots), neighbours (bars)")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results = {name: compare(name, options.seed) for name in CLASSES}
    draw(results, Path(__file__).with_name("picture.png"))


if __name__ == "__main__":
    main()
