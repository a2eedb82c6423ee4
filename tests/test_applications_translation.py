"""examples/translation: its data and baselines in small, and its scores, which the slow tests hold."""

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "translation"
MOST_LINES = 150


@pytest.fixture
def example(monkeypatch):
    """The example as a module, forgotten after the test; skipped without its packages."""
    for package in ("num2words", "pycountry", "sacrebleu"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(FOLDER))
    import translation

    yield translation
    for name in ("translation", "pairs"):
        sys.modules.pop(name)


def test_the_example_is_short():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")) <= MOST_LINES


def test_no_english_comes_twice(example):
    for pairs in (example.numbers(1000, np.random.default_rng(0)), example.names(np.random.default_rng(0))):
        assert len({english for english, _ in pairs}) == len(pairs) >= 1000
        assert all(english != polish for english, polish in pairs)


@pytest.mark.parametrize("other, edits", [("sitting", 3), ("kitten", 0), ("", 6), ("mitten", 1), ("kitchen", 2)])
def test_the_nearest_pair_is_the_fewest_edits_away(example, other, edits):
    assert example.nearest("kitten", [("zzzzzzzzz", "daleko"), (other, "blisko")]) == ("blisko", edits)


def test_a_copy_of_the_polish_has_the_best_scores(example):
    assert example.scores(["jeden", "dwa"], ["jeden", "dwa"]) == (1, pytest.approx(100))
    assert example.scores(["xxx", "dwa"], ["jeden", "dwa"])[0] == 0.5


@pytest.mark.parametrize("between", ["", " "])
def test_a_translator_writes_and_says_where_it_looks(example, between):
    options = {"between": between, "hidden": 8, "width": 4, "dropout": 0.0, "epochs": 60, "rate": 0.02}
    translator = example.Translator([("one two", "jeden dwa"), ("two", "dwa"), ("ten", "dziesięć")], **options)
    assert translator(["one two", "two"]) == ["jeden dwa", "dwa"]
    assert len(translator(["new"])) == 1
    english, polish, weights = translator.looks("two")
    assert between.join(english) == "two" and between.join(polish) == "dwa"
    assert weights.shape == (len(polish), len(english)) and weights.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name, exact, chrf", [("numbers", 0.95, 98), ("names", 0.25, 48)])
def test_attention_is_above_copying_and_the_nearest_pair(example, name, exact, chrf):
    make = {"numbers": lambda rng: example.numbers(3500, rng), "names": example.names}[name]
    rows, _ = example.run(name, make(np.random.default_rng(0)))
    best = rows.pop("attention")
    assert best[0] >= exact and best[1] >= chrf
    assert all(best[0] > other[0] and best[1] > other[1] for other in rows.values())
