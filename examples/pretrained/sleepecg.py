"""Awake, dreaming or asleep? SleepECG's bidirectional GRUs, from features of heartbeats to stages of sleep, from Keras.

    pip install --no-deps sleepecg h5py
    python examples/pretrained/sleepecg.py night.npy

night.npy has a row of 36 features for each 30 seconds, which README.md says how to make (BSD licence). Rows that are -1
are masked: the states stay as they are.
"""

import sys
import tempfile
import zipfile

import numpy as np
from common import located

from fastrnn import convert

STAGES = ["undefined", "NREM", "REM", "wake"]
MISSING, EPSILON = -1, 1e-3


class Stager:
    """Features (T, 36) to probabilities of the stages (T, 4)."""

    def __init__(self):
        archive = zipfile.ZipFile(located("sleepecg", "sleepecg/classifiers/wrn-gru-mesa.zip"))
        with archive, tempfile.TemporaryDirectory() as folder:
            model = convert.read(archive.extract("classifier.keras", folder))
        self.layers = model.build()
        scale, shift, mean, variance = model.rest.values()  # of the batch normalisation
        self.scale = scale / np.sqrt(variance + np.float32(EPSILON))
        self.shift = shift - mean * self.scale

    def __call__(self, features):
        x = np.where(np.isfinite(features), features, MISSING).astype(np.float32)
        mask = (x != MISSING).any(axis=1)
        x = np.maximum(self.layers["dense"](x * mask[:, None] * self.scale + self.shift), 0)
        for name in ("bidirectional", "bidirectional_1"):
            x, _ = self.layers[name](x, mask=mask)
        logits = self.layers["dense_1"](x)
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    stager, features = Stager(), np.load(sys.argv[1])
    if features.ndim != 2 or features.shape[1] != 36:
        sys.exit(f"sleepecg.py: {sys.argv[1]} has shape {features.shape}; expected (half minutes, 36)")
    for row, chances in enumerate(stager(features)):
        print(f"{row // 2:4}:{row % 2 * 30:02}  {STAGES[chances.argmax()]:9}", *(f"{chance:.3f}" for chance in chances))


if __name__ == "__main__":
    main()
