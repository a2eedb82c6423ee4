"""Each cell's equations stand twice, in the twin's docstring and at the head of its C source."""

import importlib
import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "cells"
LABEL = r"[FB]\d[ab]?"
LEFT_TO_THE_DRIVER = {"F1", "B0"}  # products over all of time; the rest the C code labels
CELLS = ("rnn", "lstm", "gru", "ugrnn")
every_cell = pytest.mark.parametrize("name", CELLS)


def of_the_twin(name):
    lines = importlib.import_module(f"fastrnn.reference.{name}").__doc__.splitlines()
    return lines[lines.index("EQUATIONS") + 1 : lines.index("END")]


def source(name):
    return (SOURCES / f"{name}.inc.h").read_text(encoding="ascii")


def of_the_source(name):
    """The lines of the first comment from EQUATIONS to END, without the stars in front."""
    head = source(name).split("*/")[0].splitlines()
    lines = [re.sub(r"^ \*( |$)", "", line, count=1) for line in head[1:]]
    return lines[lines.index("EQUATIONS") + 1 : lines.index("END")]


@every_cell
def test_tables_are_equal(name):
    assert [line.rstrip() for line in of_the_twin(name)] == of_the_source(name)


def test_every_cell_source_is_compared():
    assert {path.name.split(".")[0] for path in SOURCES.glob("*.inc.h")} == {"cell", *CELLS}


@every_cell
def test_code_carries_the_labels_of_its_equations(name):
    table = set(re.findall(rf"^({LABEL}) ", "\n".join(of_the_source(name)), re.MULTILINE))
    code = source(name).split("*/", 1)[1]
    comments = " ".join(re.findall(r"/\*.*?\*/", code, re.DOTALL))
    labels = set(re.findall(rf"\b{LABEL}\b", comments))
    assert labels <= table
    assert table - labels <= LEFT_TO_THE_DRIVER
