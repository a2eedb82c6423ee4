"""`python -m fastrnn.torch` runs an unchanged program as Python itself does, with its layers on fastrnn."""

import subprocess
import sys
import zipfile

import pytest

pytest.importorskip("torch")
slow = pytest.mark.slow

PROGRAM = """
import os, sys
from helper import told
print(__name__, sys.argv, sys.path[0], __file__, __package__, sys.modules["__main__"].told is told)
"""
LAYER = """
import fastrnn.torch, torch
torch.nn.LSTM(2, 3)(torch.zeros(4, 1, 2))
print(fastrnn.torch.is_enabled(), fastrnn.torch.report())
"""


@pytest.fixture
def programs(tmp_path):
    """A folder with programs, a module beside them and a package."""
    (tmp_path / "helper.py").write_text("told = object()\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "layer.py").write_text(LAYER)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(PROGRAM)
    (tmp_path / "package" / "inner.py").write_text(PROGRAM)
    return tmp_path


def run(folder, *arguments, ours=True, python=()):
    command = [sys.executable, *python, *(["-m", "fastrnn.torch"] if ours else []), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def both(folder, *arguments, python=()):
    """The outputs, errors and exit codes of a program with ours and of Python alone."""
    return [run(folder, *arguments, ours=ours, python=python) for ours in (True, False)]


@pytest.mark.parametrize("arguments", [
    ["./program.py", "--report", "-m", "--", "x", "--help"], ["package"], ["-m", "package.inner", "-m", "--", "z"],
    *(pytest.param(arguments.split(), marks=slow, id=arguments)
      for arguments in ("program.py", "package/inner.py", "-m program -v", "-m package", "archive.zip -x")),
])  # fmt: skip
def test_a_program_finds_what_python_gives_it(programs, arguments):
    """Its name, sys.argv, sys.path[0], __file__, __package__ and itself as __main__."""
    with zipfile.ZipFile(programs / "archive.zip", "w") as archive:
        archive.write(programs / "program.py", "__main__.py")
        archive.write(programs / "helper.py", "helper.py")
    if "inner.py" in arguments[0] or arguments == ["package"]:
        (programs / "package" / "helper.py").write_text("told = object()\n")
    ours, plain = both(programs, *arguments)
    assert (ours.stdout, ours.returncode) == (plain.stdout, 0), ours.stderr
    assert ours.stderr == ""


def test_its_layers_run_here(programs):
    done = run(programs, "--report", "layer.py")
    assert done.stdout == "True {'lstm': {'fastrnn': 1}}\n"
    assert done.stderr == "lstm: fastrnn: 1\n"


@pytest.mark.parametrize(("text", "code"), [
    ("import sys; sys.exit(7)", 7), ("raise ValueError('no')", 1),
    *(pytest.param(text, code, marks=slow) for text, code in (
        ("raise SystemExit('bad')", 1), ("", 0), ("def broken(:", 1), ("import os; os._exit(3)", 3),
        ("raise KeyboardInterrupt", None))),
])  # fmt: skip
def test_a_program_ends_as_in_python(programs, text, code):
    """Its exit code and the end of its message; the report is printed all the same."""
    (programs / "ends.py").write_text(text + "\n")
    ours, plain = both(programs, "ends.py")
    assert ours.returncode == plain.returncode
    assert code is None or ours.returncode == code
    assert ours.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]
    assert f"{programs}/ends.py" in ours.stderr or f"{programs}/ends.py" not in plain.stderr


@pytest.mark.parametrize("arguments", [["missing.py"], pytest.param(["-m", "package.missing"], marks=slow)])
def test_a_program_that_is_not_there(programs, arguments):
    ours = run(programs, *arguments)
    assert ours.returncode != 0
    assert arguments[-1].split(".")[0] in ours.stderr


@slow
def test_a_command_without_a_program_explains_itself(programs):
    ours = run(programs)
    assert ours.returncode == 2
    assert "SCRIPT" in ours.stderr
    assert "SCRIPT" in run(programs, "--help").stdout


def test_a_program_whose_functions_run_at_the_end(programs):
    """atexit, a thread that outlives the main one, pickles of its own classes."""
    (programs / "late.py").write_text(
        "import atexit, pickle, threading, time\n"
        "class Own: pass\n"
        "value = [1]\n"
        "def late(): print('late', value, type(pickle.loads(pickle.dumps(Own()))).__name__)\n"
        "atexit.register(late)\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), late())).start()\n"
    )
    ours, plain = both(programs, "late.py")
    assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, plain.stderr, 0)
    assert ours.stdout.count("late") == 2


def test_a_program_that_starts_processes(programs):
    """Spawned and forked ones find its functions."""
    (programs / "starts.py").write_text(
        "import multiprocessing, sys\n"
        "def work(n): return n * 2\n"
        "if __name__ == '__main__':\n"
        "    for way in ('spawn', 'fork'):\n"
        "        with multiprocessing.get_context(way).Pool(1) as pool:\n"
        "            print(way, pool.map(work, [1, 2]))\n"
    )
    ours, plain = both(programs, "starts.py")
    assert (ours.stdout, ours.returncode) == (plain.stdout, 0), ours.stderr


@slow
def test_safe_paths_stay_safe(programs):
    """With -P Python puts no folder in front of sys.path."""
    (programs / "path.py").write_text("import sys; print(sys.path[:2])\n")
    ours, plain = both(programs, "path.py", python=["-P"])
    assert (ours.stdout, ours.returncode) == (plain.stdout, 0), ours.stderr


def test_a_program_that_is_not_there_is_said_in_a_line(programs):
    done = run(programs, "nowhere.py")
    assert (done.returncode, done.stderr) == (1, "python -m fastrnn.torch: nowhere.py: no such file\n")
