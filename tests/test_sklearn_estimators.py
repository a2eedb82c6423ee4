"""The estimators learn, are read in every form, give the same bits again, and refuse what they cannot mean."""

import pickle
import re

import numpy as np
import pytest
from fresh import output
from sequence_problems import TINY, objects, seasons, signs, sums, waves

pytest.importorskip("sklearn")

import joblib
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fastrnn.sklearn import SequenceClassifier, SequenceForecaster, SequenceRegressor, SequenceTagger
from fastrnn.sklearn.classifier import cross_entropy
from fastrnn.sklearn.likelihoods import Gaussian, NegativeBinomial, Units
from fastrnn.sklearn.regressor import squared_error

PROBLEMS = {
    "classifier": (SequenceClassifier(**TINY), *waves()),
    "regressor": (SequenceRegressor(**TINY), *sums()),
    "tagger": (SequenceTagger(**TINY), *signs()),
    "forecaster": (SequenceForecaster(horizon=3, period=4, **TINY), seasons(), None),
}
every_estimator = pytest.mark.parametrize("name", PROBLEMS)


def fitted(name, **changes):
    estimator, X, y = PROBLEMS[name]
    return clone(estimator).set_params(**changes).fit(X, y), X, y


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------------------------------ learning


@every_estimator
def test_learns(name):
    estimator, X, y = fitted(name, max_epochs=40)
    assert estimator.score(X, y) > (0.2 if name == "forecaster" else 0.9)  # noise leaves a forecast no more
    assert estimator.n_iter_ == 40 and estimator.n_features_in_ == X[0].shape[1]


@every_estimator
@pytest.mark.parametrize("options", [{"cell": "gru"}, {"cell": "rnn"}, {"cell": "ugrnn", "num_layers": 2}], ids=str)
def test_every_cell_trains(name, options):
    estimator, X, y = fitted(name, max_epochs=8, dropout=0.1, dtype="float64", **options)
    losses = estimator.history_.train_loss
    assert losses[-1] < losses[0] and np.isfinite(estimator.score(X, y))


def test_both_directions_train():
    for name in ("classifier", "regressor", "tagger"):
        estimator, X, y = fitted(name, bidirectional=True)
        assert estimator.score(X, y) > 0.7


@every_estimator
def test_patience_ends_a_fit_and_keeps_the_best(name):
    estimator, _, _ = fitted(name, max_epochs=200, patience=3, validation_fraction=0.25)
    best = estimator.history_.validation_loss
    assert estimator.n_iter_ < 200 and len(best) == estimator.n_iter_
    assert min(best) == best[estimator.n_iter_ - 1 - 3]


@every_estimator
def test_partial_fit_goes_on(name):
    estimator, X, y = PROBLEMS[name]
    estimator = clone(estimator)
    losses = [estimator.partial_fit(X, y).history_.train_loss[0] for _ in range(10)]
    assert losses[-1] < losses[0] and estimator.n_iter_ == 10
    before = estimator.model_.state_dict()
    estimator.set_params(learning_rate=0.0).partial_fit(X, y)  # it goes on with the rate of now
    assert all(np.array_equal(before[key], value) for key, value in estimator.model_.state_dict().items())


def test_partial_fit_knows_classes_that_come_later():
    X, y = waves()
    estimator = SequenceClassifier(**TINY).partial_fit(X[::2], y[::2], classes=["slow", "fast", "none"])
    assert estimator.classes_.tolist() == ["fast", "none", "slow"]
    for _ in range(20):
        estimator.partial_fit(X, y)
    assert estimator.score(X, y) > 0.9 and estimator.predict_proba(X).shape == (len(X), 3)


def test_class_weight_moves_the_decision():
    X, y = waves(60)
    few = np.flatnonzero(y == "fast")[:6]
    X, y = [X[i] for i in [*few, *np.flatnonzero(y == "slow")]], np.r_[y[few], y[y == "slow"]]
    plain = SequenceClassifier(**{**TINY, "max_epochs": 2}).fit(X, y)
    balanced = clone(plain).set_params(class_weight="balanced").fit(X, y)
    assert balanced.predict_proba(X)[:, 0].mean() > 1.5 * plain.predict_proba(X)[:, 0].mean()


