"""Names of callables, by which a checkpoint tells them apart."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any


def name_of(given: Any) -> str:
    """What a callable is called, with its options: the same in another process."""
    if isinstance(given, partial):
        return f"{name_of(given.func)}({_listed([*given.args], given.keywords)})"
    if is_dataclass(given) and not isinstance(given, type):
        values = {item.name: getattr(given, item.name) for item in fields(given)}
        return f"{type(given).__name__}({_listed([], values)})"
    if callable(given):
        return str(getattr(given, "__qualname__", type(given).__qualname__))
    return repr(given)


def _listed(values: list[Any], named: dict[str, Any]) -> str:
    return ", ".join([*map(name_of, values), *(f"{name}={name_of(value)}" for name, value in sorted(named.items()))])
