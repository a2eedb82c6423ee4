"""English to Polish with attention: numbers word by word, and the names of the world letter by letter.

    pip install num2words pycountry sacrebleu matplotlib
    python examples/translation/translation.py [FOLDER]

It learns pairs of two packages and is tested on others, beside copying and the nearest known pair. Scores: README.md
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from pairs import names, nearest, numbers
from sacrebleu import corpus_chrf

import fastrnn
from fastrnn.training import CosineDecay, WarmUp

HELD_OUT = 500
TASKS = {
    "numbers": {"between": " ", "hidden": 64, "width": 32, "dropout": 0.0, "epochs": 6, "rate": 0.004},
    "names": {"between": "", "hidden": 96, "width": 64, "dropout": 0.3, "epochs": 25, "rate": 0.004},
}


class Translator:
    """A bidirectional GRU reads, another one writes and looks back at what was read (Luong, Pham and Manning 2015)."""

    def __init__(self, pairs, *, between, hidden, width, dropout, epochs, rate, seed=0):
        self.between = between  # two tokens, which are words, or letters if it is nothing
        self.tokens = partial(str.split, sep=between) if between else list
        english, polish = ([self.tokens(text) for text in texts] for texts in zip(*pairs, strict=True))
        # 0 is an English token never seen, or the start of the Polish, and 1 its end.
        self.english = {token: code for code, token in enumerate(sorted({one for text in english for one in text}), 1)}
        self.polish = ["", "", *sorted({token for text in polish for token in text})]
        seeds = iter(np.random.SeedSequence(seed).spawn(8))
        self.model = fastrnn.EncoderDecoder(
            fastrnn.GRU(width, hidden, bidirectional=True, seed=next(seeds)),
            fastrnn.GRU(width, 2 * hidden, seed=next(seeds)),
            fastrnn.Linear(2 * hidden, len(self.polish), seed=next(seeds)),
            attention=fastrnn.Attention(2 * hidden, 2 * hidden, "general", seed=next(seeds)),
            combine=fastrnn.Linear(4 * hidden, 2 * hidden, seed=next(seeds)),
            source_embedding=fastrnn.Embedding(len(self.english) + 1, width, seed=next(seeds)),
            target_embedding=fastrnn.Embedding(len(self.polish), width, seed=next(seeds)),
            start=0, end=1, dropout=dropout, label_smoothing=0.1, seed=next(seeds))
        targets = [np.array([self.polish.index(token, 2) for token in tokens]) for tokens in polish]
        fastrnn.fit(self.model, self.read(pair[0] for pair in pairs), targets, epochs=epochs, seed=seed,
                    optimizer=partial(fastrnn.Adam, lr=rate), schedule=WarmUp(1, CosineDecay(epochs - 1)))

    def read(self, texts):
        """English as arrays of codes."""
        return [np.array([self.english.get(token, 0) for token in self.tokens(text)]) for text in texts]

    def __call__(self, texts):
        """The likeliest Polish of each English text, by beam search."""
        found = self.model.decode(self.read(texts), length=100)
        return [self.between.join(self.polish[code] for code in codes) for codes in found]

    def looks(self, text):
        """Tokens of an English text, of its translation, and how much these look at those, (Polish, English)."""
        english, polish = self.tokens(text), self.tokens(*self([text]))
        codes = [0, *(self.polish.index(token, 2) for token in polish[:-1])]
        state, memory, _ = self.model.begin(self.read([text]))
        rows, _ = self.model.decoder(self.model.target_embedding(np.array(codes)[:, None]), state)
        return english, polish, self.model.attention(rows, memory)[1][:, 0]


def scores(written, polish):
    """Share of exact translations, and chrF (Popovic 2015, with beta 2) of them all together."""
    return np.mean([a == b for a, b in zip(written, polish, strict=True)]), corpus_chrf(written, [polish]).score


def run(name, pairs):
    """Scores of each way to translate the first pairs when the others are known, and the translator."""
    (english, polish), known = zip(*pairs[:HELD_OUT], strict=True), pairs[HELD_OUT:]
    translator = Translator(known, **TASKS[name])
    return {
        "copying": scores(english, polish),
        "copying in small letters": scores([text.lower() for text in english], polish),
        "nearest": scores([nearest(text, known)[0] for text in english], polish),
        "attention": scores(translator(english), polish),
    }, translator


def main(folder):
    """Print every score and put a picture into a folder: where the decoder looks."""
    import matplotlib.pyplot as plt

    tasks = {"numbers": numbers(3500, np.random.default_rng(0)), "names": names(np.random.default_rng(0))}
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
    for axis, (name, pairs) in zip(axes, tasks.items(), strict=True):
        rows, translator = run(name, pairs)
        print(f"{name}: {len(pairs) - HELD_OUT} pairs learnt, {HELD_OUT} tested")
        for who, (exact, chrf) in rows.items():
            print(f"  {who:26} exact {exact:6.1%}   chrF {chrf:5.1f}")
        english, polish, weights = translator.looks(pairs[0][0])
        axis.imshow(weights, cmap="Greys", aspect="auto")
        axis.set(xticks=range(len(english)), xticklabels=english, yticks=range(len(polish)), yticklabels=polish)
    figure.savefig(folder / "picture.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent))
