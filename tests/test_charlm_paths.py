"""Files that are not the command's own are never touched: every path is checked before the first byte is written."""

import json
import os
import sys

import pytest
from charlm_tools import (
    ONE_EPOCH,
    TEXT,
    assert_refused,
    everything,
    make_fifo,
    make_null,
    make_socket,
    save_model,
    start,
    train,
)

from fastrnn import files
from fastrnn.charlm import checkpoint, load
from fastrnn.charlm.record import Report
from fastrnn.cli import main, paths
from fastrnn.cli.log import append_to_log, log_path

# -------------------------------------------------------------------------------- inputs stay whole


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("text.txt", "text.txt"),
        ("text.txt", "./folder/../text.txt"),
        ("notes.jsonl", "notes.safetensors"),
        ("notes.jsonl", "notes"),
        ("notes.previous.jsonl", "notes.safetensors"),
        ("notes.previous.safetensors", "notes.safetensors"),
        ("symbolic.txt", "text.txt"),
        ("text.txt", "symbolic.txt"),
        ("hard.txt", "text.txt"),
        ("text.txt", "hard.txt"),
        ("text.txt", "through/text.txt"),
        (".notes.jsonl.lock", "notes.safetensors"),
        (".notes.safetensors.fastrnn-0123abcd", "notes.safetensors"),
    ],
)
def test_a_text_is_never_written_over_or_moved(folder, capsys, text, out):
    (folder / "folder").mkdir()
    (folder / "through").symlink_to(".")
    (folder / "symbolic.txt").symlink_to("text.txt")
    os.link("text.txt", "hard.txt")
    if not (folder / text).exists():
        (folder / text).write_text(TEXT)
    if "previous" in text:  # else nothing would be moved there
        save_model(folder / "notes.safetensors")
        append_to_log("notes.jsonl", Report(1, 1, 1.0, None, 1.0, 1.0))
    assert_refused(capsys, folder, text, "--out", out, saying=text)


def test_a_text_through_standard_input_is_one_too(folder):
    before = everything(folder)
    with open("text.txt") as stream:
        process = start("train", "-", "--out", "text.txt", *ONE_EPOCH, folder=folder, stdin=stream)
        _, err = process.communicate()
    assert process.returncode == 1
    assert "text.txt: the model would go there, which is the text -" in err
    assert everything(folder) == before


def test_the_default_text_is_protected_too(folder, capsys, monkeypatch):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(folder)})
    (folder / "module.py").write_text(TEXT)
    assert_refused(capsys, folder, "--out", "module.py", saying="module.py")


def test_output_that_goes_into_the_text_is_refused(folder):
    with open("text.txt", "a") as stream:
        process = start("train", "text.txt", *ONE_EPOCH, folder=folder, stdout=stream)
        assert "the standard output goes into the text text.txt" in process.communicate()[1]
    assert (folder / "text.txt").read_text() == TEXT


@pytest.mark.parametrize("words", [["info", "m"], ["sample", "m"], ["eval", "m", "text.txt"], ["eval", "n", "m"]])
def test_output_that_goes_into_the_model_is_refused(folder, capsys, monkeypatch, words):
    for name in ("m", "n"):
        save_model(folder / name)
    before = (folder / "m").read_bytes()
    with open("m", "a") as stream:
        monkeypatch.setattr(paths, "_STREAMS", {stream.fileno(): "the standard output"})
        assert main.main(words) == 1
    assert "the standard output goes into the" in capsys.readouterr().err
    assert (folder / "m").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["--plot", "text.png"],
        ["--plot", "m.png", "--out", "m.png"],
        ["--plot", "M.PNG", "--out", "m.png"],
        ["--plot", "log.svg"],
        ["--plot", "other.png", "--out", "./folder/../other.png"],
    ],
)
def test_no_two_outputs_are_one_and_a_picture_is_no_text(folder, capsys, words):
    pytest.importorskip("matplotlib")
    (folder / "folder").mkdir()
    (folder / "text.png").symlink_to("text.txt")
    (folder / "model.jsonl").symlink_to("log.svg")
    assert_refused(capsys, folder, "text.txt", *words, saying="would go there, which is")