@pytest.mark.parametrize("name, wrong", [("classifier", "slow"), ("regressor", 50.0)])
def test_a_sequence_of_weight_zero_teaches_nothing(name, wrong):
    estimator, X, y = PROBLEMS[name]
    weights = np.where(np.arange(len(y)) < 10, 0.0, 1.0)
    others = np.where(weights == 0, wrong, y)
    expected, actual = (clone(estimator).fit(X, one, sample_weight=weights) for one in (y, others))
    assert same(expected.predict(X), actual.predict(X))
    assert not same(clone(estimator).fit(X, y).history_.train_loss, expected.history_.train_loss)


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_a_sequence_of_weight_zero_is_not_set_aside(name):
    estimator, X, y = PROBLEMS[name]
    weights = np.where(np.arange(len(y)) % 10 == 0, 1.0, 0.0)  # a part chosen blindly has none of weight
    estimator = clone(estimator).set_params(patience=2, max_epochs=4).fit(X, y, sample_weight=weights)
    assert np.isfinite(estimator.history_.validation_loss).all() and np.isfinite(estimator.history_.train_loss).all()


def test_a_sequence_whose_every_tag_has_weight_zero_is_not_set_aside():
    X = signs()[0]
    y = [np.full(len(one), i % 10 == 0) for i, one in enumerate(X)]
    tagger = SequenceTagger(**{**TINY, "max_epochs": 4}, patience=2, class_weight={False: 0, True: 1}).fit(X, y)
    assert np.isfinite(tagger.history_.validation_loss).all()
    with pytest.raises(ValueError, match="SequenceTagger: every sequence has weight 0; expected some above"):
        tagger.partial_fit(X[1:3], y[1:3])


def test_weights_that_leave_no_sequence_are_refused():
    with pytest.raises(ValueError, match="SequenceClassifier: every sequence has weight 0; expected some above"):
        SequenceClassifier(**TINY, class_weight={0: 1, 1: 0}).fit(A, [0, 1], sample_weight=[0.0, 1.0])


@pytest.mark.parametrize("loss, shape", [(cross_entropy, (5,)), (squared_error, (5, 3))])
def test_weights_of_one_change_no_loss_and_weights_scale_its_gradient(loss, shape):
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(5, 3)), rng.integers(0, 3, shape)
    options = {"reduction": "sum_and_weight"}
    plain = loss(outputs, targets if len(shape) == 1 else targets.astype(float), **options)
    ones = loss(outputs, np.column_stack([targets, np.ones(5)]), **options)
    for one, other in zip(plain, ones, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    weights = rng.random(5)
    total, gradient, weight = loss(outputs, np.column_stack([targets, weights]), **options)
    np.testing.assert_allclose(gradient, plain[1] * weights[:, None])
    each = [loss(outputs[i : i + 1], np.column_stack([targets, weights])[i : i + 1], **options)[0] for i in range(5)]
    np.testing.assert_allclose([total, weight], [sum(each), plain[2] / 5 * weights.sum()])


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [0.0, 0.0], [[1.0], [1.0]], [1.0], [np.nan, 1.0]], ids=str)
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(ValueError, match=r"sample_weight|inconsistent"):
        SequenceClassifier(**TINY).fit(A, [0, 1], sample_weight=weights)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_class_weights_that_cannot_be_are_refused(weight):
    (X, y), (others, tags) = waves(), signs()
    with pytest.raises(ValueError, match=r"SequenceClassifier: class_weight is .*; expected finite numbers >= 0"):
        SequenceClassifier(**TINY, class_weight={"fast": weight, "slow": 1}).fit(X, y)
    with pytest.raises(ValueError, match=r"SequenceTagger: class_weight is .*; expected finite numbers >= 0"):
        SequenceTagger(**TINY, class_weight={"minus": weight, "plus": 1}).fit(others, tags)


def test_a_regressor_of_several_outputs():
    X, y = sums()
    both = np.stack([y, 1000 - 50 * y], axis=1)
    estimator = SequenceRegressor(**{**TINY, "max_epochs": 40}).fit(X, both)
    assert estimator.predict(X).shape == both.shape and estimator.score(X, both) > 0.9


# --------------------------------------------------------------------------------------- forms of X


