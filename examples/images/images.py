"""Pictures as sequences: digits drawn pixel by pixel, letters drawn move by move, a photograph freed of noise.

    pip install 'fastrnn[examples]'
    python examples/images/images.py
"""

import string
from functools import partial
from pathlib import Path

import numpy as np
from HersheyFonts import HersheyFonts
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter, median_filter
from sklearn.datasets import load_digits, load_sample_image

import fastrnn
from fastrnn.training import CosineDecay

FONTS = ("futural", "futuram", "cursive", "scriptc", "timesr", "timesi", "timesib", "rowmant", "gothgbt")
SIGNS = string.ascii_letters + string.digits
END, LIFT, X, Y = 0, 1, 32, 93  # tokens: no move left, pen up for the next one, x = 0 of a move, y = 0
FONT, SIGN, SIZE = 124, 124 + len(FONTS), 124 + len(FONTS) + len(SIGNS)  # first font, first sign, number of tokens
NOISE = 25 / 255  # deviation, where photographs are 0 to 1


def fit(model, inputs, targets, epochs, batch_size):
    optimizer, schedule = partial(fastrnn.Adam, lr=4e-3), CosineDecay(epochs)
    fastrnn.fit(model, inputs, targets, epochs=epochs, batch_size=batch_size, optimizer=optimizer, schedule=schedule)


def counted(symbols, contexts, known):
    """Bits of all symbols (N,) not known, by what follows the known contexts (N,), each smoothed by the one before."""
    p = np.full((len(symbols), symbols.max() + 1), 1 / (symbols.max() + 1))
    for context in contexts:
        context = np.unique(context, return_inverse=True)[1]
        counts = np.zeros((context.max() + 1, p.shape[1]))
        np.add.at(counts, (context[known], symbols[known]), 1)
        p = (counts[context] + 10 * p) / (counts[context].sum(axis=1, keepdims=True) + 10)
    return -np.log2(p[np.arange(len(p)), symbols][~known]).sum()


def before(digits):
    """For each pixel of digits (N, 64) the one on its left, the one above, and its place."""
    left, above = (np.pad(digits, ((0, 0), (n, 0)))[:, :-n] for n in (1, 8))
    return left, above, np.broadcast_to(np.arange(64), digits.shape)


def one_hots(digits):
    left, above, place = before(digits)
    parts = np.eye(17)[left], np.eye(17)[above], np.eye(8)[place // 8], np.eye(8)[place % 8]
    return list(np.concatenate(parts, axis=-1).astype(np.float32))


def digits(axes, epochs=20):
    data = load_digits().data.astype(np.int64)  # 8 x 8 pixels of 0 to 16; the last fifth are by other writers
    test, known, shown = data[1437:], np.repeat(np.arange(len(data)) < 1437, 64), slice(1437, 1717, 20)
    model = fastrnn.SequenceModel(fastrnn.GRU(50, 128, seed=0), fastrnn.Linear(128, 17, seed=1), dropout=0.5, seed=2)
    fit(model, one_hots(data[:1437]), list(data[:1437]), epochs, 32)
    left, above, place = (values.ravel() for values in before(data))
    drawn, rng = data[shown].copy(), np.random.default_rng(0)
    for pixel in range(32, 64):
        logits = np.stack(model(one_hots(drawn)))[:, pixel] / 0.5  # a temperature below 1
        drawn[:, pixel] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)  # is drawn from the softmax
    framed = [np.pad(half.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1))) for half in (data[shown], drawn)]
    axes.imshow(np.block([list(half) for half in framed]), cmap="gray_r")
    bits = {"each pixel by itself": counted(data.ravel(), [place], known),
            "after the one on its left": counted(data.ravel(), [place, place * 17 + left], known),
            "after the one above": counted(data.ravel(), [place, place * 17 + above], known),
            "GRU": model.measure(one_hots(test), list(test))[0] / np.log(2)}  # fmt: skip
    return {name: value / test.size for name, value in bits.items()}


def glyphs():
    """Tokens of each sign of each font that no font before draws alike: font, sign, moves from (0, 0) on, end."""
    reader, found = HersheyFonts(), {}
    for font, name in enumerate(FONTS):
        reader.load_default_font(name)
        for sign, letter in enumerate(SIGNS):
            strokes = reader.all_glyphs[letter].strokes
            moves = np.diff(np.concatenate(strokes), prepend=[[0, 0]], axis=0) + np.array([X, Y])
            tokens = np.insert(moves, 2 * np.cumsum([0, *map(len, strokes[:-1])]), LIFT)
            found.setdefault(tokens.tobytes(), np.array([FONT + font, SIGN + sign, *tokens, END]))
    return list(found.values())


