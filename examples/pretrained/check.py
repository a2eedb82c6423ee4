"""Run every example with NumPy and fastrnn alone, and hold it against the package's own framework.

    apt-get install espeak-ng                       # makes the sounds
    python examples/pretrained/check.py FOLDER      # environments of Python come there, some 5 GB

Takes minutes, and fetches packages from PyPI. Stops at the first result that is too far from what it should be.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SOUNDS = {"en": "Hello. This is a test, with a pause.", "de": "Guten Tag. Dies ist ein zweiter Versuch."}
ARGUMENTS = {
    "silero": ["en.wav"],
    "g2p": ["hello", "world"],
    "lac": ["我来到北京清华大学"],
    "nagisa": ["Pythonで簡単に使えるツールです"],
    "metapredict": ["MDVFMKGLSKAKEGVVAAAEKTKQGVAEAAGKTKEGVLYVGSKTKEGVVHGVATVAEKTKEQ"],
    "sleepecg": ["night.npy"],
    "nakdimon": ["שלום עולם"],
    "chars2vec": ["Natural", "Naturally", "Language", "Languages"],
    "textgenrnn": ["My cat ", "--seed", "1"],
}
PACKAGES = ["silero-vad", "g2p-en", "jieba", "nagisa", "metapredict", "sleepecg", "nakdimon", "chars2vec", "textgenrnn"]


class Environment(NamedTuple):
    """What is installed with its dependencies, what without, and what runs there."""

    whole: list[str]
    alone: list[str]
    checks: list[str]


ENVIRONMENTS = {
    "alone": Environment(["h5py"], PACKAGES, []),
    "torch": Environment(
        ["torch==2.13.0", "keras", "h5py", "scipy", "pyyaml", "requests", "packaging", "six"],
        ["silero-vad", "g2p-en", "nagisa", "metapredict", "sleepecg", "chars2vec"],
        ["packages.py", "keras_models.py"],
    ),
    "tensorflow": Environment(["tensorflow", "tf_keras"], ["nakdimon", "textgenrnn"], ["tensorflow_models.py"]),
    "paddle": Environment(["paddlepaddle==2.6.2", "numpy<2", "setuptools"], ["jieba"], ["paddle_model.py"]),
}


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, **options)


def made(folder, name, wheel):
    """The Python of an environment, which is made if it is not there, with today's fastrnn."""
    python = folder / name / "bin" / "python"
    if not (folder / name / "done").exists():
        environment = ENVIRONMENTS[name]
        run(sys.executable, "-m", "venv", "--clear", folder / name)
        run(python, "-m", "pip", "install", "-q", wheel, *environment.whole)
        run(python, "-m", "pip", "install", "-q", "--no-deps", *environment.alone)
        (folder / name / "done").touch()
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", wheel)
    return python


def main():
    if len(sys.argv) != 2 or not shutil.which("espeak-ng"):
        sys.exit(__doc__)
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(exist_ok=True)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, HERE.parents[1])
    wheel = max(folder.glob("fastrnn-*.whl"), key=lambda path: path.stat().st_mtime)
    for voice, text in SOUNDS.items():
        run("espeak-ng", "-v", voice, "-w", folder / f"{voice}.wav", text)
    for name in ENVIRONMENTS:
        python = made(folder, name, wheel)
        if name == "alone":
            night = "import numpy as np; np.save('night.npy', np.random.default_rng(1).standard_normal((9, 36)))"
            run(python, "-c", night, cwd=folder)
            for example, arguments in ARGUMENTS.items():
                print(f"--- {example}", flush=True)
                run(python, HERE / f"{example}.py", *arguments, cwd=folder)
        for check in ENVIRONMENTS[name].checks:
            sounds = [f"{voice}.wav" for voice in SOUNDS] if check == "packages.py" else []
            run(python, HERE / "checks" / check, *sounds, cwd=folder)


if __name__ == "__main__":
    main()
