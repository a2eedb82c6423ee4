"""Who says the vowels? A bidirectional GRU on sequences of different lengths, each an array of its own.

    pip install aeon
    python examples/japanese_vowels.py [--epochs 30] [--seed 0]

JapaneseVowels (M. Kudo and others) comes with aeon: nine men say two vowels; an utterance is 7 to 29 steps of 12
cepstrum coefficients. 270 utterances are for training, 370 for the test. It takes seconds on one core, and nothing is
downloaded.
"""

import argparse
import sys
import time

import numpy as np

import fastrnn

SPEAKERS, CHANNELS, HIDDEN, BATCH = 9, 12, 64, 16
RATE, NORM = 3e-3, 1.0


def load():
    """Training and test data, each (sequences, speakers): a list of (T_i, 12) float32, and an array of 0 to 8."""
    try:
        from aeon.datasets import load_japanese_vowels
    except ImportError:
        sys.exit("japanese_vowels.py: the data are in the package aeon, which is not installed: pip install aeon")
    return [_split(*load_japanese_vowels(split=split)) for split in ("train", "test")]


def _split(sequences, labels):
    return [np.ascontiguousarray(x.T, np.float32) for x in sequences], labels.astype(np.int64) - 1


def normalised(train, test):
    """Both with mean 0 and deviation 1 in every channel of the training data."""
    steps = np.concatenate(train)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    return [[(x - mean) / deviation for x in sequences] for sequences in (train, test)]


class Classifier:
    """A bidirectional GRU whose two last states, one a direction, go to a linear head."""

    def __init__(self, seed):
        self.gru = fastrnn.GRU(CHANNELS, HIDDEN, bidirectional=True, seed=seed)
        self.head = fastrnn.Linear(2 * HIDDEN, SPEAKERS, seed=seed + 1)
        self.optimizer = fastrnn.Adam([self.gru, self.head], lr=RATE)

    def predict(self, sequences):
        """The likeliest speaker of each."""
        _, state = self.gru(sequences)
        return self.head(np.concatenate(state, axis=-1)).argmax(axis=-1)

    def step(self, sequences, speakers):
        """Learn from one batch; return its loss in nats."""
        y, state, tape = self.gru.forward(sequences)  # y: a list like the sequences; state: (2, B, H)
        logits, head_tape = self.head.forward(np.concatenate(state, axis=-1))
        loss, dlogits = fastrnn.softmax_cross_entropy(logits, speakers)
        self.optimizer.zero_grad()
        dstate = np.stack(np.split(self.head.backward(head_tape, dlogits), 2, axis=-1))
        self.gru.backward(tape, [np.zeros_like(outputs) for outputs in y], dstate)  # only states go into the loss
        fastrnn.clip_grad_norm_([self.gru.grads, self.head.grads], NORM)
        self.optimizer.step()
        return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    fastrnn.set_num_threads(1)
    (train, speakers), (test, expected) = load()
    train, test = normalised(train, test)
    model, rng = Classifier(options.seed), np.random.default_rng(options.seed)

    start = time.perf_counter()
    for epoch in range(options.epochs):
        model.optimizer.lr = RATE * (1 - epoch / options.epochs)
        losses = []
        for batch in np.array_split(rng.permutation(len(train)), len(train) // BATCH):
            losses.append(model.step([train[i] for i in batch], speakers[batch]))
        if (epoch + 1) % 5 == 0:
            print(f"epoch {epoch + 1:3}: loss {np.mean(losses):.4f} nats")
    seconds = time.perf_counter() - start
    accuracy = np.mean(model.predict(test) == expected)
    print(f"test accuracy {accuracy:.2%} of {len(test)} utterances; trained in {seconds:.1f} s on one core")


if __name__ == "__main__":
    main()
