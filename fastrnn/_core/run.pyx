"""A stack of layers: their buffers, their order, and the state that goes in and comes out.

This is the compiled half of `layers.Recurrent`, because at one sequence of few units the arithmetic takes a few
microseconds and as much Python would double it. Arguments have been checked (`takes...` say which need not be).
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

import numpy as np

cimport numpy as cnp

from fastrnn._core.dense cimport fitting, work_between_looks
from fastrnn._core.loop cimport backward_layer, backward_work, forward_layer, forward_work, time_block
from fastrnn._core.weights cimport Panels
from fastrnn._core.team cimport check_signals

from fastrnn._core.dense import dropout
from fastrnn._core.memory import SMALL_BYTES, empty

cnp.import_array()

cdef Py_ssize_t small = SMALL_BYTES // sizeof(float)
cdef float[:, :, ::1] no_sequence = np.zeros((0, 0, 0), dtype=np.float32)
cdef int64_t[:, ::1] no_indices = np.zeros((0, 0), dtype=np.int64)
cdef float[::1] no_bias = np.zeros(0, dtype=np.float32)


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


cdef float *of_layer(cnp.ndarray state, Py_ssize_t layer):
    """A layer's part (B, H) of a state's array (layers, B, H)."""
    return <float *> cnp.PyArray_DATA(state) + layer * cnp.PyArray_DIM(state, 1) * cnp.PyArray_DIM(state, 2)


cdef void copy_rows(Py_ssize_t rows, Py_ssize_t columns, const float *source, Py_ssize_t source_row,
                    float *target, Py_ssize_t target_row) noexcept:
    cdef Py_ssize_t row
    for row in range(rows):
        memcpy(target + row * target_row, source + row * source_row, columns * sizeof(float))


cdef class Gradients:
    """Where the gradients of one layer's parameters are added."""

    cdef float[:, ::1] weight_ih, weight_hh
    cdef float[::1] bias_ih, bias_hh

    def __init__(self, weight_ih, weight_hh, bias_ih, bias_hh):
        self.weight_ih, self.weight_hh = weight_ih, weight_hh
        self.bias_ih = no_bias if bias_ih is None else bias_ih
        self.bias_hh = no_bias if bias_hh is None else bias_hh

    cdef list copies(self, bint integers):
        """(array, copy) of all that a backward run changes; with indices it changes two at its very end alone."""
        cdef list arrays = [self.weight_hh, self.bias_hh]
        if not integers:
            arrays += [self.weight_ih, self.bias_ih]
        return [(np.asarray(array), np.array(array)) for array in arrays]


cdef class Record:
    """What one layer keeps of a forward run for its backward run; for inference only buffers."""

    cdef readonly Py_ssize_t T, B
    cdef cnp.ndarray states  # h as an array
    cdef const float[:, :, ::1] x
    cdef const int64_t[:, ::1] indices
    cdef float[:, :, ::1] gates, h, c, aux
    cdef object dropped  # None, or the share and the key that make the same mask again

    def __init__(self, x, Panels panels, Py_ssize_t T, Py_ssize_t B, bint tape):
        self.T, self.B = T, B
        self.x, self.indices = no_sequence, no_indices
        if cnp.PyArray_NDIM(x) == 2:
            self.indices = x
        else:
            self.x = x
        self.gates = new(T if tape else time_block(panels, T, B), B, panels.row)
        self.h = self.states = new(T + 1, B, panels.H)
        self.c = self.aux = no_sequence
        if panels.states == 2:
            self.c = new(T + 1 if tape else 1, B, panels.H)
        if panels.aux:
            self.aux = new(T if tape else 1, B, panels.H)

    cdef start(self, list initial, Py_ssize_t layer):
        """Slot 0 = the layer's part of the initial state, or 0."""
        cdef Py_ssize_t size = self.B * self.h.shape[2] * sizeof(float)
        if initial is None:
            memset(&self.h[0, 0, 0], 0, size)
            if self.c.shape[0]:
                memset(&self.c[0, 0, 0], 0, size)
        else:
            memcpy(&self.h[0, 0, 0], of_layer(initial[0], layer), size)
            if self.c.shape[0]:
                memcpy(&self.c[0, 0, 0], of_layer(initial[1], layer), size)

    cdef drop_out(self, cnp.ndarray y, float share, rng, int num_threads):
        """y with elements dropped."""
        self.dropped = (share, int(rng.integers(2**63)))
        result = empty((<object> y).shape)
        dropout(y.reshape(-1), result.reshape(-1), *self.dropped, num_threads)
        return result


