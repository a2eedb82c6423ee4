"""Output never ends a run: closed streams, readers that leave, small encodings, full disks, signals, threads."""

import ast
import errno
import io
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from charlm_tools import TEXT, save_model, tiny_options

import fastrnn
from fastrnn.charlm import load
from fastrnn.charlm.record import Report
from fastrnn.cli import interrupt, log, main, shell, train
from fastrnn.cli.output import Channel, visible, without_controls
from fastrnn.cli.progress import Bar, Lines, open_progress

OPTIONS = tiny_options(epochs=1, **{"sample-every": 20, "report-every": 20})
posix_only = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell and terminal")


def in_shell(line, *words, **environment):
    """A line for the shell, in which "$@" is the command with these words; returns what has ended."""
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "fastrnn", *words]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)


class Broken(io.StringIO):
    """A stream on which everything fails."""

    encoding = "utf-8"

    def __init__(self, error):
        super().__init__()
        self.error = error

    def fail(self, *arguments):
        raise self.error

    write = flush = fileno = isatty = fail


def ascii_stream():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def closed_stream():
    stream = io.StringIO()
    stream.close()
    return stream


BROKEN = {
    "none": lambda: None,
    "closed": closed_stream,
    "pipe": lambda: Broken(BrokenPipeError(errno.EPIPE, "Broken pipe")),
    "terminal gone": lambda: Broken(OSError(errno.EIO, "Input/output error")),
    "full": lambda: Broken(OSError(errno.ENOSPC, "No space left on device")),
    "would block": lambda: Broken(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")),
    "ascii": ascii_stream,
    "no stream at all": object,
    "a fault of somebody else": lambda: Broken(RuntimeError("reentrant call")),
}


# ---------------------------------------------------------------------------------- one helper for all


def test_everything_is_written_by_one_helper():
    """No other file of the command prints or knows the streams; the bench's worker speaks to its parent."""
    for package in ("cli", "charlm", "bench"):
        for path in Path(fastrnn.__file__).parent.joinpath(package).rglob("*.py"):
            if path.name in ("output.py", "worker.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(node, "id", None) or getattr(node, "attr", None)
                assert name not in ("print", "stdout", "stderr") or (package == "bench" and name != "print"), path


@pytest.mark.parametrize("name", BROKEN)
def test_writing_never_raises(name):
    channel = Channel(BROKEN[name])
    for text in ("plain", "日本語 \udcff\x1b", ""):
        channel.write(text)
        channel.line(text)
        channel.text(text)
    assert channel.has_screen() is False and channel.isatty() is False
    assert isinstance(channel.encoding, str)
    assert channel.lost == (name not in ("none", "ascii"))


@posix_only
def test_a_stream_that_does_not_wait_gets_everything():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    stream = open(writing, "w", encoding="utf-8")  # noqa: SIM115
    channel = Channel(lambda: stream)
    pieces = [f"{number:4096}" for number in range(50)]  # more than a pipe holds
    got = []
    reader = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reading, 512), b"")))
    reader.start()
    for piece in pieces:
        assert channel.write(piece)
    stream.close()
    reader.join()
    os.close(reading)
    assert b"".join(got).decode() == "".join(pieces)


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("which", ["stdout", "stderr"])
def test_training_ends_well_whatever_the_streams_are(folder, monkeypatch, name, which):
    (folder / "zh.txt").write_text("白日依山盡黃河入海流\n" * 100)
    monkeypatch.setattr(sys, which, BROKEN[name]())
    assert main.main(["train", "zh.txt", *OPTIONS]) == 0
    assert load("model.safetensors").training["step"] > 20  # with a sample
    assert main.main(["train", "zh.txt", "--resume", "model.safetensors", "--epochs", "2"]) == 0


@pytest.mark.parametrize(
    ("name", "code"), [("none", 0), ("closed", 1), ("pipe", 1), ("terminal gone", 1), ("full", 1), ("ascii", 0)]
)
def test_commands_whose_result_is_output_say_when_it_is_lost(folder, monkeypatch, capsys, name, code):
    save_model("model")
    for words in (["sample", "model"], ["eval", "model", "text.txt"], ["info", "model"], ["info"]):
        monkeypatch.setattr(sys, "stdout", BROKEN[name]())
        assert main.main(words) == code, words
        err = capsys.readouterr().err
        assert err.count("\n") == (1 if name in ("closed", "terminal gone", "full") else 0)
        if name == "full":
            assert err == "fastrnn: standard output: No space left on device; going on without it\n"


def test_a_reader_that_has_left_ends_sampling_at_once(folder, monkeypatch, capsys):
    save_model("model")
    monkeypatch.setattr(sys, "stdout", BROKEN["pipe"]())
    assert main.main(["sample", "model", "--length", str(10**30)]) == 1
    assert capsys.readouterr().err == ""


def test_help_is_output_too(monkeypatch):
    for make in BROKEN.values():
        monkeypatch.setattr(sys, "stdout", make())
        assert main.main([]) == 0
        for words in (["--help"], ["train", "--help"]):
            with pytest.raises(SystemExit) as left:
                main.main(words)
            assert left.value.code == 0


