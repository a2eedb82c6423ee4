"""Pictures that matplotlib draws: what can be wrong is found before hours are spent on what they show."""

import io
from pathlib import Path
from typing import Any

from .errors import UserError
from .paths import Output
from .text import AnyPath

_MARK = "drawn by fastrnn"
# The metadata that takes the mark, by format. Other formats have none: their pictures pass for somebody else's.
_MARK_NAMES = {"png": "Software", "svg": "Creator", "pdf": "Creator", "ps": "Creator", "eps": "Creator"}


def picture(path: AnyPath) -> Output:
    """The picture file `path` that --plot names.

    Raises
    ------
    UserError
        matplotlib is missing, or knows no format of that ending.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UserError("--plot needs the package matplotlib: pip install matplotlib") from None
    formats = sorted(Figure().canvas.get_supported_filetypes())
    if _format(path) not in formats:
        raise UserError(f"--plot is {str(path)!r}; expected the ending .{', .'.join(formats)}")
    return Output(Path(path), "the picture", _is_ours, "--plot")


def picture_bytes(figure: Any, path: AnyPath) -> bytes:
    """A matplotlib figure in the format that the ending of `path` names."""
    form = _format(path)
    metadata = {"metadata": {_MARK_NAMES[form]: _MARK}} if form in _MARK_NAMES else {}
    data = io.BytesIO()
    figure.savefig(data, format=form, dpi=150, **metadata)
    return data.getvalue()


def _format(path: AnyPath) -> str:
    return Path(path).suffix.removeprefix(".").lower()


def _is_ours(path: Path) -> bool:
    try:
        return _MARK.encode() in path.read_bytes()
    except OSError:
        return False
