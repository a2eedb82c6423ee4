"""Every error of the command is one line: whatever is typed, set in the environment or raised below."""

import argparse
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from charlm_tools import TEXT, run, save_model, tiny_options, trained

import fastrnn
from fastrnn.bench import worker
from fastrnn.charlm import UserError, checkpoint, load
from fastrnn.cli import info, main, sample, train

ISAS = fastrnn.config()["isas"]


@pytest.fixture
def folder(folder):
    """A working folder with a text and a model."""
    save_model(folder / "model")
    return folder


def assert_one_line(code, err):
    """Exit code 0, or 1 and one line of error, the last; never a traceback."""
    assert "Traceback" not in err
    assert err.isascii() or err.replace("\n", "").isprintable()
    errors = [line for line in err.splitlines() if line.startswith("fastrnn: ")]
    assert code in (0, 1)
    assert len(errors) == code
    if code:
        assert err.endswith(errors[0] + "\n") and 12 < len(errors[0]) < 1200


# ------------------------------------------------------------------------------------ what is typed

NUMBERS = (
    *("", " ", "x", "nan", "-nan", "inf", "-inf", "1e400", "-1e400", "1e308", "5e-324", "1e3", "1.5", "0.0"),
    *("-1", "-5", "0", "-0", "0x10", "1_0", "٣", "½", "None", "True", "[]", "99999999999", "9" * 30, "9" * 400),
    *("9" * 4200, "9" * 5000, "-" + "9" * 5000),
)
WORDS = ("", "-", "--", "x" * 300, "a\nb\rc", "\x1b[31mred", "\udcff", "%s %(prog)s {0}", "$HOME", "a\0b", "日本")
FILES = (
    *(".", "..", "/", "~", "/dev/null", "/dev/full", "/dev/zero", "/proc/self/mem", "/proc/self/nothing"),
    *("no/such/file", "text.txt", "text.txt/", "text.txt/x", "./model/"),
)


def options():
    """(subcommand, option or None for a positional argument) of all parsers."""
    (commands,) = (a for a in main.build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, parser in commands.choices.items():
        for action in parser._actions:
            if not isinstance(action, argparse._HelpAction):
                yield pytest.param(name, action, id=f"{name} {(action.option_strings or [action.dest])[0]}")


ARGUMENTS = {
    "train": {"text": "text.txt"},
    "sample": {"model": "model"},
    "eval": {"model": "model", "text": "text.txt"},
    "inspect": {"model": "model", "text": "text.txt"},
    "info": {},
    "convert": {"source": "model", "target": "model.npz"},
    "bench": {},
}
BEFORE = {
    "train": tiny_options(epochs=1),
    "sample": ["--length", "2"],
    "inspect": ["--steps", "2"],
    "bench": ["--peers", "numpy", "--cases", "1,1,8,8"],
}
ENDLESS = ("/dev/zero", "/dev/full")


@pytest.mark.parametrize("command, action", list(options()))
def test_hostile_values_of_every_option_are_one_line(folder, capsys, monkeypatch, command, action):
    # What is legal is checked up to where hours of work would begin.
    monkeypatch.setattr(train, "_train", lambda trainer, *rest: trainer.save("model.safetensors"))
    monkeypatch.setattr(sample, "generate", lambda *rest, **options: iter("ab"))
    monkeypatch.setattr(worker, "records", lambda plan: iter(()))
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    before = (folder / "text.txt").read_bytes()
    for value in dict.fromkeys((*NUMBERS, *WORDS, *FILES)):
        if action.dest == "text" and value in ENDLESS:
            continue
        arguments, words = dict(ARGUMENTS[command]), list(BEFORE.get(command, []))
        if not action.option_strings:
            arguments[action.dest] = value
        elif action.nargs == 0 or value.startswith("-"):
            words.append(f"{action.option_strings[0]}={value}")
        else:
            words += [action.option_strings[0], value]
        code = main.main([command, *words, *(["--"] if arguments else []), *arguments.values()])
        assert_one_line(code, capsys.readouterr().err)
        kept = [folder / "text.txt", folder / "text.txt.previous"]
        assert before in [path.read_bytes() for path in kept if path.exists()]
        if kept[1].exists():  # as the figures of the bench do it
            kept[1].replace(kept[0])


@pytest.mark.parametrize(
    "words",
    [
        ["x"],
        ["-"],
        ["\n\x1b\udcff"],
        ["--version"],
        ["train", "--x"],
        ["train", "--lr"],
        ["train", "--lr", "a\nb"],
        ["sample"],
        ["eval"],
        ["info", "a", "b"],
    ],
)
def test_what_argparse_refuses_is_one_line(folder, capsys, words):
    code = main.main(words)
    assert_one_line(code, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "text.txt", "--lr", "inf"], "--lr is inf; expected at least 1e-37 and at most 1e+38"),
        (["train", "text.txt", "--clip", "inf"], "--clip is inf; expected at least 0 and at most 1e+38"),
        (["train", "text.txt", "--threads", "99999999999"], "--threads is 99999999999; expected an integer"),
        (["train", "text.txt", "--seed", "-1"], "--seed is -1; expected at least 0"),
        (["sample", "model", "--seed", "-1"], "--seed is -1; expected at least 0"),
        (["sample", "model", "--temperature", "inf"], "--temperature is inf; expected at least 0 and finite"),
        (["sample", "model", "--threads", "99999999999"], "--threads is 99999999999; expected an integer"),
        (["bench", "--cores", "0"], "--cores is 0; expected 1 to "),
        (["bench", "--seconds", "inf"], "--seconds is inf; expected at least 0 and at most"),
        (["bench", "--rounds", "9999999"], "--rounds is 9999999; expected at least 1 and at most"),
        (["bench", "--cases", "1,1,1,99999999999"], "--cases is '1,1,1,99999999999'; expected"),
    ],
)
def test_a_number_out_of_range_names_its_option_and_the_range(folder, capsys, words, message):
    code = main.main(words)
    err = capsys.readouterr().err
    assert_one_line(code, err)
    assert f"fastrnn: {message}" in err


