"""Which residues of a protein have no fixed structure? metapredict's bidirectional LSTM, from its PyTorch checkpoint.

    pip install --no-deps metapredict
    python examples/pretrained/metapredict.py MDVFMKGLSKAKEGVVAAAEKTKQGVAEAAGKTKEGVLYVGSKTKEGVVHGVATVAEKTKEQ

Its default network, V3 (MIT licence). The checkpoint is a pickle; it is read without running it.
"""

import sys

import numpy as np
from common import located

from fastrnn import convert

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
DISORDERED = 0.5


class Predictor:
    """Sequences of residues, of any lengths, to the disorder of each residue."""

    def __init__(self):
        model = convert.read(located("metapredict", "metapredict/backend/networks/epoch099_val_loss1107.08.ckpt"))
        layers = model.build()
        self.lstm, self.head = layers["lstm"], layers["linear_layers.0"]
        self.scale, self.shift = model.rest["layer_norm.weight"], model.rest["layer_norm.bias"]

    def __call__(self, sequences):
        """A list of arrays (residues,), 0 for ordered to 1, in the order of the sequences."""
        outputs, _ = self.lstm([np.array([RESIDUES.index(residue) for residue in one.upper()]) for one in sequences])
        return [np.clip(self.head(self.normalised(y))[:, 0], 0, 1) for y in outputs]

    def normalised(self, y):
        """Each step with mean 0 and deviation 1, scaled and shifted."""
        y = y - y.mean(axis=-1, keepdims=True)
        return y / np.sqrt((y * y).mean(axis=-1, keepdims=True) + np.float32(1e-5)) * self.scale + self.shift


def main():
    sequences = sys.argv[1:]
    if not sequences:
        sys.exit(__doc__)
    for one in sequences:
        if unknown := set(one.upper()) - set(RESIDUES):
            sys.exit(f"metapredict.py: {one} has {''.join(sorted(unknown))}; expected the letters {RESIDUES}")
    for one, disorder in zip(sequences, Predictor()(sequences), strict=True):
        print(one)
        print("".join("-" if value < DISORDERED else "D" for value in disorder), f"mean {disorder.mean():.3f}")


if __name__ == "__main__":
    main()
