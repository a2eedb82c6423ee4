"""Partitions follow the relative speeds of threads, and change no bit of a result."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from runs import every_cell, make_step, needs_openmp
from tolerance import assert_same_bits

from fastrnn._core import team as compiled


@pytest.fixture
def team():
    """This caller's team without anything learnt of it, and no other process: all threads that are asked for come.

    Each observation of equal threads takes a quarter of all relative speeds away.
    """
    compiled.simulate_times(1, 1, 1, 64)
    for _ in range(200):
        compiled.observe([1] * 64, [1] * 64)
    yield compiled
    compiled.simulate_times(0, 0, 0, 0)


def test_parts_follow_the_relative_speeds(team):
    assert team.part_begins(32, 2) == [0, 16, 32]
    assert team.part_begins(9, 4) == [0, 2, 4, 6, 9]
    team.observe([16, 16], [1000, 2000])  # speeds 4/3 and 2/3 of their mean: a quarter of that is believed
    assert team.part_begins(1200, 2) == [0, 650, 1200]
    for _ in range(100):
        team.observe([20, 12], [1000, 1200])
    assert team.part_begins(32, 2) == [0, 21, 32]
    assert team.part_begins(7, 2) == [0, 3, 7], "few things are cut evenly"


def test_no_part_is_less_than_a_third_of_another_nor_empty(team):
    for n in range(8, 400):
        for _ in range(10):
            team.observe([1000, 1], [1, 1000])
        assert team.part_begins(n, 2)[1] <= 0.75 * n + 0.5 < n
        many = team.part_begins(4 * n, n)
        assert many == sorted(set(many)), "some are empty"


def test_what_was_learnt_fades(team):
    team.observe([16, 16], [1000, 2000])
    for _ in range(500):
        team.part_begins(1200, 2)
    assert team.part_begins(1200, 2) == [0, 600, 1200]


def test_a_team_that_came_without_a_thread_teaches_nothing(team):
    team.observe([16, 0], [1000, 0])
    assert team.part_begins(1200, 2) == [0, 600, 1200]
    assert team.part_begins(1000, 100) == list(range(0, 1001, 10)), "more threads than are measured"


def test_fractions_follow_the_same_speeds(team):
    assert team.part_fractions(4) == [0, 0.25, 0.5, 0.75, 1]
    team.observe([16, 16], [1000, 2000])
    assert team.part_fractions(2) == pytest.approx([0, 0.5 + 0.25 / 6, 1])
    assert team.part_fractions(100) == [i / 100 for i in range(101)], "more threads than are measured"


def test_callers_learn_of_their_own_teams(team):
    team.observe([16, 16], [1000, 2000])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(team.part_begins, 1200, 2).result() == [0, 600, 1200]


@every_cell
def test_partitions_change_no_bit(name, team):
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
    yield team.simulate_paces
    team.simulate_paces(None)


def taught(team, call):
    """Where the second part of a thousand things begins, after calls of a team that first observed something wrong."""
    for _ in range(20):
        team.observe([1000, 1], [1, 1000])
    for _ in range(60):
        call()
    return team.part_begins(1000, 2)[1]


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

    assert abs(taught(team, call) - expected) < 12  # relative speeds decay a little in each region
