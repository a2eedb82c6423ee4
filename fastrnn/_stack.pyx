"""A stack of layers: their buffers, their order, and the state that goes in and comes out.

This is the compiled half of `layers.Recurrent`, because at one sequence of few units the arithmetic takes a few
microseconds and as much Python would double it. Arguments have been checked (`takes` and `takes_state` say which
need not be).
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

import numpy as np

cimport numpy as cnp

from fastrnn._driver cimport forward_layer, gate_steps
from fastrnn._panels cimport Panels

from fastrnn._dense import dropout
from fastrnn._driver import backward
from fastrnn._memory import SMALL_BYTES, empty

cnp.import_array()

cdef Py_ssize_t small = SMALL_BYTES // sizeof(float)
cdef object no_sequence = np.zeros((0, 0, 0), dtype=np.float32)
cdef object no_indices = np.zeros((0, 0), dtype=np.int64)
cdef object no_bias = np.zeros(0, dtype=np.float32)


cdef cnp.ndarray new(Py_ssize_t steps, Py_ssize_t B, Py_ssize_t columns):
    """An uninitialised float32 array (steps, B, columns)."""
    cdef cnp.npy_intp shape[3]
    if steps * B * columns >= small:
        return empty((steps, B, columns))
    shape[0], shape[1], shape[2] = steps, B, columns
    return cnp.PyArray_EMPTY(3, shape, cnp.NPY_FLOAT32, 0)


cdef bint plain(array, cnp.npy_intp a, cnp.npy_intp b, cnp.npy_intp c):
    """Whether array is C-contiguous float32 of shape (a, b, c); a or b negative for any size but 0."""
    return (
        cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32
        and cnp.PyArray_NDIM(array) == 3 and cnp.PyArray_ISCARRAY_RO(array)
        and (cnp.PyArray_DIM(array, 0) == a or (a < 0 and cnp.PyArray_DIM(array, 0) > 0))
        and (cnp.PyArray_DIM(array, 1) == b or (b < 0 and cnp.PyArray_DIM(array, 1) > 0))
        and cnp.PyArray_DIM(array, 2) == c
    )


cdef class Record:
    """What one layer keeps of a forward run for its backward run; for inference only buffers."""

    cdef readonly object x, indices, gates, h, c, aux
    cdef readonly object dropped  # None, or the share and the key that make the same mask again

    def __init__(self, x, Panels panels, Py_ssize_t T, Py_ssize_t B, bint tape):
        cdef bint integers = cnp.PyArray_NDIM(x) == 2
        self.x = no_sequence if integers else x
        self.indices = x if integers else no_indices
        self.gates = new(T if tape else gate_steps(panels, T, B), B, panels.row)
        self.h = new(T + 1, B, panels.H)
        self.c = new(0 if panels.states == 1 else T + 1 if tape else 1, B, panels.H)
        self.aux = new(0 if panels.aux == 0 else T if tape else 1, B, panels.H)

    cdef start(self, list initial, Py_ssize_t layer):
        """Slot 0 = the layer's part of the initial state, or 0."""
        cdef cnp.ndarray slots, given
        cdef Py_ssize_t i, size = cnp.PyArray_DIM(self.h, 1) * cnp.PyArray_DIM(self.h, 2) * sizeof(float)
        for i, slots in enumerate((self.h, self.c)):
            if cnp.PyArray_DIM(slots, 0) == 0:
                continue
            if initial is None:
                memset(cnp.PyArray_DATA(slots), 0, size)
            else:
                given = initial[i]
                memcpy(cnp.PyArray_DATA(slots), <char *> cnp.PyArray_DATA(given) + layer * size, size)

    cdef drop_out(self, cnp.ndarray y, float share, rng, int num_threads):
        """y with elements dropped."""
        self.dropped = (share, int(rng.integers(2**63)))
        result = empty((<object> y).shape)
        dropout(y.reshape(-1), result.reshape(-1), *self.dropped, num_threads)
        return result


