"""One step at a time: a stack of layers that keeps its state and all its buffers between calls.

A step that some rows do not take, or that resets some, runs on copies of the rows that take it, side by side: the bits
of a row do not depend on the others. The state changes when all layers have run.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

import numpy as np

cimport cython
cimport numpy as cnp

from fastrnn._core.elementwise cimport fitting
from fastrnn._core.plan cimport forward_work, work_between_looks
from fastrnn._core.stream_layer cimport LayerState, advance, take_rows
from fastrnn._core.team cimport check_signals
from fastrnn._core.weights cimport RecurrentWeights, Version, copies_for_forward

from fastrnn._core.memory import empty

cnp.import_array()


@cython.final
cdef class StreamCore:
    """The compiled part of `fastrnn.Stream`. Inputs, outputs and flags that are not exactly what a step takes go to
    `check_input` (with the mask, or None), `check_output` and `check_flags` (with their name before them), which return
    an array that is, or raise.
    """

    cdef list layers
    cdef cnp.ndarray vectors, integers
    cdef cnp.ndarray rows       # those that take a step
    cdef cnp.ndarray shown      # whether each row's output is h: it took a step since its state was set; else it is 0
    cdef bint all_shown         # all do, and `shown` may say something older
    cdef object check_input, check_output, check_flags
    cdef readonly Py_ssize_t batch, inputs, outputs
    cdef int num_threads, type_num
    cdef Py_ssize_t size
    cdef Version version
    cdef long long packed[2]  # the version that all layers are packed of, for vectors and for indices
    cdef bint may_end  # a step takes so long that signals are looked at in the middle of it

    def __init__(self, weights, Py_ssize_t batch, int num_threads, check_input, check_output, check_flags):
        cdef RecurrentWeights first = weights[0], last = weights[len(weights) - 1]
        self.inputs, self.outputs = first.layer.inputs, last.layer.P
        self.size, self.type_num = first.layer.size, (<cnp.dtype> first.dtype).type_num
        self.num_threads = num_threads
        self.version, self.packed[0], self.packed[1] = first.version, -1, -1
        self.check_input, self.check_output, self.check_flags = check_input, check_output, check_flags
        self.lay_out([LayerState(one, batch) for one in weights], np.zeros(batch, bool))

    cdef lay_out(self, list layers, shown):
        """Take these layers, and buffers for as many rows."""
        cdef LayerState first = layers[0]
        dtype = first.weights.dtype
        vectors, integers = empty((first.B, self.inputs), dtype), np.zeros(first.B, dtype=np.int64)
        rows = np.zeros(first.B, dtype=np.int64)
        first.kept += [vectors, integers]  # which a step reads without the GIL
        self.vectors, self.integers, self.rows = vectors, integers, rows
        self.layers, self.batch, self.shown, self.all_shown = layers, first.B, shown, False
        self.may_end = self.work() > work_between_looks(&first.weights.layer)

    def select(self, rows, Py_ssize_t B):
        """Keep these rows (n,), int64 in 0..B-1, in this order; then new ones with zero state, B in all."""
        fitting("Stream.select", B >= max(1, len(rows)) and not (
            len(rows) and (rows.min() < 0 or rows.max() >= self.batch)
        ))
        layers = [layer.selected(rows, B) for layer in self.layers]
        shown = np.zeros(B, bool)
        shown[:len(rows)] = self.rows_shown()[rows]
        self.lay_out(layers, shown)

    def rows_shown(self):
        """A writable view (B,) of which rows took a step since their state was set: those whose output is h, not 0."""
        if self.all_shown:
            self.shown[:] = True
            self.all_shown = False
        return self.shown

    # -------------------------------------------------------------------------------------------- what is given

    cdef bint plain(self, array, Py_ssize_t columns):
        """Whether array is a C-contiguous array (B, columns) of the layers' dtype."""
        return (
            cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == self.type_num
            and cnp.PyArray_NDIM(array) == 2 and cnp.PyArray_DIM(array, 0) == self.batch
            and cnp.PyArray_DIM(array, 1) == columns and cnp.PyArray_ISCARRAY_RO(array)
        )

    cdef bint plain_rows(self, array, int type_num):
        """Whether array is a C-contiguous array (B,) of that type."""
        return (
            cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == type_num and cnp.PyArray_NDIM(array) == 1
            and cnp.PyArray_DIM(array, 0) == self.batch and cnp.PyArray_ISCARRAY_RO(array)
        )

    cdef cnp.ndarray input_of(self, x, mask):
        """x_t as (B, I) of the layers' dtype or (B,) int64."""
        if not self.plain(x, self.inputs):
            x = self.check_input(x, mask)
            fitting("Stream.step", self.plain(x, self.inputs) or self.plain_rows(x, cnp.NPY_INT64))
        return x

    cdef cnp.ndarray output_of(self, out):
        """Where y_t goes."""
        cdef cnp.ndarray result
        if out is None:
            return cnp.PyArray_EMPTY(2, [self.batch, self.outputs], self.type_num, 0)
        if self.plain(out, self.outputs) and cnp.PyArray_ISWRITEABLE(out):
            return out
        result = self.check_output(out)
        fitting("Stream.step", cnp.PyArray_TYPE(result) == self.type_num and cnp.PyArray_ISWRITEABLE(result)
                and cnp.PyArray_NBYTES(result) == self.batch * self.outputs * self.size)
        return result

    cdef cnp.ndarray flags_of(self, str name, flags):
        """A mask or resets as (B,) bool, or None."""
        if flags is not None and not self.plain_rows(flags, cnp.NPY_BOOL):
            flags = self.check_flags(name, flags)
            fitting("Stream.step", self.plain_rows(flags, cnp.NPY_BOOL))
        return flags

    # -------------------------------------------------------------------------------------------------- a step

    def step(self, x_t, out=None, *, reset=None, mask=None):
        """y_t (B, width of y) from x_t (B, I) or (B,) indices; into `out` if given."""
        if reset is not None or mask is not None:
            return self.step_of_some(x_t, out, reset, mask)
        cdef cnp.ndarray x = self.input_of(x_t, None), result = self.output_of(out)
        cdef bint indices = cnp.PyArray_NDIM(x) == 1
        fitting("Stream.step", cnp.PyArray_DIM(x, 0) == self.batch)  # whoever checked `out` may have changed it
        self.take(x, indices, self.batch, NULL)
        if self.may_end:
            self.run_long(indices)
        else:
            self.run(indices)
        cdef LayerState top = self.layers[len(self.layers) - 1]
        fitting("Stream.step", cnp.PyArray_NBYTES(result) == top.bytes)  # and a signal's handler, too
        self.all_shown = True
        memcpy(cnp.PyArray_DATA(result), top.walk.h + top.bytes, top.bytes)
        return result if out is None else out

    cdef step_of_some(self, x_t, out, reset, mask):
        """`step` with resets or a mask: only the rows that take it are read and computed."""
        cdef cnp.ndarray resets = self.flags_of("reset", reset), taking = self.flags_of("mask", mask)
        cdef cnp.ndarray x = self.input_of(x_t, taking), result = self.output_of(out)
        cdef const char *fresh = NULL if resets is None else cnp.PyArray_BYTES(resets)
        cdef cnp.ndarray rows = self.rows
        cdef const int64_t *chosen = <const int64_t *> cnp.PyArray_DATA(rows)
        cdef list layers = self.layers
        cdef LayerState layer
        cdef Py_ssize_t n
        for array in (resets, taking, x):
            fitting("Stream.step", array is None or cnp.PyArray_DIM(array, 0) == self.batch)
        n = self.choose(taking)
        for layer in layers:
            layer.make_room()
        if n > 0:
            self.take(x, cnp.PyArray_NDIM(x) == 1, n, chosen)
            try:
                for layer in layers:
                    layer.choose(chosen, n, fresh)
                self.run(cnp.PyArray_NDIM(x) == 1)
            finally:
                for layer in layers:
                    layer.take_all()
        fitting("Stream.step", layers is self.layers)
        for layer in layers:
            layer.keep(chosen, n, fresh)
        self.show(n, fresh, result)
        return result if out is None else out

    cdef Py_ssize_t choose(self, cnp.ndarray mask):
        """How many rows take a step, whose numbers are then in `rows`."""
        cdef const char *taking = NULL if mask is None else cnp.PyArray_BYTES(mask)
        cdef int64_t *rows = <int64_t *> cnp.PyArray_DATA(self.rows)
        cdef Py_ssize_t b, n = 0
        for b in range(self.batch):
            if taking == NULL or taking[b]:
                rows[n] = b
                n += 1
        return n

    cdef show(self, Py_ssize_t n, const char *reset, cnp.ndarray result):
        """The output of every row after n of them took a step: h, or 0 where a row has none since its state was set."""
        cdef LayerState top = self.layers[len(self.layers) - 1]
        cdef const int64_t *rows = <const int64_t *> cnp.PyArray_DATA(self.rows)
        cdef char *y = cnp.PyArray_BYTES(result)
        cdef char *shown
        cdef Py_ssize_t b
        memcpy(y, top.walk.h, top.bytes)
        if n == self.batch:
            self.all_shown = True
            return
        shown = cnp.PyArray_BYTES(<cnp.ndarray> self.rows_shown())
        for b in range(self.batch if reset != NULL else 0):
            if reset[b]:
                shown[b] = 0
        for b in range(n):
            shown[rows[b]] = 1
        for b in range(self.batch):
            if not shown[b]:
                memset(y + b * top.h_bytes, 0, top.h_bytes)

    cdef take(self, cnp.ndarray x, bint indices, Py_ssize_t n, const int64_t *rows):
        """Copy n rows of a step's input, those numbered or all, for the first layer: x may change, or be `out`."""
        cdef LayerState first = self.layers[0]
        cdef cnp.ndarray own = self.integers if indices else self.vectors
        if rows == NULL:
            memcpy(cnp.PyArray_DATA(own), cnp.PyArray_DATA(x), cnp.PyArray_NBYTES(own))
        else:
            take_rows(cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(own), cnp.PyArray_STRIDE(own, 0), rows, n, NULL)
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
            [layer.c for layer in self.layers if layer.c_bytes],
        )
