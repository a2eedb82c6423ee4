"""What the tests of the character model and of the command share: tiny models, the command, files of every kind."""

import os
import stat
import subprocess
import sys

import pytest

from fastrnn import files
from fastrnn.charlm import CharacterModel, Settings, Trainer, Vocabulary, checkpoint
from fastrnn.cli import main

TEXT = "she sells sea shells by the sea shore; the shells she sells are sea shells.\n" * 20


def tiny(**changes):
    """Settings of a model that trains in milliseconds."""
    values = {"layers": 1, "hidden": 16, "batch": 4, "seq": 8, "epochs": 2, "val_frac": 0.1}
    return Settings(**{**values, "sample_every": 0, **changes})


def tiny_options(**changes):
    """The same settings as words of a command line."""
    values = {"layers": 1, "hidden": 16, "batch": 4, "seq": 8, "epochs": 2, "val-frac": 0.1}
    values = {**values, "sample-every": 0, **changes}
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


ONE_EPOCH = tiny_options(epochs=1)


def trained(text=TEXT, steps=None, **changes):
    """A Trainer after `steps` steps (by default all)."""
    trainer = Trainer(tiny(**changes), text)
    for _ in range(trainer.steps if steps is None else steps):
        trainer.train_step()
    return trainer


def save_model(path, text=TEXT, **changes):
    """An untrained model's file without a training record; returns (model, vocabulary)."""
    vocabulary = Vocabulary.from_text(text)
    model = CharacterModel(tiny(**changes), len(vocabulary), seed=1)
    checkpoint.save(path, model, vocabulary)
    return model, vocabulary


def start(*words, folder=None, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "fastrnn", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, cwd=folder, text=True, env=environment, **pipes)


def run(*words, folder=None, stdin=None):
    """Run the command to its end; returns (exit code, standard output, standard error)."""
    process = start(*words, folder=folder, stdin=None if stdin is None else subprocess.PIPE)
    out, err = process.communicate(stdin, timeout=60)
    return process.returncode, out, err


# -------------------------------------------------------------------------------- folders and files

needs_flock = pytest.mark.skipif(files.fcntl is None, reason="this system has no flock")


def everything(folder):
    """What is in a folder: every name with what it is and holds."""
    return {
        str(path.relative_to(folder)): (stat.S_IFMT(path.lstat().st_mode), content(path))
        for path in sorted(folder.rglob("*"))
    }


def content(path):
    if path.is_symlink():
        return os.readlink(path)
    return path.read_bytes() if path.is_file() else None


def train(capsys, *words):
    """`fastrnn train` of one epoch in this process; returns (exit code, standard error)."""
    code = main.main(["train", *map(str, words), *ONE_EPOCH])
    return code, capsys.readouterr().err


def assert_refused(capsys, folder, *words, saying):
    """Exit code 1, one line that says why, and nothing has changed."""
    before = everything(folder)
    code, err = train(capsys, *words)
    assert code == 1
    assert saying in err and err.startswith("fastrnn: ") and err.count("\n") == 1
    assert everything(folder) == before


def make_fifo(path):
    os.mkfifo(path)


def make_node(path, kind):
    try:
        os.mknod(path, 0o666 | kind, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes such nodes")


def make_null(path):
    make_node(path, stat.S_IFCHR)


def make_socket(path):
    make_node(path, stat.S_IFSOCK)
