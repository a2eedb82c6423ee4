"""Small problems over sequences of different lengths, which a tiny network solves in a second."""

import numpy as np

TINY = {"hidden_size": 8, "max_epochs": 15, "learning_rate": 0.03, "batch_size": 8, "random_state": 0}


def waves(n=40, seed=0, features=2, names=("fast", "slow")):
    """Noisy waves (T_i, features) of 5 to 12 steps, and which of two speeds each has."""
    rng = np.random.default_rng(seed)
    y = np.array(names)[np.arange(n) % 2]
    return [wave(rng, rng.integers(5, 13), features, 2.0 if name == names[0] else 0.5) for name in y], y


def wave(rng, steps, features, speed):
    phase = rng.uniform(0, 6, features)
    return np.sin(phase + speed * np.arange(steps)[:, None]) + 0.1 * rng.normal(size=(steps, features))


def sums(n=40, seed=0):
    """Sequences (T_i, 2), and of each the mean of its first feature."""
    rng = np.random.default_rng(seed)
    X = [rng.normal(size=(steps, 2)) + rng.normal() for steps in rng.integers(3, 9, n)]
    return X, np.array([one[:, 0].mean() for one in X])


def signs(n=40, seed=0):
    """Sequences (T_i, 1), and for each step whether the value before was below zero."""
    rng = np.random.default_rng(seed)
    X = [rng.normal(size=(steps, 1)) for steps in rng.integers(3, 9, n)]
    return X, [np.where(np.r_[1.0, one[:-1, 0]] < 0, "minus", "plus") for one in X]


def seasons(n=12, seed=0, period=4):
    """Series (T_i, 1) of different sizes that repeat, with a little noise."""
    rng = np.random.default_rng(seed)
    shape = np.sin(2 * np.pi * np.arange(period) / period)
    return [
        size * (3 + np.resize(np.roll(shape, rng.integers(period)), steps) + 0.05 * rng.normal(size=steps))[:, None]
        for size, steps in zip(10.0 ** rng.integers(-2, 4, n), rng.integers(30, 60, n), strict=True)
    ]


def objects(items):
    """The items as an object array (N,)."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def words(n=60, seed=0, letters="abc"):
    """Words of 1 to 4 letters."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(letters), rng.integers(1, 5))) for _ in range(n)]


def spoken(texts, seed=0, letters="abc"):
    """Each word as vectors (T_i, 3): two or three steps a letter, then one of silence, with noise."""
    rng = np.random.default_rng(seed)
    steps = [np.concatenate([_letter(rng, letters.index(letter)) for letter in text]) for text in texts]
    return [one + 0.1 * rng.normal(size=one.shape) for one in steps]


def _letter(rng, place):
    sound = np.zeros((rng.integers(3, 5), 3))
    sound[:-1, place] = 1
    return sound
