"""Pictures as sequences: digits drawn pixel by pixel, letters drawn move by move, a photograph freed of noise.

    pip install 'fastrnn[examples]'
    python examples/images/images.py
"""

from functools import partial
from pathlib import Path

import numpy as np
from HersheyFonts import HersheyFonts
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter, median_filter
from sklearn.datasets import load_digits, load_sample_image

import fastrnn
from fastrnn.training import CosineDecay

FONTS = ("futural", "futuram", "cursive", "scriptc", "timesr", "timesi", "timesib", "rowmant")
SIGNS = [chr(code) for code in range(128) if chr(code).isalnum()]
END, LIFT, X, Y, TOKENS = 0, 1, 32, 93, 124  # no move left, pen up for the next one, x = 0 of a move, y = 0


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
    data = load_digits().data.astype(np.int64)  # 8 x 8 pixels of 0 to 16; the last fifth is the test
    test, known, shown = data[1437:], np.repeat(np.arange(len(data)) < 1437, 64), slice(1437, 1717, 20)
    model = fastrnn.SequenceModel(fastrnn.GRU(50, 128, seed=0), fastrnn.Linear(128, 17, seed=1), dropout=0.5, seed=2)
    fit(model, one_hots(data[:1437]), list(data[:1437]), epochs, 32)
    drawn, rng = data[shown].copy(), np.random.default_rng(0)
    for pixel in range(32, 64):
        logits = np.stack(model(one_hots(drawn)))[:, pixel] / 0.5  # a temperature below 1
        drawn[:, pixel] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)  # is drawn from the softmax
    axes.imshow(np.block([[np.pad(one.reshape(8, 8), 1) for one in part] for part in (data[shown], drawn)]), "gray_r")
    left, above, place = (values.ravel() for values in before(data))
    near = place * 17 + left
    after = {"each pixel by itself": [], "after the one on its left": [near],
             "after the one above": [place * 17 + above], "after both": [near, near * 17 + above]}  # fmt: skip
    bits = {name: counted(data.ravel(), [place, *contexts], known) for name, contexts in after.items()}
    bits["GRU"] = model.measure(one_hots(test), list(test))[0] / np.log(2)
    return {name: value / test.size for name, value in bits.items()}


def glyphs():
    """Font, sign and tokens of each glyph that no font before draws alike: moves from (0, 0) on, and the end."""
    reader, found = HersheyFonts(), {}
    for font, name in enumerate(FONTS):
        reader.load_default_font(name)
        for sign, letter in enumerate(SIGNS):
            strokes = reader.all_glyphs[letter].strokes
            moves = np.diff(np.concatenate(strokes), prepend=[[0, 0]], axis=0) + np.array([X, Y])
            tokens = np.insert(moves, 2 * np.cumsum([0, *map(len, strokes[:-1])]), LIFT)
            found.setdefault(tokens.tobytes(), (font, sign, np.append(tokens, END)))
    return list(found.values())


def pen(tokens):  # where it is after each token, x and y
    steps_x, steps_y = np.where((tokens > LIFT) & (tokens < 63), tokens - X, 0), np.where(tokens > 62, tokens - Y, 0)
    return np.cumsum([steps_x, steps_y], axis=1)


def steps(font, sign, tokens):
    """What is known after each token of a glyph: the token, the place of the pen, the font and the sign."""
    same = np.tile(np.append(np.eye(len(FONTS))[font], np.eye(len(SIGNS))[sign]), (len(tokens), 1))
    return np.column_stack([np.eye(TOKENS)[tokens], pen(tokens).T / 10, same]).astype(np.float32)


