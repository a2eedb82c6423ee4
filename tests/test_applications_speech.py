"""The scores of examples/speech, with fewer voices and less training than the program has."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).parents[1] / "examples" / "speech" / "speech.py"


@pytest.fixture
def speech(monkeypatch, tmp_path):
    """The program's functions; its picture goes to tmp_path."""
    pytest.importorskip("matplotlib").use("Agg")
    names = runpy.run_path(str(PROGRAM))["main"].__globals__
    if not names["SOUNDS"].exists() or not names["TEXTS"].exists() or shutil.which("espeak-ng") is None:
        pytest.skip("the Debian packages asterisk-core-sounds-en-wav and espeak-ng are not installed")
    monkeypatch.setitem(names, "__file__", str(tmp_path / "speech.py"))
    return names


def test_what_is_held_out_shares_no_five_words_with_what_is_learnt(speech):
    def runs(pairs):
        texts = [text.split() for _, text in pairs]
        return {tuple(words[i : i + 5]) for words in texts for i in range(max(1, len(words) - 4))}

    rest, held, digits = speech["split"](speech["read"](), 0)
    assert not runs(rest) & runs(held)
    assert len(held) == 40 and len(digits) == 94


def test_dynamic_time_warping_finds_a_template_that_is_stretched(speech):
    templates = list(np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32))
    assert [speech["nearest"](np.repeat(template, 2, axis=0), templates) for template in templates] == [0, 1, 2]


def test_edits_are_the_fewest(speech):
    pairs = {("kitten", "sitting"): 3, ("", "ab"): 2, ("ab", ""): 2, ("ab", "ab"): 0}
    assert {pair: speech["edits"](*pair) for pair in pairs} == pairs


def test_the_network_hears_better_than_time_warping(speech, monkeypatch):
    monkeypatch.setitem(speech, "EPOCHS", 6)
    scores = speech["main"]()
    assert scores["prompts"][0] < 0.6 < scores["prompts", "DTW"][0]
    assert scores["words"][1] > scores["digits", "DTW"][1]
