"""Which words look alike? chars2vec's vectors of spellings, from its Keras weights.

    pip install --no-deps chars2vec h5py
    python examples/pretrained/chars2vec.py Natural Naturally Language Languages

Two LSTMs read a word letter by letter (Apache-2.0 licence); words are alike whose vectors point the same way. They
learnt in Keras 2.2, whose gates were hard sigmoids; here they are sigmoids, as in the package with today's Keras.
"""

import sys

import numpy as np
from common import Plain, located

from fastrnn import convert


class Vectors:
    """Words, of any lengths, to vectors of their spelling."""

    def __init__(self, width=50):
        folder = f"chars2vec/trained_models/eng_{width}"
        with open(located("chars2vec", f"{folder}/model.pkl"), "rb") as file:
            _, self.letters = Plain(file).load()
        weights = located("chars2vec", f"{folder}/weights.h5")
        self.first, self.second = convert.read(weights, recurrent_activation="sigmoid").build().values()

    def __call__(self, words):
        """(words, width). A letter that is unknown is a vector of zeros."""
        one_hot = np.eye(len(self.letters) + 1, len(self.letters), dtype=np.float32)
        outputs, _ = self.first([one_hot[[self.letters.get(letter, -1) for letter in word.lower()]] for word in words])
        _, (h, _) = self.second(outputs)
        return h[0]


def main():
    words = sys.argv[1:]
    if not words:
        sys.exit(__doc__)
    vectors = Vectors()(words)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for word, row in zip(words, vectors @ vectors.T, strict=True):
        print(f"{word:>{max(map(len, words))}}", *(f"{value:6.3f}" for value in row))


if __name__ == "__main__":
    main()
