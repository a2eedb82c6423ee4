"""A character language model, written on fastrnn's public names: what the command `fastrnn` trains.

Its files::

    text.py        the vocabulary, the default text, words for messages
    settings.py    every option of a run, its default and legal values
    model.py       recurrent layers and a linear head
    train.py       one step, its place in the text, saving and resuming;  loop.py: the training loop
    evaluate.py    loss over a text; what compressors reach
    reach.py       how far back a gradient reaches, in a model and in fresh cells
    sample.py      drawing text
    checkpoint.py  model files (safetensors);  record.py: the training record in them

Files are read and replaced by `fastrnn/archive.py` and `fastrnn/files.py`.
Nothing here reads the command line or writes to the terminal: that is `fastrnn/cli/`.
"""

from fastrnn.errors import UserError

from .checkpoint import ModelFile, load
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
