"""Text, letter by letter: textgenrnn's two LSTMs and its attention over the last 40 letters, from its Keras weights.

    pip install --no-deps textgenrnn h5py
    python examples/pretrained/textgenrnn.py "The " --temperature 0.5 --seed 1

It learnt from titles on Reddit (MIT licence). Its window slides, so that each letter runs all 40 steps again.
"""

import argparse
import json

import numpy as np
from common import located

from fastrnn import convert

WINDOW, LONGEST, EDGE = 40, 300, "<s>"  # the edge begins and ends a text


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


class Generator:
    """Gives what letter comes next, and whole texts."""

    def __init__(self):
        model = convert.read(located("textgenrnn", "textgenrnn/textgenrnn_weights.hdf5"))
        self.layers, self.attention = model.build(), next(iter(model.rest.values()))
        self.places = json.loads(located("textgenrnn", "textgenrnn/textgenrnn_vocab.json").read_text(encoding="utf-8"))
        self.letters = {place: letter for letter, place in self.places.items()}

    def probabilities(self, text):
        """Those of each letter after a list of them, (letters,); the window is filled with 0, which is no letter."""
        places = [self.places.get(letter, 0) for letter in text[-WINDOW:]]
        x = self.layers["embedding"][[0] * (WINDOW - len(places)) + places]
        first, _ = self.layers["rnn_1"](x)
        second, _ = self.layers["rnn_2"](first)
        steps = np.concatenate([x, first, second], axis=1)
        weights = softmax(steps @ self.attention[:, 0])
        return softmax(self.layers["output"](weights[None] @ steps)[0])

    def __call__(self, prefix, temperature, rng):
        text = [EDGE, *prefix]
        while len(text) < LONGEST and (len(text) == 1 or text[-1] != EDGE):
            chances = softmax(np.log(self.probabilities(text)[1:].astype(np.float64) + 1e-7) / temperature)
            text.append(self.letters[1 + int(rng.choice(len(chances), p=chances))])
        return "".join(text[1:]).removesuffix(EDGE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix")
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    print(Generator()(options.prefix, options.temperature, np.random.default_rng(options.seed)))


if __name__ == "__main__":
    main()
