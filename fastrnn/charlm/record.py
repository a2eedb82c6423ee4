"""The training record in a model file: what a resumed run needs besides arrays."""

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from fastrnn.errors import UserError
from fastrnn.words import listed, shortened, shown

from .settings import ModelSettings, Settings, model_options, run_options, settings_from

_NAMES = (
    "settings",
    "step",
    "windows_per_epoch",
    "seconds",
    "random",
    "optimizer",
    "text_sha256",
    "text_characters",
    "history",
)

# Bounds that no run comes near, for numbers that nothing else in the record bounds.
_MOST_SECONDS = 1e11
_MOST_CHARACTERS = 2**48
_LARGEST_SCALAR = 1e38
_LARGEST_MEASURE = 1e39


@dataclass(frozen=True)
class Report:
    """What was measured at one step.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    step : int
        Windows trained so far, over all epochs.
    loss : float
        Mean training loss since the last report, nats per character.
    val_loss : float or None
        Validation loss, where it was measured at this step.
    chars_per_second : float
        Training speed since the last report, without validation, samples and saving.
    seconds : float
        Time spent in training steps, over all resumed runs.
    """

    epoch: int
    step: int
    loss: float
    val_loss: float | None
    chars_per_second: float
    seconds: float


@dataclass
class TrainingRecord:
    """Where a training run stands.

    Attributes
    ----------
    settings : Settings
    step : int
        Windows trained so far; epoch and place in the text follow from it.
    windows_per_epoch : int
    seconds : float
        Time spent in training steps.
    random : dict
        State of the generator of dropout masks, as NumPy gives it.
    optimizer : dict
        The scalars of the optimiser's state.
    text_sha256, text_characters : str, int
        Of the text, validation part included; characters that `--unk skip` left out do not belong to it.
    history : list of Report
        One for each validation.
    """

    settings: Settings
    step: int
    windows_per_epoch: int
    seconds: float
    random: dict[str, Any]
    optimizer: dict[str, float]
    text_sha256: str
    text_characters: int
    history: list[Report]

    @property
    def epochs_done(self) -> int:
        return self.step // self.windows_per_epoch

    @property
    def window(self) -> int:
        """The next window of the epoch, counted from 0."""
        return self.step % self.windows_per_epoch

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in _NAMES}
        values["settings"] = run_options(self.settings)
        values["history"] = [asdict(report) for report in self.history]
        return values

    @classmethod
    def from_json(
        cls, values: dict[str, Any] | None, model_settings: ModelSettings
    ) -> "TrainingRecord":
        """The record of a model file.

        Raises
        ------
        UserError
            If a key is missing or unknown, or a value has the wrong type or range or contradicts another one.
        """
        if values is None:
            raise UserError("the file has no training record, so training cannot be resumed")
        if wrong := set(values) ^ set(_NAMES):
            raise UserError(f"training: missing or unknown {listed(sorted(wrong))}")
        settings = _settings(values["settings"], model_settings)
        characters = _number("text_characters", values["text_characters"], 1, _MOST_CHARACTERS)
        windows = _number("windows_per_epoch", values["windows_per_epoch"], 1, _MOST_CHARACTERS)
        if windows != settings.windows_per_epoch(characters):
            raise UserError(
                f"training: windows_per_epoch is {windows}; expected {settings.windows_per_epoch(characters)}, "
                f"as {characters} characters give"
            )
        step = _number("step", values["step"], 0, settings.epochs * windows)
        return cls(
            settings=settings,
            step=step,
            windows_per_epoch=windows,
            seconds=_number("seconds", values["seconds"], 0.0, _MOST_SECONDS),
            random=_random(values["random"]),
            optimizer=_optimizer(values["optimizer"], settings, step),
            text_sha256=_sha256(values["text_sha256"]),
            text_characters=characters,
            history=_history(values["history"], step, windows),
        )


Number = TypeVar("Number", int, float)


def _number(name: str, value: Any, low: Number, high: Number) -> Number:
    """`value` if it is of the bounds' type and between them."""
    if type(value) is not type(low) or not low <= value <= high:
        kind = "a whole number" if isinstance(low, int) else "a number with a point"
        expected = low if low == high else f"{kind} from {low} to {high}"
        raise UserError(f"training: {name} is {shown(value)}; expected {expected}")
    return value


def _settings(values: Any, model_settings: ModelSettings) -> Settings:
    model = model_options(model_settings)
    if not isinstance(values, dict) or not model.keys().isdisjoint(values):
        raise UserError("training: settings are not a mapping without those of the model")
    return settings_from(Settings, {**model, **values})


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise UserError(f"training: text_sha256 is {shown(value)}; expected 64 hexadecimal digits")
    return value


def _random(value: Any) -> dict[str, Any]:
    """The state of a PCG64 generator: NumPy itself takes some states that are none."""
    expected = {"bit_generator": str, "state": dict, "has_uint32": int, "uinteger": int}
    if not _has_types(value, expected) or not _has_types(value["state"], {"state": int, "inc": int}):
        raise UserError("training: the state of the random numbers does not have the parts of NumPy's PCG64")
    if value["bit_generator"] != "PCG64":
        raise UserError(f"training: the random numbers are {shown(value['bit_generator'])}; expected 'PCG64'")
    _number("the random numbers' state", value["state"]["state"], 0, 2**128 - 1)
    _number("the random numbers' inc", value["state"]["inc"], 0, 2**128 - 1)
    _number("the random numbers' has_uint32", value["has_uint32"], 0, 1)
    _number("the random numbers' uinteger", value["uinteger"], 0, 2**32 - 1)
    if value["state"]["inc"] % 2 == 0:
        raise UserError("training: the random numbers' inc is even; expected an odd number")
    return dict(value)


def _has_types(value: Any, expected: dict[str, type]) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == expected.keys()
        and all(type(value[name]) is kind for name, kind in expected.items())
    )


def _optimizer(value: Any, settings: Settings, step: int) -> dict[str, float]:
    """Scalars of the optimiser's state; it refuses missing and unknown ones itself."""
    if not isinstance(value, dict) or "step" not in value:
        raise UserError("training: optimizer is missing its step")
    for name, number in value.items():
        if name != "step":
            _number(f"optimizer {shortened(name)}", number, 0.0, _LARGEST_SCALAR)
    _number("optimizer step", value["step"], step, step)
    if value.get("alpha", settings.rms_alpha) != settings.rms_alpha:
        raise UserError(f"training: optimizer alpha is {value['alpha']}; expected --rms-alpha {settings.rms_alpha}")
    return value


def _history(entries: Any, step: int, windows: int) -> list[Report]:
    names = {item.name for item in fields(Report)}
    if not isinstance(entries, list):
        raise UserError(f"training: history is {shown(entries)}; expected a list")
    reports = []
    before = 0
    for entry in entries:
        if not isinstance(entry, dict) or entry.keys() != names:
            raise UserError(f"training: a history entry does not have the fields {', '.join(sorted(names))}")
        before = _number("a step of the history", entry["step"], before + 1, step)
        epoch = (before - 1) // windows + 1
        _number("an epoch of the history", entry["epoch"], epoch, epoch)
        for name in ("loss", "val_loss", "chars_per_second"):
            if name != "val_loss" or entry[name] is not None:
                _number(f"{name} in the history", entry[name], 0.0, _LARGEST_MEASURE)
        _number("seconds in the history", entry["seconds"], 0.0, _MOST_SECONDS)
        reports.append(Report(**entry))
    return reports
