"""Words for messages: what is shown of values from files and command lines."""

import os
from collections.abc import Iterable

AnyPath = str | os.PathLike[str]


def shortened(text: str, limit: int = 60) -> str:
    """`text` on one line for a message: what cannot be printed is escaped, and it is cut after `limit` characters."""
    line = repr(text[: limit + 1])[1:-1]
    return line if len(line) <= limit else line[: limit - 3] + "..."


def shown(value: object) -> str:
    """Any value from a file or a command line, short enough for a message."""
    if isinstance(value, str):
        return f"'{shortened(value)}'"
    if value is not None and not isinstance(value, (bool, int, float)):
        return f"a {type(value).__name__}"
    try:
        return shortened(repr(value))
    except ValueError:  # Python writes no more than 4300 digits
        return "a number of thousands of digits"


def listed(names: Iterable[str], limit: int = 4) -> str:
    """The first names for a message, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(map(shown, every[:limit])) + more
