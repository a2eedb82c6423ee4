cimport numpy as cnp

from fastrnn._core.tape cimport PackedBatch
from fastrnn._core.workspace cimport Workspace

cdef enum Form:
    # How an operator takes its arguments: a batch of equal lengths, a packed one, a single step
    INPUT, DATA, CELL

cdef class Kind:
    # What an operator computes
    cdef readonly str cell      # of the kernel table
    cdef Form form
    cdef int states, gates

cdef class Call:
    cdef Kind kind
    cdef object x, batch_sizes, dtype
    cdef list states, weights
    cdef bint biases, batch_first, projected, taped
    cdef Py_ssize_t layers, B, H, P
    cdef int directions
    cdef double dropout
    cdef PackedBatch packed
    cdef object packing         # of a batch with resets (fastrnn.packing), or None
    cdef object reset           # and those, (T, B)
    cdef list shapes            # of x, the states and the weights in the forward run, for backward
    cdef object stamp           # of the workspace after the forward run

    cdef str take(self, tuple arguments)
    cdef str check(self)
    cdef bint sizes_fit(self)
    cdef bint take_batch_sizes(self)
    cdef bint weights_fit(self)
    cdef take_resets(self, reset)
    cdef bint needs_gradient(self)
    cdef bint has_few_rows(self)
    cdef Call call_of_layer(self, Py_ssize_t layer, x)
    cdef forget_tensors(self)
    cdef remember_shapes(self, tuple tensors)
    cdef bint fits(self, tuple tensors)
    cdef cnp.ndarray rows_of(self, tensor)
    cdef tensor_of_rows(self, cnp.ndarray array)
    cdef list kinds_of(self, states)
    cdef list tensors_of_kinds(self, list kinds)
    cdef Workspace workspace(self, list arrays, stamp, bint inputs)
    cdef tuple forward(self, x, states, weights, bint taped)
    cdef list backward(self, records, weights, dy, dfinal, needs)
    cdef list through_resets(self, list dinitial, list dfinal)
    cdef list gradient_kinds(self, dfinal)
    cdef list gradients(self, list into)
