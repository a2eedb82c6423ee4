"""Initial values that start the gates unsaturated and let gradients through time.

Every function draws from the `numpy.random.Generator` it is given and from nothing else, so a seed
fixes the values. They are drawn and worked out in float64 whatever `dtype` is asked for: those of a
float32 layer are those of the float64 layer with the same seed, each rounded once. A layer's
weights hold one block of rows per gate, and each block is a matrix of its own: it is filled as
such, so the values of a gate do not depend on how many share the array.

`default` is what the layers use. Recurrent weights are orthogonal, which keeps the length of a
state through time (Saxe, McClelland and Ganguli, 2014); input weights are uniform with the variance
that keeps it through depth (Glorot and Bengio, 2010); biases are zero but for the gates that hold
on to the old state, which start more open than closed: the forget gate of an LSTM (Jozefowicz,
Zaremba and Sutskever, 2015) and the update gate of a UGRNN (Collins, Sohl-Dickstein and Sussillo,
2016).
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from fastrnn import _check
from fastrnn._check import FloatArray
from fastrnn.cells import CELLS

__all__ = ["default", "glorot_uniform", "orthogonal", "uniform", "zeros"]

Shape: TypeAlias = tuple[int, ...]


_CELLS = {cell.name: cell for cell in CELLS.values()}

# sigmoid(1) = 0.73: an open gate keeps most of the state, and is far from saturation.
_OPEN = 1.0

_PARAMETER_NAME = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l\d+(_reverse)?")


def default(
    cell_name: str,
    parameter_name: str,
    shape: Shape,
    rng: np.random.Generator,
    dtype: DTypeLike = "float32",
) -> FloatArray:
    """Return the initial values of one parameter of a layer.

    Parameters
    ----------
    cell_name : {"RNN", "LSTM", "GRU", "UGRNN"}
        The kind of layer; its gates lie in the order (i f g o), (r z n), (g c).
    parameter_name : str
        ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, of a projection ``weight_hr_l0``; or of a
        higher layer or the other direction (``_reverse``).
    shape : (G*H, I), (G*H, H), (G*H,) or (P, H)
        The parameter's shape.
    rng : numpy.random.Generator
        Where the values come from; biases draw nothing.
    dtype : {"float32", "float64"}
        The layer's.

    Returns
    -------
    array of that shape and dtype

    Raises
    ------
    TypeError, ValueError
        An unknown name or dtype, a shape that the cell cannot have, or no generator.
    """
    _check.choice("init.default", "cell_name", cell_name, tuple(_CELLS))
    matched = _PARAMETER_NAME.fullmatch(parameter_name) if isinstance(parameter_name, str) else None
    if matched is None:
        raise ValueError(
            f"init.default: parameter_name is {_check.shown(parameter_name)};"
            " expected weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 or of a higher layer"
        )
    cell = _CELLS[cell_name]
    gates = len(cell.gates)
    kind = matched[1]
    shape = _check.dimensions("init.default", shape)
    if kind.startswith("weight"):
        _check.matrix("init.default", shape)
    hidden = _check.rows_per_gate("init.default", shape, 1 if kind == "weight_hr" else gates)
    _check.random_numbers("init.default", "rng", rng)
    dtype = _check.dtype("init.default", "dtype", dtype)
    if kind == "weight_hr":
        return glorot_uniform(shape, rng, 1, dtype)
    if kind == "weight_hh":
        return orthogonal(shape, rng, gates, dtype)
    if kind == "weight_ih":
        return glorot_uniform(shape, rng, gates, dtype)
    bias = zeros(shape, rng, dtype)
    # Both biases of a gate are added, so one of them sets it.
    if kind == "bias_ih" and cell.open_gate is not None:
        start = cell.gates.index(cell.open_gate) * hidden
        bias[start : start + hidden] = _OPEN
    return bias


def orthogonal(
    shape: Shape, rng: np.random.Generator, gates: int | None = None, dtype: DTypeLike = "float32"
) -> FloatArray:
    """Return random orthogonal blocks, one per gate, uniform over the orthogonal matrices.

    Parameters
    ----------
    shape : (G*rows, columns)
        Shape of the whole; a block has `rows` and `columns`. One that is not square has orthonormal
        rows or columns, whichever are fewer.
    rng : numpy.random.Generator
    gates : int, optional
        Number of blocks G. By default the blocks are square where `columns` divides the rows, and
        the whole is one block where it does not.
    dtype : {"float32", "float64"}

    Returns
    -------
    array of that shape and dtype
        The last bits may differ between builds of NumPy's linear algebra.
    """
    rows, columns = _check.matrix("init.orthogonal", shape)
    _check.random_numbers("init.orthogonal", "rng", rng)
    dtype = _check.dtype("init.orthogonal", "dtype", dtype)
    if gates is None:
        gates = rows // columns if rows % columns == 0 else 1
    block = _check.rows_per_gate("init.orthogonal", shape, gates)
    blocks = [_orthogonal_block(block, columns, rng) for _ in range(gates)]
    return np.concatenate(blocks).astype(dtype, order="C", copy=False)


def _orthogonal_block(rows: int, columns: int, rng: np.random.Generator) -> FloatArray:
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    # QR leaves signs open; a positive diagonal of r makes q unique, and uniform (Mezzadri, 2007).
    q *= np.where(np.diagonal(r) < 0.0, -1.0, 1.0)
    return q if rows >= columns else q.T


def glorot_uniform(
    shape: Shape, rng: np.random.Generator, gates: int = 1, dtype: DTypeLike = "float32"
) -> FloatArray:
    """Return values uniform in ``+-sqrt(6 / (fan_in + fan_out))``, with the fans of one gate.

    Parameters
    ----------
    shape : (G*H, I)
        Shape of the whole; fan_in is I, fan_out is H.
    rng : numpy.random.Generator
    gates : int
        Number of blocks G.
    dtype : {"float32", "float64"}

    Returns
    -------
    array of that shape and dtype
    """
    shape = _check.matrix("init.glorot_uniform", shape)
    _check.random_numbers("init.glorot_uniform", "rng", rng)
    dtype = _check.dtype("init.glorot_uniform", "dtype", dtype)
    fan_in = shape[1]
    fan_out = _check.rows_per_gate("init.glorot_uniform", shape, gates)
    return uniform(shape, rng, math.sqrt(6.0 / (fan_in + fan_out)), dtype)


def uniform(
    shape: Shape, rng: np.random.Generator, limit: float, dtype: DTypeLike = "float32"
) -> FloatArray:
    """Return values uniform in ``[-limit, limit]``.

    Parameters
    ----------
    shape : tuple of int
    rng : numpy.random.Generator
    limit : float
        Above zero.
    dtype : {"float32", "float64"}

    Returns
    -------
    array of that shape and dtype
    """
    shape = _check.dimensions("init.uniform", shape)
    _check.random_numbers("init.uniform", "rng", rng)
    dtype = _check.dtype("init.uniform", "dtype", dtype)
    limit = _check.positive("init.uniform", "limit", limit, dtype=dtype)
    return rng.uniform(-limit, limit, shape).astype(dtype, copy=False)


def zeros(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike = "float32"
) -> FloatArray:
    """Return zeros.

    Parameters
    ----------
    shape : tuple of int
    rng : numpy.random.Generator, optional
        Not used: taken for the sake of one form for all.
    dtype : {"float32", "float64"}

    Returns
    -------
    array of that shape and dtype
    """
    shape = _check.dimensions("init.zeros", shape)
    if rng is not None:
        _check.random_numbers("init.zeros", "rng", rng)
    return np.zeros(shape, _check.dtype("init.zeros", "dtype", dtype))
