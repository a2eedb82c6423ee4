"""The package onnx, for those who have it."""

from __future__ import annotations

import importlib
from typing import Any


def library() -> Any:
    """The module `onnx`, whose protobuf classes read and write the files."""
    try:
        for name in ("onnx.checker", "onnx.helper", "onnx.numpy_helper"):
            importlib.import_module(name)
        return importlib.import_module("onnx")
    except ImportError as error:
        raise ImportError("ONNX: the package onnx is missing; expected `pip install 'fastrnn[onnx]'`") from error
