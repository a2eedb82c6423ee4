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
SIDE, START, END = 40, 0, 1  # pixels of a side, tokens before and after a name


def faces():
    """Each face's font and its characters; the first face is the one of the test."""
    for name in FACES:
        path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
        yield ImageFont.truetype(path, 23), set(map(chr, FT2Font(str(path)).get_charmap()))


def picture(character, font):
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).text((SIDE // 2, 27), character, font=font, fill=255, anchor="ms")
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
    """Characters to learn from, which keep each letter twice and each accent four times, and for the test."""
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
    """Share of the names that are right, and mean F1 of their words, in percent."""
    pairs = [(name, caption(*named(one))) for name, one in zip(names, test, strict=True)]
    shared = [2 * (Counter(a) & Counter(b)).total() / (len(a) + len(b)) for a, b in pairs]
    return 100 * np.mean([a == b for a, b in pairs]), 100 * np.mean(shared)


def nearest(images, samples):
    """The name of the picture in training that differs least."""
    asked, known = (np.reshape(part, (len(part), -1)) for part in (images, [image for image, _ in samples]))
    return [caption(*samples[i][1]) for i in (np.square(known).sum(axis=1) - 2 * asked @ known.T).argmin(axis=1)]


def pasted(known, rng, size):
    """Pictures, and letter and accent, of accents of some letters in training on others, where both are as high."""
    height = {name: tuple(np.flatnonzero(image.max(axis=1) > 0.5)[[0, -1]]) for name, image in known.items()}
    letters = defaultdict(list)
    for name in known:
        if not name[1]:
            letters[name[2], height[name]].append(name)
    accented = [(letter, accent, font) for letter, accent, font in known if accent and (letter, "", font) in known]
    for i in rng.integers(len(accented), size=size):
        letter, accent, font = accented[i]
        others = letters[font, height[letter, "", font]]
        other = others[rng.integers(len(others))]
        yield np.maximum(known[other], known[accented[i]] - known[letter, "", font]), (other[0], accent)


def steps(image, rng=None):
    """What the network reads: each row beside the column of its number; in training some bands are blank."""
    if rng is not None and rng.random() < 0.4:  # so that an accent is seen without its letter, and the other way round
        image, start = image.copy(), rng.integers(-6, SIDE - 4)
        image[max(0, start) : start + rng.integers(8, 19)] = 0
    return np.concatenate([image, image.T], axis=1)


def main(epochs=8, size=16000):
    """Print and return (exact match, F1) of each way."""
    rng, fonts = np.random.default_rng(0), list(faces())
    learnt, test = split(characters(*fonts[0]), rng)
    images = [picture(one, fonts[0][0]) for one in test]
    known = {(*named(one), font): picture(one, font) for one in learnt for font, has in fonts if one in has}
    samples = [(image, name[:2]) for name, image in known.items()]
    found = {"nearest neighbour": nearest(images, samples)}
    samples += pasted(known, rng, size)
    found["nearest, pasted too"] = nearest(images, samples)

    captions = [caption(*name) for _, name in samples]
    vocabulary = ["", "", *sorted({word for words in captions for word in words})]
    pictures = [steps(np.roll(image, rng.integers(-2, 3, 2), (0, 1)), rng) for image, _ in samples]
    targets = [np.array([vocabulary.index(word) for word in words]) for words in captions]
    model = fastrnn.EncoderDecoder(
        fastrnn.GRU(2 * SIDE, 64, bidirectional=True, seed=0), fastrnn.GRU(64, 128, seed=1),
        fastrnn.Linear(128, len(vocabulary), seed=2), start=START, end=END,
        attention=fastrnn.Attention(128, 128, "general", seed=3), combine=fastrnn.Linear(256, 128, seed=4),
        target_embedding=fastrnn.Embedding(len(vocabulary), 64, seed=5), dropout=0.3, seed=6,
    )  # fmt: skip
    fastrnn.fit(model, pictures, targets, epochs=epochs, optimizer=partial(fastrnn.Adam, lr=3e-3),
                schedule=CosineDecay(epochs))  # fmt: skip
    tokens = model.decode([steps(image) for image in images], length=14)  # by beam search
    found["network"] = written = [[vocabulary[i] for i in one if i != END] for one in tokens]

    print(f"{len(learnt)} letters in {len(fonts)} faces to learn from, {len(test)} for the test; exact match and F1, %")
    results = {way: scores(names, test) for way, names in found.items()}
    print(*(f"  {way:22}{exact:6.1f}{shared:6.1f}" for way, (exact, shared) in results.items()), sep="\n")
    figure = Figure((12, 4.5), layout="constrained")
    for axes, one, image, words in zip(figure.subplots(3, 8).flat, test, images, written, strict=False):
        axes.imshow(image, cmap="gray_r")
        title = " ".join(words).replace(" WITH", "\nWITH").replace(" LETTER", "\nLETTER")
        axes.set_title(title, fontsize=6, color="green" if words == caption(*named(one)) else "red")
        axes.axis("off")
    figure.savefig(Path(__file__).with_name("picture.png"), dpi=80)
    return results


if __name__ == "__main__":
    main()
