"""`fastrnn train --init-from`: a trained model learns another text, as a user types it."""

import shlex

import numpy as np
import pytest
from charlm_tools import save_model, tiny_options, trained

from fastrnn.charlm import load
from fastrnn.cli.main import main

OTHER = "she has a sea; the other has a shore. all she sells stays there.\n" * 30
OPTIONS = [word for word in tiny_options() if word not in ("--layers", "--hidden", "1", "16")]


@pytest.fixture
def folder(folder):
    """A working folder with a trained model and texts, one of them with characters that the model does not know."""
    trained().save("base.safetensors")
    (folder / "other.txt").write_text(OTHER)
    (folder / "new.txt").write_text(OTHER.replace("shore", "SHORE"))
    return folder


def call(capsys, *words):
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


def test_a_model_is_trained_on_another_text(folder, capsys):
    before = (folder / "base.safetensors").read_bytes()
    words = ["train", "other.txt", "--init-from", "base.safetensors", *OPTIONS, "--out", "tuned.safetensors"]
    code, _, err = call(capsys, *words)
    assert code == 0
    assert "starting with the weights of base.safetensors" in err
    assert (folder / "base.safetensors").read_bytes() == before
    base, tuned = load("base.safetensors"), load("tuned.safetensors")
    assert base.settings == tuned.settings
    assert base.vocabulary.characters == tuned.vocabulary.characters
    assert any(not np.array_equal(base.parameters[name], tuned.parameters[name]) for name in base.parameters)
    assert call(capsys, "sample", "tuned.safetensors", "--length", "5")[0] == 0


def test_a_bare_model_without_a_record_is_trained_too(folder, capsys):
    save_model("bare.safetensors")
    assert call(capsys, "train", "other.txt", "--init-from", "bare.safetensors", *OPTIONS)[0] == 0


def test_new_characters_are_refused_or_skipped(folder, capsys):
    words = ["train", "new.txt", "--init-from", "base.safetensors", *OPTIONS]
    code, _, err = call(capsys, *words)
    assert code == 1
    assert "does not know the character 'S'" in err
    assert "--unk skip leaves unknown characters out" in err
    code, _, err = call(capsys, *words, "--unk", "skip", "--seconds", "0.01", "--epochs", "100000")
    assert code == 0
    assert f"left out {5 * 30} characters that the model does not know" in err
    command = shlex.split(err.splitlines()[-1])
    command = command[command.index("train") :]
    assert "--init-from" not in command
    step = load("model.safetensors").training["step"]
    assert call(capsys, *command, "--seconds", "0.01")[0] == 0
    assert load("model.safetensors").training["step"] > step
    code, out, _ = call(capsys, "info", "model.safetensors")
    assert code == 0
    assert "--unk skip" in out


def test_a_text_of_unknown_characters_alone_is_too_short_and_says_why(folder, capsys):
    (folder / "z.txt").write_text("Z" * 500)
    code, _, err = call(capsys, "train", "z.txt", "--init-from", "base.safetensors", "--unk", "skip", *OPTIONS)
    assert code == 1
    assert "0 of its 0 characters, without 500 that the model does not know, are for training" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume", "base.safetensors"], "expected one of them"),
        (["--cell", "gru"], "--cell gru contradicts the model's --cell lstm"),
        (["--layers", "2"], "--layers 2 contradicts the model's --layers 1"),
        (["--hidden", "8"], "--hidden 8 contradicts the model's --hidden 16"),
        (["--dropout", "0.5"], "--dropout acts between layers"),
        (["--unk", "drop"], "--unk is 'drop'; expected error or skip"),
    ],
)
def test_what_does_not_fit_is_refused(folder, capsys, words, message):
    code, _, err = call(capsys, "train", "other.txt", "--init-from", "base.safetensors", *words)
    assert code == 1
    assert message in err.splitlines()[-1]
    assert not (folder / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--init-from", ""], "--init-from: is ''; expected the name of a file"),
        (["--resume", ""], "--resume: is ''; expected the name of a file"),
        (["--init-from", "text.txt"], "text.txt: not a whole safetensors file"),
        (["--init-from", "none"], "none: no such file"),
        (["--unk", "skip"], "--unk skip needs --init-from"),
        (["--lr", "inf"], "--lr is inf; expected at least 1e-37 and at most 1e+38"),
    ],
)
def test_wrong_options_are_one_line(folder, capsys, words, message):
    code, _, err = call(capsys, "train", "text.txt", *words)
    assert code == 1
    assert message in err.splitlines()[-1]


def test_resuming_with_another_text_names_init_from(folder, capsys):
    code, _, err = call(capsys, "train", "other.txt", "--resume", "base.safetensors", "--epochs", "3")
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("fastrnn: base.safetensors: this is not the text the model was trained on")
    assert "--init-from instead of --resume trains the model on another text" in last