@pytest.mark.parametrize("name", ["classifier", "regressor", "tagger", "forecaster"])
def test_every_form_gives_the_same_bits(name):
    estimator, X, y = PROBLEMS[name]
    lengths = np.array([len(one) for one in X])
    padded = np.full((len(X), lengths.max(), X[0].shape[1]), np.nan)
    for row, one in zip(padded, X, strict=True):
        row[: len(one)] = one
    expected = clone(estimator).fit(X, y).predict(X)
    assert same(clone(estimator).fit(objects(X), y).predict(objects(X)), expected)
    assert same(clone(estimator).fit(padded, y, lengths=lengths).predict(padded, lengths=lengths), expected)
    lists = [one.tolist() for one in X]
    assert same(clone(estimator).fit(lists, y).predict(tuple(lists)), expected)


@every_estimator
def test_a_series_of_arrays_gives_the_same_bits(name):
    pandas = pytest.importorskip("pandas")
    estimator, X, y = PROBLEMS[name]
    expected = clone(estimator).fit(X, y).predict(X)
    series = pandas.Series(X, index=np.arange(len(X))[::-1] + 5)
    assert same(clone(estimator).fit(series, y).predict(series), expected)


def test_rows_of_a_table_are_series_of_one_feature():
    X = np.stack([one[:5, 0] for one in waves()[0]])
    y = waves()[1]
    table = SequenceClassifier(**TINY).fit(X, y)
    series = SequenceClassifier(**TINY).fit(X[:, :, None], y)
    assert same(table.predict_proba(X), series.predict_proba(list(X)))
    assert (table.n_features_in_, series.n_features_in_) == (5, 1)
    assert same(series.predict_proba(X[:, :3]), series.predict_proba([row[:3] for row in X]))
    with pytest.raises(ValueError, match="X has 3 features, but SequenceClassifier is expecting 5"):
        table.predict(X[:, :3])


def test_integers_are_numbers_of_one_feature():
    rng = np.random.default_rng(0)
    X = [rng.integers(0, 5, steps) for steps in rng.integers(3, 9, 20)]
    y = np.arange(20) % 2
    numbers = SequenceClassifier(**TINY).fit([one[:, None].astype(float) for one in X], y)
    assert same(SequenceClassifier(**TINY).fit(X, y).predict_proba(X), numbers.predict_proba(X))
    assert SequenceClassifier(**TINY).fit([np.eye(5)[one] for one in X], y).n_features_in_ == 5


def test_the_names_of_a_tables_columns_are_kept():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(20, 3)), columns=["a", "b", "c"])
    estimator = SequenceRegressor(**TINY).fit(frame, frame["a"])
    assert estimator.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(frame[["b", "a", "c"]])
    X, y = sums()
    assert not hasattr(estimator.fit(X, y), "feature_names_in_")


def test_lists_of_one_length_are_series_for_the_forecaster():
    X = [one[:30, 0].tolist() for one in seasons()]
    options = {**TINY, "max_epochs": 2}
    estimator = SequenceForecaster(**options).fit(X)
    assert same(estimator.predict(X), SequenceForecaster(**options).fit([np.array(one) for one in X]).predict(X))
    assert estimator.n_features_in_ == 1 and estimator.predict([one[:20] for one in X]).shape == (len(X), 1, 1)


def test_a_bare_table_is_many_series_and_the_forecaster_says_so():
    series, options = np.random.default_rng(0).normal(size=(30, 3)), {**TINY, "max_epochs": 1}
    message = "SequenceForecaster: X (30, 3) is read as 30 series of 3 steps; [X] would be one series of 30 steps"
    with pytest.warns(UserWarning, match=re.escape(message)):
        estimator = SequenceForecaster(**options).fit(series)
    with pytest.warns(UserWarning, match=re.escape(message)):
        assert estimator.predict(series).shape == (30, 1, 1)
    assert SequenceForecaster(**options).fit([series]).predict([series]).shape == (1, 1, 3)
    assert same(SequenceForecaster(**options).fit(list(series)).predict(list(series)), estimator.predict(list(series)))