# ---------------------------------------------------------------------------------- what is raised below


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("m: wrong"), "m: wrong"),
        (ValueError("LSTM: x is 1;\n  expected 2"), "LSTM: x is 1; expected 2"),
        (TypeError("LSTM: x is a str"), "LSTM: x is a str"),
        (OverflowError("too large"), "too large"),
        (KeyError("load: missing 'w'"), "load: missing 'w'"),
        (FloatingPointError("not finite"), "not finite"),
        (ZeroDivisionError("division by zero"), "division by zero"),
        (MemoryError(), "not enough memory"),
        (MemoryError("for 3 GB"), "not enough memory: for 3 GB"),
        (FileNotFoundError(2, "No such file or directory", "a\nb"), r"a b: No such file or directory"),
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        (FileNotFoundError("m: no such file"), "m: no such file"),
        (ImportError("fastrnn: not built"), "not built"),
        (NotImplementedError("later"), "later"),
        (UnicodeError("no text"), "no text"),
        (RecursionError("too deep"), "RecursionError: too deep; FASTRNN_DEBUG=1 shows where"),
        (AttributeError("x"), "AttributeError: x; FASTRNN_DEBUG=1 shows where"),
        (IndexError(), "IndexError: ; FASTRNN_DEBUG=1 shows where"),
        (ValueError(), "ValueError: ; FASTRNN_DEBUG=1 shows where"),
        (StopIteration(), "StopIteration: ; FASTRNN_DEBUG=1 shows where"),
        (ValueError("\x1b[31m\u2028red\x00"), r"\x1b[31m red\x00"),
        (np.exceptions.AxisError("axis 3"), "axis 3"),
    ],
)
def test_every_exception_is_one_line(monkeypatch, capsys, error, line):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(info, "_config_rows", fail)
    monkeypatch.delenv("FASTRNN_DEBUG", raising=False)
    assert main.main(["info"]) == 1
    assert capsys.readouterr().err == f"fastrnn: {line}\n"
    monkeypatch.setenv("FASTRNN_DEBUG", "1")
    assert main.main(["info"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n") and err.endswith(f"fastrnn: {line}\n")
    for value in ("", "0"):
        monkeypatch.setenv("FASTRNN_DEBUG", value)
        assert main.main(["info"]) == 1
        assert capsys.readouterr().err == f"fastrnn: {line}\n"


def test_a_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")
    (tmp_path / "text.txt").write_text(TEXT)
    code = main.main(["train", str(tmp_path / "text.txt")])
    err = capsys.readouterr().err
    assert_one_line(code, err)
    assert "the current folder is gone" in err


def test_a_message_that_quotes_thousands_of_digits_is_cut(monkeypatch, capsys):
    def fail(*arguments):
        raise ValueError("begin" + "9" * 100_000 + "end")

    monkeypatch.setattr(info, "_config_rows", fail)
    assert main.main(["info"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fastrnn: begin9") and err.endswith("9end\n") and len(err) < 1100


def test_a_fault_of_the_benchs_worker_is_one_line():
    # A case for which there is not enough memory anywhere.
    words = ["bench", "--peers", "numpy", "--cases", "training:2147483647,2147483647,8,8", "--seconds", "0"]
    code, _, err = run(*words)
    assert_one_line(code, err.replace("fastrnn bench: the machine is busy", ""))
    assert "the process of the section 'cases' ended with code" in err


# ------------------------------------------------------------------------------------- the environment


def command(words, **environment):
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    return subprocess.run([sys.executable, *words], env=given, capture_output=True, text=True, timeout=60)


@pytest.fixture
def script(tmp_path):
    """The command as pip installs it."""
    path = tmp_path / "bin" / "fastrnn"
    path.parent.mkdir()
    path.write_text("import sys\nfrom fastrnn.cli.main import main\nsys.exit(main())\n")
    return str(path)


def test_an_impossible_instruction_set_is_one_line_for_the_command(script):
    expected = (
        f"fastrnn: FASTRNN_ISA is 'nonsense'; this machine can run: {', '.join(ISAS)}. "
        "Set it to one of these or unset it.\n"
    )
    for words in ([script, "info"], ["-m", "fastrnn", "info"], ["-mfastrnn"], ["-Bm", "fastrnn", "train", "-m", "x"]):
        done = command(words, FASTRNN_ISA="nonsense")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", expected), words
    done = command([script, "info"], FASTRNN_ISA="nonsense", FASTRNN_DEBUG="1")
    assert done.stderr.startswith("Traceback") and "ImportError: fastrnn: FASTRNN_ISA" in done.stderr


def test_a_program_gets_the_exception(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("try:\n    import fastrnn\nexcept ImportError as error:\n    print('caught')\nimport fastrnn\n")
    for words in ([str(program)], ["-c", program.read_text()]):
        done = command(words, FASTRNN_ISA="nonsense")
        assert done.stdout == "caught\n"
        assert done.stderr.startswith("Traceback") and "ImportError: fastrnn: FASTRNN_ISA" in done.stderr


def test_ctrl_c_while_the_command_is_imported_is_one_line(tmp_path):
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt\n")
    given = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = command(["-m", "fastrnn", "info"], PYTHONPATH=given)
    assert done.stderr == "fastrnn: interrupted\n" and done.returncode != 0


def test_a_wrong_number_of_threads_in_the_environment_is_one_line():
    done = command(["-m", "fastrnn", "info"], FASTRNN_NUM_THREADS="x")
    assert_one_line(done.returncode, done.stderr)
    assert "FASTRNN_NUM_THREADS" in done.stderr


# ------------------------------------------------------------------------------- a rate that decays to 0


def test_what_is_wrong_with_the_machine_is_said_before_anything_is_moved(folder, capsys, monkeypatch):
    """The package for model files is missing, the number of threads is none."""
    words = ["train", "text.txt", *tiny_options(epochs=1)]
    assert main.main(words) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()

    def wrong():
        raise ValueError("FASTRNN_NUM_THREADS is 'x'; expected an integer")

    with monkeypatch.context() as patch:
        patch.setattr(fastrnn, "get_num_threads", wrong)
        assert main.main(words) == 1
    assert capsys.readouterr().err == "fastrnn: FASTRNN_NUM_THREADS is 'x'; expected an integer\n"
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for out in ("model.safetensors", "other.safetensors"):
        assert main.main([*words, "--out", out]) == 1
        assert "fastrnn: model files need the package safetensors: pip install" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_near_the_largest_number_are_one_line_and_no_warning(tmp_path, capsys):
    model, vocabulary = save_model(tmp_path / "m.safetensors")
    model.load_state_dict({name: np.full_like(value, 3e38) for name, value in model.state_dict().items()})
    checkpoint.save(tmp_path / "m.safetensors", model, vocabulary)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main.main(["sample", str(tmp_path / "m.safetensors"), "--length", "5"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "fastrnn: the model's logits are not finite: its weights are too large"
    ]


def test_a_learning_rate_that_decays_to_nothing_goes_on(folder, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # 200 saves
    (folder / "short.txt").write_text("she sells sea shells.")
    words = ["--layers", "1", "--hidden", "8", "--batch", "2", "--seq", "10", "--val-frac", "0", "--epochs", "200"]
    assert main.main(["train", "short.txt", *words, "--lr-decay", "0.0001", "--lr-decay-after", "0"]) == 0
    assert load("model.safetensors").training["step"] == 200


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adagrad", "sgd"])
def test_a_learning_rate_of_nothing_leaves_the_weights(optimizer):
    decay = {"lr_decay": 0.0001, "lr_decay_after": 0, "epochs": 200, "batch": 2, "seq": 10, "val_frac": 0.0}
    trainer = trained("she sells sea shells.", steps=100, optimizer=optimizer, **decay)
    before = [module.flat_params.copy() for module in trainer.model.modules]
    while not trainer.finished:
        trainer.train_step()
    for module, weights in zip(trainer.model.modules, before, strict=True):
        np.testing.assert_array_equal(module.flat_params, weights)
