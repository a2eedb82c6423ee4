"""Models of other shapes than many-to-many, each trained to a stated accuracy on data made here.

Many-to-one reads a sequence and answers from the last state. One-to-many starts from a vector and feeds its own
outputs back: trained once with the right outputs in their place (teacher forcing), once through its own.
"""

import numpy as np
import pytest

import fastrnn


@pytest.fixture(autouse=True)
def one_thread():
    """Results do not depend on it, and models this small do not wait for a second thread on a busy machine."""
    fastrnn.set_num_threads(1)
    yield
    fastrnn.set_num_threads(None)


# -------------------------------------------------------------------- many-to-one: which of three waveforms

SHAPES = ("sine", "square", "sawtooth")


def waveforms(count, rng, steps=32, noise=0.2):
    """Waves of random frequency, phase and size in noise, (T, B, 1), and which of SHAPES each is."""
    kinds = rng.integers(len(SHAPES), size=count)
    cycles = rng.uniform(0.06, 0.12, count) * np.arange(steps)[:, None] + rng.uniform(0, 1, count)
    waves = np.stack([np.sin(2 * np.pi * cycles), np.sign(np.sin(2 * np.pi * cycles)), 2 * (cycles % 1) - 1])
    x = waves[kinds, :, np.arange(count)].T * rng.uniform(0.8, 1.2, count) + noise * rng.standard_normal((steps, count))
    return x[..., None].astype(np.float32), kinds


class Classifier:
    """The logits of a sequence are a linear function of the last layer's last state."""

    def __init__(self, cell, hidden, seed):
        self.rnn = cell(1, hidden, seed=seed)
        self.head = fastrnn.Linear(hidden, len(SHAPES), seed=seed + 1)
        self.modules = [self.rnn, self.head]

    def last_h(self, state):
        return (state[0] if isinstance(state, tuple) else state)[-1]

    def __call__(self, x):
        return self.head(self.last_h(self.rnn(x)[1]))

    def add_gradients(self, x, kinds):
        """One forward and backward run; only the final state has a gradient, no step's output has."""
        _, state, tape = self.rnn.forward(x)
        logits, head_tape = self.head.forward(self.last_h(state))
        loss, dlogits = fastrnn.softmax_cross_entropy(logits, kinds)
        dh = self.head.backward(head_tape, dlogits)[None]
        dstate = (dh, np.zeros_like(dh)) if isinstance(state, tuple) else dh
        self.rnn.backward(tape, None, dstate, input_gradient=False)
        return loss


@pytest.mark.parametrize("cell", [fastrnn.LSTM, fastrnn.GRU, fastrnn.UGRNN])
def test_many_to_one_tells_waveforms_apart(cell):
    """Nineteen of twenty unseen waves are named right; a guess would be right once in three."""
    rng = np.random.default_rng(0)
    model = Classifier(cell, hidden=24, seed=1)
    optimizer = fastrnn.Adam(model.modules, lr=0.01)
    for _ in range(250):
        optimizer.zero_grad()
        model.add_gradients(*waveforms(64, rng))
        fastrnn.clip_grad_norm_([module.grads for module in model.modules], 1.0)
        optimizer.step()
    x, kinds = waveforms(1000, rng)
    assert (model(x).argmax(axis=-1) == kinds).mean() >= 0.95


# ----------------------------------------------------------- one-to-many, teacher forcing: spell a number

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
LETTERS = ".abcdefghijklmnopqrstuvwxyz"  # the first ends a word, and starts it
LONGEST = max(map(len, NUMBERS)) + 1


def spelled():
    """Letters (T, B) of every number, ended and filled up with full stops."""
    return np.array([[LETTERS.index(letter) for letter in word.ljust(LONGEST, ".")] for word in NUMBERS]).T


class Speller:
    """A vector becomes the first state; every step reads the letter before and gives the next one's logits."""

    def __init__(self, vector_size, hidden, seed):
        self.start = fastrnn.Linear(vector_size, hidden, seed=seed)
        self.rnn = fastrnn.GRU(len(LETTERS), hidden, seed=seed + 1)
        self.head = fastrnn.Linear(hidden, len(LETTERS), seed=seed + 2)
        self.modules = [self.start, self.rnn, self.head]

    def add_gradients(self, vectors, letters):
        """The right letters stand where the model's own will be fed back."""
        before = np.concatenate([np.zeros_like(letters[:1]), letters[:-1]])
        first, start_tape = self.start.forward(vectors)
        y, _, tape = self.rnn.forward(before, first[None])
        logits, head_tape = self.head.forward(y)
        loss, dlogits = fastrnn.softmax_cross_entropy(logits, letters)
        _, dfirst = self.rnn.backward(tape, self.head.backward(head_tape, dlogits))
        self.start.backward(start_tape, dfirst[0])
        return loss

    def spell(self, vectors):
        """Letters (T, B), each the likeliest, read by the next step."""
        stream = self.rnn.stream(len(vectors))
        stream.state = self.start(vectors)[None]
        letters = [np.zeros(len(vectors), np.int64)]
        for _ in range(LONGEST):
            letters.append(self.head(stream.step(letters[-1])).argmax(axis=-1))
        return np.stack(letters[1:])