def letters(axes, epochs=60):
    data, rng = glyphs(), np.random.default_rng(0)
    rng.shuffle(data)  # the first 64 are the test
    inputs, targets = [steps(*one)[:-1] for one in data], [one[2][1:] for one in data]
    lstm = fastrnn.LSTM(inputs[0].shape[1], 128, seed=0)
    model = fastrnn.SequenceModel(lstm, fastrnn.Linear(128, TOKENS, seed=1), dropout=0.3, seed=2)
    fit(model, inputs[64:], targets[64:], epochs, 16)
    for place, (font, sign, tokens) in enumerate(data[:16]):
        drawn, state = np.array([LIFT]), None
        while len(drawn) < 250 and drawn[-1] != END:
            y, state = lstm(steps(font, sign, drawn)[-1:], state)
            drawn = np.append(drawn, (model.head(y)[0] / 0.3 + rng.gumbel(size=TOKENS)).argmax())
        for up, line in ((0, tokens), (-40, drawn)):
            x, y = np.where(line == LIFT, np.nan, pen(line))[:, (line == LIFT) | (line > 62)]
            axes.plot(35 * place + x, up - y, "k", linewidth=0.8)
    text = np.concatenate([one[2] for one in data])
    known = np.repeat(np.arange(len(data)) > 63, [len(one[2]) for one in data])
    rolled = [np.roll(text, n) * TOKENS ** (n - 1) for n in (1, 2, 3)]
    after = [np.digitize(rolled[0], [1, 2, 63]), *np.cumsum(rolled, axis=0)]
    bits = {"each by itself": counted(text, after[:1], known), "after the last move": counted(text, after, known),
            "LSTM": model.measure(inputs[:64], targets[:64])[0] / np.log(2)}  # fmt: skip
    return {name: value / np.sum(text[~known] > 62) for name, value in bits.items()}


def around(picture):
    """The 5 x 5 pixels around each one of the picture (height, width), for each row (width, 25)."""
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(picture - picture.mean(), 2, mode="reflect"), (5, 5))
    return list(4 * seen.reshape(*picture.shape, 25).astype(np.float32))


def photograph(axes, patches=200, epochs=6, deviation=25 / 255):
    rng = np.random.default_rng(0)
    china, flower = ((load_sample_image(name) / 255).mean(axis=-1) for name in ("china.jpg", "flower.jpg"))
    corners, noise = rng.integers(0, 379, (patches, 2)), rng.standard_normal((patches, 48, 48))
    clean = [china[i : i + 48, j : j + 48] * rng.uniform(0.05, 1) for i, j in corners]  # of any contrast
    gru, head = fastrnn.GRU(25, 32, bidirectional=True, seed=0), fastrnn.Linear(64, 1, seed=1)
    model = fastrnn.SequenceModel(gru, head, fastrnn.squared_error)
    inputs = [line for one in clean + deviation * noise for way in (one, one.T) for line in around(way)]
    targets = [line[:, None].astype(np.float32) for one in noise for way in (one, one.T) for line in way]
    fit(model, inputs, targets, epochs, 64)
    noisy = flower + deviation * rng.standard_normal(flower.shape)
    rows, columns = (way - deviation * np.stack(model(around(way)))[..., 0] for way in (noisy, noisy.T))
    best = min((gaussian_filter(noisy, n / 10) for n in range(8, 20)), key=lambda one: np.square(one - flower).sum())
    made = {"noisy": noisy, "median of 3 x 3": median_filter(noisy, 3), "median of 5 x 5": median_filter(noisy, 5),
            "best Gaussian": best, "GRU along rows": rows, "GRU along rows and columns": (rows + columns.T) / 2}
    axes.imshow(np.hstack([one[100:280, 240:400] for one in (flower, *made.values())]), "gray", vmin=0, vmax=1)
    return {name: -10 * np.log10(np.square(np.clip(one, 0, 1) - flower).mean()) for name, one in made.items()}


if __name__ == "__main__":
    figure = Figure((10, 5), layout="constrained")
    parts = ("bits a pixel", digits), ("bits a move", letters), ("dB", photograph)
    for axes, (unit, part) in zip(figure.subplots(3), parts, strict=True):
        print(f"{part.__name__}, {unit}", *(f"  {name:28}{value:7.2f}" for name, value in part(axes).items()), sep="\n")
        axes.axis("off")
    figure.savefig(Path(__file__).with_name("picture.png"), dpi=70)