@pytest.mark.parametrize("out", ["hard.safetensors", "b.safetensors"])
def test_the_resumed_model_is_an_input_but_where_it_is_the_output(folder, capsys, out):
    assert train(capsys, "text.txt", "--out", "b.safetensors")[0] == 0
    assert train(capsys, "text.txt", "--out", "b.safetensors")[0] == 0
    os.link("b.previous.safetensors", "hard.safetensors")
    words = ["text.txt", "--resume", "b.previous.safetensors", "--out", out, "--epochs", "2"]
    before = everything(folder)
    code = main.main(["train", *words])
    assert code == 1
    assert "which is the model b.previous.safetensors" in capsys.readouterr().err
    assert everything(folder) == before
    assert main.main(["train", *words[:3], "--out", "./b.previous.safetensors", "--epochs", "2"]) == 0


# ------------------------------------------------------------------------ only regular files, links


@pytest.mark.parametrize("make", [make_fifo, make_null, make_socket, os.mkdir])
@pytest.mark.parametrize("name", ["m.safetensors", "m.jsonl", "m.png", "m.previous.safetensors", "m.previous.jsonl"])
def test_what_is_no_regular_file_stays_where_it_is(folder, capsys, make, name):
    words = ["text.txt", "--out", "m.safetensors"]
    if name == "m.png":
        pytest.importorskip("matplotlib")
        words += ["--plot", "m.png"]
    if "previous" in name:
        assert train(capsys, *words)[0] == 0
    make(name)
    assert_refused(capsys, folder, *words, saying=name)
    (folder / "link.safetensors").symlink_to("m.safetensors")
    if name == "m.safetensors":
        assert_refused(capsys, folder, "text.txt", "--out", "link.safetensors", saying="link.safetensors")


@pytest.mark.parametrize("make", [make_fifo, make_null, make_socket, os.mkdir])
def test_saving_from_python_leaves_them_too(tmp_path, make):
    path = tmp_path / "m.safetensors"
    make(path)
    before = everything(tmp_path)
    with pytest.raises(files.UserError, match="expected a regular file or a new name"):
        save_model(path)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("dangling", [False, True])
def test_a_symbolic_link_stays_and_its_target_is_replaced(folder, capsys, dangling):
    (folder / "elsewhere").mkdir()
    link, target = folder / "m.safetensors", folder / "elsewhere" / "real.safetensors"
    link.symlink_to("elsewhere/real.safetensors")
    if not dangling:
        save_model(target)
    for _ in range(2):
        assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
        assert os.readlink(link) == "elsewhere/real.safetensors"
        assert load(target).training["step"] == 42
    assert load(folder / "elsewhere" / "real.previous.safetensors").training["step"] == 42
    assert main.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 0
    assert link.is_symlink() and load(target).training["step"] == 84
    assert not list(folder.rglob("*fastrnn-*")) and not list(folder.rglob("*.lock"))


def test_a_link_to_itself_or_nowhere_is_one_line(folder, capsys):
    (folder / "m.safetensors").symlink_to("m.safetensors")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="m.safetensors: ")
    (folder / "n.safetensors").symlink_to("no/such/folder/n.safetensors")
    assert_refused(capsys, folder, "text.txt", "--out", "n.safetensors", saying="no such folder")


# -------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("model", "log", "previous"),
    [
        ("m.safetensors", "m.jsonl", "m.previous.safetensors"),
        ("run-lr0.01", "run-lr0.01.jsonl", "run-lr0.01.previous"),
        ("m.v2.safetensors", "m.v2.jsonl", "m.v2.previous.safetensors"),
        ("a.safetensors.bak", "a.safetensors.bak.jsonl", "a.safetensors.bak.previous"),
        (".safetensors", ".jsonl", ".safetensors.previous"),
    ],
)
def test_nothing_after_a_dot_in_the_middle_is_an_ending(tmp_path, model, log, previous):
    assert log_path(tmp_path / model) == tmp_path / log
    assert paths.with_previous(tmp_path / model) == tmp_path / previous


def test_models_whose_names_have_dots_have_logs_of_their_own(folder, capsys):
    for name in ("run-lr0.01", "run-lr0.02"):
        assert train(capsys, "text.txt", "--out", name)[0] == 0
    assert sorted(os.listdir()) == ["run-lr0.01", "run-lr0.01.jsonl", "run-lr0.02", "run-lr0.02.jsonl", "text.txt"]


