"""Where will they be? A GRU foresees the boxes of people who walk, and a tracker keeps one stream for each of them.

    pip install "fastrnn[examples]"
    python examples/tracking/tracking.py
"""

from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import motmetrics
import numpy as np
from scipy.optimize import linear_sum_assignment

import fastrnn

HIDDEN, LESSONS, EPOCHS, SCALE, AHEAD = 64, 4, 10, 5, np.arange(1, 11)


def read(video, file="gt.txt"):
    """Rows of a video's file: frame, person, then the box as its middle x and y, width and height in pixels."""
    rows = np.loadtxt(Path(motmetrics.__file__).parent / "data" / video / file, delimiter=",")[:, :6]
    return rows + np.pad(rows[:, 4:] / 2, ((0, 0), (2, 2)))


def people(rows):  # a list of (T, 4); nobody is missing in between in these videos
    return [rows[rows[:, 1] == person, 2:] for person in np.unique(rows[:, 1])]


def iou(a, b):
    """Intersection over union of boxes (..., 4)."""
    low = np.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = np.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    both = np.prod(np.clip(high - low, 0, None), axis=-1)
    return both / (np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - both)


def move(a, b):
    """What makes box a box b: the way in widths and heights of a, and the logarithms of the growth."""
    return np.concatenate([(b[..., :2] - a[..., :2]) / a[..., 2:], np.log(b[..., 2:] / a[..., 2:])], axis=-1)


def moved(a, by):
    return np.concatenate([a[..., :2] + by[..., :2] * a[..., 2:], a[..., 2:] * np.exp(by[..., 2:])], axis=-1)


def steady(first, box, age):
    """(T, 10, 4) the ten boxes after `box` (T, 4) of people who go on as they went since `first`, `age` frames ago."""
    return box[:, None] + AHEAD[:, None] * ((box - first) / np.maximum(age, 1) * [1, 1, 0, 0])[:, None]


def constant(window):
    """The baseline: a box keeps the velocity that it had in the last frames, as many as `window`, and its size."""
    boxes = []
    def see(box):
        boxes[:] = [*boxes[-window:], box[None]]
        return steady(boxes[0], boxes[-1], len(boxes) - 1)[0]
    return see


def features(first, before, box, age):
    """(T, 10) what the GRU sees of boxes (T, 4): the last move, the mean move, the shape and how young a track is."""
    moves = move(before, box) * [10, 30, 5, 10], move(first, box) / np.maximum(age, 1) * [20, 60, 20, 20]
    return np.concatenate([*moves, np.log(box[:, 2:3] / box[:, 3:]) + 1, 1 / (1 + age)], axis=1).astype(np.float32)


def learnt(model):
    """The GRU, which corrects `steady`. What it remembers of a person is the state of the person's own stream."""
    stream, boxes = model.recurrent.stream(1), []
    def see(box):
        boxes.append(box[None])
        first, before, age = boxes[0], boxes[-2:][0], np.array([[len(boxes) - 1]])
        outputs = model.head(stream.step(features(first, before, box[None], age)))
        return moved(steady(first, box[None], age), outputs.reshape(1, 10, 4) / SCALE)[0]
    return see


def lesson(track, rng):
    """Inputs (T, 10), targets (T, 40): part of a track mirrored, backwards or faster, with a gait and shaking boxes."""
    track = track[:: rng.choice([-3, -2, -1, 1, 2, 3])] * [rng.choice([-1, 1]), 1, 1, 1]
    true = track[rng.integers(max(1, len(track) - 70)) :][:70]
    true = true + rng.uniform(0.3, 1) * (np.linspace(true[0], true[-1], len(true)) - true)  # straighter
    true[:, 2] *= np.exp(rng.uniform(0, 0.2) * np.sin(np.arange(len(true)) / rng.uniform(1.3, 3.2) + rng.uniform(0, 7)))
    age, shake = np.arange(len(true) - 10)[:, None], np.exp(rng.uniform(*np.log([0.03, 0.1])))
    seen = moved(true[:-10], rng.normal(0, shake, (len(age), 4)) * [0.5, 0.15, 1, 0.3])
    first, before = np.broadcast_to(seen[0], seen.shape), np.concatenate([seen[:1], seen[:-1]])
    targets = SCALE * move(steady(first, seen, age), true[age + AHEAD])
    return features(first, before, seen, age), targets.reshape(-1, 40).astype(np.float32)


