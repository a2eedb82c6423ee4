"""Where do Japanese words begin, and what are they? nagisa's three BiLSTMs, from its DyNet file.

    pip install --no-deps nagisa
    python examples/pretrained/nagisa.py Pythonで簡単に使えるツールです

One reads characters and cuts the text, one spells each word, one names their kinds (MIT licence).
"""

import gzip
import re
import sys
import unicodedata

import numpy as np
from common import Plain, layer, located, viterbi

from fastrnn.convert import dynet

TYPES = [re.compile(kind) for kind in ("[぀-ゟ]", "[ァ-ヺ]", "[一-龥]", "[a-zA-Z]", "[0-9]", "")]  # of characters
END, SINGLE, START, STOP = 2, 3, 4, 5  # tags of characters
PAD, LONGEST = 1, 8


def places(keys, vocabulary):
    return [vocabulary.get(key, vocabulary["oov"]) for key in keys]


def windows(table, places, pad):
    """The vector of each place between those of the places before and behind it."""
    rows = table[[pad, *places, pad]]
    return np.concatenate([rows[:-2], rows[1:-1], rows[2:]], axis=1)


class Tagger:
    """Texts to words and their kinds."""

    def __init__(self):
        with gzip.open(located("nagisa", "nagisa/data/nagisa_v001.dict")) as file:
            self.characters, self.pairs, self.words, self.kinds, self.kinds_of = Plain(file).load()
        self.read = {one.name: one for one in dynet.read(located("nagisa", "nagisa/data/nagisa_v001.model")).layers}
        layers, tables = ("birnn", "_5", "birnn_1", "_8", "birnn_2"), ("_0", "_1", "_2", "_3", "_4", "_7")
        self.cutter, self.tag, self.namer, self.kind, self.speller = (layer(self.read[name]) for name in layers)
        self.vectors = [self.read[name].tensors["weight"] for name in tables]

    def tag_scores(self, text):
        """(characters, 6) logits."""
        n, text, (of_character, of_pair, of_word, of_type, *_) = len(text), text.lower(), self.vectors
        pairs = [text[i : i + 2] if i + 1 < n else text[i] + "<E>" for i in range(n)]
        types = [next(i for i, kind in enumerate(TYPES) if kind.search(character)) for character in text]
        begin = [[text[i : j + 1] for j in range(i, min(i + LONGEST, n))] for i in range(n)]
        end = [[text[i : j + 1] for i in range(max(j - LONGEST + 1, 0), j + 1)] for j in range(n)]
        known = [[[word for word in words if word in self.words] or ["oov"] for words in side] for side in (begin, end)]
        sums = [[of_word[places(words, self.words)].sum(axis=0) for words in side] for side in known]
        characters = windows(of_character, places(text, self.characters), PAD)
        of_pairs = windows(of_pair, places(pairs, self.pairs), PAD)
        return self.tag(self.cutter(np.concatenate([characters, of_pairs, windows(of_type, types, -1), *sums], axis=1))[0])

    def cut(self, text):
        """The words of a text."""
        tags = viterbi(self.tag_scores(text), self.vectors[5][:, START], self.vectors[5].T, self.vectors[5][STOP])
        cuts = [i for i in range(1, len(text)) if tags[i] == SINGLE or tags[i - 1] in (END, SINGLE)]
        return [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def kind_scores(self, words):
        """(words, 24) logits."""
        of_character, _, of_word, _, of_kind, _ = self.vectors
        spelt, _ = self.speller([of_character[places(word, self.characters)] for word in words])
        kinds = [{*self.kinds_of.get(word, []), *[self.kinds["名詞"]] * word.isalnum()} - {0} for word in words]  # nouns
        sums = [of_kind[sorted(of_one)].sum(axis=0) for of_one in kinds]
        return self.kind(self.namer(np.concatenate([of_word[places(words, self.words)], [y[-1] for y in spelt], sums], 1))[0])

    def __call__(self, text):
        text = unicodedata.normalize("NFKC", text.rstrip()).replace("İ", "I").replace(" ", "　")
        words, names = self.cut(text), list(self.kinds)
        return [(word, names[kind]) for word, kind in zip(words, self.kind_scores(words).argmax(axis=1), strict=True)]


if __name__ == "__main__":
    tagger = Tagger() if sys.argv[1:] else sys.exit(__doc__)
    for text in sys.argv[1:]:
        print(" ".join("/".join(word) for word in tagger(text)))
