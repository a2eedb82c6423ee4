"""Which vowels has a Hebrew text? Nakdimon's two bidirectional LSTMs, whose directions are summed, from its Keras file.

    pip install --no-deps nakdimon h5py
    python examples/pretrained/nakdimon.py "שלום עולם"

It points a letter with a dagesh, a dot of the letter shin, and a vowel (MIT licence).
"""

import re
import sys

from common import located

from fastrnn import convert

LETTERS = "".join(map(chr, range(0x05D0, 0x05EB)))
SYMBOLS = ["", "H", "O", "5", *" !\"'(),-.:;?", *LETTERS]  # H: Yiddish letters, O: others, 5: digits
DASHES, QUOTES = "\u05be\u2012\u2013\u2014\u2015\u2212-", "\u201c\u201d\u05f4\""
ALIKE = ("\n\t ", DASHES, "[(", "])", "\xb4\u2018\u2019'", QUOTES, "\u2026,", "\u05f0\u05f1\u05f2H")  # to the last one
SYMBOL_OF = {character: one[-1] for one in ALIKE for character in one[:-1]} | {symbol: symbol for symbol in SYMBOLS[4:]}
POINTS = {  # dagesh, shin, niqqud
    "D": ["", "", "\u05bc"],
    "S": ["", "", "\u05c1", "\u05c2"],
    "N": ["", "", *map(chr, range(0x05B0, 0x05BD)), "\u05b7"],
}
MAY_HAVE = {"D": "בגדהוזטיכלמנספצקשתךף", "S": "ש", "N": "אבגדהוזחטיכלמנסעפצקרשתךן"}
MARKS = re.compile("[\u05b0-\u05bc\u05c1\u05c2\u05c7\u05bf]")


def symbol(character):
    """The number of the symbol that a character is to the network."""
    return SYMBOLS.index(SYMBOL_OF.get(character, "5" if character.isdigit() else "O"))


class Pointer:
    """Texts without points to texts with points."""

    def __init__(self):
        self.layers = convert.read(located("nakdimon", "nakdimon/Nakdimon.h5")).build()

    def scores(self, texts):
        """For each text the logits of the three kinds of points, (characters, kinds of it)."""
        x = [self.layers["embedding"][[symbol(character) for character in text]] for text in texts]
        for name in ("bidirectional", "bidirectional_1"):
            x, _ = self.layers[name](x)
        hidden = [self.layers["dense"](y) for y in x]
        return [{kind: self.layers[kind](y) for kind in POINTS} for y in hidden]

    def __call__(self, texts):
        texts = [MARKS.sub("", text) for text in texts]
        return [self.pointed(text, scores) for text, scores in zip(texts, self.scores(texts), strict=True)]

    def pointed(self, text, scores):
        best = {kind: rows.argmax(axis=1) for kind, rows in scores.items()}
        return "".join(
            letter + "".join(POINTS[kind][best[kind][i]] for kind in POINTS if letter in MAY_HAVE[kind])
            for i, letter in enumerate(text)
        )


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for text in Pointer()(sys.argv[1:]):
        print(text)


if __name__ == "__main__":
    main()
