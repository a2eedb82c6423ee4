"""What does she say? A bidirectional LSTM with CTC writes down the recorded prompts of a telephone exchange.

    apt-get install asterisk-core-sounds-en-wav espeak-ng && pip install "fastrnn[examples]"
    python examples/speech/speech.py
"""

import gzip
import re
import subprocess
import sys
import wave
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastrnn

SOUNDS, TEXTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison"), Path("/usr/share/doc/asterisk-core-sounds-en")
SYMBOLS = "_ 'abcdefghijklmnopqrstuvwxyz"  # the first is CTC's blank
HIDDEN, SPEEDS, EPOCHS, BANDS = 128, np.linspace(0.85, 1.15, 5), 24, 40


def clean(text):
    """The words as they are said, in SYMBOLS without the blank."""
    figures = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    text = re.sub(r"\[.*?\]|\(.*?\)|<.*?>", "", text.lower()).replace("*", "star").replace("#", "pound")
    text = re.sub(r"\d", lambda found: f" {figures[int(found[0])]} ", text)
    return " ".join(re.sub(r"[^a-z']", " ", text).split())


def read():
    """Name to (samples at 8 kHz, text) of every prompt that says something in at most 12 seconds."""
    if not all(path.exists() for path in (TEXTS, SOUNDS, Path("/usr/bin/espeak-ng"))):
        sys.exit("speech.py: data or voices are missing: apt-get install asterisk-core-sounds-en-wav espeak-ng")
    prompts, lines = {}, gzip.decompress((TEXTS / "core-sounds-en.txt.gz").read_bytes()).decode().splitlines()
    for name, text in (line.split(":", 1) for line in lines if ":" in line):
        if clean(text) and (SOUNDS / f"{name}.wav").exists():
            with wave.open(str(SOUNDS / f"{name}.wav")) as file:
                samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 2**15
            prompts |= {name: (samples, clean(text))} if len(samples) <= 12 * 8000 else {}
    return prompts


def split(prompts, seed):
    """Prompts to learn from, without any five words in a row of those held out; 40 held out; the digits, held out."""
    said = {name: text.split() for name, (_, text) in prompts.items()}
    runs = {name: {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))} for name, words in said.items()}
    digits = [name for name in prompts if name.startswith("digits/")]
    whole = [name for name in prompts if not name.startswith(("digits/", "letters/", "phonetic/"))]
    held = list(np.random.default_rng(seed).choice(whole, 40, replace=False))
    rest = [name for name in prompts if name not in digits and not any(runs[name] & runs[other] for other in held)]
    return [[prompts[name] for name in names] for names in (rest, held, digits)]


