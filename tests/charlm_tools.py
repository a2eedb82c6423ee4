"""What the tests of the character model share: tiny models, and the command as a subprocess."""

import os
import subprocess
import sys

from fastrnn.charlm import CharacterModel, Settings, Trainer, Vocabulary
from fastrnn.charlm import checkpoint as files

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
    files.save(path, model, vocabulary)
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
