"""The application of pictures: each network is better than the simpler ways beside it, here after fewer epochs."""

import runpy
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "examples" / "images" / "images.py"


@pytest.fixture(scope="module")
def images():
    for package in ("HersheyFonts", "matplotlib", "scipy", "sklearn"):
        pytest.importorskip(package)
    return runpy.run_path(str(PROGRAM))


@pytest.fixture
def axes():
    return pytest.importorskip("matplotlib.figure").Figure().subplots()


def test_the_program_is_short():
    assert len(PROGRAM.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.slow
def test_a_pixel_of_a_digit_takes_fewer_bits_than_after_the_one_beside_or_above(images, axes):
    bits = images["digits"](axes, epochs=10)
    assert bits.pop("GRU") < 0.9 * min(bits.values())


@pytest.mark.slow
def test_a_move_of_the_pen_takes_fewer_bits_than_after_the_move_before(images, axes):
    bits = images["letters"](axes, epochs=15)
    assert bits.pop("LSTM") < 0.95 * min(bits.values())


@pytest.mark.slow
def test_a_photograph_has_less_noise_than_behind_a_median_or_any_gaussian(images, axes):
    decibels = images["photograph"](axes, patches=150, epochs=6)
    assert decibels.pop("GRU along rows and columns") > decibels.pop("GRU along rows") > max(decibels.values()) + 1
