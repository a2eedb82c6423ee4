"""One run writes a model: a second one is refused, and a lock ends with its process."""

import errno
import os
import stat

import pytest
from charlm_tools import (
    assert_refused,
    make_fifo,
    make_null,
    make_socket,
    needs_flock,
    save_model,
    start,
    tiny_options,
    train,
)

from fastrnn import files
from fastrnn.charlm import load
from fastrnn.cli.lock import held, lock_path


@needs_flock
@pytest.mark.parametrize("second", ["m.safetensors", "./m.safetensors", "link.safetensors", "m"])
def test_a_second_run_says_who_holds_the_model(folder, capsys, second):
    (folder / "link.safetensors").symlink_to("m.safetensors")
    save_model("m.safetensors")
    save_model("m")
    with held(lock_path(folder / "m.jsonl"), "m.safetensors"):
        code, err = train(capsys, "text.txt", "--out", second)
    assert code == 1
    assert f"{second.removeprefix('./')}: process {os.getpid()} is writing this model" in err
    assert sorted(os.listdir()) == ["link.safetensors", "m", "m.safetensors", "text.txt"]


@needs_flock
def test_a_lock_ends_with_its_process_however_it_ends(folder, capsys):
    options = tiny_options(epochs=10**6, **{"report-every": 1})
    process = start("train", "text.txt", *options, "--out", "m.safetensors", folder=folder)
    for _ in range(4):
        process.stderr.readline()
    code, err = train(capsys, "text.txt", "--out", "m.safetensors")
    assert code == 1 and f"process {process.pid} is writing this model" in err
    process.kill()
    process.communicate()
    assert (folder / ".m.jsonl.lock").exists()
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    assert not (folder / ".m.jsonl.lock").exists()


@needs_flock
def test_an_earlier_model_that_another_run_writes_is_not_overwritten(folder, capsys):
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    with held(lock_path(folder / "m.previous.jsonl"), "m.previous.safetensors"):
        code, err = train(capsys, "text.txt", "--out", "m.safetensors")
    assert code == 1
    assert "m.previous.safetensors: process" in err
    assert load("m.safetensors").training["step"] == 42


@pytest.mark.parametrize("missing", ["module", "support"])
def test_where_there_are_no_locks_training_does_without(folder, capsys, monkeypatch, missing):
    class Unsupported:
        LOCK_EX = LOCK_NB = 0

        def flock(self, *arguments):
            raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(files, "fcntl", None if missing == "module" else Unsupported())
    for _ in range(2):
        assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    names = ["m.jsonl", "m.previous.jsonl", "m.previous.safetensors", "m.safetensors", "text.txt"]
    assert sorted(os.listdir()) == names


@pytest.mark.parametrize("make", [make_fifo, make_null, make_socket, os.mkdir])
@pytest.mark.parametrize("name", [".m.jsonl.lock", ".m.previous.jsonl.lock", ".m.safetensors.fastrnn-01234567"])
def test_what_is_no_regular_file_is_no_lock_and_no_stray(folder, capsys, make, name):
    """A FIFO would be waited for without end, a device be opened and its node taken away."""
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    make(name)
    kind = stat.S_IFMT(os.lstat(name).st_mode)
    code, err = train(capsys, "text.txt", "--out", "m.safetensors")
    assert code == (1 if "lock" in name else 0)
    assert code == 0 or f"{name}: expected to be a lock" in err
    assert stat.S_IFMT(os.lstat(name).st_mode) == kind
    assert load("m.safetensors").training["step"] == 42


@needs_flock
def test_another_runs_lock_stays_where_ours_was_taken_away(tmp_path):
    lock = tmp_path / ".m.jsonl.lock"
    with held(lock, "m"):
        lock.unlink()
        lock.touch()
    assert lock.exists()


def test_an_empty_file_with_another_name_is_no_lock(folder, capsys):
    (folder / "empty").touch()
    os.link("empty", ".m.jsonl.lock")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying=".m.jsonl.lock: expected")


def test_a_foreign_file_with_the_locks_name_stays(folder, capsys):
    (folder / ".m.jsonl.lock").write_text("mine")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying=".m.jsonl.lock: expected")
    (folder / ".m.jsonl.lock").unlink()
    (folder / ".m.jsonl.lock").symlink_to("text.txt")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="text.txt")
