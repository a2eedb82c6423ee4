"""The examples that run weights of packages, without these packages; `examples/pretrained/check.py` runs them with."""

import importlib.metadata
import itertools
import pickle
import py_compile
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "pretrained"
PACKAGES = {
    "chars2vec": ("chars2vec", "word"),
    "g2p": ("g2p-en", "word"),
    "lac": ("jieba", "word"),
    "metapredict": ("metapredict", "GS"),
    "nagisa": ("nagisa", "word"),
    "nakdimon": ("nakdimon", "word"),
    "silero": ("silero-vad", "sound.wav"),
    "sleepecg": ("sleepecg", "night.npy"),
    "textgenrnn": ("textgenrnn", "word"),
}
MOST_LINES = 80


@pytest.fixture
def without_packages(monkeypatch):
    """No package is installed, and what an example imports from beside it is forgotten after the test."""

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "common", raising=False)
    yield
    sys.modules.pop("common", None)


@pytest.fixture
def common():
    return SimpleNamespace(**runpy.run_path(str(FOLDER / "common.py")))


def test_every_example_has_its_package_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*PACKAGES, "common", "check"}


@pytest.mark.parametrize("name", PACKAGES)
def test_an_example_is_short(name):
    lines = (FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_an_example_compiles(path, tmp_path):
    py_compile.compile(str(path), cfile=str(tmp_path / "compiled"), doraise=True)


@pytest.mark.parametrize("name", PACKAGES)
def test_an_example_says_how_to_get_the_package_that_is_missing(name, without_packages, monkeypatch):
    package, argument = PACKAGES[name]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", argument])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    message = str(end.value)
    assert message.startswith(f"{name}.py: {package}, ")
    assert message.endswith(f"is not installed: pip install --no-deps {package}")


@pytest.mark.parametrize("name", PACKAGES)
def test_an_example_without_an_argument_says_what_it_is(name, without_packages, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert end.value.code


def test_a_file_that_the_package_has_not_is_named(common, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["example.py"])
    with pytest.raises(SystemExit, match=r"example\.py: this version of numpy has no numpy/weights\.npz"):
        common.located("numpy", "numpy/weights.npz")


def test_a_pickle_that_names_something_to_call_is_refused(common, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps({"a": [1, 2.0, "b"]}))
    with path.open("rb") as file:
        assert common.Plain(file).load() == {"a": [1, 2.0, "b"]}
    path.write_bytes(pickle.dumps(print))
    with path.open("rb") as file, pytest.raises(pickle.UnpicklingError, match=r"builtins\.print"):
        common.Plain(file).load()


@pytest.mark.parametrize("length", [1, 2, 5])
def test_viterbis_tags_are_the_best_of_all(common, length):
    rng = np.random.default_rng(length)
    scores, first, steps, last = (rng.standard_normal(shape) for shape in ((length, 3), 3, (3, 3), 3))

    def total(tags):
        inside = sum(scores[place, tag] for place, tag in enumerate(tags))
        return first[tags[0]] + inside + sum(steps[pair] for pair in itertools.pairwise(tags)) + last[tags[-1]]

    best = max(itertools.product(range(3), repeat=length), key=total)
    assert common.viterbi(scores, first, steps, last) == list(best)
