"""Other processes on our cores: who uses more than half of one is left it. The clock and what others do is the test's.

`fastrnn bench --busy` shows the same with real processes.
"""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from fresh import linux_only, output
from runs import needs_openmp

from fastrnn._core import team

pytestmark = [linux_only, needs_openmp]

REGION = 0.005  # seconds that a parallel region takes beside nobody


class World:
    """Cores with a process of ours whose every thread computes, and others'; the system counts in hundredths."""

    def __init__(self, cores=2, tick=0.01):
        self.cores, self.tick = cores, tick
        self.time, self.ours, self.others = 1000.0, 10.0, 500.0
        self.now()

    def seen(self):
        everybody = (self.ours + self.others) // self.tick * self.tick
        return self.time, self.ours, everybody, self.cores

    def now(self):
        team.simulate_times(*self.seen())

    def rest(self, seconds, others):
        """We do nothing, others use so many cores."""
        self.time += seconds
        self.others += others * seconds
        self.now()

    def region(self, seconds, others, idle=0.0):
        """A region of as many threads as there are free cores; others use so many cores, our threads wait so long."""
        before, threads = self.seen(), min(self.cores, team.free_cores() or self.cores)
        self.time += seconds
        self.others += others * seconds
        self.ours += (min(threads, self.cores - others) - idle) * seconds
        team.simulate_watch(before, self.seen(), threads)

    def run(self, seconds, others, idle=0.0):
        """Regions for so long; for each number of free cores, the fraction of the regions that had it."""
        count = round(seconds / REGION)
        free = []
        for i in range(count):
            self.region(REGION, others(i * REGION) if callable(others) else others, idle)
            free.append(team.free_cores() or self.cores)
        return {cores: free.count(cores) / count for cores in sorted(set(free))}


@pytest.fixture
def world():
    yield World()
    team.simulate_times(0, 0, 0, 0)
    assert team.free_cores() is None


def test_a_busy_process_is_left_a_core_until_it_ends(world):
    assert world.run(1, 0) == {2: 1}
    world.run(0.3, 0.67)  # its fair share beside two threads of ours
    assert world.run(2, 1) == {1: 1}
    world.run(0.2, 0)
    assert world.run(2, 0) == {2: 1}


def test_it_is_found_out_that_it_has_ended_while_we_do_nothing(world):
    world.run(0.5, 0.67)
    assert team.free_cores() == 1
    world.rest(0.2, 0)
    assert team.free_cores() is None


@pytest.mark.parametrize("used", [0.05, 0.15, 0.3, 0.4])
def test_who_uses_less_than_half_a_core_is_left_none(world, used):
    assert world.run(3, used) == {2: 1}


@pytest.mark.parametrize("used", [0.6, 0.67])
def test_who_uses_more_than_half_a_core_is_left_one(world, used):
    world.run(0.5, used)
    assert world.run(3, used)[1] > 0.95


@pytest.mark.parametrize("used", [0.14, 0.3])
@pytest.mark.parametrize("period", [0.01, 0.02, 0.05])
def test_bursts_count_by_what_they_take_in_all(world, used, period):
    rng = np.random.default_rng(0)

    def others(time):
        return 1.0 if (time + rng.uniform(-REGION, REGION) / 2) % period < used * period else 0.0

    assert world.run(5, others).get(1, 0) < 0.1


def test_threads_that_wait_for_each_other_are_no_neighbour(world):
    assert world.run(2, 0, idle=0.9) == {2: 1}


def test_a_neighbour_that_is_not_in_the_way_is_left_alone(world):
    """Another of four cores has a process, and ours have all the time that they want."""
    world.cores = 4
    before, threads = world.seen(), 2
    for _ in range(400):
        world.time, world.ours, world.others = world.time + REGION, world.ours + threads * REGION, world.others + REGION
        team.simulate_watch(before, world.seen(), threads)
        before = world.seen()
        assert team.free_cores() is None


def test_several_neighbours_leave_one_core_at_least():
    try:
        many = World(cores=4)
        many.run(0.5, 1.9)
        assert team.free_cores() == 2
        many.run(1, 3.6)
        assert team.free_cores() == 1
    finally:
        team.simulate_times(0, 0, 0, 0)


def test_a_count_of_other_cores_says_nothing(world):
    """The affinity changed between two counts: their difference is not what others did."""
    world.run(0.06, 1)
    assert team.free_cores() is None
    world.cores, world.others = 3, world.others + 1000
    world.now()
    world.run(0.11, 0.6)
    assert team.free_cores() is None


def test_teams_keep_to_the_free_cores():
    """A call of two threads starts none beside a neighbour, and the result is the same."""
    script = """
import os
import numpy as np
import fastrnn
from fastrnn._core import team

def running():
    return len(os.listdir("/proc/self/task"))

lstm, x = fastrnn.LSTM(128, 128, seed=0), np.ones((50, 32, 128), np.float32)
expected = lstm(x, num_threads=1)[0]
before = running()
time = ours = everybody = 100.0
while team.free_cores() != 1:
    start = time, ours, everybody, 2
    time, ours, everybody = time + 0.01, ours + 0.01, everybody + 0.02
    team.simulate_watch(start, (time, ours, everybody, 2), 2)
same = [(lstm(x, num_threads=2)[0] == expected).all()]
crowded = running()
team.simulate_times(0, 0, 0, 0)
same.append((lstm(x, num_threads=2)[0] == expected).all())
print(crowded - before, running() - before, *same)
"""
    assert output(script, OPENBLAS_NUM_THREADS="1") == "0 1 True True"


def test_the_count_is_the_systems_own():
    """All but idle time of the cores that this process may use, here one of them."""
    allowed = os.sched_getaffinity(0)
    core = max(allowed)

    def used():
        lines = Path("/proc/stat").read_text().splitlines()
        line = next(line for line in lines if line.startswith(f"cpu{core} "))
        user, nice, system, _, _, irq, soft, *_ = map(int, line.split()[1:])
        return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")

    try:
        os.sched_setaffinity(0, {core})
        before, (_, ours, everybody, cores), after = used(), team.cpu_times(), used()
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores == 1
    assert before <= everybody <= after
    assert 0 < ours <= time.process_time()
