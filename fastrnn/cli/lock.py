"""One writer for each model: a lock file beside it, held while a run goes on (see `fastrnn/files.py`)."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastrnn.errors import UserError
from fastrnn.files import NO_FOLLOW, is_at, try_lock
from fastrnn.words import AnyPath

_HOLDER = re.compile(rb"fastrnn train, process (\d+)\n")


def lock_path(path: Path) -> Path:
    """The file whose lock says that `path` is being written, hidden beside it."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def held(lock: Path, shown: AnyPath) -> Iterator[None]:
    """Be the only process in this block for the lock file `lock`; `shown` is the model, for messages.

    Raises
    ------
    UserError
        Another process is; says which.
    OSError
        No file can be made there.
    """
    handle = _hold(lock, shown)
    try:
        yield
    finally:
        with suppress(OSError):
            if is_at(handle, lock):  # else somebody has taken it away, and it is another run's by now
                lock.unlink()
        os.close(handle)


def _hold(lock: Path, shown: AnyPath) -> int:
    while True:
        handle = _open_lock(lock, shown)
        try:
            content = os.read(handle, 100)
            holder = _HOLDER.fullmatch(content)
            if content and not holder:
                raise _no_lock(lock)
            if try_lock(handle) is False:
                who = f"process {holder[1].decode()}" if holder else "another process"
                raise UserError(f"{shown}: {who} is writing this model; wait for it, or name another with --out")
            if is_at(handle, lock):  # else its last holder has just removed it
                with suppress(OSError):  # a full disk: others then cannot say who it is
                    os.lseek(handle, 0, os.SEEK_SET)
                    os.ftruncate(handle, 0)
                    os.write(handle, b"fastrnn train, process %d\n" % os.getpid())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _open_lock(lock: Path, shown: AnyPath) -> int:
    with suppress(OSError):
        status = os.lstat(lock)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # only opening a FIFO or a device has effects
            raise _no_lock(lock)
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o666)
    except OSError as error:
        raise UserError(
            f"{shown}: its lock {lock} cannot be made or opened: {error.strerror}; "
            "name another model with --out, or take the lock away if its run is over"
        ) from error


def _no_lock(lock: Path) -> UserError:
    return UserError(f"{lock}: expected to be a lock of `fastrnn train`, or not to exist; move it away")
