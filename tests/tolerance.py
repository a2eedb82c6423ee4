"""How far a result may be from its twin, which computes in float64 and rounds as a float64 result does.

The bound is oneDNN's for recurrent layers: a few rounding errors for every doubling of the number
of terms that were added up, twice that for gradients. It is relative to the largest entry of the
array, because sums that cancel leave small entries with large relative errors; in an array of one
entry that one may be such, so the bound is relative to LEAST_SCALE at least.
"""

import math

import numpy as np

EPS = float(np.finfo(np.float32).eps)
UNITS = {np.dtype(np.float32): EPS, np.dtype(np.float64): 2 * float(np.finfo(np.float64).eps)}
FORWARD, BACKWARD = 4, 8
LEAST_SCALE = 0.1  # the terms of every sum here are of order one


def bound(length, factor=FORWARD, dtype=np.float32):
    """Relative error allowed after `length` additions in a row."""
    return factor * max(1, math.ceil(math.log2(max(2, length)))) * UNITS[np.dtype(dtype)]


def assert_close(name, actual, expected, tolerance, dtype=np.float32):
    assert actual.dtype == dtype, name
    assert actual.shape == expected.shape, name
    scale = max(np.abs(expected).max(), LEAST_SCALE)
    error = np.abs(actual - expected).max()
    assert error <= tolerance * scale, (
        f"{name}: error {error:.3g} of {scale:.3g}, {error / (tolerance * scale):.2f} of what is "
        f"allowed; worst at {np.unravel_index(np.abs(actual - expected).argmax(), actual.shape)}"
    )


def assert_same_bits(actual, expected, context=""):
    """Compare dicts of arrays (None for what there is none of) bit by bit."""
    assert actual.keys() == expected.keys()
    for name in expected:
        if expected[name] is None:
            assert actual[name] is None, name
            continue
        size = expected[name].itemsize
        bits = actual[name].view(f"u{size}"), expected[name].view(f"u{size}")
        np.testing.assert_array_equal(*bits, err_msg=f"{name} {context}")


def assert_same_arrays(actual, expected):
    """Compare sequences of arrays of any type bit by bit."""
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got.view(f"u{got.itemsize}"), want.view(f"u{want.itemsize}"))
