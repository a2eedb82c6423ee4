"""A process of its own for a peer, with environment variables of its own, that takes its turns like everybody else.

Some settings are read when a process starts, glibc's of malloc among them. `python -m fastrnn.bench.apart` reads
messages from standard input, each a pickled function with its arguments, and answers each on standard output. Times
are taken there: no figure holds the way of a message. What the libraries print goes to standard error.
"""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from . import cores
from .problem import Job

# glibc gives large blocks, 128 KiB to 32 MiB at least, back to the system when they are freed, and the kernel has to
# clear each page again when it is next touched. With these it keeps them.
KEPT: Mapping[str, str] = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def why_not_kept() -> str | None:
    """Why malloc cannot be kept here; None where it can."""
    library, _ = platform.libc_ver()
    if library == "glibc":
        return None
    return f"malloc is kept by variables of glibc; this system has {library or platform.system()}"


def is_kept() -> bool:
    """Whether this process was started with malloc kept."""
    return all(os.environ.get(name) == value for name, value in KEPT.items())


class Apart:
    """The process, seen from its parent; it is pinned as the parent is and starts with the first message.

    Parameters
    ----------
    environment : dict
        What is added to the parent's.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def build(self, threads: int, maker: Callable[..., Job], *arguments: Any) -> RunApart:
        """Have it hold the job that `maker(*arguments)` makes, instead of the one before.

        The function is found there by its module and name; the arguments are pickled.
        """
        if self._process is None:
            self._start(threads)
        self._send("build", maker, arguments)
        return RunApart(self)

    def results(self) -> Any:
        """Run its job once; return the results."""
        return self._send("results", None, ())

    def measure(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(run, *arguments)` there, where `run` is its job's."""
        return self._send("measure", function, arguments)

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _start(self, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            env={**cores.environment(threads), **self._environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self.close)

    def _send(self, *message: Any) -> Any:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            pickle.dump(message, process.stdin)
            process.stdin.flush()
            value, error = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError) as problem:
            self.close()
            raise RuntimeError(f"its process ended with code {process.returncode}") from problem
        if error is not None:
            raise RuntimeError(error)
        return value


class RunApart:
    """A job's `run` in another process. Calling it runs the job there once and returns the results."""

    def __init__(self, process: Apart) -> None:
        self._process = process

    def __call__(self) -> Any:
        return self._process.results()

    def measure(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(run, *arguments)` where the job is."""
        return self._process.measure(function, *arguments)


def job(run: RunApart) -> Job:
    """The run as a job of this process; the results have come with the run."""
    return Job(run, lambda results: results)


def _answer(kind: str, held: Job | None, function: Any, arguments: tuple[Any, ...]) -> Any:
    if kind == "build":
        return function(*arguments)
    assert held is not None
    return held.results(held.run()) if kind == "results" else function(held.run, *arguments)


def main() -> None:
    """Answer messages until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    gc.disable()  # as the parent does while it takes times
    held: Job | None = None
    while True:
        try:
            kind, function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if kind == "build":
            held = None  # its memory is free before the next one's is taken
            gc.collect()
        value, error = None, None
        try:
            value = _answer(kind, held, function, arguments)
        except Exception as problem:  # another package's, whatever it is: the parent shall say it
            error = f"{type(problem).__name__}: {problem}"
        if kind == "build":
            held, value = value, None
        pickle.dump((value, error), answers)
        answers.flush()


if __name__ == "__main__":
    main()
