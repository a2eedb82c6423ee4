"""What README.md shows must work: its Python runs, its command lines parse, its folders are there."""

import itertools
import re
import shlex
from pathlib import Path

from fastrnn.cli.main import build_parser

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_python_blocks_run_one_after_the_other_and_learn(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    training, tour, options = blocks("python")
    exec(training, names)
    assert names["loss"] < 0.05
    assert capsys.readouterr().out.startswith("loss 0.0")
    exec(tour, names)
    assert names["y_t"].shape == (1, 32)
    assert [path.name for path in tmp_path.iterdir()] == ["lstm.npz"]
    exec(options, names)
    assert [output.shape for output in names["outputs"]] == [(7, 128), (29, 128), (15, 128)]
    assert names["agent"].flat_grads.any() and names["exact"].flat_grads.dtype == "float64"


def test_every_command_line_parses():
    commands = []
    for line in "".join(blocks("sh")).splitlines():
        for joined, words in itertools.groupby(shlex.split(line, comments=True), "&&".__eq__):
            name, *arguments = words
            if not joined and Path(name).name == "fastrnn":
                commands.append(arguments)
                build_parser().parse_args(arguments)
    names = {"train", "sample", "eval", "inspect", "info", "convert", "bench"}
    assert {arguments[0] for arguments in commands} == names


def test_every_line_that_sets_up_makes_its_own_environment():
    lines = [line for line in "".join(blocks("sh")).splitlines() if "pip install" in line]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_every_folder_of_the_map_is_there():
    paths = re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE)
    assert len(paths) >= 8
    for path in paths:
        assert (ROOT / path).exists(), path
