"""Who speaks when? Silero's voice detector, one frame of 32 ms at a time, as a microphone would give them.

    pip install --no-deps silero-vad
    espeak-ng -w hello.wav "Hello. This is a test." && python examples/pretrained/silero.py hello.wav

An LSTM under four convolutions (MIT licence). The state goes on in a `Stream`; the weights are its safetensors file.
"""

import sys
import wave

import numpy as np
from common import located
from numpy.lib.stride_tricks import sliding_window_view

from fastrnn import convert

RATE, FRAME, CONTEXT = 16_000, 512, 64
STRIDES = {"conv1": 1, "conv2": 2, "conv3": 2, "conv4": 1}


def sound(path):
    """A WAV file of 16 bits as (samples,) float32 at 16 kHz, its channels' mean, resampled by its spectrum."""
    with wave.open(path) as file:
        if file.getsampwidth() != 2:
            sys.exit(f"silero.py: {path} has {8 * file.getsampwidth()} bits a sample; expected 16")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        rate = file.getframerate()
    samples = samples.mean(axis=1) / 32768
    count = len(samples) * RATE // rate
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)


class Detector:
    """Takes a sound in frames of 512 samples, gives the probability that someone speaks in each."""

    def __init__(self):
        model = convert.read(located("silero-vad", "silero_vad/data/silero_vad_16k.safetensors"))
        self.stream = model.build()["lstm_cell"].stream(batch_size=1)
        self.weights = model.rest  # the convolutions, which are NumPy's here
        self.context = np.zeros(CONTEXT, np.float32)

    def __call__(self, frame):
        samples = np.concatenate([self.context, frame])
        self.context = samples[-CONTEXT:]
        h = self.stream.step(self.features(samples)[None])[0]
        logit = self.weights["final_conv.weight"][0, :, 0] @ np.maximum(h, 0) + self.weights["final_conv.bias"][0]
        return 1 / (1 + np.exp(-logit))

    def features(self, samples):
        """(128,) of the samples (576,): magnitudes of four spectra through four convolutions that leave one step."""
        samples = np.pad(samples, (0, CONTEXT), "reflect")
        waves = self.weights["stft_conv.weight"][:, 0] @ sliding_window_view(samples, 256)[::128].T
        x = np.hypot(waves[:129], waves[129:])
        for name, stride in STRIDES.items():
            windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1))), 3, axis=1)[:, ::stride]
            x = np.tensordot(self.weights[f"{name}.weight"], windows, ([1, 2], [0, 2]))
            x = np.maximum(x + self.weights[f"{name}.bias"][:, None], 0)
        return x[:, 0]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    detector, samples = Detector(), sound(sys.argv[1])
    samples = np.pad(samples, (0, -len(samples) % FRAME))
    for number, frame in enumerate(samples.reshape(-1, FRAME)):
        probability = detector(frame)
        print(f"{number * FRAME / RATE:6.2f} s  {probability:.3f}  {'#' * round(40 * probability)}")


if __name__ == "__main__":
    main()
