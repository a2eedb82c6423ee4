"""Pictures that matplotlib draws: what can be wrong is found before hours are spent on what they show."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastrnn.errors import UserError
from fastrnn.words import AnyPath

from .paths import Output

_MARK = "drawn by fastrnn"
_IN_PDF = {"metadata": {"Creator": _MARK}}

# By ending: the options of `savefig` that leave the mark, how such a file begins, and how the mark looks in it.
_FORMATS: dict[str, tuple[dict[str, Any], bytes, bytes]] = {
    "png": ({"metadata": {"Software": _MARK}}, b"\x89PNG", b"Software\0" + _MARK.encode()),
    "svg": ({"metadata": {"Creator": _MARK}}, b"<?xml", f"<dc:title>{_MARK}</dc:title>".encode()),
    "pdf": (_IN_PDF, b"%PDF", f"/Creator ({_MARK})".encode()),
    "ps": (_IN_PDF, b"%!PS", f"%%Creator: {_MARK}".encode()),
    "eps": (_IN_PDF, b"%!PS", f"%%Creator: {_MARK}".encode()),
    "jpg": ({"pil_kwargs": {"comment": _MARK.encode()}}, b"\xff\xd8\xff", _MARK.encode()),
}
_FORMATS["jpeg"] = _FORMATS["jpg"]


def picture(path: AnyPath) -> Output:
    """The picture file `path` that --plot names.

    Raises
    ------
    UserError
        matplotlib is missing, or the ending is of no picture that could be known again.
    """
    if _format(path) not in _FORMATS:
        raise UserError(f"--plot is {str(path)!r}; expected the ending .{', .'.join(_FORMATS)}")
    _matplotlib()
    return Output(Path(path), "the picture", _is_ours, "--plot")


def picture_bytes(draw: Callable[[], Any], path: AnyPath) -> bytes:
    """The matplotlib figure that `draw` returns, in the format that the ending of `path` names."""
    options, _, _ = _FORMATS[_format(path)]
    data = io.BytesIO()
    with _matplotlib().style.context("default"):  # the user's own settings may need LaTeX, or a font that is missing
        draw().savefig(data, format=_format(path), dpi=150, **options)
    return data.getvalue()


def _matplotlib() -> Any:
    # A notebook's backend, say, which may not be installed here; none is needed, and a wrong one ends the import.
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib.style
    except ImportError as error:
        raise UserError(f"--plot needs the package matplotlib: pip install matplotlib ({error})") from None
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return matplotlib


def _format(path: AnyPath) -> str:
    return Path(path).suffix.removeprefix(".").lower()


def _is_ours(path: Path) -> bool:
    """Whether this module has drawn the file, whatever its name says."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return any(data.startswith(start) and mark in data for _, start, mark in _FORMATS.values())