def test_frames_are_held_to_the_columns_of_the_fit():
    pandas = pytest.importorskip("pandas")
    X, y = waves()
    frames = [pandas.DataFrame(one, columns=["x", "y"]) for one in X]
    estimator = SequenceClassifier(**TINY).fit(frames, y)
    assert estimator.feature_names_in_.tolist() == ["x", "y"]
    assert same(estimator.predict_proba(frames), SequenceClassifier(**TINY).fit(X, y).predict_proba(X))
    turned = [frame[["y", "x"]] for frame in frames]
    with pytest.raises(ValueError, match=re.escape("X[0] has columns ['y', 'x']; expected ['x', 'y'], as at the fit")):
        estimator.predict(turned)
    with pytest.raises(ValueError, match=re.escape("X[3] has columns ['y', 'x']; expected ['x', 'y'], as X[0] has")):
        SequenceClassifier(**TINY).fit([*frames[:3], *turned[3:]], y)
    assert same(estimator.predict(X), estimator.predict(frames))  # arrays have no names
    assert not hasattr(estimator.fit(X, y), "feature_names_in_")


def test_masked_values_are_refused_but_in_the_padding():
    X, y = [np.ma.masked_less(one, 0) for one in waves()[0]], waves()[1]
    with pytest.raises(ValueError, match=re.escape("X[0] has masked values; expected none")):
        SequenceClassifier(**TINY).fit(X, y)
    with pytest.raises(ValueError, match="X has masked values; expected none"):
        SequenceClassifier(**TINY).fit(np.ma.masked_less(np.zeros((2, 3)) - 1, 0), [0, 1])
    padded = np.ma.masked_array(np.zeros((2, 3, 1)), np.arange(3)[:, np.newaxis] + np.zeros((2, 3, 1)) > 1)
    SequenceClassifier(**{**TINY, "max_epochs": 1}).fit(padded, [0, 1], lengths=[2, 2])


def test_padding_is_not_read_as_steps_after_a_fit_with_lengths():
    padded, y, lengths = np.zeros((4, 3, 1)), [0, 1, 0, 1], [1, 2, 3, 1]
    estimator = SequenceClassifier(**{**TINY, "max_epochs": 1}).fit(padded, y, lengths=lengths)
    for run in (estimator.predict, estimator.predict_proba, lambda X: estimator.partial_fit(X, y)):
        with pytest.raises(ValueError, match=re.escape("X (4, 3, 1) has no lengths; expected lengths, as at the fit")):
            run(padded)
    assert same(estimator.predict_proba(list(padded)), estimator.predict_proba(padded, lengths=[3] * 4))
    assert same(estimator.fit(padded, y).predict(padded), estimator.predict(padded, lengths=[3] * 4))


# ----------------------------------------------------------------------------------- bits and files


@every_estimator
def test_the_same_random_state_gives_the_same_bits(name):
    (one, X, _), (other, _, _) = fitted(name), fitted(name)
    assert same([one.model_.modules[part].flat_params for part in ("recurrent", "head")],
                [other.model_.modules[part].flat_params for part in ("recurrent", "head")])
    assert same(one.predict(X), other.predict(X))
    assert not same(one.predict(X), fitted(name, random_state=1)[0].predict(X)) or name in ("classifier", "tagger")


@every_estimator
@pytest.mark.parametrize("way", ["pickle", "joblib"])
def test_files_keep_everything(name, way, tmp_path):
    estimator, X, y = fitted(name)
    if way == "pickle":
        copy = pickle.loads(pickle.dumps(estimator))
    else:
        joblib.dump(estimator, tmp_path / "model")
        copy = joblib.load(tmp_path / "model")
    assert same(copy.predict(X), estimator.predict(X))
    copy, estimator = copy.partial_fit(X, y), estimator.partial_fit(X, y)  # also what training goes on from
    assert same(copy.predict(X), estimator.predict(X))


@every_estimator
def test_predictions_do_not_depend_on_their_neighbours(name):
    estimator, X, _ = fitted(name)
    together = estimator.predict(X)
    assert same([estimator.predict([one])[0] for one in X[:5]], together[:5])


def test_probabilities_and_labels_agree():
    estimator, X, _ = fitted("classifier")
    assert same(estimator.classes_[estimator.predict_proba(X).argmax(axis=1)], estimator.predict(X))
    estimator, X, _ = fitted("tagger")
    for shares, labels in zip(estimator.predict_proba(X), estimator.predict(X), strict=True):
        assert same(estimator.classes_[shares.argmax(axis=1)], labels)
        np.testing.assert_allclose(shares.sum(axis=1), 1)


