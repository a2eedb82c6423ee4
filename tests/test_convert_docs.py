"""The page about Keras runs as it stands."""

import os
import re
from pathlib import Path

import pytest

from fastrnn.cli.main import build_parser

PAGE = Path(__file__).parent.parent / "docs" / "from-keras.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore")
def test_the_page_about_keras_runs(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("h5py")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("python"):
        exec(block, names)
    assert names["y"].shape == (7, 3, 32)
    assert sorted(os.listdir()) == ["again.keras", "model.keras"]


def test_its_command_lines_parse():
    for line in "".join(blocks("sh")).splitlines():
        build_parser().parse_args(line.split()[1:])
