"""examples/captioning: nothing of the test is in training, and the slow test holds its scores."""

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "captioning"
MOST_LINES = 150


@pytest.fixture
def example(monkeypatch):
    """The example as a module, forgotten after the test."""
    for package in ("matplotlib", "PIL"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(FOLDER))
    import captioning

    yield captioning
    sys.modules.pop("captioning")


def caseless(letter):
    return letter.replace(" CAPITAL", "").replace(" SMALL", "")


def test_the_example_is_short():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")) <= MOST_LINES


def test_letters_and_accents_of_the_test_are_learnt_but_no_pair_of_them(example):
    font, has = next(example.faces())
    found = example.characters(font, has)
    learnt, test = example.split(found, np.random.default_rng(0))
    names, held = [example.named(one) for one in learnt], [example.named(one) for one in test]
    assert sorted(learnt + test) == sorted(found)
    assert len(test) >= 160
    assert {letter for letter, _ in held} <= {letter for letter, _ in names}
    assert {accent for _, accent in held} <= {accent for _, accent in names if accent}
    pairs = [{(caseless(letter), accent) for letter, accent in some} for some in (names, held)]
    assert pairs[0].isdisjoint(pairs[1])
    pictures = [{example.picture(one, font).tobytes() for one in some} for some in (learnt, test)]
    assert pictures[0].isdisjoint(pictures[1])


def test_scores_are_those_of_a_case_by_hand(example):
    right = ["ACUTE", "WITH", "LATIN", "SMALL", "LETTER", "E"]
    half = ["ACUTE", "WITH", "GREEK", "SMALL"]
    exact, shared = example.scores([right, half], ["é", "é"])
    assert exact == 50
    assert shared == pytest.approx(100 * (1 + 2 * 3 / (4 + 6)) / 2)


@pytest.mark.slow
def test_more_names_are_right_than_by_a_nearest_neighbour(example, tmp_path, monkeypatch):
    monkeypatch.setattr(example, "__file__", str(tmp_path / "captioning.py"))  # where the picture goes
    results = example.main()
    exact, shared = results.pop("network")
    assert exact > max(other for other, _ in results.values())
    assert shared > max(other for _, other in results.values())
    assert (tmp_path / "picture.png").stat().st_size < 150_000
