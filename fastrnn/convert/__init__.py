"""Weights and models of other systems, read and written: `read`, `write`, `convert`, and the `Model` that they pass.

A format is a module here. None runs code from a file: no pickle.
"""

from fastrnn.convert.formats import convert, for_writing, read, recognise, write, written_here
from fastrnn.convert.layer import Layer, Row
from fastrnn.convert.model import Model

__all__ = ["Layer", "Model", "Row", "convert", "for_writing", "read", "recognise", "write", "written_here"]
