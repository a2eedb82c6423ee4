"""Every path that a command reads or writes, checked together before the first byte is written.

The rules, for models, logs, pictures and tables alike:

- Nothing that is written or moved is something that is read, and nothing is written twice, by
  whatever names: links, `..`, capitals where the file system ignores them.
- Only regular files are replaced or moved. A symbolic link stays; what it points to is replaced.
- What is in the way is kept under a name with `previous`, and only this command's own file of the
  generation before is overwritten there.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastrnn import files
from fastrnn.errors import UserError
from fastrnn.words import AnyPath

from .output import err

_ENDINGS = (".safetensors", ".jsonl", ".json", ".png", ".svg", ".pdf", ".jpg", ".jpeg")

_STREAMS = {1: "the standard output", 2: "the standard error"}

# What makes two names those of one file.
Identity = tuple[object, ...]


@dataclass(frozen=True)
class Input:
    """A file that is read: its path, or the number of an open one, and words for it."""

    path: AnyPath | int
    what: str


@dataclass(frozen=True)
class Output:
    """A file that will be written.

    Attributes
    ----------
    path : Path
        As the user knows it.
    what : str
        Words for it.
    ours : callable
        Whether the file at a path is one that this command has written, and of this sort.
    option : str
        What names another place.
    keep : bool
        Whether what is ours is kept, too, as a new run keeps an earlier model.
    """

    path: Path
    what: str
    ours: Callable[[Path], bool]
    option: str
    keep: bool = False

    @property
    def target(self) -> Path:
        """The path behind all links."""
        return Path(os.path.realpath(self.path))

    @property
    def aside(self) -> Path:
        """Where what is in the way goes."""
        return with_previous(self.target)

    def in_the_way(self) -> bool:
        """Whether there is something at the path that must be kept."""
        target = self.target
        status = _status(target, self.path)
        return status is not None and status.st_size > 0 and (self.keep or not self.ours(target))

    def make_way(self) -> None:
        """Move what is in the way aside, and say so.

        Raises
        ------
        UserError
            It cannot be moved, or something else would be lost.
        """
        _check_place(self)
        if not self.in_the_way():
            return
        aside = self.aside
        os.replace(self.target, aside)
        shown = aside if self.path.is_symlink() else self.path.with_name(aside.name)
        err.line(f"kept the earlier {self.path} as {shown}")

    def replace(self, data: bytes) -> None:
        """Write the file; what is in the way and not ours is moved aside before."""
        self.make_way()
        files.replace_file(self.path, data)


def with_previous(path: Path) -> Path:
    """`model.previous.safetensors` for `model.safetensors`; nothing but a known ending is one."""
    ending = path.suffix if path.suffix in _ENDINGS else ""
    return path.with_name(f"{path.name.removesuffix(ending)}.previous{ending}")


def check(inputs: Iterable[Input], outputs: Sequence[Output], lock: Path | None = None) -> None:
    """Hold all paths of a command against the rules above.

    Parameters
    ----------
    inputs, outputs : what the command reads and writes
    lock : Path, optional
        The lock file that it makes.

    Raises
    ------
    UserError
        One rule would be broken; nothing has been touched.
    """
    read = list(inputs)
    for output in outputs:
        _check_place(output)
        _check_temporary_names(output, read)
    taken = _named((item.path, item.what) for item in read)
    streams = _named((handle, what) for handle, what in _STREAMS.items())
    for identity in taken.keys() & streams.keys():
        raise UserError(f"{streams[identity]} goes into {taken[identity]}; expected it to go elsewhere")
    taken |= streams
    written = [(path, what, output.option) for output in outputs for path, what in _written(output)]
    if lock is not None:
        written.append((lock, "the lock", outputs[0].option))
    for path, what, option in written:
        identity = _identity(path)
        if identity in taken:
            raise UserError(f"{path}: {what} would go there, which is {taken[identity]}; expected another {option}")
        if identity is not None:
            taken[identity] = what


def _named(places: Iterable[tuple[AnyPath | int, str]]) -> dict[Identity | None, str]:
    """Words for each file, by its identity."""
    return {identity: what for path, what in places if (identity := _identity(path)) is not None}


def _written(output: Output) -> Iterator[tuple[Path, str]]:
    """All that writing an output touches, with words for it."""
    yield output.path, output.what
    if output.in_the_way():
        yield output.aside, f"what is at {output.path} now"


def _check_place(output: Output) -> None:
    """Raise UserError unless the output can be put where it shall be, and what is there aside."""
    path, target = output.path, output.target
    for name in (target, output.aside, files.temporary_beside(target)):
        _status(name, path)
    if not target.parent.is_dir():
        raise UserError(f"{path}: cannot be written there: no such folder")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written there: its folder is read-only")
    status = _status(target, path)
    if status is not None and not _may_replace(status, target.parent.stat()):
        raise UserError(f"{path}: belongs to somebody else, who alone may replace it in this folder")
    if status is not None and not stat.S_ISREG(status.st_mode):
        kind = files.kind_of_file(status.st_mode)
        raise UserError(f"{path}: {kind}; {output.what} needs a regular file or a new name")
    if output.in_the_way():
        _check_aside(output)
    elif status is not None and not os.access(target, os.W_OK):
        raise UserError(f"{path}: {output.what} is read-only; make it writable or name another with {output.option}")


def _may_replace(file: os.stat_result, folder: os.stat_result) -> bool:
    """Where a folder is sticky, as /tmp is, only the owners of file and folder may, and root."""
    if not folder.st_mode & stat.S_ISVTX or not hasattr(os, "geteuid"):
        return True
    return os.geteuid() in (0, file.st_uid, folder.st_uid)


def _check_aside(output: Output) -> None:
    aside = output.aside
    status = os.lstat(aside) if os.path.lexists(aside) else None
    if status is None:
        return
    if not stat.S_ISREG(status.st_mode):
        kind = files.kind_of_file(status.st_mode)
        raise UserError(f"{aside}: {kind}, and what is at {output.path} now would go there; move it away")
    if not _may_replace(status, aside.parent.stat()):
        raise UserError(f"{aside}: belongs to somebody else, and what is at {output.path} now would go there")
    if status.st_size > 0 and not output.ours(aside):
        raise UserError(
            f"{aside}: fastrnn did not write it, and what is at {output.path} now would go there; move it away"
        )


def _check_temporary_names(output: Output, inputs: Iterable[Input]) -> None:
    for item in inputs:
        if isinstance(item.path, int):
            continue
        if files.is_temporary_of(Path(os.path.realpath(item.path)), output.target):
            raise UserError(f"{item.path}: {item.what} has the name of a temporary file of {output.path}; rename it")


def _status(target: Path, path: Path) -> os.stat_result | None:
    """What is at `target`, None for nothing; errors name `path`."""
    try:
        return target.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        longest = f" (with what is added to it: {len(os.fsencode(target.name))} bytes)"
        longer = longest if error.errno == errno.ENAMETOOLONG else ""
        raise UserError(f"{path}: cannot be written there: {error.strerror}{longer}") from error


def _identity(path: AnyPath | int) -> Identity | None:
    """Equal for two names of one file; None for what is no file and for what cannot be looked at."""
    with suppress(OSError):
        if isinstance(path, int):
            status = os.fstat(path)
            return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
        if os.path.exists(path):
            status = os.stat(path)
            return (status.st_dev, status.st_ino)
        target = Path(os.path.realpath(path))
        folder = target.parent.stat()
        # Some file systems ignore capitals and accents' forms: nobody needs two files that differ in these alone.
        return (folder.st_dev, folder.st_ino, unicodedata.normalize("NFKC", target.name).casefold())
    return None
