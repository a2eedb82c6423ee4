"""The scores of examples/action, of two trainings for each data set instead of five."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).parents[1] / "examples" / "action" / "action.py"


@pytest.fixture
def action(monkeypatch):
    """The program's functions."""
    pytest.importorskip("aeon")
    names = runpy.run_path(str(PROGRAM))["main"].__globals__
    monkeypatch.setitem(names, "RUNS", 2)
    return names


def test_time_warping_forgives_what_is_slower_and_a_step_by_step_distance_does_not(action):
    wave = np.sin(np.linspace(0, 6, 40)).reshape(1, 40, 1)
    late = np.concatenate([wave[:, :1].repeat(4, axis=1), wave[:, :-4]], axis=1)
    assert action["warped"](wave, late)[0, 0] < action["euclidean"](wave, late)[0, 0] / 2


@pytest.mark.parametrize("name", ["GunPoint", "BasicMotions"])
def test_the_gru_is_at_least_as_good_as_the_nearest_neighbour_by_time_warping(action, name):
    runs, scores, _ = action["compare"](name, 0)
    assert np.mean(runs) >= scores["DTW"]
