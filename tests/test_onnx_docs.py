"""docs/from-onnx.md names every operator. `test_docs_code.py` runs its Python."""

import re
from pathlib import Path

from fastrnn.convert.onnx.operators import OPERATORS

TEXT = (Path(__file__).parents[1] / "docs" / "from-onnx.md").read_text(encoding="utf-8")


def test_every_operator_is_named():
    assert set(OPERATORS) - set(re.findall(r"\w+", TEXT)) == set()
