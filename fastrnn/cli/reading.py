"""Texts as people have them: files, standard input, pipes, compressed or not; what is no UTF-8 text is named."""

import bz2
import gzip
import importlib
import io
import itertools
import lzma
import os
import re
import shlex
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np

from fastrnn.errors import UserError
from fastrnn.words import AnyPath, shown

STANDARD_INPUT = "-"

_PIECE = 1 << 20
_BLOCK = 1 << 16
_BLOCKS_TRIED = 4

# Those that texts have no use for.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))

# Scripts whose bytes in UTF-16 may all be below 128, and so are UTF-8 as well, have code points below this.
_ASCII_SCRIPTS = 0x2000

_NUL_IN_EVERY_SECOND_PLACE = re.compile(rb"(?:[^\0]\0){16}")

# Where Linux says how much memory a container may have.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

# First bytes of what people mistake for a text, its name, and what to do about it.
_BINARIES = (
    (b"PK\x03\x04", "a zip archive or an office document", "extract its text first"),
    (b"PK\x05\x06", "an empty zip archive", "name a text"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "extract its text first"),
    (b"Rar!\x1a\x07", "a rar archive", "extract its text first"),
    (b"\x04\x22\x4d\x18", "lz4-compressed", "decompress it first (lz4 -dc)"),
    (b"\x02\x21\x4c\x18", "lz4-compressed", "decompress it first (lz4 -dc)"),
    (b"\x89LZO\0", "lzop-compressed", "decompress it first (lzop -dc)"),
    (b"LZIP\x01", "lzip-compressed", "decompress it first (lzip -dc)"),
    (b"\x1f\x9d", "compressed with `compress`", "decompress it first (gzip -dc)"),
    (b"%PDF-", "a PDF document", "extract its text first (pdftotext)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document", "save it as text first"),
    (b"\x89PNG\r\n", "a PNG picture", "name a text"),
    (b"\xff\xd8\xff", "a JPEG picture", "name a text"),
    (b"SQLite format 3\0", "an SQLite database", "export its text first"),
    (b"\x7fELF", "a program", "name a text"),
    (b"\x93NUMPY", "a NumPy array", "name a text"),
    (tuple(b"\x80%c" % protocol for protocol in range(2, 6)), "pickled Python objects", "name a text"),
)

