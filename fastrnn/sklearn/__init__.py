"""Estimators for scikit-learn over sequences of different lengths. Only who imports this needs scikit-learn.

    classifier = SequenceClassifier(hidden_size=32).fit(X, y)     X a list of arrays (T_i, F)
    classifier.predict(X), classifier.predict_proba(X), classifier.score(X, y)

`fastrnn.sklearn.inputs.read` says which forms X may have.
"""

from importlib.util import find_spec as _find_spec

if _find_spec("sklearn") is None:
    raise ImportError(
        "fastrnn.sklearn: the package scikit-learn is missing; expected `pip install 'fastrnn[sklearn]'`"
    )

from sklearn import __version__ as _version

if tuple(map(int, _version.split(".")[:2])) < (1, 6):
    raise ImportError(
        f"fastrnn.sklearn: scikit-learn is {_version}; expected 1.6 or newer: `pip install 'fastrnn[sklearn]'`"
    )

from fastrnn.sklearn.classifier import SequenceClassifier
from fastrnn.sklearn.forecaster import SequenceForecaster
from fastrnn.sklearn.regressor import SequenceRegressor
from fastrnn.sklearn.tagger import SequenceTagger
from fastrnn.sklearn.transcriber import CTCTranscriber
from fastrnn.sklearn.transducer import SequenceTransducer

__all__ = [
    "CTCTranscriber",
    "SequenceClassifier",
    "SequenceForecaster",
    "SequenceRegressor",
    "SequenceTagger",
    "SequenceTransducer",
]