# --------------------------------------------------------------------------------------- forecasts


def test_forecasts_follow_the_units_of_their_series():
    estimator, X, _ = fitted("forecaster")
    expected = estimator.predict(X)
    np.testing.assert_allclose(estimator.predict([1000 * one for one in X]), 1000 * expected, rtol=1e-3)
    np.testing.assert_allclose(estimator.predict([one + 7 for one in X[:1]]), expected[:1] + 7, rtol=1e-3)
    assert estimator.predict(X, 7).shape == (len(X), 7, 1)


def test_a_series_far_from_zero_is_forecast_as_one_near_it():
    X = [3 * np.sin(np.arange(50.0) + phase) for phase in range(8)]
    estimator = SequenceForecaster(**TINY, horizon=4).fit(X)
    far = clone(estimator).fit([1e8 + one for one in X])
    np.testing.assert_allclose(far.predict([1e8 + one for one in X]) - 1e8, estimator.predict(X), atol=1e-3)
    low, high = far.predict_interval([1e8 + one for one in X])
    assert np.all(high - low > 1e-3) and np.all(high - low < 8)


def test_a_constant_series_is_forecast_as_constant_and_one_beyond_float64_is_refused():
    estimator = SequenceForecaster(**TINY).fit([np.full(9, 0.1), np.arange(9.0)])
    assert Gaussian.units("", 0, np.full((9, 1), 0.1)).size == 1
    with pytest.raises(ValueError, match=re.escape("X[1] has a deviation beyond float64; expected smaller values")):
        estimator.predict([np.arange(3.0), np.array([1e200, -1e200])])


def test_a_perfect_forecast_scores_one_and_one_of_a_steps_error_zero():
    estimator, X, _ = fitted("forecaster", period=1)
    X = [np.cumsum(np.ones((20, 1)), axis=0)] * 3  # whose last value is wrong by one each step
    assert estimator.score(X, estimator.predict(X)) == 1
    assert estimator.score(X, estimator.predict(X) + 1) == pytest.approx(0)


def test_several_features_are_forecast_together():
    X = [np.concatenate([one, -one], axis=1) for one in seasons()]
    estimator = SequenceForecaster(**{**TINY, "max_epochs": 60}, horizon=3, period=4).fit(X)
    assert estimator.predict(X).shape == (len(X), 3, 2) and estimator.score(X) > 0


def test_intervals_hold_as_much_as_they_say():
    X = seasons(40)
    estimator = SequenceForecaster(**{**TINY, "max_epochs": 40}, horizon=4).fit(X)
    after = np.array([one[-4:] for one in X])
    low, high = estimator.predict_interval([one[:-4] for one in X], coverage=0.8)
    assert 0.6 < np.mean((low <= after) & (after <= high)) < 0.95
    assert np.all(low <= high) and low.shape == (40, 4, 1)


def test_counts_are_forecast_as_counts():
    rng = np.random.default_rng(0)
    X = [rng.poisson(mean * (2 + np.sin(np.arange(40)))) for mean in rng.choice([1, 300], 16)]
    estimator = SequenceForecaster(**{**TINY, "max_epochs": 30}, horizon=3, likelihood="negative_binomial").fit(X)
    paths = estimator.sample(X, 5)
    assert paths.shape == (100, 16, 5, 1) and np.all(paths >= 0) and np.all(paths == np.round(paths))
    assert estimator.score(X) > 0.1


def test_the_loss_in_units_has_its_own_gradient():
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(5, 4))
    targets = NegativeBinomial.targets(rng.integers(0, 9, (5, 2)), Units(np.zeros(2), np.array([3.0, 50.0])), "float64")
    _, gradient, _ = NegativeBinomial.loss(outputs, targets, reduction="sum_and_weight")
    for place in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[place] = 1e-6
        sides = [NegativeBinomial.loss(outputs + sign * step, targets, reduction="sum")[0] for sign in (1, -1)]
        np.testing.assert_allclose(gradient[place], (sides[0] - sides[1]) / 2e-6, rtol=1e-6, atol=1e-6)


def test_what_came_after_may_be_given_to_score():
    estimator, X, _ = fitted("forecaster")
    after = np.array([one[-3:] for one in X])
    assert estimator.score([one[:-3] for one in X], after) == pytest.approx(estimator.score(X), rel=1e-5)


