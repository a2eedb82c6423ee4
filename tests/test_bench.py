"""`fastrnn bench`: figures of the machine, tables and JSON of a tiny run, against the NumPy twin alone."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import fastrnn
from fastrnn.bench import apart, cases, cores, machine, measure, peers, problem, report, sections
from fastrnn.bench.peers import keras_peer
from fastrnn.cells import CELLS
from fastrnn.cli import bench_run, main
from fastrnn.cli.output import out

ONE_STEP = "inference:1,1,8,8"


def bench(*arguments):
    return main.main(["bench", "--peers", "numpy", "--seconds", "0", "--rounds", "1", *arguments])


@pytest.fixture(autouse=True)
def pytorch_has_its_threads_again():
    """A peer sets the number of PyTorch's threads, which is OpenMP's too, and so the most that we take."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else os.cpu_count()
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(before)


@pytest.fixture
def quick_trials(monkeypatch):
    monkeypatch.setattr(machine, "TRIAL_SECONDS", 1e-4)
    monkeypatch.setattr(machine, "TRIALS", 2)
    monkeypatch.setattr(machine, "MOST_BYTES", 1 << 24)


def test_machine_figures_are_positive(quick_trials):
    figures = machine.measure(2)
    assert figures.isa == fastrnn.config()["isa"]
    assert figures.cores == (2 if fastrnn.config()["openmp"] else 1)
    assert figures.fma_gflops > 0
    assert (figures.barrier_ns > 0) == (figures.cores > 1)
    levels = list(figures.bandwidth)
    assert levels[:1] == ["L1"] and levels[-1:] == ["memory"]
    assert all(rate > 0 for rate in figures.bandwidth.values())


def test_bound_is_the_slower_of_arithmetic_and_reading():
    sizes = {"L1": 1 << 15, "L2": 1 << 19}
    figures = machine.Machine(1, "any", "any", 100.0, {"L1": 400.0, "L2": 200.0, "memory": 10.0}, sizes, 0.0)
    large, small = cases.Case("training", "lstm", 64, 50, 256, 256), cases.Case("inference", "rnn", 1, 10, 16, 1024)
    assert figures.bound(large) == (pytest.approx(8 * 256 * (3 * 512 * 50 - 256) * 64 / 100e9), "FMA")
    assert figures.bound(small) == (pytest.approx(9 * 4 * 1024**2 / 10e9), "memory")
    assert [figures.level(size) for size in (1, 1 << 15, 1 << 16, 1 << 20)] == ["L1", "L1", "L2", "memory"]


def test_flops_count_every_layer():
    case = cases.Case("inference", "gru", 3, 7, 20, 33, 2)
    assert case.flops(at_rest=False) == 6 * 33 * (20 + 33 + 33 + 33) * 3 * 7
    assert case.flops() == 6 * 33 * ((20 + 33) * 7 + (33 + 33) * 6) * 3
    assert str(case) == "gru 3,7,20,33 L2"


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5,6", "0,1,1,1", "sleep:1,1,1,1", "a,b,c,d"])
def test_a_wrong_case_is_one_line(text, capsys):
    assert bench("--cases", text) == 1
    assert "--cases" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--cores", "9999"], "--cores"),
        (["--rounds", "0"], "--rounds"),
        (["--peers", "abacus"], "abacus"),
        (["--memory"], "--memory"),
        (["--json", "no/such/folder/bench.json"], "no such folder"),
    ],
)
def test_other_wrong_options_are_one_line(arguments, word, capsys):
    assert bench("--cases", ONE_STEP, *arguments) == 1
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1


