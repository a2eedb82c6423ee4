"""One layer of a stream: its state, what a step of it needs, and steps that only some rows take."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

import numpy as np

cimport numpy as cnp

from fastrnn._core.loop cimport Span, run_alone, run_span
from fastrnn._core.plan cimport Plan, forward_plan
from fastrnn._core.weights cimport Layer, RecurrentWeights

from fastrnn._core.memory import empty

cnp.import_array()

# Multiply-adds of a layer's step, some 10 us, beyond which other Python threads run meanwhile: that costs 0.1 us.
cdef Py_ssize_t LONG_STEP = 250000


cdef void take_rows(const char *source, char *to, Py_ssize_t bytes, const int64_t *rows, Py_ssize_t n,
                    const char *zero) noexcept nogil:
    """to[i] = source[rows[i]], 0 where zero[rows[i]]; rows of so many bytes."""
    cdef Py_ssize_t i
    for i in range(n):
        if zero != NULL and zero[rows[i]]:
            memset(to + i * bytes, 0, bytes)
        else:
            memcpy(to + i * bytes, source + rows[i] * bytes, bytes)


cdef void put_rows(const char *source, char *to, Py_ssize_t bytes, const int64_t *rows, Py_ssize_t n) noexcept nogil:
    """to[rows[i]] = source[i]; rows of so many bytes."""
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(to + rows[i] * bytes, source + i * bytes, bytes)


cdef void clear_rows(char *to, Py_ssize_t bytes, Py_ssize_t n, const char *where) noexcept nogil:
    """to[i] = 0 where where[i]; rows of so many bytes."""
    cdef Py_ssize_t i
    for i in range(n):
        if where[i]:
            memset(to + i * bytes, 0, bytes)


cdef class LayerState:
    """One layer of a stream: the first B rows of h are the state, the next B, which the next layer reads, what a step
    makes of it."""

    def __init__(self, RecurrentWeights weights, Py_ssize_t B):
        cdef const Layer *w = &weights.layer
        cdef object dtype = weights.dtype
        self.weights, self.B = weights, B
        self.batch.T = 1
        self.batch.offset = self.batch.before = NULL
        self.h_bytes, self.c_bytes = w.P * w.size, w.H * w.size if w.cell.states == 2 else 0
        self.h, self.c = np.zeros((2 * B, w.P), dtype), np.zeros((B if self.c_bytes else 0, w.H), dtype)
        gates, aux, m = empty((B, w.row), dtype), np.zeros((B, w.H), dtype), np.zeros((B, w.H), dtype)
        self.kept = [gates, aux, m]
        self.walk.w, self.walk.batch, self.walk.reverse, self.walk.taped = w, &self.batch, False, False
        self.walk.at_rest, self.walk.gate_steps, self.walk.x_row, self.walk.h_row = False, 1, w.inputs, w.P
        self.walk.x, self.walk.indices = NULL, NULL
        self.walk.gates = cnp.PyArray_BYTES(<cnp.ndarray> gates)
        self.walk.aux = cnp.PyArray_BYTES(<cnp.ndarray> aux) if w.cell.aux else NULL
        self.walk.m = cnp.PyArray_BYTES(<cnp.ndarray> m) if w.projected else NULL
        self.long_step = B * w.row * (w.inputs + w.P) > LONG_STEP
        self.take_all()

    cdef void run_on(self, cnp.ndarray h, cnp.ndarray c, Py_ssize_t rows) noexcept:
        """The next steps take the first rows of these states."""
        self.batch.B = self.batch.rows = rows
        self.bytes = rows * self.h_bytes
        self.walk.h = cnp.PyArray_BYTES(h)
        self.walk.c = cnp.PyArray_BYTES(c) if self.c_bytes else NULL

    cdef void take_all(self) noexcept:
        """The next steps take all rows."""
        self.run_on(self.h, self.c, self.B)

    cdef make_room(self):
        """Allocate what `choose` copies to."""
        if self.chosen_c is None:
            self.chosen_h, self.chosen_c = np.empty_like(self.h), np.empty_like(self.c)

    cdef void choose(self, const int64_t *rows, Py_ssize_t n, const char *reset) noexcept:
        """The next step takes copies of these rows' states, 0 where they are reset."""
        self.run_on(self.chosen_h, self.chosen_c, n)
        take_rows(cnp.PyArray_BYTES(self.h), self.walk.h, self.h_bytes, rows, n, reset)
        if self.c_bytes:
            take_rows(cnp.PyArray_BYTES(self.c), self.walk.c, self.c_bytes, rows, n, reset)

    cdef void keep(self, const int64_t *rows, Py_ssize_t n, const char *reset) noexcept:
        """The state is 0 where it is reset, and that of the copies where rows took the step."""
        if reset != NULL:
            clear_rows(cnp.PyArray_BYTES(self.h), self.h_bytes, self.B, reset)
            clear_rows(cnp.PyArray_BYTES(self.c), self.c_bytes, self.B, reset)
        put_rows(cnp.PyArray_BYTES(self.chosen_h), cnp.PyArray_BYTES(self.h), self.h_bytes, rows, n)
        put_rows(cnp.PyArray_BYTES(self.chosen_c), cnp.PyArray_BYTES(self.c), self.c_bytes, rows, n)

    def selected(self, rows, Py_ssize_t B):
        """A layer of B rows: these, then new ones."""
        cdef LayerState new = LayerState(self.weights, B)
        new.h[:len(rows)] = self.h[rows]
        if self.c_bytes:
            new.c[:len(rows)] = self.c[rows]
        return new


cdef void advance(LayerState layer, int num_threads) noexcept nogil:
    """One step of one layer, whose input is set."""
    cdef Plan plan
    cdef Span span
    if num_threads == 1:
        run_alone(&layer.walk)
    else:
        plan = forward_plan(layer.walk.w, &layer.batch, 1, layer.walk.indices != NULL, False, num_threads)
        span.first, span.last, span.begin[0], span.end[0] = 0, layer.batch.B, 0, 1
        run_span(&layer.walk, 1, &plan, &span, False)
    memcpy(layer.walk.h, layer.walk.h + layer.bytes, layer.bytes)