# ------------------------------------------------------------------------------------------- errors


def test_a_missing_scikit_learn_is_said():
    script = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "sklearn" else find(name, *rest)
try:
    import fastrnn.sklearn
except ImportError as error:
    print(error)
"""
    message = "fastrnn.sklearn: the package scikit-learn is missing; expected `pip install 'fastrnn[sklearn]'`"
    assert output(script) == message


def test_a_scikit_learn_that_is_too_old_is_said():
    script = """
import sklearn
sklearn.__version__ = "1.5.2"
try:
    import fastrnn.sklearn
except ImportError as error:
    print(error)
"""
    message = "fastrnn.sklearn: scikit-learn is 1.5.2; expected 1.6 or newer: `pip install 'fastrnn[sklearn]'`"
    assert output(script) == message


A = [np.zeros((3, 2)), np.ones((4, 2))]
ERRORS = {
    "SequenceClassifier: X[1] has 3 features; expected 2, as X[0] has": ([A[0], np.ones((4, 3))], [0, 1]),
    "SequenceClassifier: X[1] has shape (0, 2); expected (T, F), at least one step": ([A[0], np.ones((0, 2))], [0, 1]),
    "SequenceClassifier: X[0] contains NaN or infinity in float32": ([np.full((2, 2), np.nan), A[1]], [0, 1]),
    "SequenceClassifier: X[0] has dtype <U1; expected numbers": ([np.array([["a"]]), A[1]], [0, 1]),
    "SequenceClassifier: X has no sequences; expected at least 1": (np.zeros((0, 3, 2)), []),
    "SequenceClassifier: X has no sequences; expected at least": ([], []),
    "SequenceClassifier: X has shape (2,); expected a list of series. Reshape your data: [series] for one": (
        [1.0, 2.0],
        [0, 1],
    ),
    "Expected 2D array, got scalar array instead": (3.0, [0]),
    "SequenceClassifier: X is a generator; expected a list of arrays (T_i, F)": ((one for one in A), [0, 1]),
    "SequenceClassifier: X is a dict; expected a list of arrays (T_i, F)": ({0: A[0], 1: A[1]}, [0, 1]),
    "SequenceClassifier: X has a sequence in each cell; expected one column": (objects([*A, *A]).reshape(2, 2), [0, 1]),
    "SequenceClassifier: X[1] has steps of different sizes; expected (T, F)": ([[[1, 2]], [[1, 2], [3]]], [0, 1]),
    "inconsistent numbers of samples: [2, 3]": (A, [0, 1, 2]),
    "y should be a 1d array": (A, None),
}


@pytest.mark.parametrize("message", ERRORS)
def test_what_is_wrong_with_sequences_is_said(message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        SequenceClassifier(**TINY).fit(*ERRORS[message])


@pytest.mark.parametrize("lengths", [[0, 3], [1, 4], [1.0, 2.0], [1], [[1, 2]]], ids=str)
def test_lengths_that_cannot_be_are_refused(lengths):
    with pytest.raises(ValueError, match=r"lengths|inconsistent numbers"):
        SequenceClassifier(**TINY).fit(np.zeros((2, 3, 1)), [0, 1], lengths=lengths)


@pytest.mark.parametrize("X", [A, np.zeros((2, 3)), objects(A)], ids=["list", "table", "objects"])
def test_lengths_go_with_a_padded_array_alone(X):
    with pytest.raises(ValueError, match="lengths go with X"):
        SequenceClassifier(**TINY).fit(X, [0, 1], lengths=[1, 2])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cell": "nas"}, "cell is 'nas'; expected one of lstm, gru, rnn, ugrnn"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0; expected a number in (0, 1)"),
        ({"likelihood": "cauchy"}, "likelihood is 'cauchy'; expected one of gaussian, negative_binomial"),
        ({"bidirectional": True}, "bidirectional is True; expected False"),
        ({"cell": ["lstm"]}, "cell is ['lstm']; expected one of lstm, gru, rnn, ugrnn"),
        ({"likelihood": {}}, "likelihood is {}; expected one of gaussian, negative_binomial"),
        ({"validation_fraction": "a"}, "validation_fraction is a str; expected a number in (0, 1)"),
        ({"window": 1}, "window is 1; expected an integer >= 2"),
        ({"window": 4.5}, "window is a float; expected an integer >= 2"),
        ({"samples": "3"}, "samples is a str; expected an integer >= 1"),
        ({"horizon": 0}, "horizon is 0; expected an integer >= 1"),
    ],
)
def test_parameters_are_checked_at_the_fit(changes, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        SequenceForecaster(**{**TINY, **changes}).fit(seasons())


def test_what_a_fit_has_settled_is_kept_to():
    estimator, X, y = fitted("regressor", max_epochs=1)
    with pytest.raises(ValueError, match=re.escape("SequenceRegressor: y has 2 outputs; expected 1, as at the fit")):
        estimator.partial_fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match=re.escape("X[0] has 3 features; expected 2, as at the fit")):
        estimator.predict([np.zeros((4, 3))])
    with pytest.raises(ValueError, match="SequenceRegressor: y has a deviation beyond float64; expected"):
        estimator.fit(X, 1e300 * y)
    with pytest.raises(ValueError, match=re.escape("n_samples=1 leaves none to train on with patience")):
        estimator.set_params(patience=1).fit(X[:1], y[:1])


@every_estimator
def test_a_model_is_what_its_fit_was_asked_for(name):
    estimator, X, y = fitted(name, max_epochs=1)
    own = {"classifier": {"pool": "mean"}, "forecaster": {"likelihood": "negative_binomial"}}.get(name, {})
    for parameter, value in {"hidden_size": 9, "cell": "gru", "dropout": 0.5, "dtype": "float64", **own}.items():
        was = getattr(estimator, parameter)
        message = f"{parameter} is {value!r}; expected {was!r}, as at the fit, or a new fit"
        with pytest.raises(ValueError, match=re.escape(message)):
            estimator.set_params(**{parameter: value}).partial_fit(X, y)
        estimator.set_params(**{parameter: was}).partial_fit(X, y)
    expected = estimator.predict(X)
    assert same(estimator.set_params(hidden_size=9, **own).predict(X), expected)  # as scikit-learn's estimators


def test_classes_are_settled_by_the_first_call():
    X, y = waves()
    estimator = SequenceClassifier(**TINY).partial_fit(X, y, classes=["slow", "fast"])
    estimator.partial_fit(X, y, classes=["fast", "slow"])
    message = "SequenceClassifier: classes are ['fast', 'none', 'slow']; expected ['fast', 'slow'], as at the fit"
    with pytest.raises(ValueError, match=re.escape(message)):
        estimator.partial_fit(X, y, classes=["slow", "fast", "none"])


def test_labels_must_fit_their_sequences():
    X, y = signs()
    with pytest.raises(ValueError, match=re.escape(f"SequenceTagger: y[0] has shape (1,); expected ({len(X[0])},)")):
        SequenceTagger(**TINY).fit(X, [one[:1] for one in y])
    tagger = SequenceTagger(**TINY).fit(X, y)
    with pytest.raises(ValueError, match="SequenceTagger: y has label 'other'; expected one of the 2 in classes_"):
        tagger.partial_fit(X, [np.full(len(one), "other") for one in X])
    with pytest.raises(ValueError, match="requires y to be passed"):
        tagger.fit(X, None)
    with pytest.raises(TypeError, match="SequenceTagger: y has strings and numbers; expected labels of one kind"):
        tagger.fit(X, [y[0], *(np.zeros(len(one), int) for one in X[1:])])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        tagger.fit(X, [one[:, 0] for one in X])


def test_counts_and_series_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=re.escape("X[0] is no counts; expected integers >= 0")):
        SequenceForecaster(likelihood="negative_binomial", **TINY).fit([np.array([0.5, 1.0])])
    with pytest.raises(ValueError, match=re.escape("X[0] has 1 step; expected at least 2")):
        SequenceForecaster(**TINY).fit([np.array([0.5])])
    estimator, X, _ = fitted("forecaster")
    with pytest.raises(ValueError, match=re.escape("X[0] has 5 steps; expected at least 8 (horizon + period + 1)")):
        estimator.score([X[0][:5]])
    with pytest.raises(ValueError, match="coverage is 1"):
        estimator.predict_interval(X, coverage=1)


@every_estimator
def test_an_estimator_must_be_fitted_first(name):
    estimator, X, _ = PROBLEMS[name]
    with pytest.raises(NotFittedError):
        clone(estimator).predict(X)


@every_estimator
@pytest.mark.parametrize("changes", [{"batch_size": 0}, {"hidden_size": 0}, {"learning_rate": -1.0}], ids=str)
def test_a_fit_that_fails_leaves_no_model(name, changes):
    estimator, X, y = fitted(name, max_epochs=1)
    with pytest.raises((TypeError, ValueError), match="expected"):
        estimator.set_params(**changes).fit(X, y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_a_first_partial_fit_that_fails_may_be_made_again():
    estimator, X, y = PROBLEMS["classifier"]
    estimator = clone(estimator).set_params(batch_size=0)
    with pytest.raises(ValueError, match="batch_size"):
        estimator.partial_fit(X, y)
    expected = clone(estimator).set_params(batch_size=8).partial_fit(X, y)
    assert same(estimator.set_params(batch_size=8).partial_fit(X, y).predict_proba(X), expected.predict_proba(X))


@pytest.mark.parametrize("horizon", [-1, 0, 1.5, "3"])
def test_a_horizon_that_cannot_be_is_refused(horizon):
    estimator, X, _ = fitted("forecaster", max_epochs=1)
    for method in (estimator.predict, estimator.predict_interval, estimator.sample):
        with pytest.raises((TypeError, ValueError), match=r"horizon is .*; expected an integer >= 1"):
            method(X, horizon)
    with pytest.raises(TypeError, match="samples is a float; expected an integer >= 1"):
        estimator.set_params(samples=2.0).predict(X)


@pytest.mark.parametrize(
    "after, message",
    [
        (np.zeros((6, 2, 1)), "y has shape (6, 2, 1); expected (6, S, 2), the S steps after each series"),
        (np.zeros((6, 2)), "y has shape (6, 2); expected (6, S, 2)"),
        (np.zeros((5, 3, 2)), "y has shape (5, 3, 2); expected (6, S, 2)"),
        (np.zeros((6, 0, 2)), "y has shape (6, 0, 2); expected (6, S, 2)"),
        (np.full((6, 1, 2), np.nan), "y contains NaN or infinity; expected finite numbers"),
        (np.full((6, 1, 2), "a"), "y has dtype <U1; expected numbers"),
    ],
)
def test_what_came_after_must_fit_its_series(after, message):
    X = [np.concatenate([one, -one], axis=1) for one in seasons(6)]
    estimator = SequenceForecaster(**{**TINY, "max_epochs": 1}).fit(X)
    with pytest.raises((TypeError, ValueError), match=re.escape(f"SequenceForecaster.score: {message}")):
        estimator.score(X, after)


def test_what_came_after_of_one_feature_needs_no_axis_for_it():
    estimator, X, _ = fitted("forecaster", max_epochs=1)
    after = np.arange(2.0 * len(X)).reshape(len(X), 2, 1)
    assert estimator.score(X, after) == estimator.score(X, after[:, :, 0])
    assert estimator.score(X, after[:, :1]) == estimator.score(X, after[:, 0, 0])


def test_a_history_shorter_than_the_period_has_no_score():
    estimator, X, _ = fitted("forecaster", max_epochs=1)
    with pytest.raises(ValueError, match=re.escape("score: X[0] has 4 steps; expected at least 5 (period + 1)")):
        estimator.score([X[0][:4]], np.zeros((1, 2, 1)))
    assert np.isfinite(estimator.score([X[0][:5]], np.zeros((1, 2))))


@pytest.mark.parametrize("series", [np.arange(9.0), list(range(9)), tuple(range(9))], ids=["array", "list", "tuple"])
def test_one_series_alone_is_refused_with_the_way_to_give_it(series):
    estimator = SequenceForecaster(**{**TINY, "max_epochs": 1})
    message = re.escape("SequenceForecaster: X has shape (9,); expected a list of series. Reshape your data: [series]")
    with pytest.raises(ValueError, match=message):
        estimator.fit(series)
    estimator.fit([series])
    with pytest.raises(ValueError, match=message):
        estimator.predict(series)
    with pytest.raises(ValueError, match="SequenceForecaster: X has no sequences; expected at least 1"):
        estimator.predict([])