def train(tracks, seed):
    rng = np.random.default_rng(seed)
    lessons = [lesson(track, rng) for track in tracks if len(track) > 40 for _ in range(LESSONS * len(track))]
    gru, head = fastrnn.GRU(10, HIDDEN, seed=seed), fastrnn.Linear(HIDDEN, 40, seed=seed + 1)
    model = fastrnn.SequenceModel(gru, head, partial(fastrnn.huber_loss, delta=0.5), dropout=0.3)
    options = {"schedule": fastrnn.training.CosineDecay(EPOCHS), "epochs": EPOCHS, "batch_size": 20, "seed": seed}
    fastrnn.fit(model, *zip(*lessons, strict=True), optimizer=partial(fastrnn.Adam, lr=3e-3), **options)
    return model


def foresee(track, make):
    """(T - 1, 10) IoU of the boxes expected 1 to 10 frames ahead, from the second box on; NaN behind the last one."""
    future = np.concatenate([track, np.full((10, 4), np.nan)])
    return np.array([iou(expected, future[t + AHEAD]) for t, expected in enumerate(map(make(), track))])[1:]


def follow(truth, detected, make):
    """MOTA, IDF1 and changes of a person's track, where each box goes to the track that expects one most like it."""
    events, alive = motmetrics.MOTAccumulator(auto_id=True), []
    for frame in np.unique(truth[:, 0]):
        true, here = (rows[rows[:, 0] == frame, 1:] for rows in (truth, detected))
        overlap = iou(np.array([track["next"] for track in alive]).reshape(-1, 1, 4), here[None, :, 1:])
        owners = {j: alive[i] for i, j in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[i, j] >= 0.3}
        new = {j: {"name": 100 * frame + j, "see": make()} for j in range(len(here)) if j not in owners}
        for j, track in {**owners, **new}.items():
            track.update(frame=frame, box=here[j, 1:])
            here[j, 0] = track["name"]
        alive = [track for track in [*alive, *new.values()] if frame - track["frame"] <= 10]
        for track in alive:  # a box that was not found is taken to be where it was expected
            track["next"] = track["see"](track.pop("box", track.get("next")))[0]
        distance = 1 - iou(true[:, None, 1:], here[None, :, 1:])
        events.update(true[:, 0], here[:, 0], np.where(distance > 0.5, np.nan, distance))
    return motmetrics.metrics.create().compute(events, metrics=["mota", "idf1", "num_switches"]).iloc[0].tolist()


def main(seed=0):
    town, truth, detected = people(read("TUD-Stadtmitte")), read("TUD-Campus"), read("TUD-Campus", "test.txt")
    tracks, scores = people(truth), {}
    makers = {f"velocity, {window} frames": [partial(constant, window)] * 8 for window in (1, 6, 12)}
    makers["GRU, other video"] = [partial(learnt, train(town, seed))] * 8
    makers["GRU, other people too"] = [partial(learnt, train(town + 4 * tracks[1 - k :: 2], seed)) for k in (0, 1)] * 4
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=[3, 2], layout="tight")
    for color, (name, makes) in enumerate(makers.items()):
        found = [foresee(track, make) for track, make in zip(tracks, makes, strict=True)]
        curve, by = np.nanmean(np.concatenate(found), axis=0), [np.nanmean(one) for one in found]
        tracked = follow(truth, detected, makes[0]) if makes[0] is makes[1] else []  # else they know some
        scores[name] = [np.nanmean(np.concatenate(found)), *tracked]
        text = f"{name:21} IoU {scores[name][0]:.3f}, by person {min(by):.2f} to {max(by):.2f}, by frame"
        print(text, *curve.round(2), "MOTA, IDF1, switches", *np.round(tracked, 3))
        right.plot(AHEAD, curve, f"C{color}o-", label=name)
        for make, track in zip(makes, tracks[:5], strict=False):
            left.plot(track[:23, 0], "k", AHEAD + 12, [*map(make(), track[:13])][-1][:, 0], f"C{color}.-", linewidth=1)
    left.set(title="x of five people: true (black), expected after 13 frames", xlabel="frame", ylabel="pixels")
    right.legend(title="mean IoU, 1 to 10 frames ahead")
    figure.savefig(Path(__file__).with_name("picture.png"), dpi=80)
    return scores


if __name__ == "__main__":
    main()