@pytest.mark.parametrize("length", [230, 245, 252, 255, 300, 5000])
def test_a_name_that_becomes_too_long_is_said_before_the_first_step(folder, capsys, length):
    name = "x" * (length - 12) + ".safetensors"
    if length > 230:
        assert_refused(capsys, folder, "text.txt", "--out", name, saying="File name too long")
    else:
        for _ in range(2):
            assert train(capsys, "text.txt", "--out", name)[0] == 0


@pytest.mark.parametrize("option", ["--out", "--resume", "--plot"])
@pytest.mark.parametrize("name", ["", "-", "a\0b", "folder/"])
def test_words_that_name_no_file_are_refused(folder, capsys, option, name):
    assert_refused(capsys, folder, "text.txt", option, name, saying=f"argument {option}: ")


# -------------------------------------------------------------------------------------------- bench


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_files_of_the_bench_follow_the_same_rules(folder, capsys, monkeypatch, option):
    from fastrnn.bench import worker

    if option == "--plot":
        pytest.importorskip("matplotlib")
    name = "b.json" if option == "--json" else "b.png"
    monkeypatch.setattr(worker, "records", lambda plan: pytest.fail("something was measured"))
    words = ["bench", "--peers", "numpy", "--cases", "1,1,8,8", option]
    for make, saying in ((make_fifo, "a FIFO"), (os.mkdir, "a folder")):
        make(name)
        assert main.main([*words, name]) == 1
        err = capsys.readouterr().err
        assert saying in err and err.count("\n") == 1
        os.rmdir(name) if os.path.isdir(name) else os.unlink(name)
    assert main.main([*words, "no/such/" + name]) == 1
    assert "no such folder" in capsys.readouterr().err
    for wrong in ("", "x" * 300 + name):
        assert main.main([*words, wrong]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_one_file_for_figures_and_picture_is_refused(folder, capsys):
    pytest.importorskip("matplotlib")
    words = ["bench", "--peers", "numpy", "--cases", "1,1,8,8", "--json", "b.png", "--plot", "./b.png"]
    assert main.main(words) == 1
    assert "the picture would go there, which is the table of figures" in capsys.readouterr().err


def test_figures_of_the_bench_keep_what_is_not_theirs(folder, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    from fastrnn.bench import worker
    from fastrnn.cli import bench_run

    case = {
        "kind": "case", "mode": "inference", "cell": "lstm", "batch": 1, "time": 2, "inputs": 3, "hidden": 4,
        "layers": 1, "name": "lstm 1,2,3,4", "call": "layer", "cores": 1, "flop": 1.0, "ratio": 2.0, "gflops": 1.0,
        "share": 0.5,
        "timings": {"fastrnn": {"median": 1.0}, "numpy": {"median": 2.0}}, "best_peer": "numpy", "bound_seconds": 0.5,
        "limit": "FMA", "failed": {"torch": "two\nlines \x1b[31m"},
    }  # fmt: skip
    machine = {
        "kind": "machine", "cores": 1, "processor": "any", "isa": "any", "sizes": {}, "bandwidth": {},
        "barrier_ns": 0.0, "fma_gflops": 1.0,
    }  # fmt: skip
    monkeypatch.setattr(worker, "records", lambda plan: iter([machine, case]))
    monkeypatch.setattr(sys, "argv", ["fastrnn", "bench"])
    (folder / "b.json").write_text("precious")
    (folder / "b.png").write_text("photo")
    for _ in range(2):
        words = ["bench", "--peers", "numpy", "--cases", "1,1,8,8", "--json", "b.json", "--plot", "b.png"]
        assert main.main(words) == 0
        out = capsys.readouterr().out
        assert r"torch left out: two\nlines \x1b[31m" in out
    assert (folder / "b.previous.json").read_text() == "precious"
    assert (folder / "b.previous.png").read_text() == "photo"
    assert json.loads((folder / "b.json").read_text())["records"] == [case]
    assert bench_run.json_file("b.json").ours(folder / "b.json")
    assert checkpoint.is_model("b.json") is False