_BYTE_ORDER_MARKS = (  # UTF-32 first: UTF-16's little-endian mark begins UTF-32's
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def read_texts(paths: Iterable[AnyPath]) -> str:
    """The UTF-8 texts `paths` one after another, as they are (line ends included).

    A byte order mark at the start of a text is dropped. Texts compressed with gzip, bz2, xz, lzma or (with Python
    3.14) zstd are recognised by their first bytes and decompressed.

    Parameters
    ----------
    paths : iterable of path
        `-` is standard input. It and pipes can be read once, so they may be named once.

    Raises
    ------
    UserError
        If a text is not UTF-8 or not whole, or does not fit into memory; says what it is instead.
    OSError
        If a file cannot be read.
    """
    left = _memory() // 4  # a text's codes take four bytes a character
    texts = []
    once: set[object] = set()
    for path in paths:
        name = os.fspath(path)
        data = _bytes(name, once, left)
        left -= len(data)
        texts.append(_decoded(name, data))
    return "".join(texts)


def read_once(path: AnyPath) -> bool:
    """Whether a text cannot be read again from where it came: standard input and pipes."""
    return os.fspath(path) == STANDARD_INPUT or not Path(path).is_file()


# ------------------------------------------------------------------------------------------- bytes


def _bytes(name: str, once: set[object], limit: int) -> bytearray:
    """What the text `name` holds, decompressed."""
    with _opened(name, once) as file:
        data = _joined(name, iter(lambda: file.read(_PIECE), b""), limit)
    for starts, kind, pieces in _COMPRESSIONS:
        if data.startswith(starts):
            return _joined(name, _whole(name, kind, pieces, bytes(data)), limit)
    return data


def _opened(name: str, once: set[object]) -> AbstractContextManager[IO[bytes]]:
    """The text `name`, open for reading; `once` collects what cannot be read a second time."""
    if not name:
        raise UserError("the name of a text is empty; expected a file, or - for standard input")
    if "\0" in name:
        raise UserError(f"the name of a text is {shown(name)}; expected no NUL in it")
    if name == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.closed:
            raise UserError("-: standard input is closed; expected a text there")
        with suppress(OSError):  # a test's or a notebook's has no number
            _note(name, os.fstat(sys.stdin.fileno()), once)
        _note_name(name, name, once)
        return nullcontext(_binary(sys.stdin))
    status = os.stat(name)
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{name}: a folder; expected a file, or several ({shlex.quote(name)}/*.txt)")
    _note(name, status, once)
    return open(name, "rb")


def _binary(stream: TextIO) -> IO[bytes]:
    """The bytes under a text stream; a program's own, as in a notebook, may have none."""
    return stream.buffer if hasattr(stream, "buffer") else io.BytesIO(stream.read().encode("utf-8", "surrogateescape"))


def _note(name: str, status: os.stat_result, once: set[object]) -> None:
    """Refuse to read a pipe or a device again: a second one would wait for ever."""
    if not stat.S_ISREG(status.st_mode):
        _note_name(name, (status.st_dev, status.st_ino), once)


def _note_name(name: str, identity: object, once: set[object]) -> None:
    if identity in once:
        raise UserError(f"{name}: named twice, and it can be read once only; put its text into a file")
    once.add(identity)


def _joined(name: str, pieces: Iterable[bytes], limit: int) -> bytearray:
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > limit:  # endless devices, and files that expand without end
            raise UserError(
                f"{name}: more than {limit} bytes of text; expected at most a quarter of this machine's memory "
                "in all, since codes take as much again and more"
            )
    return data


def _memory() -> int:
    """Bytes of memory that this process may have, as far as the system says."""
    known = [sys.maxsize]
    with suppress(AttributeError, ValueError, OSError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _MEMORY_LIMITS:
        with suppress(ValueError, OSError):
            known.append(int(Path(path).read_text()))
    return min(size for size in known if size > 0)


# ----------------------------------------------------------------------------------- decompression


def _whole(name: str, kind: str, pieces: Callable[[bytes], Iterator[bytes]], data: bytes) -> Iterator[bytes]:
    """The decompressed pieces of `data`, and one line for whatever a library finds wrong."""
    try:
        yield from pieces(data)
    except EOFError:
        raise UserError(f"{name}: the {kind} data end too early; expected the whole file") from None
    except ModuleNotFoundError:
        raise UserError(
            f"{name}: {kind}-compressed, which needs Python 3.14; decompress it first ({kind} -dc)"
        ) from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # each library has its own
        raise UserError(f"{name}: damaged {kind} data: {shown(str(error))}; expected a whole file") from None


def _streams(decompressor: Callable[[], Any]) -> Callable[[bytes], Iterator[bytes]]:
    """Decompression of one stream after another: files joined by `cat`, or made by several threads.

    Unlike `bz2.open` and `lzma.open` it does not take what is wrong after the first stream for an end.
    """

    def pieces(data: bytes) -> Iterator[bytes]:
        file = io.BytesIO(data)
        # Small pieces: what follows the end of a stream is copied each time.
        fed = file.read(io.DEFAULT_BUFFER_SIZE)
        while fed:
            machine = decompressor()
            while not machine.eof:
                if machine.needs_input and not fed:
                    fed = file.read(io.DEFAULT_BUFFER_SIZE)
                    if not fed:
                        raise EOFError
                yield machine.decompress(fed, _PIECE)
                fed = b""
            fed = machine.unused_data.lstrip(b"\0") or file.read(io.DEFAULT_BUFFER_SIZE).lstrip(b"\0")

    return pieces


def _gzip(data: bytes) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        yield from iter(lambda: file.read(_PIECE), b"")


def _zstd() -> Any:
    return importlib.import_module("compression.zstd").ZstdDecompressor()


# A text may begin with BZh9; the bytes after it are those of a first block, or of the end.
_BZIP2 = tuple(b"BZh%d%b" % (level, block) for level in range(1, 10) for block in (b"1AY&SY", b"\x17rE8P\x90"))

_COMPRESSIONS = (
    (b"\x1f\x8b", "gzip", _gzip),
    (_BZIP2, "bzip2", _streams(bz2.BZ2Decompressor)),
    (b"\xfd7zXZ\0", "xz", _streams(lzma.LZMADecompressor)),
    (b"]\0\0", "lzma", _streams(lzma.LZMADecompressor)),
    (b"\x28\xb5\x2f\xfd", "zstd", _streams(_zstd)),
)


# ------------------------------------------------------------------------------- text out of bytes


def _decoded(name: str, data: bytearray) -> str:
    """The text of UTF-8 bytes, or what they are instead."""
    for start, kind, mend in _BINARIES:
        if data.startswith(start):
            raise UserError(f"{name}: {kind}; expected UTF-8 text: {mend}")
    for starts, kind, _ in _COMPRESSIONS:
        if data.startswith(starts):
            raise UserError(f"{name}: {kind} data inside compressed data; expected UTF-8 text: decompress it first")
    if data[8:10] == b'{"' and 0 in data[:8]:
        raise UserError(f"{name}: a safetensors file; expected UTF-8 text: a model goes to --resume or --init-from")
    if data[257:262] == b"ustar" and 0 in data[:257]:
        raise UserError(f"{name}: a tar archive; expected UTF-8 text: extract its files first (tar -xf)")
    if marked := next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), None):
        raise _wide(name, marked)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        for block in itertools.islice(_blocks_with_controls(data), _BLOCKS_TRIED):
            if encoding := _wide_encoding(block):
                raise _wide(name, encoding) from None
        cut = " (the file ends in the middle of a character)" if error.reason == "unexpected end of data" else ""
        raise UserError(
            f"{name}: not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}{cut}; "
            "convert it to UTF-8 first (iconv -f LATIN1 -t UTF-8 if it is Latin-1)"
        ) from None
    for block in _blocks_with_controls(data):
        if _has_high_bytes(block) and (encoding := _wide_encoding(block, _ASCII_SCRIPTS)):
            raise _wide(name, encoding)
        if len(block) > 3 and block.count(0) >= 0.4 * len(block):
            raise UserError(f"{name}: binary data, {block.count(0)} of {len(block)} bytes are NUL; expected UTF-8 text")
    if 0 in data and (found := _NUL_IN_EVERY_SECOND_PLACE.search(data)):
        raise UserError(
            f"{name}: UTF-16 text from byte {found.start()} on, and other text before it; expected UTF-8: "
            "convert each file before they are joined (iconv -f UTF-16 -t UTF-8)"
        )
    return text.removeprefix("\ufeff")


def _wide(name: str, encoding: str) -> UserError:
    return UserError(f"{name}: {encoding} text; expected UTF-8: convert it first (iconv -f {encoding} -t UTF-8)")


def _blocks_with_controls(data: bytearray) -> Iterator[bytearray]:
    """Blocks of the text with control characters: UTF-16 and UTF-32 are full of what would be some."""
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        if len(block.translate(None, _CONTROLS)) < len(block):
            yield block


def _wide_encoding(block: bytearray, limit: int = sys.maxunicode + 1) -> str | None:
    """UTF-16 or UTF-32, and its byte order, if `block` reads as text in it.

    That is two characters at least, almost all of them below `limit`.
    """
    candidates = []
    for unit, encoding in ((4, "UTF-32LE"), (4, "UTF-32BE"), (2, "UTF-16LE"), (2, "UTF-16BE")):
        whole = block[: len(block) // unit * unit]
        if len(whole) < 2 * unit:
            continue
        text = whole.decode(encoding, "ignore")
        readable = "".join(c for c in text if ord(c) < limit and (c.isprintable() or c.isspace()))
        share = len(readable.encode(encoding)) / len(whole)
        # In the right byte order the high bytes are few ones: those of a script.
        scripts = len({ord(c) >> 8 for c in text})
        candidates.append((-unit, -round(share, 2), scripts, encoding))
    likely = [candidate for candidate in sorted(candidates) if candidate[1] <= -0.9]
    return likely[0][-1] if likely else None


def _has_high_bytes(block: bytearray) -> bool:
    """Whether every second byte, or three of four, is mostly below 32: the high bytes of most scripts' characters.

    So are the line ends of a column of single characters, but hardly one of them is a control character.
    """
    low = np.frombuffer(block, dtype=np.uint8) < 32
    controls = len(block) - len(block.translate(None, _CONTROLS))
    return bool(controls >= 0.01 * len(block) and max(low[0::2].mean(), low[1::2].mean()) >= 0.5)
