"""What cannot be written is said before the first step; a file is replaced whole, with its mode and owner."""

import errno
import os
import stat
import subprocess
import sys
import threading

import pytest
from charlm_tools import (
    ONE_EPOCH,
    assert_refused,
    everything,
    needs_flock,
    run,
    save_model,
    train,
)

from fastrnn import files
from fastrnn.charlm import load
from fastrnn.charlm.record import Report
from fastrnn.cli import log, main, paths
from fastrnn.cli import train as train_command
from fastrnn.cli.log import append_to_log

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


# --------------------------------------------------------------------------- what cannot be written


def test_a_log_that_cannot_be_written_is_said_before_the_first_step(folder, capsys, monkeypatch):
    monkeypatch.setattr(train_command, "_train", lambda *arguments: pytest.fail("a step was made"))
    os.mkdir("m.jsonl")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="m.jsonl: a folder")


@pytest.mark.skipif(IS_ROOT, reason="root may write everything")
@pytest.mark.parametrize("name", ["m.jsonl", "m.safetensors", "."])
def test_what_is_read_only_is_said_before_the_first_step(folder, capsys, name):
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    os.chmod(name, 0o555)
    try:
        before = everything(folder)
        assert main.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 1
        assert "read-only" in capsys.readouterr().err
        assert everything(folder) == before
    finally:
        os.chmod(name, 0o755)


@pytest.mark.parametrize("name", ["m.safetensors", "m.jsonl", "m.previous.safetensors"])
def test_somebody_elses_file_in_a_sticky_folder_is_said_before_the_first_step(folder, capsys, monkeypatch, name):
    """In /tmp, say, everybody may write a file of mode 666, but only its owner may replace it."""
    for _ in range(2):
        assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    file, above = os.stat(name), os.stat(".")
    assert paths._may_replace(file, above)
    above = os.stat_result([above.st_mode | stat.S_ISVTX, *above[1:]])
    me = above.st_uid
    assert paths._may_replace(file, above)
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert not paths._may_replace(file, above)
    monkeypatch.setattr(paths, "_may_replace", lambda file, above: file.st_ino != os.stat(name).st_ino)
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="belongs to somebody else")


def test_read_only_is_what_the_system_says(folder, capsys, monkeypatch):
    """As above, for root, whom the system lets write everything."""
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    for name in ("m.jsonl", "m.safetensors", str(folder)):
        monkeypatch.setattr(os, "access", lambda path, mode, name=name: not str(path).endswith(name))
        before = everything(folder)
        assert main.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 1
        assert "read-only" in capsys.readouterr().err
        assert everything(folder) == before


def test_the_save_comes_before_the_lines_about_its_step(folder, capsys, monkeypatch):
    def lost(path, report):
        assert load("m.safetensors").training["step"] == report.step
        steps.append(report.step)
        raise OSError(errno.ENOSPC, "No space left on device")

    steps = []
    monkeypatch.setattr(log, "append_to_log", lost)
    code, err = train(capsys, "text.txt", "--out", "m.safetensors")
    assert code == 0  # a line of the log is not worth a training run
    assert steps == [42]
    assert err.count("m.jsonl: No space left on device; lines of the log are missing from here on") == 1


def test_a_line_of_the_log_that_failed_leaves_nothing_behind(tmp_path, monkeypatch):
    path, report = tmp_path / "m.jsonl", Report(1, 1, 1.0, None, 1.0, 1.0)
    append_to_log(path, report)
    whole = path.read_bytes()
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(whole) + 20},) * 2)\n"
        "from fastrnn.charlm.record import Report\n"
        "from fastrnn.cli.log import append_to_log\n"
        f"append_to_log({str(path)!r}, Report(1, 2, 1.0, None, 1.0, 1.0))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "File too large" in process.stderr
    assert path.read_bytes() == whole


def test_a_full_disk_is_one_line_that_says_what_to_do_and_the_old_model_stays(folder):
    assert run("train", "text.txt", *ONE_EPOCH, "--out", "m.safetensors", folder=folder)[0] == 0
    before = (folder / "m.safetensors").read_bytes()
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from fastrnn.cli import main\n"
        "sys.exit(main.main(['train', 'text.txt', '--resume', 'm.safetensors', '--epochs', '2']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last.startswith("fastrnn: m.safetensors: step 84 could not be saved: File too large; make room there")
    assert last.endswith("which is whole, with --resume m.safetensors")
    assert (folder / "m.safetensors").read_bytes() == before
    assert sorted(os.listdir()) == ["m.jsonl", "m.safetensors", "text.txt"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EIO, errno.EACCES])
def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch, number):
    real = os.fsync

    def flush(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", flush)
    save_model(tmp_path / "m.safetensors")
    load(tmp_path / "m.safetensors")


def test_a_file_that_cannot_be_flushed_is_an_error_with_its_name(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"Input/output error: '.*m\.safetensors'"):
        save_model(tmp_path / "m.safetensors")
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------ replacing and modes


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400])
def test_a_replaced_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "m.safetensors"
    save_model(path)
    path.chmod(mode)
    save_model(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path)
    os.chown(path, 12345, 54321)
    save_model(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_threads_may_save_to_one_path(tmp_path):
    path = tmp_path / "m.safetensors"
    failures = []

    def save():
        try:
            for _ in range(20):
                files.replace_file(path, b"x" * 10_000)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert os.listdir(tmp_path) == ["m.safetensors"]


@needs_flock
def test_strays_of_dead_processes_are_taken_away_and_no_others(tmp_path):
    path = tmp_path / "m.safetensors"
    stray, other, foreign, used = (
        tmp_path / name
        for name in (
            ".m.safetensors.fastrnn-0123abcd",
            ".n.safetensors.fastrnn-0123abcd",
            ".m.safetensors.fastrnn-notes",
            ".m.safetensors.fastrnn-89abcdef",
        )
    )
    for file in (stray, other, foreign, used):
        file.touch()
    with open(used) as held:
        files.fcntl.flock(held, files.fcntl.LOCK_EX)
        files.replace_file(path, b"")
    assert sorted(tmp_path.iterdir()) == sorted([path, other, foreign, used])
    files.replace_file(path, b"")
    assert not used.exists()
