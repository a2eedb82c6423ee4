"""scikit-learn's own tools take ragged sequences: pipelines, searches, splitters, calibration; and threads stay few."""

import numpy as np
import pytest
from fresh import linux_only, output
from sequence_problems import TINY, objects, seasons, signs, sums, waves

pytest.importorskip("sklearn")

import sklearn
from joblib import Parallel, delayed, parallel_config
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fastrnn.sklearn import SequenceClassifier, SequenceForecaster, SequenceRegressor, SequenceTagger
from fastrnn.sklearn.threads import allowed

FORMS = {"list": list, "objects": objects}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def differences(X):
    """Each sequence's changes from step to step."""
    return [np.diff(one, axis=0) for one in X]


@every_form
def test_a_grid_search_of_two_jobs_takes_ragged_sequences(form):
    X, y = waves()
    grid = {"cell": ["lstm", "gru"], "learning_rate": [1e-6, 0.03]}
    search = GridSearchCV(SequenceClassifier(**TINY), grid, n_jobs=2, cv=3).fit(form(X), y)
    assert search.best_params_["learning_rate"] == 0.03 and search.best_score_ > 0.8
    alone = GridSearchCV(SequenceClassifier(**TINY), grid, cv=3).fit(form(X), y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert search.score(form(X), y) == alone.score(form(X), y)


def test_a_search_over_a_pipeline_with_a_transformer_of_lists():
    X, y = waves()
    pipeline = make_pipeline(FunctionTransformer(differences), SequenceClassifier(**TINY))
    search = GridSearchCV(pipeline, {"sequenceclassifier__hidden_size": [4, 8]}, cv=2).fit(X, y)
    assert search.score(X, y) > 0.8
    assert pipeline.fit(X, y).predict_proba(X).shape == (len(X), 2)


@pytest.mark.parametrize(
    "estimator, problem, least",
    [(SequenceRegressor, sums, 0.8), (SequenceTagger, signs, 0.8), (SequenceForecaster, seasons, -1.5)],
)
def test_every_estimator_is_cross_validated_by_its_own_score(estimator, problem, least):
    X, y = problem() if problem is not seasons else (problem(), None)
    changes = {"max_epochs": 40} | ({"horizon": 2, "period": 4} if problem is seasons else {})
    scores = cross_val_score(estimator(**{**TINY, **changes}), X, y, cv=3)
    assert scores.min() > least


@every_form
def test_groups_stay_together(form):
    X, y = waves()
    groups = np.arange(len(y)) // 4
    scores = cross_val_score(SequenceClassifier(**TINY), form(X), y, groups=groups, cv=StratifiedGroupKFold(4))
    assert len(scores) == 4 and scores.mean() > 0.8


@every_form
@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_probabilities_are_calibrated(form, ensemble, method):
    X, y = waves()
    calibrated = CalibratedClassifierCV(SequenceClassifier(**TINY), cv=2, method=method, ensemble=ensemble)
    shares = calibrated.fit(form(X), y).predict_proba(form(X))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert roc_auc_score(y == "slow", shares[:, 1]) > 0.9


def test_weights_go_through_calibration():
    X, y = waves()
    weights = np.where(np.arange(len(y)) < 10, 0.5, 1.0)
    calibrated = CalibratedClassifierCV(SequenceClassifier(**TINY), cv=2).fit(X, y, sample_weight=weights)
    assert calibrated.score(X, y) > 0.8


def test_predictions_and_scorers_go_through():
    X, y = waves()
    shares = cross_val_predict(SequenceClassifier(**TINY), X, y, cv=4, method="predict_proba")
    assert roc_auc_score(y == "slow", shares[:, 1]) > 0.85
    assert cross_val_score(SequenceClassifier(**TINY), X, y == "slow", cv=4, scoring="roc_auc").mean() > 0.85


def test_lengths_are_routed():
    X, y = waves()
    lengths = np.array([len(one) for one in X])
    padded = np.full((len(X), 12, 2), np.nan)
    for row, one in zip(padded, X, strict=True):
        row[: len(one)] = one
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = SequenceClassifier(**TINY).set_fit_request(lengths=True).set_score_request(lengths=True)
        routed = cross_val_score(estimator, padded, y, cv=3, params={"lengths": lengths})
    np.testing.assert_array_equal(routed, cross_val_score(SequenceClassifier(**TINY), X, y, cv=3))


def test_lengths_that_are_not_routed_to_a_score_end_it():
    padded, lengths = np.zeros((8, 3, 1)), np.array([1, 2, 3, 1] * 2)
    search = GridSearchCV(SequenceClassifier(**TINY), {"hidden_size": [2]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="has no lengths; expected lengths, as at the fit"):
        search.fit(padded, [0, 1] * 4, lengths=lengths)


# ------------------------------------------------------------------------------------------ threads

# Nobody has limited fastrnn's threads; NumPy's own would be counted with them.
FREE = {"FASTRNN_NUM_THREADS": None, "OMP_NUM_THREADS": None, "OPENBLAS_NUM_THREADS": "1"}

# The most threads that a fit in any worker may use, or that run beside Python's own after it: work for more than one.
COUNT = """
import os, sys, threading, time, warnings
import numpy as np
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import GridSearchCV
import fastrnn
from fastrnn.sklearn import SequenceClassifier
from fastrnn.sklearn.threads import allowed

def native(looks=20):
    # The least of some looks: one of Python's own that ends is counted a moment longer.
    found = []
    while len(found) < looks and 0 not in found:
        time.sleep(0.002)
        found.append(len(os.listdir("/proc/self/task")) - threading.active_count())
    return min(found)

def used(estimator, X, y):
    estimator.predict(X)
    return max(allowed(estimator.num_threads) or fastrnn.get_num_threads(), native() + 1)

X = list(np.random.default_rng(0).normal(size=(64, 60, 16)))
y = np.arange(64) % 2
model = SequenceClassifier(hidden_size=64, max_epochs=1, random_state=0)
cores = len(os.sched_getaffinity(0))

def search(**options):
    grid = GridSearchCV(model, {"learning_rate": [1e-3, 1e-2]}, cv=2, refit=False, scoring=used, **options).fit(X, y)
    return int(max(grid.cv_results_["split0_test_score"].max(), grid.cv_results_["split1_test_score"].max()))
"""


@linux_only
@pytest.mark.parametrize("own", [pytest.param(None, marks=pytest.mark.slow), "2"])
def test_processes_times_threads_are_no_more_than_cores(own):
    script = COUNT + "print(2 * search(n_jobs=2), max(2, cores))"
    found, most = map(int, output(script, **{**FREE, "FASTRNN_NUM_THREADS": own}).split())
    assert found <= most


def test_a_worker_that_is_a_thread_is_allowed_one_unless_a_number_is_named():
    with parallel_config("threading"):
        assert Parallel(n_jobs=2)(delayed(allowed)(n) for n in (None, 4)) == [1, 4]
    assert allowed(None) is None and allowed(4) == 4


def test_a_worker_of_dask_is_allowed_one():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.Client(**options), parallel_config("dask"):
        assert Parallel(n_jobs=2)(delayed(allowed)(n) for n in (None, 4)) == [1, 4]
        assert allowed(None) is None


@linux_only
@pytest.mark.slow
def test_threads_as_workers_have_one_thread_each():
    script = COUNT + """
before = native()
with parallel_config("threading"):
    print(search(n_jobs=2), native(looks=5000) - before)
print(search(n_jobs=1) == fastrnn.get_num_threads())
"""
    assert output(script, **FREE).split() == ["1", "0", "True"]


@linux_only
@pytest.mark.slow
def test_joblibs_own_limit_and_a_named_number_hold():
    script = COUNT + """
native = lambda: 0  # joblib's limit is also that of NumPy's own threads
with parallel_config("loky", inner_max_num_threads=2):
    print(search(n_jobs=2))
model.set_params(num_threads=3)
print(search(n_jobs=2))
with parallel_config("threading"):
    print(search(n_jobs=2))
"""
    inner, *named = map(int, output(script, **{**FREE, "FASTRNN_NUM_THREADS": "8"}).split())
    assert inner == 2 and named == [3, 3]


@linux_only
@pytest.mark.slow
def test_forked_workers_have_one_thread_each():
    script = COUNT + """
with parallel_config("multiprocessing"):
    print(search(n_jobs=2))
"""
    assert output(script, **FREE) == "1"


# ------------------------------------------------------------------------------------------ real data


@pytest.mark.slow
def test_speakers_are_known_by_their_vowels():
    """JapaneseVowels: nine speakers, 12 coefficients, 7 to 29 steps."""
    datasets = pytest.importorskip("aeon.datasets")
    (X, y), (others, expected) = (datasets.load_japanese_vowels(split=split) for split in ("train", "test"))
    X, others = ([one.T for one in some] for some in (X, others))
    classifier = SequenceClassifier(hidden_size=32, bidirectional=True, max_epochs=30, random_state=0)
    assert cross_val_score(classifier, X, y, cv=3, n_jobs=2).mean() > 0.88
    assert classifier.fit(X, y).score(others, expected) > 0.94
