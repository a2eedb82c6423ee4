"""One step at a time: a stack of layers that keeps its state and all its buffers between calls."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

import numpy as np

cimport numpy as cnp

from fastrnn._core.dense cimport Version, fitting, work_between_looks
from fastrnn._core.loop cimport forward_layer, forward_work
from fastrnn._core.weights cimport Panels
from fastrnn._core.team cimport check_signals

from fastrnn._core.memory import empty

cnp.import_array()

# Multiply-adds of a layer's step, some 10 us, beyond which other Python threads run meanwhile: that costs 0.1 us.
cdef Py_ssize_t LONG_STEP = 250000


cdef bint plain(array, Py_ssize_t rows, Py_ssize_t columns):
    """Whether array is a C-contiguous float32 array of that shape."""
    return (
        cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32 and cnp.PyArray_NDIM(array) == 2
        and cnp.PyArray_DIM(array, 0) == rows and cnp.PyArray_DIM(array, 1) == columns
        and cnp.PyArray_ISCARRAY_RO(array)
    )


cdef class Source:
    """What a layer of a stream reads: vectors (1, B, I) or indices (1, B), the other one empty."""

    cdef float[:, :, ::1] vectors
    cdef int64_t[:, ::1] indices

    def __init__(self, vectors, indices):
        self.vectors = np.zeros((0, 0, 0), dtype=np.float32) if vectors is None else vectors
        self.indices = np.zeros((0, 0), dtype=np.int64) if indices is None else indices


cdef class LayerState(Source):
    """One layer of a stream: slot 0 of h is the state, slot 1, which the next layer reads, what a step makes of it."""

    cdef Panels panels
    cdef float[:, :, ::1] gates, h, c, aux
    cdef bint long_step

    def __init__(self, Panels panels, Py_ssize_t batch):
        self.panels = panels
        self.gates = empty((1, batch, panels.row))
        self.h = np.zeros((2, batch, panels.H), dtype=np.float32)
        self.c = np.zeros((panels.cell.states - 1, batch, panels.H), dtype=np.float32)
        self.aux = np.zeros((panels.cell.aux, batch, panels.H), dtype=np.float32)
        self.long_step = batch * panels.row * (panels.inputs + panels.H) > LONG_STEP
        super().__init__(self.h[1:], None)


cdef int advance(LayerState layer, Source below, int num_threads) except -1 nogil:
    """One step of one layer."""
    forward_layer(layer.panels, below.vectors, below.indices, layer.gates, layer.h, layer.c, layer.aux, False,
                  num_threads)
    memcpy(&layer.h[0, 0, 0], &layer.h[1, 0, 0], layer.h.shape[1] * layer.h.shape[2] * sizeof(float))
    return 0


cdef class StreamCore:
    """The compiled part of `fastrnn.Stream`. Inputs and outputs that are not exactly what a step takes go to
    `check_input` and `check_output`, which return an array that is, or raise.
    """

    cdef list layers
    cdef Source vectors, integers
    cdef object check_input, check_output
    cdef readonly Py_ssize_t batch, inputs, hidden
    cdef int num_threads
    cdef Version version
    cdef long long packed[2]  # the version that all layers are packed of, for vectors and for indices
    cdef bint may_end  # a step takes so long that signals are looked at in the middle of it

    def __init__(self, panels, Py_ssize_t batch, int num_threads, check_input, check_output):
        self.layers = [LayerState(one, batch) for one in panels]
        self.batch, self.inputs, self.hidden = batch, panels[0].inputs, panels[0].H
        self.vectors = Source(empty((1, batch, self.inputs)), None)
        self.integers = Source(None, np.zeros((1, batch), dtype=np.int64))
        self.num_threads = num_threads
        self.version, self.packed[0], self.packed[1] = panels[0].version, -1, -1
        self.may_end = self.work() > work_between_looks()
        self.check_input, self.check_output = check_input, check_output

    def step(self, x_t, out=None):
        """y_t (B, H) from x_t (B, I) float32 or (B,) indices; into `out` if given."""
        cdef bint indices = False
        cdef cnp.ndarray result
        x = x_t
        if not plain(x, self.batch, self.inputs):
            x = self.check_input(x)
            indices = cnp.PyArray_NDIM(x) == 1
            fitting("Stream.step", plain(x, self.batch, self.inputs) or (
                indices and cnp.PyArray_TYPE(x) == cnp.NPY_INT64 and cnp.PyArray_DIM(x, 0) == self.batch
                and cnp.PyArray_ISCARRAY_RO(x)
            ))
        if out is None:
            out = result = cnp.PyArray_EMPTY(2, [self.batch, self.hidden], cnp.NPY_FLOAT32, 0)
        else:
            if not (plain(out, self.batch, self.hidden) and cnp.PyArray_ISWRITEABLE(out)):
                result = self.check_output(out)
            else:
                result = out
            fitting("Stream.step", cnp.PyArray_TYPE(result) == cnp.NPY_FLOAT32 and cnp.PyArray_ISWRITEABLE(result)
                    and cnp.PyArray_NBYTES(result) == self.batch * self.hidden * sizeof(float))
        cdef const void *source = cnp.PyArray_DATA(x)
        cdef Source top
        if indices:
            memcpy(&self.integers.indices[0, 0], source, self.batch * sizeof(int64_t))
            top = self.run_long(self.integers) if self.may_end else self.run(self.integers)
        else:
            memcpy(&self.vectors.vectors[0, 0, 0], source, self.batch * self.inputs * sizeof(float))
            top = self.run_long(self.vectors) if self.may_end else self.run(self.vectors)
        memcpy(cnp.PyArray_DATA(result), &top.vectors[0, 0, 0], self.batch * self.hidden * sizeof(float))
        return out

    cdef double work(self):
        cdef LayerState layer
        cdef double work = 0
        for layer in self.layers:
            work += forward_work(layer.panels, self.batch, 1, layer.panels.inputs)
        return work

    cdef Source run(self, Source below):
        """The last layer after one step of all."""
        cdef LayerState layer
        cdef bint indices = below.indices.shape[0] > 0
        if self.version.number != self.packed[indices]:  # of all layers before any moves on: there may be no memory
            self.refresh(indices)
        for layer in self.layers:
            if layer.long_step:
                with nogil:
                    advance(layer, below, self.num_threads)
            else:
                advance(layer, below, self.num_threads)
            if self.may_end:
                check_signals()
            below = layer
        return below

    cdef refresh(self, bint indices):
        """Pack what a step reads, if the weights have changed."""
        cdef long long now = self.version.number
        cdef LayerState layer
        for i, layer in enumerate(self.layers):
            if layer.panels.is_stale(indices and i == 0):
                layer.panels.refresh(indices and i == 0)
        self.packed[indices] = now

    cdef Source run_long(self, Source below):
        """`run`; where a signal's handler raises, the state is as before."""
        states = [array for part in self.states() for array in part]
        before = [array.copy() for array in states]
        try:
            return self.run(below)
        except BaseException:
            for array, values in zip(states, before):
                array[...] = values
            raise

    def states(self):
        """Writable views of every layer's h, and of every layer's c (or of nothing)."""
        cdef LayerState layer
        return (
            [np.asarray(layer.h)[0] for layer in self.layers],
            [np.asarray(layer.c)[0] for layer in self.layers if layer.c.shape[0]],
        )
