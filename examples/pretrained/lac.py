"""Where do Chinese words begin, and what are they? LAC, the network inside jieba, without Paddle.

    pip install --no-deps jieba
    python examples/pretrained/lac.py 我来到北京清华大学

Two layers of bidirectional GRUs, which reset before the product, and a CRF (MIT licence). jieba's own way to it,
`enable_paddle()`, needs a Paddle of 2020.
"""

import sys

import numpy as np
from common import located, viterbi

import fastrnn
from fastrnn import convert
from fastrnn.convert import paddle

WIDTH, TAGS = 128, 57
UNKNOWN = "OOV"


def pairs(path):
    """The second column of a file of numbers and names, by the first."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return {int(row[0]): row[1] for row in rows if len(row) == 2}


class Segmenter:
    """Sentences to words and their tags: nouns n, places LOC, times TIME, ..."""

    def __init__(self):
        folder = located("jieba", "jieba/lac_small")
        self.places = {character: place for place, character in pairs(folder / "word.dic").items()}
        self.tags = pairs(folder / "tag.dic")
        self.weights = convert.read(folder / "model_baseline").rest
        self.gru = fastrnn.GRU(WIDTH, WIDTH, 2, bidirectional=True, reset_after=False)
        suffixes = ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
        self.gru.load_state_dict(
            {name + suffix: array for i, suffix in enumerate(suffixes) for name, array in self.direction(i).items()}
        )
        self.head = fastrnn.Linear(2 * WIDTH, TAGS)
        self.head.load_state_dict({"weight": self.weights["fc_4.w_0"].T, "bias": self.weights["fc_4.b_0"]})

    def direction(self, i):
        return paddle.gru(*(self.weights[f"{name}_{i}.{kind}_0"] for name in ("fc", "gru") for kind in "wb"))

    def scores(self, sentence):
        """(characters, tags) logits."""
        places = [self.places.get(character, self.places[UNKNOWN]) for character in sentence]
        y, _ = self.gru(self.weights["word_emb"][places])
        return self.head(y)

    def __call__(self, sentence):
        first, last, steps = np.split(self.weights["crfw"], [1, 2])
        tags = [self.tags[number] for number in viterbi(self.scores(sentence), first[0], steps, last[0])]
        words, before = [], None
        for character, tag in zip(sentence, tags, strict=True):
            if not words or tag.endswith("-B") or (tag == "O" != before):
                words.append(["", tag.split("-")[0]])
            words[-1][0], before = words[-1][0] + character, tag
        return [tuple(word) for word in words]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    segmenter = Segmenter()
    for sentence in sys.argv[1:]:
        print(" ".join(f"{word}/{tag}" for word, tag in segmenter(sentence)))


if __name__ == "__main__":
    main()
