"""How is a word said? g2p-en's encoder and decoder, from letters to phonemes, on two GRUs.

    pip install --no-deps g2p-en
    python examples/pretrained/g2p.py hello world

g2p-en (Apache-2.0) asks this network about words that its dictionary does not have; here it says them all. Digits after
vowels are their stress.
"""

import sys

import numpy as np
from common import located

from fastrnn import convert

LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"  # of ARPAbet
OTHERS = "B CH D DH F G HH JH K L M N NG P R S SH T TH UW V W Y Z ZH"
SOUNDS = sorted([vowel + stress for vowel in VOWELS.split() for stress in "012"] + OTHERS.split())
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>", *SOUNDS]
BEGIN, END = PHONEMES.index("<s>"), PHONEMES.index("</s>")
LONGEST = 20


class Speller:
    """Words to phonemes."""

    def __init__(self):
        layers = convert.read(located("g2p-en", "g2p_en/checkpoint20.npz")).build()
        self.letters, self.encoder = layers["enc_emb"], layers["enc"]
        self.sounds, self.decoder, self.head = layers["dec_emb"], layers["dec"], layers["fc"]

    def __call__(self, word):
        """The phonemes of a word, and the logits (steps, 74) that they are the largest of."""
        letters = [LETTERS.index(letter) if letter in LETTERS else 1 for letter in word.lower()]
        _, state = self.encoder(self.letters[[*letters, LETTERS.index("</s>")]])
        stream = self.decoder.stream(batch_size=1)
        stream.state = state[:, None]
        phonemes, logits = [BEGIN], []
        while len(phonemes) <= LONGEST:
            h = stream.step(self.sounds[phonemes[-1:]])
            logits.append(self.head(h)[0])
            phonemes.append(int(logits[-1].argmax()))
            if phonemes[-1] == END:
                break
        return [PHONEMES[phoneme] for phoneme in phonemes[1:] if phoneme != END], np.array(logits)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    speller = Speller()
    for word in sys.argv[1:]:
        print(f"{word}: {' '.join(speller(word)[0])}")


if __name__ == "__main__":
    main()