@pytest.mark.parametrize("mode", cases.MODES)
@pytest.mark.parametrize("cell", CELLS)
def test_twin_agrees_and_a_wrong_result_is_named(cell, mode):
    task = problem.make(cases.Case(mode, cell, 3, 4, 5, 6, 2))
    ours, twin = (
        job.results(job.run()) for job in (peer.build(task, 1) for peer in (peers.OURS, peers.PEERS["numpy"]))
    )
    assert problem.disagreement(ours, twin) is None
    name = list(twin)[-1]
    wrong = {**twin, name: twin[name] * np.float32(1.01)}
    assert problem.disagreement(ours, wrong).startswith(f"{name} differs by 1.0e-02")
    assert "shape" in problem.disagreement(ours, {**twin, name: twin[name][None]})
    assert problem.disagreement(ours, {**twin, name: twin[name] * np.nan})


@pytest.fixture(scope="module", autouse=True)
def _end_torch_kept():
    yield
    peers.PEERS["torch-kept"].process.close()


@pytest.mark.parametrize("mode", cases.MODES)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("name", ["torch", "torch-kept", "jax", "keras"])
def test_a_peer_that_is_installed_agrees(name, cell, mode):
    peer = peers.PEERS[name]
    if (reason := peer.why_not()) is not None:
        pytest.skip(reason)
    task = problem.make(cases.Case(mode, cell, 3, 4, 5, 6, 2))
    ours, theirs = (job.results(job.run()) for job in (peers.OURS.build(task, 1), peer.build(task, 1)))
    assert problem.disagreement(ours, theirs) is None


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_weights_of_keras_come_back(cell):
    arrays = problem.make(cases.Case("training", cell, 1, 1, 3, 4)).layer(0)
    kernel, recurrent_kernel, bias = keras_peer.to_keras(arrays, cell)
    back = keras_peer.from_keras([kernel, recurrent_kernel, bias], cell)
    for ours, theirs in zip(arrays[:2], back[:2], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if cell == "gru":
        np.testing.assert_array_equal(arrays[2:], back[2:])
        # z r h there
        np.testing.assert_array_equal(kernel[:, :4], arrays[0][4:8].T)


def make_job(name, end=False):
    """A job that tells an environment variable and its process; made in another process."""
    if end:
        os._exit(3)
    return problem.Job(lambda: (os.environ[name], os.getpid()), list)


@pytest.fixture
def process():
    process = apart.Apart({"FASTRNN_TEST_APART": "7"})
    yield process
    process.close()


def test_a_process_apart_has_its_variables_and_takes_its_times(process):
    run = process.build(1, make_job, "FASTRNN_TEST_APART")
    variable, number = run()
    assert variable == "7" and number != os.getpid()
    assert "FASTRNN_TEST_APART" not in os.environ
    timings = measure.compare({"here": os.getpid, "there": run}, measure.Budget(seconds=0, rounds=2), cores=1)
    assert 0 < timings["there"].median < 1e-4  # without the way of the messages
    assert measure.percentiles(run, 0, 10)["calls"] == 10


def test_an_error_apart_comes_over_and_the_process_goes_on(process):
    run = process.build(1, make_job, "FASTRNN_NO_SUCH_VARIABLE")
    with pytest.raises(RuntimeError, match="KeyError: 'FASTRNN_NO_SUCH_VARIABLE'"):
        run()
    assert process.build(1, make_job, "FASTRNN_TEST_APART")()[0] == "7"


def test_a_process_apart_that_ends_is_said_and_starts_again(process):
    with pytest.raises(RuntimeError, match="ended with code 3"):
        process.build(1, make_job, "", True)
    assert process.build(1, make_job, "FASTRNN_TEST_APART")()[0] == "7"


def test_without_glibc_malloc_is_not_kept_and_the_report_says_why(monkeypatch):
    monkeypatch.setattr(peers.PEERS["torch"].__class__, "version", lambda self: "2")
    monkeypatch.setattr(apart.platform, "libc_ver", lambda: ("glibc", "2.36"))
    assert "torch-kept" in [peer.name for peer in peers.choose(None)]
    assert "MALLOC_TRIM_THRESHOLD_" in peers.remarks([peers.PEERS["torch-kept"]])["torch-kept"]
    monkeypatch.setattr(apart.platform, "libc_ver", lambda: ("", ""))
    assert "torch-kept" not in [peer.name for peer in peers.choose(None)]
    assert "glibc" in peers.remarks([])["torch-kept"]
    with pytest.raises(ValueError, match="glibc"):
        peers.choose(["torch-kept"])


def test_turns_are_as_many_as_asked():
    calls = {"a": 0, "b": 0}

    def count(name):
        calls[name] += 1

    budget = measure.Budget(seconds=0, rounds=3)
    timings = measure.compare({name: lambda name=name: count(name) for name in calls}, budget, cores=1)
    assert timings.keys() == calls.keys()
    assert all(t.rounds == 3 and 0 < t.least <= t.median for t in timings.values())


class Clock:
    """A clock that only sleeping moves; until `end` this process's threads compute for a share of that time."""

    def __init__(self, end, share):
        self.now, self.computed, self.end, self.share = 0.0, 0.0, end, share

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.computed

    def sleep(self, seconds):
        self.computed += self.share * max(0.0, min(seconds, self.end - self.now))
        self.now += seconds


@pytest.mark.parametrize("share", [0.3, 1, 2])
def test_a_turn_waits_for_threads_that_still_spin(share, monkeypatch):
    monkeypatch.setattr(measure, "time", Clock(end=0.2, share=share))
    assert 0.2 <= measure.settle() <= 0.2 + 2 * measure.PAUSE_SECONDS
    assert measure.settle() == pytest.approx(measure.PAUSE_SECONDS)


def test_a_turn_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(measure, "time", Clock(end=math.inf, share=1))
    assert measure.settle() <= measure.MOST_PAUSE_SECONDS + 2 * measure.PAUSE_SECONDS


@pytest.mark.parametrize(
    ("calls", "share", "rank"),
    [(200, 0.99, 198), (1000, 0.999, 999), (7, 0.5, 4), (7, 1.0, 7), (1, 0.5, 1), (150, 0.99, 149)],
)
def test_percentiles_are_by_nearest_rank(calls, share, rank):
    assert measure.nearest_rank(range(1, calls + 1), share) == rank


def test_geometric_mean_counts_stream_steps_for_one_step():
    def record(time, call, peer_seconds):
        timings = {name: {"median": s} for name, s in (("fastrnn", 1.0), ("torch", peer_seconds))}
        return {
            "kind": "case", "mode": "inference", "cores": 1, "time": time, "call": call, "timings": timings,
            "best_peer": "torch",
        }  # fmt: skip

    records = [record(1, "layer", 100.0), record(1, "stream.step", 8.0), record(9, "layer", 2.0)]
    means = report.geometric_means(records)
    assert [(m["peer"], m["cases"]) for m in means] == [("best", 2), ("torch", 2)]
    assert all(math.isclose(mean["ratio"], 4.0) for mean in means)


def test_table_and_json_of_a_tiny_run(tmp_path, capsys):
    path = tmp_path / "bench.json"
    words = [ONE_STEP, "training:2,3,5,7,2"]
    assert bench("--cases", *words, "--cell", "lstm", "ugrnn", "--json", str(path)) == 0
    table = capsys.readouterr().out
    for text in ("FMA", "inference, 1 core", "lstm 1,1,8,8 stream.step", "ugrnn 2,3,5,7 L2", "geometric mean"):
        assert text in table
    document = json.loads(path.read_text())
    assert document["versions"]["isa"] == fastrnn.config()["isa"]
    assert [m["cores"] for m in document["machine"]] == [1]
    records = document["records"]
    assert [(r["name"], r["call"]) for r in records] == [
        ("lstm 1,1,8,8", "layer"),
        ("lstm 1,1,8,8", "stream.step"),
        ("ugrnn 1,1,8,8", "layer"),
        ("ugrnn 1,1,8,8", "stream.step"),
        ("lstm 2,3,5,7 L2", "layer"),
        ("ugrnn 2,3,5,7 L2", "layer"),
    ]
    for r in records:
        assert r["best_peer"] == "numpy" and not r["failed"]
        assert r["ratio"] == r["timings"]["numpy"]["median"] / r["timings"]["fastrnn"]["median"]
        assert r["share"] == pytest.approx(r["bound_seconds"] / r["timings"]["fastrnn"]["median"])
    assert {(m["mode"], m["peer"]) for m in document["means"]} == {
        (mode, peer) for mode in cases.MODES for peer in ("best", "numpy")
    }


def test_stolen_time_is_said_and_written(tmp_path, monkeypatch, capsys):
    statistics, path = tmp_path / "stat", tmp_path / "bench.json"
    statistics.write_text("cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 1 2 3 4 5 6 7 250 9 10\n")
    monkeypatch.setattr(cores, "_STATISTICS", statistics)
    assert cores.stolen_seconds() == 250 / os.sysconf("SC_CLK_TCK")
    seconds = iter([10.0, 1e6])
    monkeypatch.setattr(bench_run, "stolen_seconds", lambda: next(seconds))
    assert bench("--cases", "training:2,3,5,7", "--cell", "lstm", "--json", str(path)) == 0
    assert "other virtual machines got" in capsys.readouterr().err
    assert json.loads(path.read_text())["stolen"] > bench_run.STOLEN
    monkeypatch.setattr(cores, "_STATISTICS", tmp_path / "none")
    assert cores.stolen_seconds() == 0


def test_busy_cases_have_a_row_for_every_share_of_a_core(quick_trials, monkeypatch, capsys):
    """A process is there while its share is measured and not before or after; the first row is the quiet one."""
    started = []

    class Process(subprocess.Popen):
        def __init__(self, command, **options):
            super().__init__(command, **options)
            started.append(self)

    monkeypatch.setattr(sections.subprocess, "Popen", Process)
    monkeypatch.setattr(sections, "BUSY_CASES", [cases.Case("training", "gru", 2, 2, 3, 4)])
    monkeypatch.setattr(sections, "BUSY_CALLS", 2)
    monkeypatch.setattr(sections, "BUSY_SHARES", (0.0, 0.5, 1.0))
    shown = report.Report([], out.line)
    for record in sections.run_busy([peers.PEERS["numpy"]], measure.Budget(0, 1), machine.measure(1)):
        assert all(process.poll() is not None for process in started)
        shown.show(record)
    assert [record["share"] for record in shown.records] == [0, 0.5, 1]
    assert len(started) == 2
    first = shown.records[0]["timings"]
    for record in shown.records:
        for name in ("fastrnn", "numpy"):
            assert record["timings"][name]["quiet"] == first[name]["p50"]
    assert capsys.readouterr().out.count("gru 2,2,3,4 training") == 6


def test_a_mode_is_one_table_whatever_the_order_of_the_words():
    words = ["3,1,2,4", "training:5,1,2,4", "inference:7,1,2,4"]
    chosen = bench_run.choose_cases(words, ["gru", "lstm"], quick=False)
    assert [(case.mode, case.batch, case.cell) for case in chosen] == [
        (mode, batch, cell)
        for mode, batches in (("inference", (3, 7)), ("training", (3, 5)))
        for batch in batches
        for cell in ("gru", "lstm")
    ]


@pytest.mark.skipif(not hasattr(cores.os, "sched_setaffinity"), reason="this system cannot pin")
def test_a_process_starts_pinned_and_this_one_stays_free():
    before = cores.allowed()
    with cores.pinned(cores.choose(1)):
        inside = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], capture_output=True, text=True
        )
    assert inside.stdout.strip() == str(set(cores.choose(1)))
    assert cores.allowed() == before
