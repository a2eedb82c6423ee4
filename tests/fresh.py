"""Another Python process, for what a process can only do once: start, choose, fork."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and guard pages as Linux has them")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

DEADLINE = 100  # seconds; a fork that hangs is given less by its own script


def python(script, **environment):
    """Run a script that can import what the tests can; None unsets a variable."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    given = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={name: value for name, value in given.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def output(script, **environment):
    """What the script printed; it must end well."""
    result = python(script, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
