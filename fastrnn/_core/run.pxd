cimport numpy as cnp

from fastrnn._core.gradients cimport Targets
from fastrnn._core.tape cimport LayerTape, PackedBatch
from fastrnn._core.weights cimport Layer

cdef class Stack:
    cdef list weights           # a tuple of one RecurrentWeights a direction for each layer
    cdef object merge
    cdef int states, directions
    cdef bint same_widths[2]    # of all layers' h, and c
    cdef cnp.dtype dtype

    cdef const Layer *layer(self, Py_ssize_t layer) noexcept
    cdef Py_ssize_t width_of(self, int kind, Py_ssize_t layer) noexcept
    cdef Py_ssize_t y_width(self)
    cdef bint takes_kind(self, array, int kind, Py_ssize_t B)
    cdef bint fits(self, list state, Py_ssize_t B)
    cdef bint fits_gradient(self, LayerTape record, dy)
    cdef list new_state(self, Py_ssize_t B)
    cdef char *part_of(self, list state, int kind, Py_ssize_t layer, int direction) except? NULL
    cdef forward_layer(self, LayerTape record, Py_ssize_t layer, list initial, list final, int num_threads)
    cdef backward_layer(self, LayerTape record, Py_ssize_t layer, dy, list dfinal, list initial, bint input_gradient,
                        tuple gradients, bint may_end, int num_threads)
    cdef list dy_of_directions(self, LayerTape record, dy)
