"""What is this letter? A network reads a picture of it, row by row and column by column, and writes its Unicode name.

    pip install 'fastrnn[examples]'
    python examples/captioning/captioning.py

The pictures are of the DejaVu fonts in matplotlib, the names are those of Python's unicodedata. The test has letters
with accents that are never together in training, neither as a capital letter nor as a small one.
"""

import unicodedata
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

import fastrnn
from fastrnn.training import CosineDecay

FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSansMono")
SIDE, HIDDEN, START, END = 32, 64, 0, 1  # pixels of a side, units of a direction, tokens before and after a name


def faces():
    """Each face's font and its characters; the first face is the one of the test."""
    for name in FACES:
        path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
        yield ImageFont.truetype(path, 18), set(map(chr, FT2Font(str(path)).get_charmap()))


def picture(character, font, right=0, down=0):
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).text((SIDE // 2 + right, 21 + down), character, font=font, fill=255, anchor="ms")
    return np.asarray(image, np.float32) / 255


def named(character):
    """Letter and accent: ("LATIN SMALL LETTER E", "ACUTE"), ("LATIN SMALL LETTER E", "")."""
    letter, _, accent = unicodedata.name(character, "").partition(" WITH ")
    return letter, accent


def caption(letter, accent):
    """The words, the accent first: else the network learns what accents a letter has rather than to look."""
    return [*accent.split(), "WITH", *letter.split()] if accent else letter.split()


def characters(font, has):
    """Letters that look different from all before them: Greek Alpha looks like Latin A."""
    scripts = ("LATIN", "GREEK", "CYRILLIC")
    wanted = [one for one in sorted(has) if named(one)[0].startswith(scripts) and " LETTER " in named(one)[0]]
    return sorted({picture(one, font).tobytes(): one for one in reversed(wanted)}.values())


def split(found, rng, size=160):
    """Characters for training, and at least `size` for the test.

    A letter and an accent go there as capital and small, if training keeps the letter twice and the accent four times.
    """
    pairs = defaultdict(list)
    for one in found:
        letter, accent = named(one)
        pairs[letter.replace(" CAPITAL", "").replace(" SMALL", ""), accent].append(one)
    left, test = Counter(part for one in found for part in named(one)), []
    for letter, accent in rng.permutation([pair for pair in sorted(pairs) if pair[1]]):
        group = pairs[letter, accent]
        rest = left - Counter(part for one in group for part in named(one))
        if len(test) < size and rest[accent] >= 4 and all(rest[named(one)[0]] >= 2 for one in group):
            test, left = test + group, rest
    return [one for one in found if one not in test], test


def scores(names, test):
    """Share of the names that are right, and mean F1 of their words, in per cent."""
    pairs = [(name, caption(*named(one))) for name, one in zip(names, test, strict=True)]
    shared = [2 * (Counter(a) & Counter(b)).total() / (len(a) + len(b)) for a, b in pairs]
    return 100 * np.mean([a == b for a, b in pairs]), 100 * np.mean(shared)


def nearest(images, known, names):
    """The name of the picture in training that differs least."""
    return [caption(*names[i]) for i in (np.square(known).sum(axis=1) - 2 * images @ known.T).argmin(axis=1)]


def linear(images, known, names):
    """Letter and accent, each found by ridge regression from the pixels."""
    found = []
    for part in zip(*names, strict=True):
        classes, numbers = np.unique(part, return_inverse=True)
        moments = known.T @ known + 30 * np.eye(known.shape[1])
        found.append(classes[(images @ np.linalg.solve(moments, known.T @ np.eye(len(classes))[numbers])).argmax(1)])
    return [caption(*pair) for pair in zip(*found, strict=True)]


def steps(image, rng=None):
    """What the network reads: each row beside the column of its number; in training some bands are blank."""
    if rng is not None and rng.random() < 0.4:  # so that an accent is seen without its letter, and the other way round
        image, start = image.copy(), rng.integers(-4, SIDE - 4)
        image[max(0, start) : start + rng.integers(6, 15)] = 0
    return np.concatenate([image, image.T], axis=1)


def train(pictures, captions, vocabulary, epochs):
    encoder = fastrnn.GRU(2 * SIDE, HIDDEN, bidirectional=True, seed=0)
    model = fastrnn.EncoderDecoder(
        encoder, fastrnn.GRU(64, 2 * HIDDEN, seed=1), fastrnn.Linear(2 * HIDDEN, len(vocabulary), seed=2),
        start=START, end=END, attention=fastrnn.Attention(2 * HIDDEN, 2 * HIDDEN, "general", seed=3),
        combine=fastrnn.Linear(4 * HIDDEN, 2 * HIDDEN, seed=4),
        target_embedding=fastrnn.Embedding(len(vocabulary), 64, seed=5), dropout=0.3, seed=6,
    )  # fmt: skip
    targets = [np.array([vocabulary.index(word) for word in words]) for words in captions]
    fastrnn.fit(model, pictures, targets, epochs=epochs, optimizer=partial(fastrnn.Adam, lr=3e-3),
                schedule=CosineDecay(epochs))  # fmt: skip
    return model


def main(epochs=5, copies=4):
    """Print and return (exact match, F1) of each way."""
    rng, fonts = np.random.default_rng(0), list(faces())
    learnt, test = split(characters(*fonts[0]), rng)
    samples = [(one, font) for one in learnt for font, has in fonts if one in has]
    names, images = [named(one) for one, _ in samples], [picture(one, fonts[0][0]) for one in test]
    flat = [np.reshape(part, (len(part), -1)) for part in (images, [picture(*sample) for sample in samples])]
    found = {"nearest neighbour": nearest(*flat, names), "two linear readers": linear(*flat, names)}

    pictures = [steps(picture(*one, *rng.integers(-2, 3, 2)), rng) for _ in range(copies) for one in samples]
    captions = [caption(*name) for name in names]
    vocabulary = ["", "", *sorted({word for words in captions for word in words})]
    model = train(pictures, captions * copies, vocabulary, epochs)
    tokens = model.decode([steps(image) for image in images], length=14)  # by beam search
    found["GRUs with attention"] = [[vocabulary[i] for i in one if i != END] for one in tokens]

    print(f"{len(learnt)} letters in {len(fonts)} faces to learn from, {len(test)} for the test; exact match and F1, %")
    results = {way: scores(names, test) for way, names in found.items()}
    print(*(f"  {way:22}{exact:6.1f}{shared:6.1f}" for way, (exact, shared) in results.items()), sep="\n")
    figure = Figure((12, 4.5), layout="constrained")
    for axes, image, words in zip(figure.subplots(3, 8).flat, images, found["GRUs with attention"], strict=False):
        axes.imshow(image, cmap="gray_r")
        axes.set_title(" ".join(words), fontsize=6, wrap=True)
        axes.axis("off")
    figure.savefig(Path(__file__).with_name("picture.png"), dpi=80)
    return results


if __name__ == "__main__":
    main()
