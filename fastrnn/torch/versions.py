"""The versions of PyTorch that the bridge was tested with: what it reaches into has no stable interface."""

from __future__ import annotations

TESTED = ("2.13",)


def check(version: str) -> None:
    """Refuse a version of PyTorch that was not tested, by name.

    Raises
    ------
    ImportError
    """
    minor = ".".join(version.split(".")[:2])
    if minor not in TESTED:
        raise ImportError(
            f"fastrnn.torch: PyTorch {version} was not tested; expected one of {', '.join(TESTED)}: install one of "
            "them, or run the model without fastrnn.torch"
        )
