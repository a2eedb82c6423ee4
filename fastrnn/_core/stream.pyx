"""One step at a time: a stack of layers that keeps its state and all its buffers between calls."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

import numpy as np

cimport numpy as cnp

from fastrnn._core.loop cimport Span, run_alone, run_span
from fastrnn._core.walk cimport Walk
from fastrnn._core.plan cimport Batch, Plan, forward_plan, forward_work, work_between_looks
from fastrnn._core.team cimport check_signals
from fastrnn._core.weights cimport Layer, RecurrentWeights, Version, copies_for_forward

from fastrnn._core.memory import empty

cnp.import_array()

# Multiply-adds of a layer's step, some 10 us, beyond which other Python threads run meanwhile: that costs 0.1 us.
cdef Py_ssize_t LONG_STEP = 250000


cdef fitting(str who, bint fits):
    """The last look before C: whoever came here with arrays of other sizes would read or write outside them."""
    if not fits:
        raise ValueError(f"{who}: the arrays' sizes do not fit each other; expected plain numpy arrays as documented")


cdef class LayerState:
    """One layer of a stream: the first B rows of h are the state, the next B, which the next layer reads, what a step
    makes of it."""

    cdef RecurrentWeights weights
    cdef Batch batch
    cdef Walk walk
    cdef bint long_step
    cdef cnp.ndarray h, c
    cdef list kept
    cdef Py_ssize_t bytes       # of h

    def __init__(self, RecurrentWeights weights, Py_ssize_t B):
        cdef const Layer *w = &weights.layer
        cdef object dtype = weights.dtype
        self.weights = weights
        self.batch.T, self.batch.B, self.batch.rows = 1, B, B
        self.batch.offset = self.batch.before = NULL
        self.h, self.c = np.zeros((2 * B, w.P), dtype), np.zeros((B if w.cell.states == 2 else 0, w.H), dtype)
        gates, aux, m = empty((B, w.row), dtype), np.zeros((B, w.H), dtype), np.zeros((B, w.H), dtype)
        self.kept = [gates, aux, m]
        self.walk.w, self.walk.batch, self.walk.reverse, self.walk.taped = w, &self.batch, False, False
        self.walk.at_rest, self.walk.gate_steps, self.walk.x_row, self.walk.h_row = False, 1, w.inputs, w.P
        self.walk.x, self.walk.indices = NULL, NULL
        self.walk.h, self.walk.gates = cnp.PyArray_BYTES(self.h), cnp.PyArray_BYTES(<cnp.ndarray> gates)
        self.walk.c = cnp.PyArray_BYTES(self.c) if w.cell.states == 2 else NULL
        self.walk.aux = cnp.PyArray_BYTES(<cnp.ndarray> aux) if w.cell.aux else NULL
        self.walk.m = cnp.PyArray_BYTES(<cnp.ndarray> m) if w.projected else NULL
        self.long_step = B * w.row * (w.inputs + w.P) > LONG_STEP
        self.bytes = B * w.P * w.size


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


cdef class StreamCore:
    """The compiled part of `fastrnn.Stream`. Inputs and outputs that are not exactly what a step takes go to
    `check_input` and `check_output`, which return an array that is, or raise. Steps with resets or masks go to
    `choosing_step`.
    """

    cdef list layers
    cdef cnp.ndarray vectors, integers
    cdef object check_input, check_output, choosing_step
    cdef readonly Py_ssize_t batch, inputs, outputs
    cdef int num_threads, type_num
    cdef Py_ssize_t size
    cdef Version version
    cdef long long packed[2]  # the version that all layers are packed of, for vectors and for indices
    cdef bint may_end  # a step takes so long that signals are looked at in the middle of it

    def __init__(self, weights, Py_ssize_t batch, int num_threads, check_input, check_output, choosing_step):
        cdef RecurrentWeights first = weights[0], last = weights[len(weights) - 1]
        self.layers = [LayerState(one, batch) for one in weights]
        self.batch, self.inputs, self.outputs = batch, first.layer.inputs, last.layer.P
        self.size, self.type_num = first.layer.size, (<cnp.dtype> first.dtype).type_num
        self.vectors, self.integers = empty((batch, self.inputs), first.dtype), np.zeros(batch, dtype=np.int64)
        self.num_threads = num_threads
        self.version, self.packed[0], self.packed[1] = first.version, -1, -1
        self.may_end = self.work() > work_between_looks(&first.layer)
        self.check_input, self.check_output, self.choosing_step = check_input, check_output, choosing_step

    cdef bint plain(self, array, Py_ssize_t columns):
        """Whether array is a C-contiguous array (B, columns) of the layers' dtype."""
        return (
            cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == self.type_num
            and cnp.PyArray_NDIM(array) == 2 and cnp.PyArray_DIM(array, 0) == self.batch
            and cnp.PyArray_DIM(array, 1) == columns and cnp.PyArray_ISCARRAY_RO(array)
        )

    def step(self, x_t, out=None, *, reset=None, mask=None):
        """y_t (B, width of y) from x_t (B, I) or (B,) indices; into `out` if given."""
        cdef bint indices = False
        cdef cnp.ndarray result
        if reset is not None or mask is not None:
            return self.choosing_step(x_t, out, reset, mask)
        x = x_t
        if not self.plain(x, self.inputs):
            x = self.check_input(x)
            indices = cnp.PyArray_NDIM(x) == 1
            fitting("Stream.step", self.plain(x, self.inputs) or (
                indices and cnp.PyArray_TYPE(x) == cnp.NPY_INT64 and cnp.PyArray_DIM(x, 0) == self.batch
                and cnp.PyArray_ISCARRAY_RO(x)
            ))
        if out is None:
            out = result = cnp.PyArray_EMPTY(2, [self.batch, self.outputs], self.type_num, 0)
        else:
            if not (self.plain(out, self.outputs) and cnp.PyArray_ISWRITEABLE(out)):
                result = self.check_output(out)
            else:
                result = out
            fitting("Stream.step", cnp.PyArray_TYPE(result) == self.type_num and cnp.PyArray_ISWRITEABLE(result)
                    and cnp.PyArray_NBYTES(result) == self.batch * self.outputs * self.size)
        self.take(x, indices)
        if self.may_end:
            self.run_long(indices)
        else:
            self.run(indices)
        cdef LayerState top = self.layers[len(self.layers) - 1]
        memcpy(cnp.PyArray_DATA(result), top.walk.h + top.bytes, top.bytes)
        return out

    cdef take(self, cnp.ndarray x, bint indices):
        """Copy a step's input and let the first layer read it: x may change, or be `out`."""
        cdef LayerState first = self.layers[0]
        cdef cnp.ndarray own = self.integers if indices else self.vectors
        memcpy(cnp.PyArray_DATA(own), cnp.PyArray_DATA(x), cnp.PyArray_NBYTES(own))
        first.walk.indices = <const int64_t *> cnp.PyArray_DATA(own) if indices else NULL
        first.walk.x = NULL if indices else cnp.PyArray_BYTES(own)

    cdef double work(self):
        cdef LayerState layer
        cdef double work = 0
        for layer in self.layers:
            work += forward_work(layer.walk.w, &layer.batch, False)
        return work

    cdef run(self, bint indices):
        """One step of all layers."""
        cdef LayerState layer, below = None
        if self.version.number != self.packed[indices]:  # of all layers before any moves on: there may be no memory
            self.refresh(indices)
        for layer in self.layers:
            if below is not None:
                layer.walk.x = below.walk.h + below.bytes
            if layer.long_step:
                with nogil:
                    advance(layer, self.num_threads)
            else:
                advance(layer, self.num_threads)
            if self.may_end:
                check_signals()
            below = layer

    cdef refresh(self, bint indices):
        """Pack what a step reads, if the weights have changed."""
        cdef long long now = self.version.number
        cdef LayerState layer
        cdef unsigned copies
        for i, layer in enumerate(self.layers):
            copies = copies_for_forward(indices and i == 0)
            if layer.weights.is_stale(copies):
                layer.weights.refresh_copies(copies)
        self.packed[indices] = now

    cdef run_long(self, bint indices):
        """`run`; where a signal's handler raises, the state is as before."""
        states = [array for part in self.states() for array in part]
        before = [array.copy() for array in states]
        try:
            self.run(indices)
        except BaseException:
            for array, values in zip(states, before):
                array[...] = values
            raise

    def states(self):
        """Writable views of every layer's h, and of every layer's c (or of nothing)."""
        cdef LayerState layer
        return (
            [layer.h[:self.batch] for layer in self.layers],
            [layer.c for layer in self.layers if layer.walk.c != NULL],
        )
