"""Zip archives, which three formats are."""

from __future__ import annotations

import zipfile
from pathlib import Path


def names_in(path: Path, head: bytes) -> list[str]:
    """The names in a zip archive that begins with `head`; none for another or a damaged file."""
    if not head.startswith(b"PK"):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    # zipfile's for a damaged archive; NotImplementedError is for one of a later version of the format.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return []
