"""examples/images: its baselines in small, and its scores, which the slow tests hold after less training."""

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "images"
MOST_LINES = 150


@pytest.fixture
def example(monkeypatch):
    """The example as a module, forgotten after the test."""
    for package in ("HersheyFonts", "matplotlib", "scipy", "sklearn"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(FOLDER))
    import images

    yield images
    sys.modules.pop("images")


@pytest.fixture
def axes():
    return pytest.importorskip("matplotlib.figure").Figure().subplots()


def test_the_example_is_short():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")) <= MOST_LINES


def test_symbols_of_which_nothing_is_known_take_the_bits_of_their_number(example):
    symbols = np.array([0, 1, 2, 7])
    nothing = np.zeros(4, bool)
    assert example.counted(symbols, [symbols, symbols], nothing) == pytest.approx(4 * 3)


def test_symbols_after_a_context_take_the_bits_of_their_smoothed_share(example):
    symbols, context = np.array([0, 0, 1, 0, 1]), np.array([5, 5, 5, 5, 9])
    known = np.array([True, True, True, False, False])
    expected = -np.log2((2 + 10 / 2) / (3 + 10)) - np.log2(1 / 2)
    assert example.counted(symbols, [context], known) == pytest.approx(expected)


def test_the_pen_visits_the_points_of_a_glyph(example):
    reader = example.HersheyFonts()
    reader.load_default_font(example.FONTS[0])
    expected = [point for stroke in reader.all_glyphs["A"].strokes for point in stroke]
    [tokens] = [tokens for font, sign, tokens in example.glyphs() if font == 0 and example.SIGNS[sign] == "A"]
    visited = example.pen(tokens).T[tokens > 62]
    np.testing.assert_array_equal(visited, expected)
    assert np.sum(tokens == example.LIFT) == len(reader.all_glyphs["A"].strokes)
    assert tokens[-1] == example.END


@pytest.mark.slow
def test_a_pixel_of_a_digit_takes_fewer_bits_than_after_the_ones_beside_it_and_above(example, axes):
    bits = example.digits(axes, epochs=10)
    assert bits.pop("GRU") < 0.95 * min(bits.values())


@pytest.mark.slow
def test_a_move_of_the_pen_takes_fewer_bits_than_after_the_move_before(example, axes):
    bits = example.letters(axes, epochs=30)
    assert bits.pop("LSTM") < 0.95 * min(bits.values())


@pytest.mark.slow
def test_a_photograph_has_less_noise_than_behind_a_median_or_any_gaussian(example, axes):
    decibels = example.photograph(axes, patches=150)
    assert decibels.pop("GRU along rows and columns") > decibels.pop("GRU along rows") > max(decibels.values()) + 1
