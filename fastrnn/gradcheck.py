"""Numerical gradients of a scalar function of arrays or of a layer, to hold an analytic gradient against.

Differences are as good as the arithmetic between them: take a layer of dtype float64 for nine digits.
"""

import math

import numpy as np

from fastrnn import _check
from fastrnn.module import Module
from fastrnn.parameters import views

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
    arrays = [array.astype(np.complex128) for array in _arrays("gradcheck.complex_step", function, arrays)]

    def derivative(array, index):
        array[index] += 1j * COMPLEX_STEP
        value = _scalar("gradcheck.complex_step", function(*arrays))
        array[index] = array[index].real
        return np.imag(value) / COMPLEX_STEP

    return _elementwise(derivative, arrays)


def central_difference(function, arrays, step=REAL_STEP):
    """Differentiate any smooth function: good to about nine digits.

    The function may run a float64 layer: this differentiates by its inputs and states, `by_parameters` by its weights.
    (4 * the result for step 1e-3 - the result for step 2e-3) / 3 is good to ten digits.

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
    who = "gradcheck.central_difference"
    arrays = [array.astype(np.float64) for array in _arrays(who, function, arrays)]
    step = _step(who, step)

    def derivative(array, index):
        middle = array[index]
        array[index] = middle + step
        above = _scalar(who, function(*arrays))
        array[index] = middle - step
        below = _scalar(who, function(*arrays))
        array[index] = middle
        return (above - below) / (2 * step)

    return _elementwise(derivative, arrays)


def by_parameters(function, layer, step=None):
    """Differentiate by a layer's parameters, through its compiled code and in its own dtype.

    Good to about nine digits of a float64 layer and three of a float32 one, where the function is smooth.

        y, _, tape = lstm.forward(x)
        lstm.backward(tape, dy)
        numerical = gradcheck.by_parameters(lambda: np.vdot(lstm(x)[0], dy), lstm)    # to compare with lstm.grads

    Parameters
    ----------
    function : callable
        `function()` runs the layer and returns a scalar.
    layer : LSTM, GRU, RNN, UGRNN or Linear, of dtype float64 for a proof
        One parameter after the other is changed and put back.
    step : float, optional
        The default is the cube root of the rounding unit of the layer's dtype.

    Returns
    -------
    dict of float64 arrays
        The gradient with respect to each parameter by its name, in its shape.
    """
    who = "gradcheck.by_parameters"
    _callable(who, function, "a callable without arguments (lambda: np.vdot(layer(x)[0], dy))")
    if not isinstance(layer, Module):
        raise TypeError(f"{who}: layer is a {type(layer).__name__}; expected a layer with parameters")
    step = float(np.cbrt(np.finfo(layer.dtype).eps)) if step is None else _step(who, step)

    def value_at(index, number):
        with layer.editing() as params:
            params.flat[index] = number
        return _scalar(who, function())

    gradient = np.empty(layer.flat_params.shape)
    for index, middle in enumerate(layer.flat_params.tolist()):
        above, below = layer.dtype.type(middle + step), layer.dtype.type(middle - step)
        try:
            difference = value_at(index, above) - value_at(index, below)
        finally:
            with layer.editing() as params:
                params.flat[index] = middle
        gradient[index] = difference / (float(above) - float(below))  # rounded: not quite twice the step
    return views(gradient, {name: array.shape for name, array in layer.params.items()})


def _step(who, step):
    step = _check.number(who, "step", step, "a finite number > 0")
    if not 0 < step < math.inf:
        raise ValueError(f"{who}: step is {step}; expected a finite number > 0")
    return step


def _callable(who, function, expected):
    if not callable(function):
        raise TypeError(f"{who}: function is a {type(function).__name__}; expected {expected}")


def _arrays(who, function, arrays):
    """The arrays to differentiate by, each of real numbers."""
    _callable(who, function, "a callable of the arrays")
    if not isinstance(arrays, (list, tuple)):
        raise TypeError(f"{who}: arrays is a {type(arrays).__name__}; expected a list of arrays ([array])")
    found = []
    for i, array in enumerate(arrays):
        array = _check.array_of(who, f"arrays[{i}]", array, "an array of real numbers")
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{who}: arrays[{i}] has dtype {array.dtype}; expected real numbers")
        found.append(array)
    return found


def _scalar(who, value):
    if np.ndim(value) != 0 or np.asarray(value).dtype.kind not in "iufc":
        got = f"an array of shape {np.shape(value)}" if np.ndim(value) else f"a {type(value).__name__}"
        raise ValueError(f"{who}: function returned {got}; expected a number")
    return value


def _elementwise(derivative, arrays):
    gradients = [np.empty(array.shape) for array in arrays]
    for array, gradient in zip(arrays, gradients, strict=True):
        for index in np.ndindex(array.shape):
            gradient[index] = derivative(array, index)
    return gradients
