"""Numerical gradients of a scalar function of arrays, to hold an analytic gradient against."""

import numpy as np

# f(x + ih) = f(x) + ih f'(x) + O(h^2): no difference is taken, so h may be as small as you like,
# and f'(x) comes out to the last digits.
COMPLEX_STEP = 1e-30

# Balances the truncation error h^2 against the rounding error eps/h in float64.
REAL_STEP = 6e-6


def complex_step(function, arrays):
    """Differentiate an analytic function: exact to rounding.

    Parameters
    ----------
    function : callable
        `function(*arrays)` returns a scalar; it must run in complex128 and be analytic (no
        absolute values, no comparisons of complex numbers).
    arrays : sequence of float64 arrays

    Returns
    -------
    list of float64 arrays
        The gradient with respect to each array, in its shape.
    """
    arrays = [np.array(array, dtype=np.complex128) for array in arrays]

    def derivative(array, index):
        array[index] += 1j * COMPLEX_STEP
        value = function(*arrays)
        array[index] = array[index].real
        return value.imag / COMPLEX_STEP

    return _elementwise(derivative, arrays)


def central_difference(function, arrays, step=REAL_STEP):
    """Differentiate any smooth function: good to about nine digits.

    Parameters
    ----------
    function : callable
        `function(*arrays)` returns a scalar.
    arrays : sequence of float64 arrays
    step : float

    Returns
    -------
    list of float64 arrays
        The gradient with respect to each array, in its shape.
    """
    arrays = [np.array(array, dtype=np.float64) for array in arrays]

    def derivative(array, index):
        middle = array[index]
        array[index] = middle + step
        above = function(*arrays)
        array[index] = middle - step
        below = function(*arrays)
        array[index] = middle
        return (above - below) / (2 * step)

    return _elementwise(derivative, arrays)


def _elementwise(derivative, arrays):
    gradients = [np.empty(array.shape) for array in arrays]
    for array, gradient in zip(arrays, gradients, strict=True):
        for index in np.ndindex(array.shape):
            gradient[index] = derivative(array, index)
    return gradients
