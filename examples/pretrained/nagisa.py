"""Where do Japanese words begin, and what are they? nagisa's three BiLSTMs, from its DyNet file.

    pip install --no-deps nagisa
    python examples/pretrained/nagisa.py Pythonで簡単に使えるツールです

One cuts the text, one spells each word, one names the words' kinds (MIT licence).
"""

import gzip
import re
import sys
import unicodedata

import numpy as np
from common import Plain, located, viterbi

from fastrnn import convert

TYPES = [re.compile(kind) for kind in ("[぀-ゟ]", "[ァ-ヺ]", "[一-龥]", "[a-zA-Z]", "[0-9]", "")]  # of characters
END, SINGLE, START, STOP = 2, 3, 4, 5  # tags of characters


def places(keys, vocabulary):
    return [vocabulary.get(key, vocabulary["oov"]) for key in keys]


def windows(table, places, edge):
    """The vector of each place between those before and behind it."""
    rows = table[[edge, *places, edge]]
    return np.concatenate([rows[:-2], rows[1:-1], rows[2:]], axis=1)


class Tagger:
    def __init__(self):
        with gzip.open(located("nagisa", "nagisa/data/nagisa_v001.dict")) as file:
            self.characters, self.pairs, self.words, self.kinds, self.kinds_of = Plain(file).load()
        layers = convert.read(located("nagisa", "nagisa/data/nagisa_v001.model")).build()
        self.cutter, self.namer, self.speller = (layers[name] for name in ("birnn", "birnn_1", "birnn_2"))
        self.tag, self.kind = layers["_5"], layers["_8"]
        self.vectors = [layers[name] for name in ("_0", "_1", "_2", "_3", "_4", "_7")]

    def tag_scores(self, text):
        """(characters, 6) logits."""
        n, text, (of_character, of_pair, of_word, of_type, *_) = len(text), text.lower(), self.vectors
        pairs = [text[i : i + 2] if i + 1 < n else text[i] + "<E>" for i in range(n)]
        types = [next(i for i, kind in enumerate(TYPES) if kind.search(character)) for character in text]
        begin = [[text[i : j + 1] for j in range(i, min(i + 8, n))] for i in range(n)]  # up to 8 characters
        end = [[text[i : j + 1] for i in range(max(j - 7, 0), j + 1)] for j in range(n)]
        known = [[word for word in words if word in self.words] or ["oov"] for words in begin + end]
        sums = np.reshape([of_word[places(words, self.words)].sum(axis=0) for words in known], (2, n, -1))
        looked_up = (of_character, places(text, self.characters), 1), (of_pair, places(pairs, self.pairs), 1)
        beside = [windows(*one) for one in (*looked_up, (of_type, types, -1))]
        return self.tag(self.cutter(np.concatenate([*beside, *sums], axis=1))[0])

    def cut(self, text):
        """The words of a text."""
        tags = viterbi(self.tag_scores(text), self.vectors[5][:, START], self.vectors[5].T, self.vectors[5][STOP])
        cuts = [i for i in range(1, len(text)) if tags[i] == SINGLE or tags[i - 1] in (END, SINGLE)]
        return [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def kind_scores(self, words):
        """(words, 24) logits."""
        of_character, _, of_word, _, of_kind, _ = self.vectors
        spelt, _ = self.speller([of_character[places(word, self.characters)] for word in words])
        kinds = [{*self.kinds_of.get(word, []), word.isalnum() * self.kinds["名詞"]} - {0} for word in words]
        sums = [of_kind[list(of_one)].sum(axis=0) for of_one in kinds]
        vectors = of_word[places(words, self.words)]
        return self.kind(self.namer(np.concatenate([vectors, [y[-1] for y in spelt], sums], axis=1))[0])

    def __call__(self, text):
        """The words of a text with their kinds."""
        text = unicodedata.normalize("NFKC", text.rstrip()).replace("İ", "I").replace(" ", "　")
        words, names = self.cut(text), list(self.kinds)
        return [(word, names[kind]) for word, kind in zip(words, self.kind_scores(words).argmax(axis=1), strict=True)]


if __name__ == "__main__":
    tagger = Tagger() if sys.argv[1:] else sys.exit(__doc__)
    for text in sys.argv[1:]:
        print(" ".join("/".join(word) for word in tagger(text)))
