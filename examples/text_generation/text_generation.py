"""Text, letter by letter: Python from Python's own library, and LaTeX from the source of a book.

    pip install matplotlib && apt-get install texlive-latex-recommended-doc texlive-latex-base  # the book, and pdflatex
    python examples/text_generation/text_generation.py

README.md shows how well an LSTM predicts files and chapters that it never saw, and what it writes.
"""

import gzip
import lzma
import re
import shutil
import subprocess
import tokenize
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fastrnn.charlm import Settings, Trainer, Vocabulary, generate, mean_loss

BOOK = Path("/usr/share/doc/texlive-doc/latex/memoir/memman.tex.gz")  # "The Memoir Class" by P. Wilson and L. Madsen
SETTINGS = {"layers": 1, "hidden": 256, "optimizer": "adam", "clip": 1.0, "val_frac": 0.0, "seed": 0}
LEARN = {"Python": {"epochs": 2, "lr_decay": 0.25}, "LaTeX": {"epochs": 4, "lr_decay": 0.4}}
PRIMES, LETTERS, ORDER = {"Python": "\nclass ", "LaTeX": "\\chapter{"}, 4000, 5  # to write; of the n-gram model
# The book's own names for its own things; `lcode` shows LaTeX as it is typed. What LaTeX does not know does nothing.
PREAMBLE = r"""\documentclass{book}\usepackage{verbatim}
\newenvironment{lcode}{\verbatim}{\endverbatim}
\newcommand*\cmd[1]{\texttt{\string#1}}
\newcommand\known[1]{\ifcsname#1\endcsname\else\typeout{unknown: #1}\expandafter\def\csname#1\endcsname{}\fi}
"""


def texts():
    """By name: the text to learn, and every tenth file or chapter, held out as a whole."""
    files = [path.read_text("utf-8") for path in sorted(Path(tokenize.__file__).parent.glob("*.py"))]
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


def document(body):
    """A document of a body, with environments left open closed at the end; and which line the body begins at."""
    names = set(re.findall(r"\\(?:begin\{(?=[A-Za-z]+\*?\}))?([A-Za-z]+)", body))
    head = PREAMBLE + "".join(rf"\known{{{name}}}" + "\n" for name in sorted(names)) + "\\begin{document}\n"
    left_open = ["document"]
    for kind, name in re.findall(r"\\(begin|end)\{([A-Za-z]+\*?)\}", body):
        if kind == "begin":
            left_open.append(name)
        elif name in left_open[1:]:
            left_open = left_open[: -1 - left_open[::-1].index(name)]  # an inner one may have been left open
    return head + body + "".join(f"\n\\end{{{name}}}" for name in reversed(left_open)), head.count("\n") + 1


def compiled(text, path):
    """Make a PDF beside `path` and count the repairs: where pdflatex stops, that line or the last before it goes."""
    lines = whole = re.sub(r"(?<!\\)%.*", "", text).splitlines()  # comments go unread
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error", path.name]
    while True:
        source, first = document("\n".join(lines))
        path.write_text(source, "utf-8")
        said = subprocess.run(command, cwd=path.parent, capture_output=True, timeout=60).stdout.decode(errors="replace")
        if "Output written on" in said:
            return {"lines": len(whole), "taken out": len(whole) - len(lines), "unknown": said.count("unknown:")}
        place = re.search(r"on input line (\d+) ended by|" + re.escape(path.name) + r":(\d+):", said)
        last = min(int(place[1] or place[2]) - first + 1, len(lines)) if place else len(lines)
        last = max(place for place in range(last) if lines[place].strip())
        lines = lines[:last] + lines[last + 1 :]


def steps(trainer):
    """Learn to the end; the mean of the bits per character of each step, before the step changed the model."""
    return np.mean([trainer.train_step() for _ in tqdm(range(trainer.steps), disable=None)]) / np.log(2)


def learn(name, learnt, held_out):
    """Bits per character of a text that was not learnt, and what is written, each by who does it."""
    vocabulary, rng = Vocabulary.from_text(learnt + held_out), np.random.default_rng(0)
    settings = Settings(batch=16, seq=64, lr=0.004, lr_decay_after=1, **LEARN[name], **SETTINGS)
    trainer, prime = Trainer(settings, learnt, vocabulary), PRIMES[name]
    steps(trainer)
    reader = Trainer(Settings(batch=4, seq=32, epochs=1, lr=0.001, **SETTINGS), held_out, vocabulary)
    reader.model.load_state_dict(trainer.model.state_dict())
    letters = prime + "".join(generate(trainer.model, vocabulary, vocabulary.encode(prime), LETTERS, rng=rng))
    whole, first, alone = (len(lzma.compress(x.encode(), preset=9)) for x in (learnt + held_out, learnt, held_out))
    return {
        "LSTM": mean_loss(trainer.model, vocabulary.encode(held_out), streams=4) / np.log(2),
        "LSTM, learning on": steps(reader), "5-gram": ngram_bits(learnt, held_out),
        "xz": 8 * alone / len(held_out), "xz, knowing the rest": 8 * (whole - first) / len(held_out),
    }, {"LSTM": letters, "5-gram": ngram_sample(learnt, prime, rng), "people": held_out[:LETTERS]}


def main(folder=Path(__file__).parent):
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
                print(f"{who}: {compiled(text, folder / f'{who}.tex')}")
        axis.bar_label(axis.barh(list(bits), list(bits.values()), color=["C1"] * 2 + ["C7"] * 3), fmt="%.2f", padding=3)
        axis.set(title=name, xlabel="bits per character", xlim=(0, 3))
    figure.savefig(folder / "picture.png")


if __name__ == "__main__":
    main()
