"""A character language model on fastrnn's public API: the command `fastrnn`.

Its files::

    text.py        the vocabulary;  reading.py: files, pipes, compressed texts, other encodings
    settings.py    every option of a run, its default and legal values
    model.py       recurrent layers and a linear head
    train.py       steps, resuming, the training loop
    evaluate.py    loss over a text; what compressors reach
    sample.py      drawing text
    checkpoint.py  model files (safetensors);  record.py: the training record in them
    paths.py       every path of a command, checked before the first byte is written
    files.py       replacing files in one step, locks
    output.py      every line that is written;  shell.py: command lines to be pasted
    progress.py    bar, lines, log;  picture.py: plots;  interrupt.py: Ctrl-C and other signals
    cli.py         the command;  command_*.py: one subcommand each;  options.py: what they share
"""

from .checkpoint import ModelFile, load
from .errors import UserError
from .evaluate import mean_loss
from .model import CharacterModel
from .sample import generate
from .settings import ModelSettings, Settings
from .text import UnknownCharacterError, Vocabulary
from .train import Trainer

__all__ = [
    "CharacterModel",
    "ModelFile",
    "ModelSettings",
    "Settings",
    "Trainer",
    "UnknownCharacterError",
    "UserError",
    "Vocabulary",
    "generate",
    "load",
    "mean_loss",
]
