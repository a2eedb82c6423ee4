"""The estimators that write: strings or labels for symbols or vectors."""

import copy
import pickle
import re
from functools import cache

import numpy as np
import pytest
from sequence_problems import TINY, objects, spoken, words

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from fastrnn.sklearn import CTCTranscriber, SequenceTransducer
from fastrnn.sklearn.symbols import Symbols, edit_distance, error_rate

LARGER = {**TINY, "hidden_size": 24, "max_epochs": 60, "learning_rate": 0.02}
TEXTS = words()
TURNED = [text[::-1].upper() for text in TEXTS]

PROBLEMS = {
    "transducer of symbols": (SequenceTransducer(**LARGER), TEXTS, TURNED),
    "transducer of vectors": (SequenceTransducer(**LARGER), spoken(TEXTS), TURNED),
    "transcriber": (CTCTranscriber(**{**TINY, "max_epochs": 40}), spoken(TEXTS), TEXTS),
}
every_problem = pytest.mark.parametrize("name", PROBLEMS)


@cache
def trained(name):
    estimator, X, y = PROBLEMS[name]
    return clone(estimator).fit(X, y)


def fitted(name, **changes):
    estimator, X, y = PROBLEMS[name]
    return clone(estimator).set_params(**changes).fit(X, y) if changes else copy.deepcopy(trained(name)), X, y


@every_problem
def test_learns(name):
    estimator, X, y = fitted(name)
    assert estimator.score(X, y) > 0.9
    assert all(isinstance(text, str) for text in estimator.predict(X))


@pytest.mark.parametrize("options", [{"attention": None}, {"attention": "dot", "bidirectional": True},
                                     {"attention": "additive", "num_layers": 2, "cell": "gru"}], ids=str)  # fmt: skip
def test_every_attention_trains(options):
    estimator, X, y = fitted("transducer of symbols", max_epochs=10, dropout=0.1, label_smoothing=0.1, **options)
    losses = estimator.history_.train_loss
    assert losses[-1] < losses[0] and 0 <= estimator.score(X, y) <= 1


@every_problem
@pytest.mark.parametrize("width", [1, 6])
def test_any_width_of_the_beam_writes(name, width):
    estimator, X, y = fitted(name)
    assert estimator.set_params(beam_width=width).score(X, y) > 0.85


@every_problem
def test_labels_come_back_as_labels(name):
    estimator, X, y = PROBLEMS[name]
    numbers = [np.array([ord(letter) for letter in text]) for text in y]
    estimator = clone(estimator).fit(X, numbers)
    assert ["".join(map(chr, one)) for one in estimator.predict(X)] == fitted(name)[0].predict(X)
    assert estimator.score(X, numbers) == fitted(name)[0].score(X, y)


def test_sources_are_strings_or_lists_or_arrays_alike():
    expected = fitted("transducer of symbols", max_epochs=5)[0].predict(TEXTS)
    estimator = clone(PROBLEMS["transducer of symbols"][0]).set_params(max_epochs=5)
    for X in ([list(text) for text in TEXTS], [np.array(list(text)) for text in TEXTS], objects(TEXTS)):
        assert clone(estimator).fit(X, TURNED).predict(X) == expected


def test_symbols_that_the_fit_has_not_seen_are_read_as_one():
    estimator = fitted("transducer of symbols")[0]
    assert estimator.predict(["axb"]) == estimator.predict(["ayb"])


def test_results_are_no_longer_than_they_may_be():
    estimator, X, _ = fitted("transducer of symbols", max_epochs=1)
    assert max(map(len, estimator.predict(X))) <= 2 * estimator.longest_
    assert max(map(len, estimator.set_params(max_length=2).predict(X))) <= 2


@every_problem
def test_the_same_random_state_gives_the_same_bits_and_files_keep_them(name):
    one, X, y = fitted(name, max_epochs=3)
    other = fitted(name, max_epochs=3)[0]
    read = pickle.loads(pickle.dumps(one))
    for module, own in one.model_.modules.items():
        for another in (other, read):
            np.testing.assert_array_equal(own.flat_params, another.model_.modules[module].flat_params)
    assert one.predict(X) == other.predict(X) == read.predict(X)
    assert read.partial_fit(X, y).predict(X) == one.partial_fit(X, y).predict(X)


def test_searches_and_splitters_take_words_and_vectors():
    for name in PROBLEMS:
        estimator, X, y = PROBLEMS[name]
        estimator = clone(estimator).set_params(max_epochs=4)
        assert len(cross_val_score(estimator, X, y, cv=3)) == 3
        assert hasattr(GridSearchCV(estimator, {"hidden_size": [4, 8]}, cv=2).fit(objects(X), y), "best_score_")


def test_patience_works_for_words():
    estimator, _, _ = fitted("transducer of symbols", patience=2, validation_fraction=0.3, max_epochs=300)
    assert estimator.n_iter_ < 300


# ------------------------------------------------------------------------------------------- errors

ERRORS = {
    "SequenceTransducer: y is one string; expected a list of strings": (["ab"], "ab"),
    "SequenceTransducer: y[0] is a int; expected a string or a sequence of labels": (["ab"], [3]),
    "SequenceTransducer: X[1] is empty; expected at least one symbol": (["ab", ""], ["a", "b"]),
    "inconsistent numbers of samples": (["ab", "b"], ["a"]),
    "requires y to be passed": (["ab"], None),
    "SequenceTransducer: y is a int; expected a list of strings": (["ab"], 3),
    "SequenceTransducer: y has no sequences; expected at least 1": ([], []),
}


