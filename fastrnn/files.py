"""Writing files so that nothing is lost: each is replaced in one step.

Locks are advisory (`flock`): they end with their process, however it ends. Where the system or the
file system has none, files are written without.
"""

import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

from fastrnn.errors import UserError
from fastrnn.words import AnyPath

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_OLD_SECONDS = 24 * 3600  # no save takes so long: a temporary file of that age is a stray, locks or not

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of_file(mode: int) -> str:
    """What a file of a `st_mode` is, in words, where it is no regular one."""
    return next((words for test, words in _KINDS if test(mode)), "something else than a file")


# --------------------------------------------------------------------------------------- replacing


def replace_file(path: AnyPath, data: bytes) -> None:
    """Put the bytes `data` at `path`: afterwards, or after a crash, the old file or the new one.

    The file has mode and owner of the one it replaces; a new one's mode follows the umask. A link at
    `path` stays and what it points to is replaced.

    Raises
    ------
    UserError
        There is something else than a regular file.
    OSError
        It could not be written; the error names `path`, where the old file is whole.
    """
    path = Path(os.path.realpath(path))
    _remove_strays(path)
    try:
        handle, beside = _open_beside(path)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:  # Windows renames closed files only
                    file.close()
                os.replace(beside, path)  # still locked, else it were a stray
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    _sync_folder(path.parent)


def try_writing(path: AnyPath) -> None:
    """Raise what `replace_file` would where it cannot write beside `path`; nothing is left there.

    Raises
    ------
    UserError, OSError
        As `replace_file`; the error names `path`.
    """
    path = Path(os.path.realpath(path))
    try:
        handle, beside = _open_beside(path)
        os.close(handle)
        beside.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def temporary_beside(path: Path) -> Path:
    """A name, another one each time, to write the new content of `path` under."""
    return path.with_name(_temporary_start(path) + secrets.token_hex(4))


def _temporary_start(path: Path) -> str:
    return f".{path.name}.fastrnn-"


def is_temporary_of(path: Path, target: Path) -> bool:
    """Whether `path` is named as `temporary_beside(target)` names files."""
    name = re.escape(_temporary_start(target)) + "[0-9a-f]{8}"
    return path.parent == target.parent and re.fullmatch(name, path.name) is not None


def _open_beside(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, locked, open for writing, and its name."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    old = path.stat() if path.exists() else None
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise UserError(f"{path}: {kind_of_file(old.st_mode)}; expected a regular file or a new name")
    while True:
        beside = temporary_beside(path)
        try:
            handle = os.open(beside, flags, 0o666 if old is None else 0o600)
        except FileExistsError:
            continue
        # Somebody who looks for strays may have found it before it was locked.
        if try_lock(handle) is not False and is_at(handle, beside):
            if old is not None:
                _copy_owner_and_mode(old, beside)
            return handle, beside
        os.close(handle)


def _copy_owner_and_mode(old: os.stat_result, path: Path) -> None:
    """As far as the user may and the file system has them."""
    with suppress(OSError, AttributeError):
        os.chown(path, old.st_uid, old.st_gid)
    with suppress(OSError):
        os.chmod(path, stat.S_IMODE(old.st_mode))


def _remove_strays(path: Path) -> None:
    """Take away what processes that were killed have left of `path`: nobody has a lock on it."""
    start = _temporary_start(path)
    with suppress(OSError):
        for name in os.listdir(path.parent):
            if name.startswith(start) and is_temporary_of(path.with_name(name), path):
                _remove_unless_locked(path.with_name(name))


def _remove_unless_locked(path: Path) -> None:
    with suppress(OSError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return
        handle = os.open(path, os.O_RDWR | NO_FOLLOW)
        try:
            locked = try_lock(handle)
            old = time.time() - os.fstat(handle).st_mtime > _OLD_SECONDS
            if locked or (locked is None and old):
                path.unlink()
        finally:
            os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Have the new name outlive a power cut, where the file system can: the file itself is safe."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ------------------------------------------------------------------------------------------ locks


def try_lock(handle: int) -> bool | None:
    """Lock an open file: True, False where somebody else has it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return None


def is_at(handle: int, path: AnyPath) -> bool:
    """Whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