def test_one_to_many_spells_numbers():
    """Every letter of every word, from a noisy code of the number that was never seen."""
    rng = np.random.default_rng(0)
    codes, letters = rng.standard_normal((len(NUMBERS), 8)), spelled()

    def noisy():
        return (codes + 0.1 * rng.standard_normal(codes.shape)).astype(np.float32)

    model = Speller(vector_size=8, hidden=32, seed=1)
    optimizer = fastrnn.Adam(model.modules, lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        model.add_gradients(noisy(), letters)
        optimizer.step()
    words = ["".join(LETTERS[letter] for letter in word).split(".")[0] for word in model.spell(noisy()).T]
    assert words == NUMBERS


# ---------------------------------------- one-to-many, through the fed-back outputs: go round in a circle


def circles(count, rng, steps=16):
    """Angular speeds and first angles as vectors (B, 3), and the points (T, B, 2) passed after each step."""
    speed, angle = rng.uniform(0.2, 0.6, count), rng.uniform(0, 2 * np.pi, count)
    vectors = np.stack([4 * speed - 1.6, np.cos(angle), np.sin(angle)], axis=-1)
    angles = angle + speed * np.arange(1, steps + 1)[:, None]
    return vectors.astype(np.float32), np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


class Walker:
    """A vector becomes the first state and the first point; every step reads the point it made the step before.

    One tape for each step: backward goes through them in reverse and hands the gradient of each input to the output
    that it was.
    """

    def __init__(self, vector_size, hidden, seed):
        self.start = fastrnn.Linear(vector_size, 2 * hidden + 2, seed=seed)
        self.rnn = fastrnn.LSTM(2, hidden, seed=seed + 1)
        self.head = fastrnn.Linear(hidden, 2, seed=seed + 2)
        self.modules = [self.start, self.rnn, self.head]
        self.hidden = hidden

    def forward(self, vectors, steps):
        """Points (T, B, 2) and what `backward` needs."""
        first, start_tape = self.start.forward(vectors)
        h, c, point = np.split(first, [self.hidden, 2 * self.hidden], axis=-1)
        state, tapes, points = (h[None], c[None]), [], []
        for _ in range(steps):
            y, state, tape = self.rnn.forward(point[None], state)
            point, head_tape = self.head.forward(y[0])
            tapes.append((tape, head_tape))
            points.append(point)
        return np.stack(points), (start_tape, tapes)

    def backward(self, tape, dpoints):
        start_tape, tapes = tape
        dinput, dstate = np.zeros_like(dpoints[0]), None
        for (step_tape, head_tape), dpoint in zip(reversed(tapes), dpoints[::-1], strict=True):
            dy = self.head.backward(head_tape, dpoint + dinput)
            dx, dstate = self.rnn.backward(step_tape, dy[None], dstate)
            dinput = dx[0]
        dh, dc = dstate
        self.start.backward(start_tape, np.concatenate([dh[0], dc[0], dinput], axis=-1))

    def zero_grad(self):
        for module in self.modules:
            module.zero_grad()


def test_gradient_through_fed_back_outputs():
    """Central differences of the whole walk along random directions in the weights of all three modules."""
    rng = np.random.default_rng(0)
    model = Walker(vector_size=3, hidden=7, seed=1)
    vectors, target = circles(5, rng)

    def loss():
        return 0.5 * ((model.forward(vectors, len(target))[0].astype(np.float64) - target) ** 2).sum()

    points, tape = model.forward(vectors, len(target))
    model.backward(tape, points - target)
    step = np.float32(2**-8)
    for module in model.modules:
        direction = rng.standard_normal(module.flat_params.size).astype(np.float32)
        direction /= np.linalg.norm(direction)
        values = []
        for shift in (step, -2 * step, step):
            with module.editing() as params:
                params.flat += shift * direction
            values.append(loss())
        numeric = (values[0] - values[1]) / (2 * step)
        assert numeric == pytest.approx(float(module.flat_grads @ direction), rel=5e-3)


def test_one_to_many_goes_round_in_circles():
    """Points of unseen walks are missed by less than a tenth of the radius on average, to the last step."""
    rng = np.random.default_rng(0)
    model = Walker(vector_size=3, hidden=32, seed=1)
    optimizer = fastrnn.Adam(model.modules, lr=0.01)
    for iteration in range(300):
        vectors, target = circles(32, rng)
        model.zero_grad()
        points, tape = model.forward(vectors, len(target))
        model.backward(tape, (points - target) / target.shape[1])
        fastrnn.clip_grad_norm_([module.grads for module in model.modules], 1.0)
        optimizer.lr = 0.01 * (1 - iteration / 300)
        optimizer.step()
    vectors, target = circles(500, rng)
    points, _ = model.forward(vectors, len(target))
    missed = np.linalg.norm(points - target, axis=-1)
    assert missed.mean() < 0.1
    assert missed[-1].mean() < 0.1
