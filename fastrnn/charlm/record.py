"""The training record in a model file: what a resumed run needs besides arrays."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import UserError
from .progress import Report
from .settings import ModelSettings, Settings, model_options, run_options, settings_from

_TYPES = {
    "settings": dict,
    "step": int,
    "windows_per_epoch": int,
    "seconds": float,
    "random": dict,
    "optimizer": dict,
    "text_sha256": str,
    "text_characters": int,
    "history": list,
}


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
        Of the text, validation part included.
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
        values = {name: getattr(self, name) for name in _TYPES}
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
            If a key is missing or unknown, or a value has the wrong type or range.
        """
        if values is None:
            raise UserError("the file has no training record, so training cannot be resumed")
        if set(values) != set(_TYPES):
            wrong = sorted(set(values) ^ set(_TYPES))
            raise UserError(f"training: missing or unknown {', '.join(map(repr, wrong))}")
        for name, kind in _TYPES.items():
            if type(values[name]) is not kind:
                raise UserError(f"training: {name} is not of type {kind.__name__}")
        if values["step"] < 0 or values["windows_per_epoch"] < 1:
            raise UserError("training: step or windows_per_epoch is out of range")
        settings = settings_from(Settings, {**model_options(model_settings), **values["settings"]})
        history = [_report(entry) for entry in values["history"]]
        return cls(**{**values, "settings": settings, "history": history})


def _report(entry: Any) -> Report:
    names = [item.name for item in fields(Report)]
    if not isinstance(entry, dict) or sorted(entry) != sorted(names):
        raise UserError(f"training: a history entry has not the fields {', '.join(names)}")
    for name, value in entry.items():
        if name == "val_loss" and value is None:
            continue
        if type(value) not in (int, float) or not math.isfinite(value):
            raise UserError(f"training: {name} in the history is not a number")
    return Report(**entry)