cdef class Stack:
    """Layers 0..n-1 of one cell, each reading what the one below writes."""

    cdef list panels
    cdef Py_ssize_t inputs, H
    cdef int states

    def __init__(self, list panels):
        self.panels = panels
        self.inputs, self.H, self.states = panels[0].inputs, panels[0].H, panels[0].states

    def takes(self, x):
        """Whether x needs no check and no copy: float32 (T, B, I), contiguous, not empty."""
        return plain(x, -1, -1, self.inputs)

    def takes_state(self, state, Py_ssize_t B):
        """The arrays of a state that needs no check and no copy, or None."""
        if self.states == 1:
            return [state] if plain(state, len(self.panels), B, self.H) else None
        if type(state) is tuple and len(state) == 2 and (
            plain(state[0], len(self.panels), B, self.H) and plain(state[1], len(self.panels), B, self.H)
        ):
            return list(state)
        return None

    def forward(self, cnp.ndarray x, list initial, bint tape, float drop, rng, int num_threads):
        """y (T, B, H), the final state's arrays (layers, B, H), and the layers' records.

        x (T, B, I) float32 or (T, B) int64, initial None or arrays (layers, B, H), drop the share dropped between
        layers
        """
        cdef Py_ssize_t T = cnp.PyArray_DIM(x, 0), B = cnp.PyArray_DIM(x, 1), layer, last = len(self.panels) - 1
        cdef Py_ssize_t size = B * self.H * sizeof(float)
        cdef Panels panels
        cdef Record record
        cdef list records = []
        cdef list final = [new(last + 1, B, self.H) for _ in range(self.states)]
        cdef cnp.ndarray state
        cdef const float[:, :, ::1] vectors
        cdef const int64_t[:, ::1] indices
        cdef float[:, :, ::1] gates, h, c, aux
        for layer, panels in enumerate(self.panels):
            record = Record(x, panels, T, B, tape)
            record.start(initial, layer)
            vectors, indices = record.x, record.indices
            gates, h, c, aux = record.gates, record.h, record.c, record.aux
            if panels.is_stale(indices.shape[0] > 0):
                panels.refresh(indices.shape[0] > 0, False)
            with nogil:
                forward_layer(panels, vectors, indices, gates, h, c, aux, num_threads)
            state = final[0]
            memcpy(<char *> cnp.PyArray_DATA(state) + layer * size, &h[T, 0, 0], size)
            if self.states == 2:
                state = final[1]
                memcpy(<char *> cnp.PyArray_DATA(state) + layer * size, &c[c.shape[0] - 1, 0, 0], size)
            records.append(record)
            x = record.h[1:]
            if drop > 0 and layer < last:
                x = record.drop_out(x, drop, rng, num_threads)
        return x, final, records

    def backward(self, list records, dy, list dfinal, bint input_gradient, list grads, int num_threads):
        """dx (as x, or None) and the arrays (layers, B, H) of the initial state's gradient; adds to `grads`.

        dy (T, B, H) or None, dfinal None or arrays (layers, B, H), grads per layer the four arrays, missing biases None
        """
        cdef Py_ssize_t layer, B = records[0].h.shape[1]
        cdef Panels panels
        cdef Record record
        cdef list initial = [new(len(self.panels), B, self.H) for _ in range(self.states)]
        for layer in range(len(self.panels) - 1, -1, -1):
            panels, record = self.panels[layer], records[layer]
            carry = [np.zeros((B, panels.Hp), dtype=np.float32) for _ in range(self.states)]
            for i in range(self.states if dfinal is not None else 0):
                carry[i][:, :self.H] = dfinal[i][layer]
            want = record.x.size > 0 and (layer > 0 or input_gradient)
            dx = empty(record.x.shape) if want else no_sequence
            panels.refresh(record.indices.size > 0, True)
            backward(
                panels, record.x, record.indices, record.gates, record.h, record.c, record.aux,
                no_sequence if dy is None else dy, carry[0], carry[self.states - 1], dx,
                *[no_bias if grad is None else grad for grad in grads[layer]], num_threads,
            )
            for i in range(self.states):
                initial[i][layer] = carry[i][:, :self.H]
            dy = dx if want else None
            if layer > 0 and records[layer - 1].dropped is not None:
                dropout(dy.reshape(-1), dy.reshape(-1), *records[layer - 1].dropped, num_threads)
        return dy, initial
