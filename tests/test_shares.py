"""How a team's work is cut: by how fast its threads were lately, and with the same bits however it is."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from runs import every_cell, make_step, needs_openmp
from tolerance import assert_same_bits

from fastrnn._core import team as compiled


@pytest.fixture
def team():
    """This caller's team without anything learnt of it, and no other process: all threads that are asked for come.

    Equal threads take a quarter of all leads away each time.
    """
    compiled.pretend(1, 1, 1, 64)
    for _ in range(200):
        compiled.observe([1] * 64, [1] * 64)
    yield compiled
    compiled.pretend(0, 0, 0, 0)


def test_threads_get_shares_by_what_they_did_lately(team):
    assert team.shares(32, 2) == [0, 16, 32]
    assert team.shares(9, 4) == [0, 2, 4, 6, 9]
    team.observe([16, 16], [1000, 2000])  # speeds 4/3 and 2/3 of their mean: a quarter of that is believed
    assert team.shares(1200, 2) == [0, 650, 1200]
    for _ in range(100):
        team.observe([20, 12], [1000, 1200])
    assert team.shares(32, 2) == [0, 21, 32]
    assert team.shares(7, 2) == [0, 3, 7], "few things are cut evenly"


def test_no_share_is_less_than_a_third_of_another_nor_empty(team):
    for n in range(8, 400):
        for _ in range(10):
            team.observe([1000, 1], [1, 1000])
        assert team.shares(n, 2)[1] <= 0.75 * n + 0.5 < n
        many = team.shares(4 * n, n)
        assert many == sorted(set(many)), "some are empty"


def test_what_was_learnt_fades(team):
    team.observe([16, 16], [1000, 2000])
    for _ in range(500):
        team.shares(1200, 2)
    assert team.shares(1200, 2) == [0, 600, 1200]


def test_a_team_that_came_without_a_thread_teaches_nothing(team):
    team.observe([16, 0], [1000, 0])
    assert team.shares(1200, 2) == [0, 600, 1200]
    assert team.shares(1000, 100) == list(range(0, 1001, 10)), "as many as are not watched"


def test_callers_learn_of_their_own_teams(team):
    team.observe([16, 16], [1000, 2000])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(team.shares, 1200, 2).result() == [0, 600, 1200]


@every_cell
def test_shares_change_no_bit(name, team):
    """Of rows, of units and, with four threads, of both."""
    for shape in ((40, 24, 40, 100), (80, 1, 20, 240), (30, 11, 30, 300)):
        step = make_step(name, shape)
        expected = step.run(num_threads=1), step.infer(num_threads=1)
        for seed in range(3):
            speeds = np.random.default_rng(seed).uniform(0.5, 1.5, 5).tolist()
            for num_threads in (2, 3, 4, 5):
                for _ in range(20):
                    team.observe(speeds, [1] * 5)
                actual = step.run(num_threads=num_threads), step.infer(num_threads=num_threads)
                assert_same_bits(actual[0], expected[0])
                assert_same_bits(actual[1], expected[1])


@pytest.fixture
def paces(team):
    yield team.set_paces
    team.set_paces(None)


def taught(team, call):
    """Where the shares of a thousand things begin after calls of a team that was told wrong things before."""
    for _ in range(20):
        team.observe([1000, 1], [1, 1000])
    for _ in range(60):
        call()
    return team.shares(1000, 2)[1]


@needs_openmp
@pytest.mark.parametrize(("speeds", "expected"), [((1, 1), 500), ((3, 2), 600), ((2, 3), 400)])
@pytest.mark.parametrize("shape", [(40, 24, 40, 100), (80, 1, 20, 240)], ids=["rows", "units"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_time_loops_teach(shape, backward, speeds, expected, team, paces):
    """Calls find out how fast the threads are by a clock of the test's, on which waiting takes far longer than work."""
    step = make_step("lstm", shape)

    def call():
        paces(None)
        if backward:
            _, _, tape = step.forward(num_threads=1)
            paces([1000 / speed for speed in speeds])
            step.layer.backward(tape, step.dy, num_threads=2)
        else:
            paces([1000 / speed for speed in speeds])
            step.infer(num_threads=2)

    assert abs(taught(team, call) - expected) < 12  # leads fade a little from one region to the next
