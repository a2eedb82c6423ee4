"""What the documentation shows must work: each page's Python runs, block after block, and its command lines parse."""

import gzip
import itertools
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from docs_pages import DOCS, PAGES, ROOT, blocks, missing

from fastrnn.cli.main import build_parser, main

# Pages that take more than five seconds.
SLOW = ()

# Packages that warn by themselves.
NOISY = ("docs/from-keras.md",)

# Pages whose command lines are about files that their Python has just written: these lines run, too.
COMMANDS_RUN = ("docs/from-keras.md",)


def after_readme(names, folder):
    assert names["loss"] < 0.05


def after_start(names, folder):
    assert names["loss"] < 0.05
    assert names["logits"].argmax(axis=-1).tolist() == [1, 1, 0, 1]


def after_layers(names, folder):
    assert names["y_t"].shape == (1, 32)
    assert [path.name for path in folder.iterdir()] == ["lstm.npz"]
    assert [output.shape for output in names["outputs"]] == [(7, 128), (29, 128), (15, 128)]
    assert names["agent"].flat_grads.any() and names["exact"].flat_grads.dtype == "float64"


def after_keras(names, folder):
    assert names["y"].shape == (7, 3, 32)
    assert sorted(path.name for path in folder.iterdir()) == ["again.keras", "model.keras"]


def after_onnx(names, folder):
    import onnx

    onnx.checker.check_model(str(folder / "gru.onnx"))
    hidden, _ = names["lstm"](names["table"][names["ids"]])
    for y in (names["y"], names["outputs"]["y"]):
        np.testing.assert_allclose(y, names["head"](hidden), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(names["again"].flat_params, names["lstm"].flat_params)


def after_scikit_learn(names, folder):
    assert names["accuracy"] > 0.8
    assert names["tagger"].score([names["np"].eye(names["n"])[one] for one in names["codes"]], names["again"]) > 0.9
    assert names["skill"] > 0.1


def check(truth):
    assert truth


# What must be so when a page has run; what is learnt there must have been learnt.
AFTER = {
    "README.md": after_readme,
    "docs/start.md": after_start,
    "docs/from-char-rnn.md": lambda names, folder: check(names["loss"] < 0.2),
    "docs/from-keras.md": after_keras,
    "docs/from-onnx.md": after_onnx,
    "docs/from-scikit-learn.md": after_scikit_learn,
    "docs/tutorials/ctc.md": lambda names, folder: check(names["searched"] > 0.7),
    "docs/tutorials/encoder-decoder.md": lambda names, folder: check(names["accuracy"] > 0.9),
    "docs/tutorials/forecasting.md": lambda names, folder: check(names["error"] < 0.9 * names["baseline"]),
    "docs/tutorials/language-model.md": lambda names, folder: check(names["loss"] < 1.05 * names["least"]),
    "docs/tutorials/layers.md": after_layers,
    "docs/tutorials/looking-inside.md": lambda names, folder: check(
        str(names["first"]) == "recurrent, layer 0, step 7, row 1: input is nan at 2"
    ),
    "docs/tutorials/many-to-many.md": lambda names, folder: check(names["accuracy"] > 0.99 and names["longer"] > 0.95),
    "docs/tutorials/many-to-one.md": lambda names, folder: check(names["accuracy"] > 0.8 and names["error"] < 1),
    "docs/tutorials/one-to-many.md": lambda names, folder: check(names["accuracy"] > 0.7 and names["error"] < 0.1),
    "docs/tutorials/ragged.md": lambda names, folder: check(names["accuracy"] > 0.9),
    "docs/tutorials/streaming.md": lambda names, folder: check(names["right"] > 0.85),
    "docs/tutorials/training.md": lambda names, folder: check(names["accuracy"] > 0.9),
}


def with_marks(page):
    marks = [pytest.mark.slow] if page in SLOW else []
    marks += [pytest.mark.filterwarnings("ignore")] if page in NOISY else []
    return pytest.param(page, marks=marks)


@pytest.mark.parametrize("page", [with_marks(page) for page in PAGES if blocks(page, "python")])
def test_python_of_a_page_runs_block_after_block(page, tmp_path, monkeypatch):
    code = blocks(page, "python")
    absent = missing("".join(code))
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    if "import keras" in "".join(code):
        pytest.importorskip("h5py")
        monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, block in enumerate(code, 1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    AFTER.get(page, lambda names, folder: None)(names, tmp_path)
    if page in COMMANDS_RUN:
        for arguments in commands(page):
            assert main(arguments) == 0, arguments


def commands(page):
    """The arguments of each line that calls fastrnn."""
    for line in "".join(blocks(page, "sh")).splitlines():
        for joined, words in itertools.groupby(shlex.split(line, comments=True), "&&".__eq__):
            name, *arguments = words
            if not joined and Path(name).name == "fastrnn":
                yield arguments


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))])
def test_command_lines_of_a_page_parse(page):
    for arguments in commands(page):
        build_parser().parse_args(arguments)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_command_lines_of_the_command_s_page_run_one_after_the_other(tmp_path, monkeypatch):
    """With few epochs, so that a run can go on; but the benchmark, and what is about texts that are not here."""
    monkeypatch.chdir(tmp_path)
    text = "It was the best of hours, it was the worst of times.\n" * 400
    Path("novel.txt").write_text(text, "utf-8")
    Path("other.txt").write_text(text[:5000].replace("best", "worst"), "utf-8")
    Path("letters.txt.gz").write_bytes(gzip.compress(text.replace("times", "hours")[:9000].encode()))
    if not missing("import keras, h5py"):
        keras = pytest.importorskip("keras")
        keras.Sequential([keras.layers.Input((None, 3)), keras.layers.GRU(5)]).save("keras_model.h5")
    ran = []
    for arguments in commands("docs/command.md"):
        files = [Path(word) for word in arguments if word.endswith((".txt", ".gz", ".h5"))]
        if arguments[0] != "bench" and all(path.exists() for path in files):
            few = ["--epochs", str(2 + len(ran))] if arguments[0] == "train" else []
            assert main([*arguments, *few]) == 0, arguments
            ran.append(arguments[0])
    assert set(ran) >= {"train", "sample", "eval", "inspect", "info"}
    assert {"novel.safetensors", "letters.safetensors", "gradients.png"} <= set(os.listdir())


def test_every_subcommand_is_shown():
    shown = {arguments[0] for page in PAGES for arguments in commands(page)}
    assert shown >= {"train", "sample", "eval", "inspect", "info", "convert", "bench"}


def test_the_guarantees_name_tests_that_are_there():
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")}
    named, file = 0, ""
    for name, ending in re.findall(r"\b(test_\w+)(\.py)?", (DOCS / "guarantees.md").read_text(encoding="utf-8")):
        if ending:
            file = name + ending
            assert file in sources
        else:
            assert f"def {name}(" in sources[file], (file, name)
            named += 1
    assert named > 30
