"""sleepecg and chars2vec against Keras 3, with the packages' own files and code."""

import os
import tempfile
import zipfile
from datetime import time
from functools import partial
from importlib.metadata import distribution

import numpy as np
from comparing import Comparison, example

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

KERAS = f"Keras {keras.__version__} on {keras.backend.backend()}"
FEATURES = {  # as info.yml beside the network says
    "feature_selection": ["hrv-time", "hrv-frequency", "recording_start_time", "age", "gender"],
    "lookback": 120,
    "lookforward": 150,
    "min_rri": 0.3,
    "max_rri": 2,
    "max_nans": 0.5,
}


def sleepecg(rng):
    """Features of made-up heartbeats, and random ones, some of them masked."""
    from sleepecg import SleepRecord, SubjectData, extract_features

    with tempfile.TemporaryDirectory() as folder:
        archive = zipfile.ZipFile(distribution("sleepecg").locate_file("sleepecg/classifiers/wrn-gru-mesa.zip"))
        theirs = keras.saving.load_model(archive.extract("classifier.keras", folder))
    record = SleepRecord(
        heartbeat_times=np.cumsum(rng.normal(0.9, 0.08, 10_000)),
        sleep_stage_duration=30,
        recording_start_time=time(23),
        subject_data=SubjectData(gender=0, age=40),
    )
    nights = [extract_features([record], **FEATURES)[0][0]]
    for length in (1, 2, 37, 900):
        nights.append(3 * rng.standard_normal((length, 36)))
        nights.append(np.where(rng.random((length, 1)) < 0.3, -1, nights[-1]))
    comparison, ours = Comparison("sleepecg", 1e-5), example("sleepecg").Stager()
    for night in nights:
        x = np.where(np.isfinite(night), night, -1).astype(np.float32)
        comparison.near(ours(night), theirs.predict(x[None], verbose=0)[0])
    comparison.report(KERAS)


def chars2vec(rng):
    """Every width that the package has, word by word there and all at once here."""
    import chars2vec

    letters = list("abcdefghijklmnopqrstuvwxyz0123456789-")
    words = ["Natural", "Languages", "a", "naïve", "c++", "x" * 50]
    words += ["".join(rng.choice(letters, size)) for size in rng.integers(1, 20, 20)]
    comparison, ours = Comparison("chars2vec", 1e-5), example("chars2vec")
    for width in (50, 100, 150, 200, 300):
        theirs = chars2vec.load_model(f"eng_{width}")
        theirs.embedding_model.predict = partial(theirs.embedding_model.predict, verbose=0)
        for word, vector in zip(words, ours.Vectors(width)(words), strict=True):
            comparison.near(vector, theirs.vectorize_words([word])[0])
    comparison.report(f"its code on {KERAS}")


if __name__ == "__main__":
    sleepecg(np.random.default_rng(1))
    chars2vec(np.random.default_rng(2))