cdef class Stack:
    """Layers 0..n-1 of one cell, each reading what the one below writes."""

    cdef list panels, gradients
    cdef Py_ssize_t inputs, H
    cdef int states

    def __init__(self, list panels, list gradients):
        """Per layer its panels and its gradients: weight_ih, weight_hh, bias_ih, bias_hh, missing biases None."""
        self.panels, self.gradients = panels, [Gradients(*arrays) for arrays in gradients]
        self.inputs, self.H, self.states = panels[0].inputs, panels[0].H, panels[0].states

    def takes(self, x):
        """Whether x needs no check and no copy: float32 (T, B, I), contiguous, not empty."""
        return plain(x, -1, -1, self.inputs)

    def takes_gradient(self, dy, Py_ssize_t T, Py_ssize_t B):
        """Whether dy needs no check and no copy: float32 (T, B, H), contiguous."""
        return plain(dy, T, B, self.H)

    def takes_state(self, state, Py_ssize_t B):
        """The arrays of a state that needs no check and no copy, or None."""
        if self.states == 1:
            return [state] if plain(state, len(self.panels), B, self.H) else None
        if type(state) is tuple and len(state) == 2 and (
            plain(state[0], len(self.panels), B, self.H) and plain(state[1], len(self.panels), B, self.H)
        ):
            return list(state)
        return None

    cdef bint fits(self, list state, Py_ssize_t B):
        """Whether the arrays of a state, if there are any, have its shape."""
        if state is None:
            return True
        return len(state) == self.states and all([plain(part, len(self.panels), B, self.H) for part in state])

    def forward(self, cnp.ndarray x, list initial, bint tape, float drop, rng, int num_threads):
        """y (T, B, H), the final state's arrays (layers, B, H), and the layers' records.

        x (T, B, I) float32 or (T, B) int64, initial None or arrays (layers, B, H), drop the share dropped between
        layers. Where a signal's handler raises, or there is no memory, rng is as before.
        """
        cdef Py_ssize_t T = cnp.PyArray_DIM(x, 0), B = cnp.PyArray_DIM(x, 1), layer, last = len(self.panels) - 1
        cdef Py_ssize_t size = B * self.H * sizeof(float)
        cdef Panels panels
        cdef Record record
        cdef list records = []
        cdef list final = [new(last + 1, B, self.H) for _ in range(self.states)]
        cdef bint integers = cnp.PyArray_NDIM(x) == 2
        cdef double work = 0
        fitting("forward", (integers or plain(x, T, B, self.inputs)) and self.fits(initial, B))
        before = rng.bit_generator.state if drop > 0 and last else None
        try:
            for layer, panels in enumerate(self.panels):
                record = Record(x, panels, T, B, tape)
                record.start(initial, layer)
                if panels.is_stale(integers):
                    panels.refresh(integers)
                with nogil:
                    forward_layer(panels, record.x, record.indices, record.gates, record.h, record.c, record.aux,
                                  initial is None, num_threads)
                memcpy(of_layer(final[0], layer), &record.h[T, 0, 0], size)
                if self.states == 2:
                    memcpy(of_layer(final[1], layer), &record.c[record.c.shape[0] - 1, 0, 0], size)
                records.append(record)
                work += forward_work(panels, B, T, 0 if integers else panels.inputs)
                if work > work_between_looks():
                    check_signals()
                x, integers = record.states[1:], False
                if drop > 0 and layer < last:
                    x = record.drop_out(x, drop, rng, num_threads)
        except BaseException:
            if before is not None:
                rng.bit_generator.state = before
            raise
        return x, final, records

    def prepare_backward(self, list records, bint input_gradient):
        """Pack the weights that `backward` reads, all before it reads any: an edit may end at any time."""
        cdef Panels panels
        cdef Record record
        cdef Py_ssize_t layer
        for layer in range(len(self.panels)):
            panels, record = self.panels[layer], records[layer]
            panels.refresh_transposed(record.x.shape[0] > 0 and (layer > 0 or input_gradient))

    def backward(self, list records, dy, list dfinal, bint input_gradient, int num_threads):
        """dx (as x, or None) and the arrays (layers, B, H) of the initial state's gradient; adds to the gradients.

        After `prepare_backward`. Where a signal's handler raises, which it may do in calls of more than some tenth of a
        second, the gradients are as before.
        dy (T, B, H) or None, dfinal None or arrays (layers, B, H)
        """
        cdef Record record = records[0]
        cdef Panels panels
        cdef double work = 0
        cdef list changed = []
        cdef bint may_end
        fitting("backward", len(records) == len(self.panels) and self.fits(dfinal, record.B)
                and (dy is None or plain(dy, record.T, record.B, self.H)))
        for panels, record in zip(self.panels, records):
            work += backward_work(panels, record.B, record.T, 0 if record.indices.shape[0] else panels.inputs)
        may_end = work > work_between_looks()
        if not may_end:
            return self.backward_layers(records, dy, dfinal, input_gradient, None, num_threads)
        try:
            return self.backward_layers(records, dy, dfinal, input_gradient, changed, num_threads)
        except BaseException:
            for array, before in changed:
                array[...] = before
            raise

    cdef backward_layers(self, list records, dy, list dfinal, bint input_gradient, list changed, int num_threads):
        """`changed` receives the arrays that are about to change, each with a copy; None to look at no signals."""
        cdef Record record = records[0]
        cdef Py_ssize_t layer, i, T = record.T, B = record.B
        cdef Panels panels
        cdef Gradients into
        cdef float[:, :, ::1] carry, dx
        cdef const float[:, :, ::1] above = no_sequence
        cdef list initial = [new(len(self.panels), B, self.H) for _ in range(self.states)]
        if dy is not None:
            above = dy
        for layer in range(len(self.panels) - 1, -1, -1):
            panels, record, into = self.panels[layer], records[layer], self.gradients[layer]
            carry = cnp.PyArray_ZEROS(3, [self.states, B, panels.Hp], cnp.NPY_FLOAT32, 0)
            for i in range(self.states if dfinal is not None else 0):
                copy_rows(B, self.H, of_layer(dfinal[i], layer), self.H, &carry[i, 0, 0], panels.Hp)
            dy, dx = None, no_sequence
            if record.x.shape[0] and (layer > 0 or input_gradient):
                dy = dx = new(T, B, panels.inputs)
            if changed is not None:
                changed += into.copies(record.indices.shape[0] > 0)
            backward_layer(
                panels, record.x, record.indices, record.gates, record.h, record.c, record.aux, above,
                carry[0], carry[self.states - 1], dx,
                into.weight_ih, into.weight_hh, into.bias_ih, into.bias_hh,
                changed is not None, num_threads,
            )
            for i in range(self.states):
                copy_rows(B, self.H, &carry[i, 0, 0], panels.Hp, of_layer(initial[i], layer), self.H)
            above = dx
            if layer > 0 and (<Record> records[layer - 1]).dropped is not None:
                dropout(dy.reshape(-1), dy.reshape(-1), *(<Record> records[layer - 1]).dropped, num_threads)
        return dy, initial
