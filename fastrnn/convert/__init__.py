"""Weights and models of other systems, read and written: `read`, `write`, and what they pass, a `Model` of `Layer`s.

A format is a module here. None runs code from a file: no pickle.
"""

from fastrnn.convert.model import Layer, Model, Row

__all__ = ["Layer", "Model", "Row"]
