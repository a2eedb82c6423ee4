"""nakdimon and textgenrnn against their own code, which is of Keras 2, on TensorFlow."""

import os
import sys
from importlib.metadata import distribution
from types import ModuleType

import numpy as np
from comparing import Comparison, example

os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3")
import tensorflow

tensorflow.keras.utils.disable_interactive_logging()

TENSORFLOW = f"its code on TensorFlow {tensorflow.__version__} with Keras 2"
HEBREW = ["שלום עולם", "בראשית ברא אלהים את השמים ואת הארץ", 'הוא אמר: "לא" [3 פעמים] \u2013 ABC \u05f2ד…']


def nakdimon(rng):
    """Texts of several lengths, one by one and padded there, all at once here."""
    from nakdimon import dataset, hebrew, predict
    from nakdimon.config import MAIN_MODEL

    theirs, ours = predict.load_cached_model(MAIN_MODEL), example("nakdimon").Pointer()
    comparison = Comparison("nakdimon", 1e-4)
    texts = HEBREW + ["".join(rng.choice(hebrew.VALID_LETTERS, size)) for size in rng.integers(1, 120, 40)]
    texts = [" ".join(hebrew.remove_niqqud(text).split()) or "א" for text in texts]
    for text, scores, result in zip(texts, ours.scores(texts), ours(texts), strict=True):
        data = dataset.Data.from_text(hebrew.iterate_dotted_text(text), len(text) + 5)
        for kind, rows in zip("NDS", theirs.predict(data.normalized, verbose=0), strict=True):
            comparison.near(scores[kind], rows[0, : len(text)])
        comparison.same(result, predict.predict(text, theirs, maxlen=len(text) + 5))
    comparison.report(TENSORFLOW)


def textgenrnn(rng):
    """Its module `model` alone, as others in it ask for what TensorFlow has no more."""
    folder = distribution("textgenrnn").locate_file("textgenrnn")
    sys.modules["textgenrnn"] = ModuleType("textgenrnn")
    sys.modules["textgenrnn"].__path__ = [str(folder)]
    from textgenrnn.model import textgenrnn_model

    comparison, ours_module = Comparison("textgenrnn", 1e-4), example("textgenrnn")
    ours = ours_module.Generator()
    settings = {"rnn_layers": 2, "rnn_size": 128, "rnn_bidirectional": False, "max_length": 40, "dim_embeddings": 100}
    theirs = textgenrnn_model(len(ours.places) + 1, settings, weights_path=str(folder / "textgenrnn_weights.hdf5"))
    text = [ours_module.EDGE, *" ".join(ours("", 0.5, rng) for _ in range(3))]  # on random letters it is chaotic
    for end in range(1, len(text)):
        places = [ours.places[letter] for letter in text[:end][-40:]]
        padded = np.array([[0] * (40 - len(places)) + places])
        comparison.near(ours.probabilities(text[:end]), theirs(padded)[0])
    comparison.report(TENSORFLOW)


if __name__ == "__main__":
    nakdimon(np.random.default_rng(1))
    textgenrnn(np.random.default_rng(2))