def draw(axes, tokens, right, up):
    x = right + np.cumsum(np.where((tokens > LIFT) & (tokens < 63), tokens - X, 0))
    y = up - np.cumsum(np.where(tokens >= 63, tokens - Y, 0))
    points = (tokens >= 63) | (tokens == LIFT)
    axes.plot(np.where(tokens == LIFT, np.nan, x)[points], y[points], "k", linewidth=0.8)


def letters(axes, epochs=36):
    data = glyphs()
    data = [data[i] for i in np.random.default_rng(0).permutation(len(data))]  # the first 64 are the test
    inputs, targets = [one[:-1] for one in data], [np.array([-1, *one[2:]]) for one in data]
    embedding, lstm = fastrnn.Embedding(SIZE, 64, seed=2), fastrnn.LSTM(64, 128, seed=0)
    loss = partial(fastrnn.softmax_cross_entropy, ignore_index=-1)
    model = fastrnn.SequenceModel(lstm, fastrnn.Linear(128, FONT, seed=1), loss, embedding=embedding, dropout=0.3, seed=3)
    fit(model, inputs[64:], targets[64:], epochs, 16)
    fonts, signs = np.array([one[:2] for one in data[:14]]).T
    _, state = model.step(fonts)
    drawn = fastrnn.decoding.sample(model.step, state, signs, end=END, length=300, temperature=0.4, seed=0)
    for place, (one, other) in enumerate(zip(data, drawn, strict=False)):
        draw(axes, one[2:], 40 * place, 0)
        draw(axes, other, 40 * place, -40)
    now, last, second, third = (np.concatenate([np.pad(one, (1, 0))[3 - n : len(one) + 1 - n] for one in data])
                                for n in range(4))  # fmt: skip
    known, axis = np.repeat(np.arange(len(data)) >= 64, [len(one) - 2 for one in data]), np.digitize(last, [2, 63])
    move = last * FONT + second
    bits = {"each by itself": counted(now, [axis], known),
            "after the last move": counted(now, [axis, last, move, move * FONT + third], known),
            "LSTM": model.measure(inputs[:64], targets[:64])[0] / np.log(2)}  # fmt: skip
    return {name: value / np.sum(now[~known] > 62) for name, value in bits.items()}


def around(picture):
    """The 5 x 5 pixels around each one of the picture (height, width), for each row (width, 25)."""
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(picture - picture.mean(), 2, mode="reflect"), (5, 5))
    return list(4 * seen.reshape(*picture.shape, 25).astype(np.float32))


def photograph(axes, patches=400, epochs=8):
    rng = np.random.default_rng(0)
    china, flower = ((load_sample_image(name) / 255).mean(axis=-1) for name in ("china.jpg", "flower.jpg"))
    corners, noise = rng.integers(0, 379, (patches, 2)), rng.standard_normal((patches, 48, 48))
    clean = [china[i : i + 48, j : j + 48] * rng.uniform(0.05, 1) for i, j in corners]  # of any contrast
    gru = fastrnn.GRU(25, 32, bidirectional=True, seed=0)
    model = fastrnn.SequenceModel(gru, fastrnn.Linear(64, 1, seed=1), fastrnn.squared_error)
    inputs = [line for one in clean + NOISE * noise for way in (one, one.T) for line in around(way)]
    targets = [line[:, None].astype(np.float32) for one in noise for way in (one, one.T) for line in way]
    fit(model, inputs, targets, epochs, 64)
    noisy = flower + NOISE * rng.standard_normal(flower.shape)
    rows, columns = (way - NOISE * np.stack(model(around(way)))[..., 0] for way in (noisy, noisy.T))
    smooth = [gaussian_filter(noisy, width) for width in np.arange(0.8, 2, 0.1)]
    best = min(smooth, key=lambda one: np.square(one - flower).sum())  # of all, by the answer: it cannot do better
    made = {"noisy": noisy, "median of 3 x 3": median_filter(noisy, 3), "median of 5 x 5": median_filter(noisy, 5),
            "best Gaussian": best, "GRU along rows": rows, "GRU along rows and columns": (rows + columns.T) / 2}
    axes.imshow(np.hstack([one[100:280, 240:400] for one in (flower, *made.values())]), "gray", vmin=0, vmax=1)
    return {name: -10 * np.log10(np.square(np.clip(one, 0, 1) - flower).mean()) for name, one in made.items()}


if __name__ == "__main__":
    figure = Figure((10, 5), layout="constrained")
    parts = {"bits a pixel": digits, "bits a move": letters, "dB": photograph}
    for axes, (unit, part) in zip(figure.subplots(3), parts.items(), strict=True):
        print(f"{part.__name__}, {unit}", *(f"  {name:28}{value:7.2f}" for name, value in part(axes).items()), sep="\n")
        axes.axis("off")
    figure.savefig(Path(__file__).with_name("picture.png"), dpi=100)
