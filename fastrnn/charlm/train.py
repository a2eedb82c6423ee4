"""A character model in training: one step, its place in the text, saving and resuming.

The text without its validation part is cut into B contiguous streams. An epoch starts with zero
state, goes through the streams window by window carrying the state along, and stops gradients
between windows (truncated backpropagation through time).

Everything a step depends on is in the model file: weights, optimiser, carried state, dropout's
generator and the number of steps done. So a resumed run gives bit for bit the weights of one that
was never interrupted.
"""

import math
import time
from collections.abc import Callable

import numpy as np

import fastrnn
from fastrnn.errors import UserError
from fastrnn.module import Module
from fastrnn.optim import Optimizer
from fastrnn.words import AnyPath, shortened

from . import checkpoint
from .evaluate import mean_loss, stream_count
from .model import (
    CharacterModel,
    State,
    check_size,
    state_arrays,
    state_from_arrays,
    state_shapes,
)
from .record import Report, TrainingRecord
from .sample import default_prime, generate
from .settings import Settings
from .text import Vocabulary, fingerprint

_SAMPLE_LENGTH = 200
_SAMPLE_TEMPERATURE = 0.8


def _make_optimizer(settings: Settings, modules: list[Module]) -> Optimizer:
    rules: dict[str, Callable[[], Optimizer]] = {
        "rmsprop": lambda: fastrnn.RMSprop(modules, settings.lr, alpha=settings.rms_alpha),
        "adam": lambda: fastrnn.Adam(modules, settings.lr),
        "adagrad": lambda: fastrnn.Adagrad(modules, settings.lr),
        "sgd": lambda: fastrnn.SGD(modules, settings.lr),
    }
    return rules[settings.optimizer]()


