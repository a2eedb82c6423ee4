"""One step at a time: a stack of layers that keeps its state and all its buffers between calls."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

import numpy as np

cimport numpy as cnp

from fastrnn._driver cimport forward_layer, gate_steps
from fastrnn._panels cimport Panels

from fastrnn._memory import empty

cnp.import_array()


cdef class LayerState:
    """One layer of a stream: slot 0 of h is the state, slot 1 what a step makes of it."""

    cdef Panels panels
    cdef float[:, :, ::1] gates, h, c, aux, output

    def __init__(self, Panels panels, Py_ssize_t batch):
        self.panels = panels
        self.gates = empty((gate_steps(panels, 1, batch), batch, panels.row))
        self.h = np.zeros((2, batch, panels.H), dtype=np.float32)
        self.output = self.h[1:]
        self.c = np.zeros((panels.cell.states - 1, batch, panels.H), dtype=np.float32)
        self.aux = np.zeros((panels.cell.aux, batch, panels.H), dtype=np.float32)


cdef class StreamCore:
    """The compiled part of `fastrnn.Stream`. Inputs that are not exactly what a step takes go to `check_input`,
    which returns an array that is, or raises.
    """

    cdef list layers
    cdef object check_input, check_output
    cdef readonly Py_ssize_t batch, inputs, hidden
    cdef float[:, :, ::1] x
    cdef int64_t[:, ::1] indices
    cdef float[:, :, ::1] no_x
    cdef int64_t[:, ::1] no_indices
    cdef int num_threads

    def __init__(self, panels, Py_ssize_t batch, int num_threads, check_input, check_output):
        self.layers = [LayerState(one, batch) for one in panels]
        self.batch, self.inputs, self.hidden = batch, panels[0].inputs, panels[0].H
        self.x = empty((1, batch, self.inputs))
        self.indices = np.zeros((1, batch), dtype=np.int64)
        self.no_x = np.zeros((0, 0, 0), dtype=np.float32)
        self.no_indices = np.zeros((0, 0), dtype=np.int64)
        self.num_threads = num_threads
        self.check_input, self.check_output = check_input, check_output

    def step(self, x, out=None):
        """y_t (B, H) from x_t (B, I) float32 or (B,) indices; into `out` if given."""
        cdef bint indices = False
        cdef cnp.ndarray result
        if not self.is_vectors(x):
            x = self.check_input(x)
            indices = cnp.PyArray_NDIM(x) == 1
        if out is None:
            result = cnp.PyArray_EMPTY(2, [self.batch, self.hidden], cnp.NPY_FLOAT32, 0)
        else:
            self.check_output(out)
            result = out
        cdef Py_ssize_t size = self.batch * self.hidden * sizeof(float)
        cdef const void *source = cnp.PyArray_DATA(x)
        if indices:
            memcpy(&self.indices[0, 0], source, self.batch * sizeof(int64_t))
        else:
            memcpy(&self.x[0, 0, 0], source, self.batch * self.inputs * sizeof(float))
        self.run(indices)
        cdef LayerState last = self.layers[len(self.layers) - 1]
        memcpy(cnp.PyArray_DATA(result), &last.output[0, 0, 0], size)
        return result

    cdef bint is_vectors(self, x):
        """Whether x is a C-contiguous float32 array of shape (B, I)."""
        return (
            cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT32 and cnp.PyArray_NDIM(x) == 2
            and cnp.PyArray_DIM(x, 0) == self.batch and cnp.PyArray_DIM(x, 1) == self.inputs
            and cnp.PyArray_ISCARRAY_RO(x)
        )

    cdef run(self, bint indices):
        cdef LayerState layer
        cdef float[:, :, ::1] x = self.no_x if indices else self.x
        cdef int64_t[:, ::1] ids = self.indices if indices else self.no_indices
        for layer in self.layers:
            if layer.panels.is_stale(indices):
                layer.panels.refresh(indices, False)
            with nogil:
                forward_layer(layer.panels, x, ids, layer.gates, layer.h, layer.c, layer.aux, self.num_threads)
                memcpy(&layer.h[0, 0, 0], &layer.h[1, 0, 0], self.batch * self.hidden * sizeof(float))
            x, ids, indices = layer.output, self.no_indices, False

    def states(self):
        """Writable views of every layer's h, and of every layer's c (or of nothing)."""
        cdef LayerState layer
        return (
            [np.asarray(layer.h)[0] for layer in self.layers],
            [np.asarray(layer.c)[0] for layer in self.layers if layer.c.shape[0]],
        )
