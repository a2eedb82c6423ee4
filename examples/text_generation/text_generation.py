"""Text, letter by letter: Python from Python's own library, and LaTeX from the source of a book.

    pip install matplotlib && apt-get install texlive-latex-recommended-doc texlive-latex-base  # the book, and pdflatex
    python examples/text_generation/text_generation.py [FOLDER]

An LSTM learns each; README.md shows how well it predicts files and chapters that it never saw, and what it writes.
"""

import gzip
import lzma
import re
import shutil
import sys
import sysconfig
import tokenize
from collections import Counter
from contextlib import suppress
from pathlib import Path

import latex
import numpy as np

from fastrnn.charlm import Settings, Trainer, Vocabulary, generate, mean_loss

BOOK = Path("/usr/share/doc/texlive-doc/latex/memoir/memman.tex.gz")  # "The Memoir Class" by P. Wilson and L. Madsen
SETTINGS = Settings(layers=1, hidden=256, batch=32, seq=64, epochs=4, optimizer="adam", lr=0.004, lr_decay=0.5,
                    lr_decay_after=1, clip=1.0, val_frac=0.0, seed=0)  # fmt: skip
ORDER, LETTERS = 5, 4000  # of the n-gram model; to write


def texts():
    """By name: the text to learn, and every tenth file or chapter, held out as a whole."""
    files = [path.read_text("utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))]
    chapters = re.split(r"(?m)^(?=\\chapter\b)", gzip.decompress(BOOK.read_bytes()).decode()) if BOOK.exists() else []
    return {name: ["".join(part for place, part in enumerate(parts) if (place % 10 == 5) == held_out)
                   for held_out in (False, True)] for name, parts in (("Python", files), ("LaTeX", chapters)) if parts}


def ngram_bits(text, held_out):
    """Bits per character of `held_out` for interpolated Kneser-Ney with a discount an order (Chen and Goodman 1999)."""
    tables = [Counter(text[place : place + ORDER] for place in range(len(text) - ORDER + 1))]
    for _ in range(ORDER - 1):  # a shorter gram counts how many letters come before it
        tables.append(Counter(gram[1:] for gram in tables[-1]))
    chances = [1 / len(set(text + held_out))] * (len(held_out) - ORDER + 1)
    for n, table in enumerate(reversed(tables), 1):
        followers, totals, numbers = Counter(gram[:-1] for gram in table), Counter(), Counter(table.values())
        for gram, count in table.items():
            totals[gram[:-1]] += count
        discount = numbers[1] / (numbers[1] + 2 * numbers[2])
        for place, shorter in enumerate(chances, ORDER):
            gram = held_out[place - n : place]
            if total := totals[gram[:-1]]:
                backed_off = discount * followers[gram[:-1]] * shorter
                chances[place - ORDER] = (max(table[gram] - discount, 0) + backed_off) / total
    return -np.log2(chances).mean()


def ngram_sample(text, written, rng):
    """What a 5-gram model writes: the letter that comes in `text` after the last four somewhere (Shannon 1948)."""
    for _ in range(LETTERS):
        last = written[1 - ORDER :]
        place = max(text.find(last, rng.integers(len(text))), text.find(last)) + len(last)
        written += text[place : place + 1] or "\n"
    return written


def python_share(text):
    """Share of the lines with something on them that are made of Python's tokens, each by itself."""
    lines, good = [line.strip() for line in text.splitlines()[:-1] if line.strip()], 0
    for line in lines:
        with suppress(tokenize.TokenError, SyntaxError):
            good += all(t.type != tokenize.ERRORTOKEN for t in tokenize.generate_tokens(iter([line]).__next__))
    return good / len(lines)


def learn(name, learnt, held_out, settings=SETTINGS):
    """Bits per character of a text that was not learnt, and what is written, each by who does it."""
    vocabulary, rng = Vocabulary.from_text(learnt + held_out), np.random.default_rng(settings.seed)
    trainer, prime = Trainer(settings, learnt, vocabulary), "\\chapter{" if name == "LaTeX" else "\nclass "
    while not trainer.finished:
        loss = trainer.train_step()
        if trainer.step % 500 == 0:
            print(f"{name}: step {trainer.step} of {trainer.steps}, {loss / np.log(2):.2f} bits", flush=True)
    bits = {"LSTM": mean_loss(trainer.model, vocabulary.encode(held_out), streams=8) / np.log(2)}
    whole, first, alone = (len(lzma.compress(x.encode(), preset=9)) for x in (learnt + held_out, learnt, held_out))
    bits |= {"5-gram": ngram_bits(learnt, held_out), "xz": 8 * alone / len(held_out)}
    bits["xz that knows the rest"] = 8 * (whole - first) / len(held_out)
    letters = prime + "".join(generate(trainer.model, vocabulary, vocabulary.encode(prime), LETTERS, rng=rng))
    return bits, {"LSTM": letters, "5-gram": ngram_sample(learnt, prime, rng), "people": held_out[:LETTERS]}


def main(folder):
    """Print every score and put the picture, the LaTeX and its PDFs into a folder."""
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(8, 2), layout="constrained")
    for axis, (name, (learnt, held_out)) in zip(axes, texts().items(), strict=False):
        bits, written = learn(name, learnt, held_out)
        print(f"{name}: {len(learnt)} letters learnt, {len(held_out)} held out", bits, written["LSTM"][:800], sep="\n")
        for who, text in written.items():
            if name == "Python":
                print(f"{who}: {python_share(text):.1%} of the lines are made of Python's tokens")
            elif shutil.which("pdflatex"):
                print(f"{who}: {latex.compiled(text, folder / f'{who}.tex')}")
        axis.bar_label(axis.barh(list(bits), list(bits.values()), color=["C1", *["C7"] * 3]), fmt="%.2f", padding=3)
        axis.set(title=name, xlabel="bits per character", xlim=(0, 3))
    figure.savefig(folder / "picture.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent))
