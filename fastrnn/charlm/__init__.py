"""A character language model, written on fastrnn's public names: what the command `fastrnn` trains.

Its files::

    text.py        the vocabulary, the default text, words for messages
    settings.py    every option of a run, its default and legal values
    model.py       recurrent layers and a linear head
    train.py       one step, its place in the text, saving and resuming;  loop.py: the training loop
    evaluate.py    loss over a text; what compressors reach
    sample.py      drawing text
    checkpoint.py  model files (safetensors);  record.py: the training record in them
    files.py       replacing files in one step
    errors.py      the exception for what the user can put right

Nothing here reads the command line or writes to the terminal: that is `fastrnn/cli/`.
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
