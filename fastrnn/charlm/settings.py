"""Every number a training run depends on: one table for the command line and for model files.

A field's default, legal values, help text and whether a resumed run may change it stand in one
place. Values from the command line and values from a file pass the same check, and a name that
is not in the table is refused, so a file can name nothing but these fields.
"""

from collections.abc import Iterable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, TypeVar

from fastrnn.cells import CELLS
from fastrnn.errors import UserError
from fastrnn.words import listed, shortened, shown

OPTIMIZERS = ("rmsprop", "adam", "adagrad", "sgd")

# Far above anything trainable on a CPU, low enough that no product of two of them overflows.
_LARGEST = 2**24

# Rates and limits end up in float32: within these bounds they are neither 0 nor infinite there.
_SMALLEST_RATE, _LARGEST_RATE = 1e-37, 1e38

# What fixes the shapes of the weights: a fine-tuned model keeps these and may change the rest.
_ARCHITECTURE = ("cell", "layers", "hidden")

Kind = TypeVar("Kind", bound="ModelSettings")


def _number(
    default: float,
    text: str,
    low: float,
    high: float = _LARGEST,
    *,
    above: bool = False,
    below: bool = False,
    fixed: bool = False,
) -> Any:
    """A numeric field: low <= value <= high, strictly where `above` or `below` says so."""
    rule = {"kind": type(default), "low": low, "high": high, "above": above, "below": below}
    return field(default=default, metadata={"help": text, "fixed": fixed, **rule})


def _choice(default: str, text: str, choices: tuple[str, ...], *, fixed: bool = False) -> Any:
    metadata = {"help": text, "fixed": fixed, "kind": str, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ModelSettings:
    """What the shape and the arithmetic of a model depend on; `fixed` ones belong to the model."""

    cell: str = _choice("lstm", "recurrent cell", tuple(CELLS), fixed=True)
    layers: int = _number(2, "recurrent layers", 1, 1000, fixed=True)
    hidden: int = _number(128, "units of each layer", 1, fixed=True)
    dropout: float = _number(
        0.0, "share of units dropped between layers while training", 0, 1, below=True, fixed=True
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item, getattr(self, item.name))


@dataclass(frozen=True)
class Settings(ModelSettings):
    """All settings of a training run, with char-rnn's defaults."""

    batch: int = _number(50, "text streams trained side by side", 1, fixed=True)
    seq: int = _number(50, "characters of a window; gradients stop there", 1, fixed=True)
    epochs: int = _number(50, "passes over the text", 1)
    optimizer: str = _choice("rmsprop", "update rule", OPTIMIZERS, fixed=True)
    lr: float = _number(0.002, "learning rate", _SMALLEST_RATE, _LARGEST_RATE)
    lr_decay: float = _number(0.97, "learning rate factor from epoch to epoch", 0, 1, above=True)
    lr_decay_after: int = _number(10, "epochs at the full learning rate", 0)
    rms_alpha: float = _number(0.95, "memory of rmsprop's average", 0, 1, below=True, fixed=True)
    clip: float = _number(5.0, "largest global norm of the gradient; 0: no limit", 0, _LARGEST_RATE)
    val_frac: float = _number(
        0.05, "last part of the text kept for validation", 0, 1, below=True, fixed=True
    )
    seed: int = _number(1, "seed of initial weights and dropout", 0, 2**63 - 1, fixed=True)
    unk: str = _choice(
        "error", "with --init-from: characters the model does not know", ("error", "skip"), fixed=True
    )
    report_every: int = _number(100, "steps between reports", 1)
    sample_every: int = _number(1000, "steps between samples; 0: none", 0)
    save_every: int = _number(1000, "steps between saves; 0: after each epoch only", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dropout and self.layers == 1:
            raise UserError("--dropout acts between layers and --layers 1 has no such place")

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of an epoch counted from 1: full at first, then multiplied each epoch.

        It ends at a rate that moves no weight rather than at 0, however long it decays.
        """
        rate = self.lr * self.lr_decay ** max(0, epoch - self.lr_decay_after)
        return max(rate, _SMALLEST_RATE)

    def training_characters(self, characters: int) -> int:
        """How many of a text's characters are trained on; the rest, at its end, is for validation."""
        return characters - int(characters * self.val_frac)

    def windows_per_epoch(self, characters: int) -> int:
        """Windows of the mini-batch in a text; the last character to train on is a target only."""
        return max(0, self.training_characters(characters) - 1) // (self.batch * self.seq)


def _check(item: Field[Any], value: Any) -> None:
    """Raise UserError unless `value` is legal for the dataclass field `item`."""
    rule = item.metadata
    option = option_name(item.name)
    if "choices" in rule:
        if not isinstance(value, str) or value not in rule["choices"]:
            raise UserError(f"{option} is {shown(value)}; expected {' or '.join(rule['choices'])}")
        return
    if type(value) is not rule["kind"]:
        raise UserError(f"{option} is {shown(value)}; expected {_kind_words(rule['kind'])}")
    low = value > rule["low"] if rule["above"] else value >= rule["low"]
    high = value < rule["high"] if rule["below"] else value <= rule["high"]
    if not (low and high):  # a NaN fails too
        raise UserError(f"{option} is {shown(value)}; expected {_range_words(rule)}")


def _kind_words(kind: type) -> str:
    return {int: "a whole number", float: "a number"}[kind]


def _range_words(rule: Mapping[str, Any]) -> str:
    low = ("more than " if rule["above"] else "at least ") + str(rule["low"])
    return f"{low} and {'less than' if rule['below'] else 'at most'} {rule['high']}"


def option_name(name: str) -> str:
    """`lr_decay` as it is typed: `--lr-decay`."""
    return "--" + name.replace("_", "-")


def model_options(settings: ModelSettings) -> dict[str, Any]:
    """The settings that belong to the model, by name."""
    return {item.name: getattr(settings, item.name) for item in fields(ModelSettings)}


def run_options(settings: Settings) -> dict[str, Any]:
    """The settings of the run alone, by name."""
    return {k: v for k, v in asdict(settings).items() if k not in model_options(settings)}


def settings_from(kind: type[Kind], values: Any) -> Kind:
    """A `kind` (ModelSettings or Settings) from a mapping that must hold exactly its fields."""
    if not isinstance(values, dict):
        raise UserError(f"settings: got {type(values).__name__}; expected a mapping")
    names = {item.name for item in fields(kind)}
    if unknown := sorted(set(values) - names):
        raise UserError(f"settings: unknown {listed(unknown)}")
    if missing := sorted(names - set(values)):
        raise UserError(f"settings: missing {listed(missing)}")
    return kind(**values)


def changed(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """`settings` of an earlier run with the options given for the resumed one.

    Raises
    ------
    UserError
        If an option contradicts what the model file fixes.
    """
    fixed = [item.name for item in fields(settings) if item.metadata["fixed"]]
    _refuse_contradictions(settings, values, fixed)
    return Settings(**{**asdict(settings), **values})


def fine_tuned(model: ModelSettings, values: Mapping[str, Any]) -> Settings:
    """Settings of a new run that starts with a trained model's weights: its architecture and dropout, else defaults.

    Raises
    ------
    UserError
        If an option contradicts the architecture.
    """
    _refuse_contradictions(model, values, _ARCHITECTURE)
    return Settings(**{**model_options(model), **values})


def _refuse_contradictions(model: ModelSettings, values: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if name in values and values[name] != getattr(model, name):
            option = option_name(name)
            given = shortened(str(values[name]))
            raise UserError(f"{option} {given} contradicts the model's {option} {getattr(model, name)}")
