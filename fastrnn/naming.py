"""What things are called: callables, by which a checkpoint tells them apart, and layers, by how they were made."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import partial
from inspect import Parameter, signature
from types import FunctionType
from typing import Any

import numpy as np


def name_of(given: Any) -> str:
    """What a callable is called, with its options: the same in another process."""
    if isinstance(given, partial):
        return f"{name_of(given.func)}({_listed([*given.args], given.keywords)})"
    if is_dataclass(given) and not isinstance(given, type):
        values = {item.name: getattr(given, item.name) for item in fields(given)}
        return f"{type(given).__name__}({_listed([], values)})"
    if isinstance(given, np.ndarray):  # of a long one NumPy shows a part
        return str(given.tolist())
    if callable(given):
        return str(getattr(given, "__qualname__", type(given).__qualname__))
    return repr(given)


def _listed(values: list[Any], named: dict[str, Any]) -> str:
    return ", ".join([*map(name_of, values), *(f"{name}={name_of(value)}" for name, value in sorted(named.items()))])


def made_as(given: Any, between: str = ", ") -> str:
    """The call of its class that makes something like it: what is not a default, as far as attributes know it."""
    values = []
    for name, parameter in signature(type(given)).parameters.items():
        value = getattr(given, name, getattr(given, f"_{name}", parameter.default))
        if value is not parameter.default and value != parameter.default:
            values.append(_value(value) if parameter.default is Parameter.empty else f"{name}={_value(value)}")
    return f"{type(given).__name__}({between.join(values)})"


def _value(value: Any) -> str:
    if isinstance(value, np.dtype):
        return repr(str(value))
    return name_of(value) if isinstance(value, (FunctionType, partial)) else repr(value)