def speak(text, voice):  # samples of espeak-ng
    said = subprocess.run(["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True).stdout
    samples = np.frombuffer(said[44:], np.int16) / 2**15  # behind the header, at 22.05 kHz
    size = len(samples) * 8000 // 22050  # now at 8 kHz: what is too high for that is left out
    return np.fft.irfft(np.fft.rfft(samples)[: size // 2 + 1], size) * size / len(samples)


def heard(samples, rng=None, speed=1):
    """(T, 120): log energies in 40 mel bands, three times 10 ms side by side; with rng noisy and with holes."""
    samples = np.interp(np.arange(0, len(samples) - 1, speed), np.arange(len(samples)), samples)
    edges = 700 * np.expm1(np.linspace(np.log1p(60 / 700), np.log1p(4000 / 700), BANDS + 2))
    rising = (np.linspace(0, 4000, 129)[:, None] - edges[:-1]) / np.diff(edges)
    filters = np.clip(np.minimum(rising[:, :-1], 1 - rising[:, 1:]), 0, None)
    windows = np.lib.stride_tricks.sliding_window_view(np.diff(samples), 200)[::80] * np.hanning(200)
    bands = np.log(np.abs(np.fft.rfft(windows, 256)) ** 2 @ filters + 1e-7)
    bands = (bands - bands.mean(axis=0)) / (bands.std(axis=0) + 0.5)
    if rng is not None:
        bands += rng.normal(0, 0.1, bands.shape)
        for start in rng.integers(len(bands), size=1 + len(bands) // 150):  # as Park et al. (2019) do
            bands[start : start + rng.integers(3, 20)] = 0
        bands[:, rng.integers(BANDS) :][:, : rng.integers(8)] = 0
    return bands[: len(bands) // 3 * 3].reshape(-1, 3 * BANDS).astype(np.float32)


def train(pairs, seed):
    """A model of (samples, text) at several speeds. CTC needs a step a symbol: what is said too fast counts nothing."""
    rng = np.random.default_rng(seed)
    inputs = [heard(samples, rng, speed) for samples, _ in pairs for speed in SPEEDS]
    targets = [np.array([*map(SYMBOLS.index, text)]) for _, text in pairs for _ in SPEEDS]
    lstm = fastrnn.LSTM(3 * BANDS, HIDDEN, 2, dropout=0.2, bidirectional=True, seed=seed)
    head = fastrnn.Linear(2 * HIDDEN, len(SYMBOLS), seed=seed + 1)
    model = fastrnn.SequenceModel(lstm, head, partial(fastrnn.ctc_loss, zero_infinity=True))
    options = {"schedule": fastrnn.training.CosineDecay(EPOCHS), "optimizer": partial(fastrnn.Adam, lr=2e-3)}
    fastrnn.fit(model, inputs, targets, epochs=EPOCHS, batch_size=16, seed=seed, progress=True, **options)
    return model


def edits(a, b):
    """The fewest symbols to insert, delete or change that make a b (Levenshtein, 1966)."""
    columns = row = np.arange(len(b) + 1)
    for symbol in a:
        changed = row[:-1] + [symbol != other for other in b]
        row = np.append(row[0] + 1, np.minimum(changed, row[1:] + 1))
        row = np.minimum.accumulate(row - columns) + columns
    return row[-1]


def nearest(x, templates):
    """Which of the M templates costs least a step by dynamic time warping of x (T, F) (Sakoe and Chiba, 1978)."""
    lengths = np.array([len(template) for template in templates])
    padded = np.array([np.pad(template, ((0, max(lengths) - len(template)), (0, 0))) for template in templates])
    costs = ((padded**2).sum(axis=-1)[..., None] - 2 * padded @ x.T + (x**2).sum(axis=-1)).T  # (T, S, M)
    before = np.pad(np.zeros((1, len(templates))), ((0, max(lengths)), (0, 0)), constant_values=np.inf)
    for cost in np.sqrt(np.maximum(costs, 0)):
        now = np.full_like(before, np.inf)
        for j, at in enumerate(cost):
            now[j + 1] = at + np.minimum(np.minimum(before[j], before[j + 1]), now[j])
        before = now
    return (before[lengths, np.arange(len(templates))] / (len(x) + lengths)).argmin()


def report(name, pairs, guesses):
    wrong = [edits(guess, text) for guess, (_, text) in zip(guesses, pairs, strict=True)]
    rate, right = sum(wrong) / sum(len(text) for _, text in pairs), wrong.count(0) / len(wrong)
    print(f"{name:44} character error rate {rate:5.1%}, all right {right:5.1%}")
    return rate, right


def main(seed=0):
    rest, held, digits = split(read(), seed)
    words = [text for _, text in digits]
    spoken = [(speak(word, f"en-us+{voice}"), word) for voice in ("f1", "f2", "f3", "f4", "m3") for word in words]
    model, scores = train(rest + spoken, seed), {}
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 8), sharex=True, layout="tight")
    for name, pairs, templates in ("prompts", held, rest), ("digits", digits, spoken):
        inputs, known = ([heard(samples) for samples, _ in some] for some in (pairs, templates))
        logits = model(inputs)
        guesses = ["".join(SYMBOLS[k] for k in best[0].tokens) for best in fastrnn.decoding.ctc_beam_search(logits)]
        scores[name] = report(f"{name}: BiLSTM with CTC", pairs, guesses)
        scores[name, "DTW"] = report(f"{name}: time warping", pairs, [templates[nearest(x, known)][1] for x in inputs])
        if name == "prompts":
            upper.imshow(inputs[0].reshape(-1, 3, BANDS).mean(axis=1).T, origin="lower", aspect="auto")
            upper.set(title=f"said: {pairs[0][1]}\nheard: {guesses[0]}", ylabel="mel band")
            lower.imshow(np.exp(logits[0] - logits[0].max(axis=1, keepdims=True)).T, aspect="auto", cmap="Greys")
            lower.set(yticks=range(len(SYMBOLS)), yticklabels=[*SYMBOLS], xlabel="step of 30 ms")
            figure.savefig(Path(__file__).with_name("picture.png"), dpi=80)
    labels = [np.array([*map(SYMBOLS.index, word)]) for word in words]
    costs = [[fastrnn.ctc_loss([x], [label], reduction="sum")[0] for label in labels] for x in logits]
    scores["words"] = report("digits: BiLSTM, likeliest word", digits, [words[k] for k in np.argmin(costs, axis=1)])
    return scores


if __name__ == "__main__":
    main()
