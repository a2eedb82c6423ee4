"""The scores of examples/tracking."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).parents[1] / "examples" / "tracking" / "tracking.py"


@pytest.fixture
def tracking(monkeypatch, tmp_path):
    """The program's functions; its picture goes to tmp_path."""
    for package in ("matplotlib", "motmetrics", "scipy"):
        pytest.importorskip(package)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = runpy.run_path(str(PROGRAM))["main"].__globals__
    monkeypatch.setitem(names, "__file__", str(tmp_path / "tracking.py"))
    return names


def test_the_overlap_of_boxes_is_that_of_their_areas(tracking):
    a, b = np.array([10.0, 10, 4, 4]), np.array([12.0, 10, 4, 4])
    assert tracking["iou"](a, a) == 1 and tracking["iou"](a, b) == pytest.approx(8 / 24)


def test_a_move_undoes_what_made_it(tracking):
    a, b = np.random.default_rng(0).uniform(1, 9, (2, 5, 4))
    np.testing.assert_allclose(tracking["moved"](a, tracking["move"](a, b)), b)


def test_people_who_walk_steadily_are_foreseen_by_the_baseline(tracking):
    track = np.array([5.0, 6, 20, 40]) + np.arange(30)[:, None] * [2.0, -1, 0, 0]
    assert np.nanmin(tracking["foresee"](track, lambda: tracking["constant"](3))) == pytest.approx(1)


def test_a_stream_foresees_what_a_run_over_the_whole_track_does(tracking, monkeypatch):
    monkeypatch.setitem(tracking, "LESSONS", 1)
    monkeypatch.setitem(tracking, "EPOCHS", 1)
    people = tracking["people"](tracking["read"]("TUD-Campus"))
    model, track = tracking["train"](people, 0), people[0]
    age, first = np.arange(len(track))[:, None], np.broadcast_to(track[0], track.shape)
    before = np.concatenate([track[:1], track[:-1]])
    (outputs,) = model([tracking["features"](first, before, track, age)])
    whole = tracking["moved"](tracking["steady"](first, track, age), outputs.reshape(-1, 10, 4) / tracking["SCALE"])
    see = tracking["learnt"](model)
    np.testing.assert_allclose([see(box) for box in track], whole, rtol=1e-5)


def test_the_gru_foresees_better_than_constant_velocity_and_tracks_as_well(tracking):
    scores = tracking["main"]()
    gru, last, fair, best = (scores[name] for name in (
        "GRU, other video", "velocity, 1 frames", "velocity, 6 frames", "velocity, 12 frames",
    ))  # fmt: skip
    assert gru[0] > fair[0] > last[0]
    assert scores["GRU, other people too"][0] > best[0] + 0.01
    assert gru[1] >= fair[1] - 0.01 and gru[2] >= fair[2] - 0.02
