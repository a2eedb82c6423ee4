"""What stands where the command writes is kept beside it, and nothing of somebody else's is written over."""

import os
import shutil

import pytest
from charlm_tools import (
    ONE_EPOCH,
    assert_refused,
    make_fifo,
    run,
    train,
)

from fastrnn.charlm import load
from fastrnn.cli import log, main
from fastrnn.cli.log import read_log


def test_what_is_in_the_way_is_kept_also_when_another_model_goes_on(folder, capsys):
    for name in ("a", "b"):
        assert train(capsys, "text.txt", "--out", f"{name}.safetensors")[0] == 0
    model, log = (folder / "b.safetensors").read_bytes(), (folder / "b.jsonl").read_bytes()
    words = ["train", "text.txt", "--resume", "a.safetensors", "--out", "b.safetensors", "--epochs", "2"]
    assert main.main(words) == 0
    err = capsys.readouterr().err
    for name, kept in (("b.previous.safetensors", model), ("b.previous.jsonl", log)):
        assert f"as {name}" in err
        assert (folder / name).read_bytes() == kept
    assert [report.step for report in read_log("b.jsonl")] == [84]
    assert load("a.safetensors").training["step"] == 42


@pytest.mark.parametrize("name", ["m.safetensors", "m.jsonl"])
def test_somebody_elses_file_is_kept_and_never_overwritten(folder, capsys, name):
    (folder / name).write_text("precious\n")
    kept = folder / name.replace("m.", "m.previous.")
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    assert kept.read_text() == "precious\n"
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="fastrnn did not write it")
    assert kept.read_text() == "precious\n"


def test_somebody_elses_log_is_kept_when_a_run_goes_on(folder, capsys):
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    (folder / "m.jsonl").write_text('{"question": 1}\n')
    assert main.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 0
    assert (folder / "m.previous.jsonl").read_text() == '{"question": 1}\n'
    assert [report.step for report in read_log("m.jsonl")] == [84]


def in_the_middle(monkeypatch, action):
    """Have `action` done once, after the first line of a run's log."""
    real, waiting = log.append_to_log, [action]

    def appended(path, report):
        real(path, report)
        if waiting:
            waiting.pop()()

    monkeypatch.setattr(log, "append_to_log", appended)


def test_what_somebody_puts_in_the_way_while_a_run_goes_on_is_kept(folder, capsys, monkeypatch):
    def put():
        for name in ("m.safetensors", "m.jsonl"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_text("mine")

    in_the_middle(monkeypatch, put)
    code, err = train(capsys, "text.txt", "--out", "m.safetensors", "--report-every", "20")
    assert code == 0
    assert err.count("kept the earlier m.") == 2
    assert (folder / "m.previous.safetensors").read_text() == (folder / "m.previous.jsonl").read_text() == "mine"
    assert load("m.safetensors").training["step"] == 42
    assert [report.step for report in read_log("m.jsonl")] == [40, 42]


@pytest.mark.parametrize("make", [make_fifo, os.mkdir])
def test_a_log_that_becomes_something_else_ends_no_run(folder, capsys, monkeypatch, make):
    def put():
        os.unlink("m.jsonl")
        make("m.jsonl")

    in_the_middle(monkeypatch, put)
    code, err = train(capsys, "text.txt", "--out", "m.safetensors", "--report-every", "20")
    assert code == 0
    assert err.count("lines of the log are missing from here on") == 1
    assert load("m.safetensors").training["step"] == 42


def test_a_folder_that_is_removed_while_a_run_goes_on_is_one_line(folder, capsys, monkeypatch):
    (folder / "o").mkdir()
    in_the_middle(monkeypatch, lambda: shutil.rmtree("o"))
    code, err = train(capsys, "text.txt", "--out", "o/m.safetensors", "--report-every", "20")
    assert code == 1
    saying = "o/m.safetensors: step 42 could not be saved: cannot be written there: no such folder; mend that, then"
    assert err.splitlines()[-1] == f"fastrnn: {saying} start again"


def test_a_run_that_never_saved_costs_no_earlier_log(folder, capsys, monkeypatch):
    """Its own log stays alone: moved aside, it would replace that of the earlier model."""
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    earlier = (folder / "m.jsonl").read_bytes()

    def fail():
        raise FloatingPointError("the loss is not finite")

    with monkeypatch.context() as patch:
        in_the_middle(patch, fail)
        assert train(capsys, "text.txt", "--out", "m.safetensors", "--report-every", "20")[0] == 1
    assert not (folder / "m.safetensors").exists() and (folder / "m.jsonl").read_bytes().count(b"\n") == 1
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    assert (folder / "m.previous.jsonl").read_bytes() == earlier
    assert load("m.previous.safetensors").training["step"] == 42
    assert read_log("m.jsonl")[-1].step == 42


def test_an_empty_file_is_nothing_to_keep(folder, capsys):
    (folder / "m").touch()
    assert train(capsys, "text.txt", "--out", "m")[0] == 0
    assert sorted(os.listdir()) == ["m", "m.jsonl", "text.txt"]


def test_a_picture_of_somebody_else_is_kept_and_our_own_is_replaced(folder, capsys):
    pytest.importorskip("matplotlib")
    for ending in ("png", "svg", "pdf"):
        (folder / f"p.{ending}").write_text("photo")
        for _ in range(2):
            assert train(capsys, "text.txt", "--plot", f"p.{ending}")[0] == 0
        assert (folder / f"p.previous.{ending}").read_text() == "photo"
        assert len((folder / f"p.{ending}").read_bytes()) > 1000


def test_a_picture_is_ours_by_what_it_is(folder, capsys):
    pytest.importorskip("matplotlib")
    (folder / "p.svg").write_text("my notes on what was drawn by fastrnn")
    for name in ("p.svg", "p.jpg"):
        for _ in range(3):
            assert train(capsys, "text.txt", "--plot", name)[0] == 0
    assert (folder / "p.previous.svg").read_text() == "my notes on what was drawn by fastrnn"
    assert not (folder / "p.previous.jpg").exists()


def test_what_is_set_for_matplotlib_ends_no_run(folder, capsys, monkeypatch):
    """A notebook's backend that is not installed here, a style that needs LaTeX, a size that is none."""
    pytest.importorskip("matplotlib")
    (folder / "matplotlibrc").write_text("text.usetex: true\nfont.size: 1e9\nfigure.figsize: -1, 2\n")
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    code, _, err = run("train", "text.txt", "--plot", "p.png", *ONE_EPOCH)
    assert code == 0, err
    assert len((folder / "p.png").read_bytes()) > 1000


def test_a_picture_that_cannot_be_drawn_is_said_before_the_first_step(folder, capsys):
    pytest.importorskip("matplotlib")
    for name, saying in (("p.xyz", ".png"), ("p", ".png"), ("no/p.png", "no such folder")):
        assert_refused(capsys, folder, "text.txt", "--plot", name, saying=saying)
