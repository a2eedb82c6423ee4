"""The virtual environment that the programs run in: their libraries from PyPI, and this checkout."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
TORCH = next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("torch=="))


def default_folder():
    """`clients/` in the user's cache directory."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "fastrnn" / "clients"


def prepare(folder, in_place):
    """Make the environment in `folder` if it is not there; return its Python.

    Its name has a hash of the requirements, so that others make another. Unless `in_place`, this checkout is built and
    installed into it each time.

    Raises
    ------
    SystemExit
        Installing the libraries changed torch.
    """
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:8]
    home = folder / key
    python = home / "bin" / "python"
    ready = home / "ready"
    if not ready.exists():
        print(f"making {home}: some minutes and 2.4 GB", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        pip(python, TORCH)
        before = torch_version(python)
        pip(python, "-r", str(REQUIREMENTS))
        if torch_version(python) != before:
            sys.exit(f"the libraries replaced torch {before} by {torch_version(python)}; expected that they leave it")
        ready.touch()
    if not in_place:
        print("building this checkout: two minutes", file=sys.stderr)
        pip(python, "-c", str(REQUIREMENTS), str(CHECKOUT))
    return python


def pip(python, *arguments):
    subprocess.run([python, "-m", "pip", "install", "-qq", *arguments], check=True, stdout=sys.stderr)


def torch_version(python):
    command = [python, "-c", "import torch; print(torch.__version__)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
