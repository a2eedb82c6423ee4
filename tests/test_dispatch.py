"""One build holds several instruction sets; the one that was asked for must be the one that runs."""

import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fresh import output, python
from runs import CELLS, make_step
from tolerance import BACKWARD, assert_close, bound

import fastrnn
from fastrnn import cells
from fastrnn._core import kernels

SOURCES = Path(fastrnn.__file__).parent
ISAS = fastrnn.config()["isas"]
VECTORS = {"baseline": 4, "avx2": 8, "avx512": 16}  # of float32
REPORT = """
import json, fastrnn
from fastrnn._core import kernels
from runs import make_step
run = make_step("lstm", (5, 9, 20, 33), 2).run()
run = {key: value.ravel().tolist() for key, value in run.items()}
tables = {"table": kernels.isa(), "table_f64": kernels.isa("float64"), "cells": kernels.cells()}
print(json.dumps({**fastrnn.config(), **tables, "run": run}))
"""


@pytest.fixture(scope="module")
def reports():
    """What a fresh process says and computes, by the FASTRNN_ISA it was started with."""
    return {isa: json.loads(output(REPORT, FASTRNN_ISA=isa)) for isa in ISAS}


@pytest.mark.parametrize("isa", ISAS)
def test_forced_isa_is_active(reports, isa):
    report = reports[isa]
    assert report["isa"] == report["table"]["name"] == isa
    assert report["isas"] == ISAS
    assert report["vector"] == report["table"]["vector"] == VECTORS[isa]
    assert report["tile_rows"] == report["table"]["tile_rows"] > 0
    assert report["table_f64"] == {**report["table"], "vector": VECTORS[isa] // 2}


@pytest.mark.parametrize("isa", ISAS)
def test_every_isa_computes_a_layer(reports, isa):
    """Within rounding of the twin; which bits may differ from one instruction set to another."""
    step = make_step("lstm", (5, 9, 20, 33), 2)
    for key, expected in step.twin().items():
        actual = np.array(reports[isa]["run"][key], np.float32).reshape(expected.shape)
        assert_close(f"{isa} {key}", actual, expected, bound(step.length(), BACKWARD))


def test_fused_multiply_adds_are_really_used(reports):
    """Only the baseline rounds products before it adds them, which shows in the bits."""
    fused = [reports[isa]["run"] for isa in ISAS if isa != "baseline"]
    for run in fused:
        assert run != reports["baseline"]["run"]


def test_every_isa_has_every_cell(reports):
    for report in reports.values():
        assert report["cells"] == kernels.cells()


def test_the_best_is_chosen_when_none_is_asked_for():
    script = "import fastrnn; print(fastrnn.config()['isa'])"
    assert ISAS[0] == "baseline"
    assert [isa for isa in VECTORS if isa in ISAS] == ISAS
    assert output(script, FASTRNN_ISA=None) == ISAS[-1]
    assert output(script, FASTRNN_ISA="") == ISAS[-1]


@pytest.mark.parametrize("name", ["neon9", "AVX2", "avx2 "])
def test_impossible_isa_raises_and_lists_the_possible_ones(name):
    result = python("import fastrnn", FASTRNN_ISA=name)
    assert result.returncode == 1
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: fastrnn: FASTRNN_ISA is ")
    assert repr(name) in message
    assert f"this machine can run: {', '.join(ISAS)}." in message


def test_the_suite_runs_on_the_isa_it_was_asked_for():
    asked = os.environ.get("FASTRNN_ISA") or ISAS[-1]
    assert fastrnn.config()["isa"] == kernels.isa()["name"] == asked


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not an x86-64")
@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="no /proc")
def test_what_the_processor_has_is_available():
    with open("/proc/cpuinfo") as file:
        flags = next(line for line in file if line.startswith("flags")).split()
    assert ("avx2" in ISAS) == ("avx2" in flags and "fma" in flags)
    if "avx512f" not in flags and "avx512" in ISAS:
        pytest.skip("built with AVX-512 emulated")
    assert ("avx512" in ISAS) == ("avx512f" in flags)


def test_compiled_rows_are_those_of_the_cell_table():
    rows = {name: (len(cell.gates), len(cell.states)) for cell in cells.CELLS.values() for name in cell.compiled}
    assert rows == {name: (row["gates"], row["states"]) for name, row in kernels.cells().items()}


def test_the_cell_table_is_what_the_twins_say():
    for name, cell in cells.CELLS.items():
        twin = importlib.import_module(f"fastrnn.reference.{name}")
        assert (cell.gates, cell.states) == (tuple(twin.GATES), tuple(twin.STATES))
        assert cell.open_gate is None or cell.open_gate in cell.gates
        assert cell.onnx is None or sorted(cell.onnx) == sorted(cell.gates)
    assert cells.CELLS["lstm"].onnx_order() == (0, 3, 1, 2)
    with pytest.raises(ValueError, match="UGRNN: ONNX has no such cell; expected"):
        cells.CELLS["ugrnn"].onnx_order()


def test_cell_table_agrees_with_the_classes():
    table = kernels.cells()
    layers = {name: make_step(name, (1, 1, 1, 1)).layer for name in CELLS}
    assert {layer._cell for layer in layers.values()} == set(table)
    for layer in layers.values():
        row = table[layer._cell]
        assert row == {"gates": len(layer.GATES), "states": len(layer.STATES)}
        assert layer.params["weight_hh_l0"].shape == (row["gates"], 1)


def test_config_is_printed(capsys):
    fastrnn.show_config()
    lines = capsys.readouterr().out.splitlines()
    config = fastrnn.config()
    assert [line.split()[0] for line in lines] == list(config)
    assert any(line.split()[1:] == [config["isa"]] for line in lines if line.startswith("isa "))


def test_nothing_but_the_forced_name_changes_at_run_time(monkeypatch):
    """The choice is made once, at import: the environment is not read again."""
    before = fastrnn.config()["isa"]
    monkeypatch.setenv("FASTRNN_ISA", "baseline")
    make_step("rnn", (2, 3, 4, 5)).run()
    assert fastrnn.config()["isa"] == before


def test_a_source_folder_that_was_not_built_says_so(tmp_path):
    shutil.copytree(SOURCES, tmp_path / "fastrnn", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    call = [sys.executable, "-S", "-c", "import fastrnn"]  # without what an editable installation adds
    result = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode != 0
    assert "without its compiled modules" in result.stderr.splitlines()[-1]