class Trainer:
    """A model in training.

    Parameters
    ----------
    settings : Settings
    text : str
        To learn; its last `settings.val_frac` is for validation only.
    vocabulary : Vocabulary, optional
        Of a trained model; by default all characters of `text`.

    Attributes
    ----------
    left_out : int
        Characters of `text` that the vocabulary lacks, left out because of `settings.unk`.

    Raises
    ------
    UserError
        If the text is too short for one window of the mini-batch, or holds characters that the vocabulary lacks.
    """

    def __init__(self, settings: Settings, text: str, vocabulary: Vocabulary | None = None) -> None:
        self.settings = settings
        if vocabulary is None and settings.unk == "skip":
            raise UserError("--unk skip needs --init-from: a new model knows every character of its text")
        _check_length(settings, len(text))
        self.vocabulary = vocabulary or Vocabulary.from_text(text)
        check_size(settings, len(self.vocabulary))
        known = _known(settings, self.vocabulary, text)
        self.left_out = len(text) - len(known)
        _check_length(settings, len(known), self.left_out)
        codes = self.vocabulary.encode(known)
        split = settings.training_characters(codes.size)
        self._codes, self._validation_codes = codes[:split], codes[split:]
        self._windows = fastrnn.tbptt(
            self._codes, batch_size=settings.batch, seq_length=settings.seq
        )
        self.windows_per_epoch = len(self._windows)
        self.model = CharacterModel(settings, len(self.vocabulary), settings.seed)
        self._grads = self.model.grads
        self._optimizer = _make_optimizer(settings, self.model.modules)
        self._text_sha256 = fingerprint(known)
        self._text_characters = len(known)
        self._state: State = None
        self.step = 0
        self.seconds = 0.0
        self.history: list[Report] = []

    @classmethod
    def fine_tune(cls, model_file: checkpoint.ModelFile, settings: Settings, text: str) -> "Trainer":
        """A trainer that starts with a trained model's weights and vocabulary; all else is as in a new run.

        Parameters
        ----------
        model_file : checkpoint.ModelFile
        settings : Settings
            With the model's architecture (see `settings.fine_tuned`); `unk` says what happens to new characters.
        text : str

        Raises
        ------
        UserError
            If the text is too short, or holds characters that the vocabulary lacks and `unk` is "error".
        """
        trainer = cls(settings, text, model_file.vocabulary)
        trainer.model.load_state_dict(model_file.parameters)
        return trainer

    @classmethod
    def resume(
        cls,
        model_file: checkpoint.ModelFile,
        record: TrainingRecord,
        settings: Settings,
        text: str,
    ) -> "Trainer":
        """A trainer that goes on where a model file stands.

        Parameters
        ----------
        model_file : checkpoint.ModelFile
        record : TrainingRecord
        settings : Settings
            The record's own, or changed where `settings.changed` allows it.
        text : str
            The same text as before.

        Raises
        ------
        UserError
            If the text is another one, or the file does not fit together.
        """
        known = _known(settings, model_file.vocabulary, text)
        if fingerprint(known) != record.text_sha256:
            raise UserError(
                f"this is not the text the model was trained on: it has {len(known)} characters, "
                f"expected {record.text_characters} with SHA-256 {record.text_sha256[:12]}...; "
                "--init-from instead of --resume trains the model on another text"
            )
        trainer = cls(settings, text, model_file.vocabulary)
        trainer._state = _restore(trainer.model, trainer._optimizer, model_file, record)
        trainer.step = record.step
        trainer.seconds = record.seconds
        trainer.history = list(record.history)
        return trainer

    # -------------------------------------------------------------------------------------- place

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.settings.epochs * self.windows_per_epoch

    @property
    def finished(self) -> bool:
        return self.step >= self.steps

    @property
    def window(self) -> int:
        """The next window of the epoch, counted from 0."""
        return self.step % self.windows_per_epoch

    @property
    def epoch(self) -> int:
        """The epoch of the last step, counted from 1."""
        return max(0, self.step - 1) // self.windows_per_epoch + 1

    @property
    def characters_per_step(self) -> int:
        return self.settings.batch * self.settings.seq

    # --------------------------------------------------------------------------------------- step

    def train_step(self) -> float:
        """Learn from the next window.

        Returns
        -------
        float
            The window's mean loss in nats, before the weights changed.

        Raises
        ------
        FloatingPointError
            If the loss or a gradient is not finite; the weights are as before.
        UserError
            If all epochs are done.
        """
        if self.finished:
            raise UserError(f"all {self.settings.epochs} epochs are done; expected more --epochs")
        begin = time.perf_counter()
        if self.window == 0:  # an epoch starts from zero state
            self._state = None
        self._windows.position = self.window
        codes, targets = next(iter(self._windows))
        self._optimizer.zero_grad()
        loss, state = self.model.add_gradients(codes, targets, self._state)
        if not math.isfinite(loss):
            raise FloatingPointError("the loss is not finite")
        # No limit still checks that all gradients are finite.
        fastrnn.clip_grad_norm_(self._grads, self.settings.clip or math.inf)
        self._optimizer.lr = self.settings.learning_rate(self.step // self.windows_per_epoch + 1)
        self._optimizer.step()
        self._state = state
        self.step += 1
        self.seconds += time.perf_counter() - begin
        return loss

    # ---------------------------------------------------------------------------------- measuring

    def validation_loss(self) -> float | None:
        """Loss over the validation part in nats (see evaluate.py), or None if there is none."""
        codes = self._validation_codes
        if codes.size < 2:
            return None
        streams = stream_count(codes.size, self.settings.batch, self.settings.seq)
        return mean_loss(self.model, codes, streams)

    def sample(self) -> str:
        """A short text from the model as it is; does not touch the run's random numbers."""
        prime = self.vocabulary.encode(default_prime(self.vocabulary))
        rng = np.random.default_rng([self.settings.seed, self.step])
        characters = generate(
            self.model,
            self.vocabulary,
            prime,
            _SAMPLE_LENGTH,
            temperature=_SAMPLE_TEMPERATURE,
            rng=rng,
        )
        return "".join(characters)

    # ----------------------------------------------------------------------------- saving, loading

    def save(self, path: AnyPath) -> None:
        """Write the model file from which `resume` can go on."""
        optimizer = self._optimizer.state_dict()
        arrays = {k: v for k, v in optimizer.items() if isinstance(v, np.ndarray)}
        extras = {f"optimizer.{name}": value for name, value in arrays.items()}
        if self.window:  # an epoch starts from zero state
            for index, value in enumerate(state_arrays(self._state)):
                extras[f"state.{index}"] = value
        record = TrainingRecord(
            settings=self.settings,
            step=self.step,
            windows_per_epoch=self.windows_per_epoch,
            seconds=self.seconds,
            random=dict(self.model.recurrent.rng.bit_generator.state),
            optimizer={k: v for k, v in optimizer.items() if k not in arrays},
            text_sha256=self._text_sha256,
            text_characters=self._text_characters,
            history=self.history,
        )
        checkpoint.save(path, self.model, self.vocabulary, record.to_json(), extras)


# Buffers of the optimisers that hold averages or sums of squares.
_SQUARES = {"square_avg", "square_sum", "exp_avg_sq"}


def resumable(model_file: checkpoint.ModelFile) -> TrainingRecord:
    """The training record of a file, after all checks of `Trainer.resume` that need no text.

    Raises
    ------
    UserError
        If training could not be resumed from the file.
    """
    record = TrainingRecord.from_json(model_file.training, model_file.settings)
    model = CharacterModel(record.settings, len(model_file.vocabulary), record.settings.seed)
    _restore(model, _make_optimizer(record.settings, model.modules), model_file, record)
    return record


def _restore(
    model: CharacterModel, optimizer: Optimizer, model_file: checkpoint.ModelFile, record: TrainingRecord
) -> State:
    """Give a new model and its optimiser what the file holds, which must be exactly what we expect.

    Returns
    -------
    The carried state.
    """
    settings = record.settings
    carried = {name: value for name, value in model_file.extras.items() if name.startswith("state.")}
    shapes = state_shapes(settings, settings.batch) if record.window else []
    expected = {f"state.{index}": shape for index, shape in enumerate(shapes)}
    if {name: value.shape for name, value in carried.items()} != expected:
        raise UserError(f"the carried state does not fit: expected the tensors {expected}")
    buffers = {
        name.removeprefix("optimizer."): value
        for name, value in model_file.extras.items()
        if name.startswith("optimizer.")
    }
    for name, value in buffers.items():
        if name.split(".")[0] in _SQUARES and value.size and value.min() < 0:
            raise UserError(f"optimizer.{name} holds {value.min()}; expected no square below 0")
    try:
        optimizer.load_state_dict({**buffers, **record.optimizer})
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"training: {shortened(str(error.args[0]), 200)}") from None
    model.load_state_dict(model_file.parameters)
    model.recurrent.rng.bit_generator.state = record.random
    return state_from_arrays(settings, [carried[name] for name in expected])


def _known(settings: Settings, vocabulary: Vocabulary, text: str) -> str:
    """What is trained on: `text`, without unknown characters if the settings say so."""
    return vocabulary.known(text) if settings.unk == "skip" else text


def _check_length(settings: Settings, size: int, left_out: int = 0) -> None:
    needed = settings.batch * settings.seq + 1
    for_training = settings.training_characters(size)
    if for_training < needed:
        unknown = f", without {left_out} that the model does not know," if left_out else ""
        raise UserError(
            f"the text is too short: {for_training} of its {size} characters{unknown} are for training, "
            f"and one window of --batch {settings.batch} and --seq {settings.seq} takes {needed}; "
            "use more text or smaller numbers"
        )
