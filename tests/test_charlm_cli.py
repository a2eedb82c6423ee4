"""The command: every subcommand as a user types it, Ctrl-C, exit codes and messages."""

import io
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from charlm_tools import TEXT, run, save_model, start, tiny_options

import fastrnn
from fastrnn.charlm import load
from fastrnn.charlm.evaluate import compressed_bits
from fastrnn.charlm.record import Report
from fastrnn.cli import log, main
from fastrnn.cli.log import append_to_log, read_log
from fastrnn.cli.progress import Bar, Lines, open_progress


def call(capsys, *words):
    """The command in this process; returns (exit code, standard output, standard error)."""
    code = main.main([str(word) for word in words])
    return (code, *capsys.readouterr())


def weights(path):
    return load(path).parameters


def assert_same_weights(a, b):
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


# -------------------------------------------------------------------------------------- train


def test_train_writes_model_log_and_lines(folder, capsys):
    options = tiny_options(**{"report-every": 20, "sample-every": 40})
    code, out, err = call(capsys, "train", "text.txt", *options)
    assert code == 0
    assert re.search(r"^--- sample after step 80\n(.|\n){200}\n---\n", out, re.M)
    assert re.search(r"epoch 1/2  step 20/84  loss \d\.\d+  \d+ chars/s  0:00:0\d gone", err)
    assert "write with it" in err
    lines = [json.loads(line) for line in (folder / "model.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 42, 60, 80, 84]
    names = ["epoch", "step", "loss", "val_loss", "chars_per_second", "seconds"]
    assert all(list(line) == names for line in lines)
    assert lines[0]["val_loss"] is None
    assert lines[-1]["val_loss"] < math.log(14)


def test_seconds_stops_saves_and_prints_a_command_that_goes_on(folder, capsys):
    (folder / "my text.txt").write_text(TEXT)
    options = tiny_options(epochs=100000)
    words = ["train", "my text.txt", *options, "--seconds", "0.5", "--out", "m.safetensors"]
    code, _, err = call(capsys, *words, "--threads", "1")
    assert code == 0
    command = shlex.split(err.strip().splitlines()[-1])
    start = command.index("train")
    expected = ["train", "my text.txt", "--resume", "m.safetensors", "--threads", "1"]
    assert command[start:] == expected
    step = load("m.safetensors").training["step"]
    assert step > 0
    code, _, err = call(capsys, *expected, "--seconds", "0.3")
    assert code == 0
    assert load("m.safetensors").training["step"] > step
    steps = [report.step for report in read_log("m.jsonl")]
    assert steps == sorted(set(steps))
    assert step in steps


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_and_the_resumed_run_is_the_same(folder, capsys, number):
    # More lines than a pipe holds, so the run cannot end before the signal comes.
    options = tiny_options(epochs=25, hidden=4, **{"report-every": 1})
    process = start("train", "text.txt", *options, "--out", "part.safetensors", folder=folder)
    first_lines = [process.stderr.readline() for _ in range(4)]
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, first_lines
    assert "finishing this step" in err
    training = load("part.safetensors").training
    assert 0 < training["step"] < 25 * 42
    command = shlex.split(err.strip().splitlines()[-1])
    assert command[-4:] == ["train", "text.txt", "--resume", "part.safetensors"]
    assert call(capsys, *command[-4:])[0] == 0
    assert call(capsys, "train", "text.txt", *options, "--out", "whole.safetensors")[0] == 0
    assert_same_weights("part.safetensors", "whole.safetensors")


def test_second_interrupt_aborts():
    script = (
        "import os, signal, time\n"
        "from fastrnn.cli import main, train\n"
        "def slow(*arguments):\n"
        "    for _ in range(3): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.01)\n"
        "    print('still here')\n"
        "train._train = slow\n"
        "raise SystemExit(main.main(['train', '--hidden', '4', '--layers', '1']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=environment, timeout=60
    )
    assert done.returncode == 130
    assert b"finishing this step" in done.stderr
    assert b"interrupted" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"still here" not in done.stdout


def test_earlier_model_is_kept_aside(folder, capsys):
    options = tiny_options(epochs=1)
    assert call(capsys, "train", "text.txt", *options)[0] == 0
    first = (folder / "model.safetensors").read_bytes()
    code, _, err = call(capsys, "train", "text.txt", *options, "--seed", "2")
    assert code == 0
    assert "kept the earlier model.safetensors as model.previous.safetensors" in err
    assert (folder / "model.previous.safetensors").read_bytes() == first
    assert len((folder / "model.jsonl").read_text().splitlines()) == 1


def test_resume_takes_the_model_from_the_file(folder, capsys):
    options = tiny_options(epochs=1, cell="gru")
    assert call(capsys, "train", "text.txt", *options)[0] == 0
    code, _, err = call(capsys, "train", "text.txt", "--resume", "model.safetensors")
    assert code == 1
    assert "has all its 1 epochs" in err
    words = ["train", "text.txt", "--resume", "model.safetensors", "--epochs", "2"]
    code, _, err = call(capsys, *words, "--cell", "lstm")
    assert code == 1
    assert "--cell lstm contradicts" in err
    assert call(capsys, *words, "--cell", "gru", "--out", "two.safetensors")[0] == 0
    assert load("two.safetensors").training["step"] == 84
    assert load("model.safetensors").training["step"] == 42


def test_plot_needs_matplotlib_and_says_so_before_training(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = call(capsys, "train", "text.txt", *tiny_options(), "--plot", "loss.png")
    assert code == 1
    assert "--plot needs the package matplotlib: pip install matplotlib" in err
    assert not (folder / "model.safetensors").exists()


def test_plot_is_drawn(folder, capsys):
    pytest.importorskip("matplotlib")
    words = ["train", "text.txt", *tiny_options(epochs=1), "--plot", "loss.png"]
    assert call(capsys, *words)[0] == 0
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_default_text_is_named_and_learnt(folder, capsys):
    words = ["train", *tiny_options(batch=50, seq=20), "--seconds", "0.1", "--val-frac", "0"]
    code, _, err = call(capsys, *words)
    assert code == 0
    assert re.search(r"the Python standard library's source \(\d+ files\): \d{7,} characters", err)
    command = shlex.split(err.strip().splitlines()[-1])
    assert command[-3:] == ["train", "--resume", "model.safetensors"]


# ------------------------------------------------------------------------------------ user errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "none.txt"], "none.txt: No such file"),
        (["train", "."], ".: a folder; expected a file"),
        (["train", "latin.txt"], "latin.txt: not UTF-8 text: byte 0xe9 at offset 3"),
        (["train", "empty.txt"], "too short"),
        (["train", "text.txt", "--hidden", "0"], "--hidden is 0; expected at least 1"),
        (["train", "text.txt", "--hidden", "many"], "invalid int value: 'many'"),
        (["train", "text.txt", "--hid", "8"], "unrecognized arguments: --hid"),
        (["train", "text.txt", "--cell", "x"], "--cell is 'x'; expected lstm or gru"),
        (["train", "text.txt", "--threads", "0"], "--threads is 0"),
        (["train", "text.txt", "--seconds", "-1"], "--seconds is -1.0"),
        (["train", "text.txt", "--seconds", "nan"], "--seconds is nan"),
        (["train", "text.txt", "--out", "none/m.safetensors"], "cannot be written"),
        (["train", "text.txt", "--out", "m.jsonl"], ".jsonl is for the log"),
        (["train", "text.txt", "--resume", "none.safetensors"], "no such file"),
        (["train", "text.txt", "--resume", "text.txt"], "not a whole safetensors file"),
        (["train", "text.txt", "--hidden", "10000000", "--batch", "4"], "weights"),
        (["sample", "none.safetensors"], "no such file"),
        (["sample", "model", "--prime", "sea @"], "'@' (U+0040 COMMERCIAL AT), at character 4"),
        (["sample", "model", "--top-p", "2"], "--top-p is 2.0"),
        (["sample", "model", "--length", "-3"], "--length is -3"),
        (["eval", "model", "latin.txt"], "not UTF-8"),
        (["eval", "model", "other.txt"], "--unk skip"),
        (["eval", "model", "empty.txt"], "0 characters"),
        (["eval", "model", "text.txt", "--streams", "0"], "--streams is 0"),
        (["eval", "model", "text.txt", "--last", "0"], "--last is 0.0"),
        (["info", "text.txt"], "of no format that fastrnn reads"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_user_errors_are_one_line_and_exit_1(folder, capsys, words, message):
    (folder / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (folder / "empty.txt").write_text("")
    (folder / "other.txt").write_text("Hello")
    save_model(folder / "model")
    code, out, err = call(capsys, *words)
    assert code == 1
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("fastrnn: ")
    assert message in last
    assert "Traceback" not in err


def test_divergence_is_a_user_error_that_names_the_step(folder, capsys, monkeypatch):
    def overflow(grads, limit):
        raise FloatingPointError("the gradient is not finite")

    monkeypatch.setattr(fastrnn, "clip_grad_norm_", overflow)
    code, _, err = call(capsys, "train", "text.txt", *tiny_options())
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("fastrnn: step 1: the gradient is not finite; a smaller --lr")


# ----------------------------------------------------------------------------------------- sample


def test_sample_is_the_same_for_a_seed_and_starts_with_the_prime(folder, capsys):
    save_model(folder / "model")
    words = ["sample", "model", "--prime", "sea", "--length", "50", "--top-k", "5"]
    _, first, _ = call(capsys, *words, "--seed", "1")
    _, again, _ = call(capsys, *words, "--seed", "1", "--top-p", "1.0")
    _, other, _ = call(capsys, *words, "--seed", "2")
    assert first == again != other
    assert first.startswith("sea")
    assert len(first) == 3 + 50 + 1


def test_sample_can_skip_unknown_characters(folder, capsys):
    save_model(folder / "model")
    words = ["sample", "model", "--unk", "skip", "--length", "2"]
    assert call(capsys, *words, "--prime", "s@e🙂a")[1].startswith("sea")
    assert call(capsys, *words, "--prime", "🙂")[0] == 0


def test_sample_is_written_as_it_is_made(folder):
    save_model(folder / "model", hidden=256, layers=2)
    process = start("sample", "model", "--length", "1000000", folder=folder)
    begin = time.monotonic()
    assert len(process.stdout.read(20)) == 20
    process.stdout.close()  # like `| head`: the command leaves without a word
    assert process.wait(timeout=30) == 1
    assert time.monotonic() - begin < 30
    assert process.stderr.read() == ""
    process.stderr.close()


# ------------------------------------------------------------------------------------------- eval


def test_eval_prints_nats_bits_and_compressors(folder, capsys):
    code, _, _ = call(capsys, "train", "text.txt", *tiny_options())
    assert code == 0
    code, out, _ = call(
        capsys, "eval", "model.safetensors", "text.txt", "--last", "0.1", "--streams", "4"
    )
    assert code == 0
    nats, bits = map(float, re.search(r"^model +(\S+) +(\S+)$", out, re.M).groups())
    history = load("model.safetensors").training["history"]
    assert nats == pytest.approx(history[-1]["val_loss"], abs=1e-4)
    assert bits == pytest.approx(nats / math.log(2), abs=1e-4)
    text = TEXT[len(TEXT) - int(0.1 * len(TEXT)) :]
    for name, size in compressed_bits(text).items():
        assert float(re.search(rf"^{name} +(\S+)$", out, re.M)[1]) == pytest.approx(size, abs=1e-4)


def test_eval_can_skip_unknown_characters(folder, capsys):
    save_model(folder / "model")
    (folder / "new.txt").write_text("sea @ shore 🙂")
    code, out, _ = call(capsys, "eval", "model", "new.txt", "--unk", "skip")
    assert code == 0
    assert "text of 11 characters, 2 unknown ones left out" in out


# ------------------------------------------------------------------------------------- info, help


def test_info_shows_the_machine(capsys):
    code, out, _ = call(capsys, "info")
    assert code == 0
    config = fastrnn.config()
    for word in ("isa", "openmp", "num_threads", "fastrnn", "numpy", "python"):
        assert word in out
    assert config["isa"] in out
    assert np.__version__ in out


def test_info_shows_a_model(folder, capsys):
    assert call(capsys, "train", "text.txt", *tiny_options(epochs=1, cell="ugrnn"))[0] == 0
    code, out, _ = call(capsys, "info", "model.safetensors")
    assert code == 0
    count = sum(value.size for value in weights("model.safetensors").values())
    for words in ("ugrnn", "1 of 16 units", str(count), "14 characters", "1 of 1 epochs", "loss"):
        assert words in out
    save_model(folder / "bare")
    assert "no record" in call(capsys, "info", "bare")[1]


@pytest.mark.parametrize("command", ["train", "sample", "eval", "info", "convert"])
def test_help_of_every_command(capsys, command):
    with pytest.raises(SystemExit) as left:
        main.main([command, "--help"])
    assert left.value.code == 0
    assert f"usage: fastrnn {command}" in capsys.readouterr().out


def test_without_arguments_the_help_is_shown_and_the_module_is_the_command(capsys):
    code, out, _ = call(capsys)
    assert code == 0
    for command in ("train", "sample", "eval", "info"):
        assert command in out
    assert run("info")[0] == 0


# --------------------------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    def fileno(self):
        return 99


def test_bar_on_a_terminal_lines_elsewhere(monkeypatch):
    report = Report(1, 10, 1.5, 1.25, 1000.0, 60.0)
    plain = io.StringIO()
    shown = open_progress(100, 0, 50, 2, plain)
    assert isinstance(shown, Lines)
    shown.advance(1, 1.5)
    shown.report(report)
    assert plain.getvalue() == (
        "epoch 1/2  step 10/100  loss 1.5000  val 1.2500  1000 chars/s  "
        "0:01:00 gone, 0:00:04 left\n"
    )
    terminal = Terminal()
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((0, 0)))
    assert isinstance(open_progress(100, 0, 50, 2, terminal), Lines)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((100, 30)))
    shown = open_progress(100, 90, 50, 2, terminal)
    assert isinstance(shown, Bar)
    shown.report(report)
    for _ in range(10):
        shown.advance(1, 1.5)
        time.sleep(0.02)
    shown.close()
    drawn = terminal.getvalue()
    for words in ("epoch 1/2", "100%", "loss 1.500, val 1.250", "char/s"):
        assert words in drawn


def test_log_of_a_killed_and_resumed_run_has_each_step_once(tmp_path):
    path = tmp_path / "m.jsonl"
    for step, loss in [(10, 3.0), (20, 2.5), (30, 2.0), (20, 2.4), (25, 2.2)]:
        append_to_log(path, Report(1, step, loss, None, 1.0, 1.0))
    assert [(r.step, r.loss) for r in read_log(path)] == [(10, 3.0), (20, 2.4), (25, 2.2)]
    path.write_text("not a log\n")
    with pytest.raises(log.UserError, match="not a log"):
        read_log(path)
