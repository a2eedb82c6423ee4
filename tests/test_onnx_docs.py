"""What docs/from-onnx.md shows must work, and it names every operator."""

import re
from pathlib import Path

import numpy as np
from onnx_models import onnx

from fastrnn.convert.onnx.operators import OPERATORS

TEXT = (Path(__file__).parents[1] / "docs" / "from-onnx.md").read_text(encoding="utf-8")


def test_the_examples_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        exec(block, names)
    onnx.checker.check_model(str(tmp_path / "gru.onnx"))
    hidden, _ = names["lstm"](names["table"][names["ids"]])
    for y in (names["y"], names["outputs"]["y"]):
        np.testing.assert_allclose(y, names["head"](hidden), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(names["again"].flat_params, names["lstm"].flat_params)
    assert "Embedding words {}\nLSTM lstm {}\nLinear head {}\n" in capsys.readouterr().out


def test_every_operator_is_named():
    assert set(OPERATORS) - set(re.findall(r"\w+", TEXT)) == set()