@pytest.mark.parametrize("message", ERRORS)
def test_what_is_wrong_with_words_is_said(message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        SequenceTransducer(**TINY).fit(*ERRORS[message])


@every_problem
def test_scores_need_as_many_targets_as_sequences(name):
    estimator, X, y = fitted(name)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator.score(X, y[1:])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"beam_width": 0}, "beam_width is 0; expected an integer >= 1"),
        ({"max_length": "a"}, "max_length is a str; expected an integer >= 1"),
        ({"length_penalty": -1}, "length_penalty is -1.0; expected a number in [0, 30]"),
    ],
)
def test_what_only_predictions_use_is_checked_before_the_training(changes, message):
    for estimator in (SequenceTransducer, CTCTranscriber):
        if changes.keys() <= estimator().get_params().keys():
            with pytest.raises((TypeError, ValueError), match=re.escape(message)):
                estimator(**{**TINY, **changes}).fit(spoken(TEXTS), TEXTS)


def test_later_data_must_be_of_the_kind_of_the_fit():
    symbols, vectors = (fitted(f"transducer of {kind}", max_epochs=1)[0] for kind in ("symbols", "vectors"))
    with pytest.raises(TypeError, match="X has vectors; expected sequences of symbols, as at the fit"):
        symbols.predict(spoken(TEXTS))
    with pytest.raises(TypeError, match="X has symbols; expected vectors"):
        vectors.predict(TEXTS)
    with pytest.raises(ValueError, match=re.escape("lengths go with X (N, T, F); expected none with symbols")):
        symbols.predict(["ab"], lengths=[1])
    with pytest.raises(ValueError, match="SequenceTransducer: X has no sequences; expected at least 1"):
        symbols.predict([])
    with pytest.raises(TypeError, match="X is one string; expected a list of strings"):
        symbols.predict("ab")
    with pytest.raises(ValueError, match=re.escape("y[1] has 'z'; expected one of the 3 at the fit")):
        symbols.partial_fit(["a", "b"], ["A", "z"])


@pytest.mark.parametrize("text, least", [("abca", 4), ("aab", 4)])
def test_a_transcript_that_its_sequence_cannot_hold_is_refused(text, least):
    with pytest.raises(ValueError, match=re.escape(f"X[1] has 3 steps; expected at least {least} for y[1]")):
        CTCTranscriber(**TINY).fit([np.zeros((5, 2)), np.zeros((3, 2))], ["ab", text])
    CTCTranscriber(**{**TINY, "max_epochs": 1}).fit([np.zeros((5, 2)), np.zeros((least, 2))], ["", text])


@every_problem
def test_an_estimator_must_be_fitted_first(name):
    estimator, X, _ = PROBLEMS[name]
    with pytest.raises(NotFittedError):
        clone(estimator).predict(X)


# ------------------------------------------------------------------------------------------ symbols


@pytest.mark.parametrize(
    "one, other, edits", [("", "", 0), ("kitten", "sitting", 3), ("abc", "", 3), ("", "ab", 2), ("ab", "ba", 2)]
)
def test_edit_distances_are_levenshteins(one, other, edits):
    assert edit_distance(list(one), list(other)) == edit_distance(list(other), list(one)) == edits


def test_error_rates_count_all_sequences_together():
    assert error_rate([list("abcd"), list("ab")], ["abcd", "ac"]) == 1 / 6
    assert error_rate([[]], [""]) == 0


def test_symbols_are_numbers_and_back():
    symbols = Symbols([list("banana"), list("c")], strings=True)
    assert symbols.values == ["a", "b", "c", "n"] and len(symbols) == 4
    assert [one.tolist() for one in symbols.encode([list("cab"), list("x")], first=1)] == [[3, 1, 2], [5]]
    assert symbols.decode([3, 1, 2], first=1) == "cab"


@pytest.mark.parametrize("symbols", [[["a", 1]], [["a"], [1]], [[["a"]]]], ids=str)
@pytest.mark.parametrize("estimator", [SequenceTransducer, CTCTranscriber])
def test_symbols_that_cannot_be_sorted_are_refused(estimator, symbols):
    X = [np.zeros((4, 1))] * len(symbols)
    with pytest.raises(TypeError, match=r"y has symbols of type .*; expected all strings or all integers"):
        estimator(**TINY).fit(X, symbols)
    if estimator is SequenceTransducer:
        with pytest.raises(TypeError, match="SequenceTransducer: X has symbols of type int and str"):
            estimator(**TINY).fit([["a"], ["b", 1]], ["a", "b"])


def test_a_series_of_strings_is_read_as_a_list_of_them():
    pandas = pytest.importorskip("pandas")
    options = {**TINY, "max_epochs": 1}
    X, y = (pandas.Series(some, index=range(7, 7 + len(some))) for some in (TEXTS, TURNED))
    expected = SequenceTransducer(**options).fit(TEXTS, TURNED)
    estimator = SequenceTransducer(**options).fit(X, y)
    assert estimator.predict(X) == expected.predict(TEXTS)
    assert estimator.source_symbols_.values == expected.source_symbols_.values
