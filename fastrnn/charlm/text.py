"""Text in and out of the model: the vocabulary and the default text."""

import hashlib
import sysconfig
import tokenize
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastrnn.errors import UserError
from fastrnn.words import AnyPath

Codes = NDArray[np.int32]

DEFAULT_TEXT_NAME = "the Python standard library's source"

# Text becomes code points in pieces of this many characters, so that a large text needs no more
# memory than itself, its codes and one such piece.
_PIECE = 1 << 20

_CODE_POINTS = 0x110000


class UnknownCharacterError(UserError):
    """A character that the model's vocabulary lacks."""


class Vocabulary:
    """The characters a model knows, sorted by code point; a character's code is its place.

    Parameters
    ----------
    characters : str
        At least one character, in strictly increasing order of code points.

    Raises
    ------
    UserError
        If `characters` is empty or out of order, or holds half of a surrogate pair.
    """

    def __init__(self, characters: str) -> None:
        points = _code_points(characters)
        if points.size == 0:
            raise UserError("vocabulary: it has no characters; expected at least one")
        if np.any(np.diff(points.astype(np.int64)) <= 0):
            raise UserError("vocabulary: characters must be sorted by code point, each once")
        halves = points[(points >= 0xD800) & (points < 0xE000)]
        if halves.size:  # two of them would come back from a file as one character
            raise UserError(f"vocabulary: U+{halves[0]:04X} is half of a surrogate pair; expected whole characters")
        self._points = points
        self.characters = characters
        self._code_of = np.full(int(points[-1]) + 1, -1, dtype=np.int32)
        self._code_of[points] = np.arange(points.size, dtype=np.int32)

    @classmethod
    def from_text(cls, text: str) -> "Vocabulary":
        """The vocabulary of all characters that occur in `text`."""
        seen = np.zeros(_CODE_POINTS, dtype=bool)
        for piece in _pieces(text):
            seen[_code_points(piece)] = True
        return cls("".join(map(chr, np.flatnonzero(seen))))

    def __len__(self) -> int:
        return len(self.characters)

    def __contains__(self, character: str) -> bool:
        return bool(self._codes_or_minus_one(character)[0] >= 0)

    def encode(self, text: str, *, skip_unknown: bool = False) -> Codes:
        """Codes of the characters of `text`.

        Parameters
        ----------
        text : str
        skip_unknown : bool
            Leave unknown characters out instead of raising.

        Returns
        -------
        codes : int32 array (len(text),), shorter by the characters that were left out

        Raises
        ------
        UnknownCharacterError
            Names the first unknown character and its place.
        """
        codes = np.empty(len(text), dtype=np.int32)
        start = 0
        for piece in _pieces(text):
            codes[start : start + len(piece)] = self._codes_or_minus_one(piece)
            start += len(piece)
        unknown = codes < 0
        if not unknown.any():
            return codes
        if skip_unknown:
            return codes[~unknown]
        raise UnknownCharacterError(_describe_unknown(text, np.flatnonzero(unknown)))

    def known(self, text: str) -> str:
        """`text` without the characters that are not in the vocabulary."""
        codes = self.encode(text, skip_unknown=True)
        return text if codes.size == len(text) else self.decode(codes)

    def decode(self, codes: Iterable[int] | Codes) -> str:
        """The text of an iterable of codes."""
        places = codes if isinstance(codes, np.ndarray) else np.fromiter(codes, dtype=np.int64)
        return self._points[places].tobytes().decode("utf-32-le")

    def _codes_or_minus_one(self, text: str) -> Codes:
        points = _code_points(text)
        inside = points < self._code_of.size
        return np.where(inside, self._code_of[np.where(inside, points, 0)], np.int32(-1))


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def _code_points(text: str) -> NDArray[np.uint32]:
    # surrogatepass: an argument that is not valid UTF-8 reaches us as lone surrogates, and these
    # shall be reported as unknown characters, not as an encoding failure.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _describe_unknown(text: str, places: NDArray[np.intp]) -> str:
    first = int(places[0])
    character = text[first]
    name = unicodedata.name(character, "unnamed")
    others = len({text[place] for place in places.tolist()}) - 1
    more = f" and {others} other{'s' if others > 1 else ''}" if others else ""
    return (
        f"the model does not know the character {character!r} (U+{ord(character):04X} {name}), "
        f"at character {first} of the text{more}; --unk skip leaves unknown characters out"
    )


def default_text_files(folder: AnyPath | None = None) -> list[Path]:
    """The files that `default_text` reads, in its order."""
    folder = Path(folder or sysconfig.get_paths()["stdlib"])
    return sorted(folder.glob("*.py"), key=lambda path: path.name)


def default_text(folder: AnyPath | None = None) -> tuple[str, int]:
    """The text to learn when none is given: the standard library's top-level modules.

    The modules are joined in the order of their names, each decoded as Python itself would;
    one that cannot be decoded is left out. Line ends are made `\\n`.

    Parameters
    ----------
    folder : path, optional
        Where to look instead of the running Python's standard library.

    Returns
    -------
    text : str
    files : int
        Number of modules read.
    """
    modules = []
    for path in default_text_files(folder):
        try:
            with tokenize.open(path) as file:
                modules.append(file.read())
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue
    if not modules:
        raise UserError("no Python source in the standard library's folder; name a text to learn")
    return "".join(modules), len(modules)


def fingerprint(text: str) -> str:
    """SHA-256 of `text` in UTF-8, as hexadecimal digits."""
    digest = hashlib.sha256()
    for piece in _pieces(text):
        digest.update(piece.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