@pytest.mark.parametrize("value", ["0", "1", "-5", "x", "9" * 30])
def test_help_fits_any_terminal(monkeypatch, capsys, value):
    monkeypatch.setenv("COLUMNS", value)
    with pytest.raises(SystemExit):
        main.main(["train", "--help"])
    assert "--lr-decay" in "".join(capsys.readouterr().out.split())


# ------------------------------------------------------------------------------- as the shell gives them


@posix_only
@pytest.mark.parametrize(
    "line", ['"$@" >&-', '"$@" 2>&-', '"$@" <&- >&- 2>&-', '"$@" >/dev/full', '"$@" 2>/dev/full', '"$@" 2>&1 | head -1']
)
def test_training_goes_on_without_its_streams(folder, line):
    if "/dev/full" in line and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    done = in_shell(line, "train", "text.txt", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert load("model.safetensors").training["step"] == 42
    assert sorted(os.listdir()) == ["model.jsonl", "model.safetensors", "text.txt"]


@posix_only
def test_a_message_never_lands_in_a_file_that_took_the_number_of_a_closed_stream(folder):
    script = (
        "import os, signal, sys\n"
        "from fastrnn.cli import log, main\n"
        "append = log.append_to_log\n"
        "def interrupted(*arguments):\n"
        "    append(*arguments); os.kill(os.getpid(), signal.SIGINT)\n"
        "log.append_to_log = interrupted\n"
        "sys.exit(main.main(['train', 'text.txt', *sys.argv[1:]]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script, *OPTIONS]
    assert subprocess.run(command, env=environment, timeout=60).returncode == 130
    assert [report.step for report in log.read_log("model.jsonl")] == [20, 21]
    assert load("model.safetensors").training["step"] == 21


@posix_only
def test_sampling_to_nobody_is_quiet(folder):
    save_model("model")
    done = in_shell('"$@" >&-', "sample", "model", "--length", "30")
    assert (done.returncode, done.stderr) == (0, "")
    done = in_shell('("$@"; echo "code $?" >&2) | head -c 3', "sample", "model", "--length", "100000")
    assert done.stderr == "code 1\n"


# ------------------------------------------------------------------------------------- bars and lines


def in_terminal(words, **environment):
    """The command with a terminal as its standard error; returns (exit code, what the terminal got)."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "100", **environment}
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "fastrnn", *words]
    process = subprocess.Popen(command, env=given, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    got = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux says so at the end
            break
        if not data:
            break
        got += data
    os.close(ours)
    return process.wait(timeout=60), got.decode(errors="replace")


@posix_only
@pytest.mark.parametrize(
    ("environment", "bar"),
    [
        ({}, True),
        ({"TQDM_DISABLE": "1"}, False),
        ({"TQDM_BAR_FORMAT": "{nonsense}"}, False),
        ({"TQDM_MININTERVAL": "soon"}, None),
        ({"TQDM_ASCII": "1"}, None),
        ({"TERM": "dumb"}, True),
    ],
)
def test_a_terminal_has_a_bar_or_lines(folder, environment, bar):
    code, shown = in_terminal(["train", "text.txt", *OPTIONS], **environment)
    assert code == 0 and "Traceback" not in shown
    assert "saved model.safetensors" in shown
    if bar is not None:
        assert ("100%" in shown) == bar
        assert ("step 42/42" in shown) != bar


def test_lines_take_the_place_of_a_bar_that_fails(monkeypatch):
    class Failing:
        n = last_print_n = miniters = 0

        def __getattr__(self, name):
            raise RuntimeError(name)

    stream = io.StringIO()
    bar = Bar(Failing(), Lines(100, 50, 2, Channel(lambda: stream)), 50, 2)
    bar.advance(1, 2.0)
    bar.report(Report(1, 10, 1.5, 1.25, 1000.0, 60.0))
    bar.close()
    assert stream.getvalue().startswith("epoch 1/2  step 10/100")


@pytest.mark.parametrize("seconds", [0.0, 1e300, float("inf"), float("nan"), 1e15])
def test_no_number_ends_a_line(seconds):
    stream = io.StringIO()
    lines = open_progress(2**60, 0, 2**24, 2**24, stream)
    lines.report(Report(1, 1, 1.5, None, 1e-300, seconds))
    assert "left" in stream.getvalue()


# -------------------------------------------------------------------------------- signals and threads


@posix_only
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGXCPU, signal.SIGUSR1, signal.SIGUSR2])
def test_a_session_that_ends_saves_though_it_says_so_twice(folder, monkeypatch, number):
    def interrupted(path, report):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(log, "append_to_log", interrupted)
    before = signal.getsignal(number)
    assert main.main(["train", "text.txt", *OPTIONS]) == 128 + number
    assert load("model.safetensors").training["step"] == 21
    assert signal.getsignal(number) is before


@posix_only
def test_nohup_stays_in_effect(folder, monkeypatch):
    monkeypatch.setattr(log, "append_to_log", lambda *arguments: os.kill(os.getpid(), signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main.main(["train", "text.txt", *OPTIONS]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_is_noted_though_the_terminal_is_gone(monkeypatch):
    def gone(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(interrupt.os, "write", gone)
    with interrupt.StopRequest() as request:
        signal.raise_signal(signal.SIGINT)
    assert request.signal == signal.SIGINT


def test_the_command_runs_in_any_thread(folder):
    codes = []
    words = [["train", "text.txt", *OPTIONS], ["sample", "model.safetensors"], ["info"]]
    thread = threading.Thread(target=lambda: codes.extend(map(main.main, words)))
    thread.start()
    thread.join()
    assert codes == [0, 0, 0]
    assert load("model.safetensors").training["step"] == 42


# ------------------------------------------------------------------------------------ what is printed


def test_what_is_not_printable_is_escaped():
    assert visible("plain é 日本 🙂") == "plain é 日本 🙂"
    assert visible("a\x1b[31mb\x07\n\t\x9b\u202e\udcff") == r"a\x1b[31mb\x07\n\t\x9b\u202e\udcff"
    assert without_controls("a\x1b\n\t\r\x9b\xa0\u3000\u200d\u202e") == "a\\x1b\n\t\\r\\x9b\xa0\u3000\u200d\u202e"


def test_control_characters_of_names_and_files_are_escaped(folder, capsys):
    evil = "x\x1b]0;owned\x07\ny\u202e.txt"
    (folder / evil).write_text(TEXT)
    assert main.main(["train", evil, *OPTIONS, "--out", "\x1b[2Jm"]) == 0
    for words in (["info", evil], ["eval", "\x1b[2Jm", "no\x1b\n"], ["\x1b[0m\n"], ["train", evil, "--out", evil]):
        assert main.main(words) == 1
    shown = capsys.readouterr()
    for character in "\x1b\x07\u202e":
        assert character not in shown.err
    assert r"learning x\x1b]0;owned\x07\ny\u202e.txt" in shown.err


def test_samples_are_escaped_on_a_terminal_alone(folder, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    text = "".join(map(chr, range(32))) + "\x9b" + "a" * 50
    save_model("model", text)
    shown = []
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        assert main.main(["sample", "model", "--seed", "1", "--length", "200", "--prime", "a\x1b"]) == 0
        shown.append(stream.getvalue())
    assert shown[0] == without_controls(shown[1]) != shown[1]
    assert "\x1b" not in shown[0] and "\x1b" in shown[1]


# ------------------------------------------------------------------------------- commands to be pasted


WORDS = ["plain", "two words", "it's", '"', "$HOME", "a;b", "*", "\\", "~", "", "-x", "#"]
WORDS += ["é", "a\nb", "\x1b[31m", "\udcff9", "'\x1b'"]


@posix_only
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_printed_command_is_what_a_shell_takes(monkeypatch, encoding):
    bash = pytest.importorskip("shutil").which("bash")
    if bash is None:
        pytest.skip("no bash")
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    line = shell.command_line(["printf", r"%s\0", *WORDS])
    assert line.isprintable()
    line.encode(encoding)
    done = subprocess.run([bash, "-c", os.fsencode(line)], capture_output=True)
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in WORDS]


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("/opt/my programs/bin/fastrnn", ["/opt/my programs/bin/fastrnn"]),
        ("/x/__main__.py", ["/opt/my python/bin/python3", "-m", "fastrnn"]),
        ("", ["/opt/my python/bin/python3", "-m", "fastrnn"]),
    ],
)
def test_a_program_with_a_blank_in_its_path_can_be_pasted(folder, capsys, monkeypatch, called, expected):
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python3")
    assert main.main(["train", "text.txt", *OPTIONS, "--seconds", "1e-9"]) == 0
    command = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert command == [*expected, "train", "text.txt", "--resume", "model.safetensors"]


def test_names_that_look_like_options_can_be_pasted(folder, capsys):
    os.rename("text.txt", "-text.txt")
    words = ["train", "--out=-m", "--threads", "1", "--seconds", "1e-9", *OPTIONS]
    assert main.main([*words, "--", "-text.txt", "./-text.txt"]) == 0
    command = shlex.split(capsys.readouterr().err.splitlines()[-1])
    start = command.index("train")
    assert command[start:] == ["train", "--resume=-m", "--threads", "1", "--", "-text.txt", "./-text.txt"]
    assert main.main(command[start:]) == 0
    last = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert last[-3:] == ["sample", "--", "-m"]
    assert main.main(last[-3:]) == 0


def test_no_arguments_to_the_interpreter_are_no_reason_to_fail(monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "executable", None)
    assert shell.program() == ["python", "-m", "fastrnn"]


def test_interrupt_is_one_line_and_130_everywhere(monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    for target, name, words in (
        (train, "_make_trainer", ["train"]),
        (main, "build_parser", []),
        (fastrnn, "config", ["info"]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, interrupted)
            assert main.main(words) == 130
        assert capsys.readouterr().err == "fastrnn: interrupted\n"
