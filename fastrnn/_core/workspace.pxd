cimport numpy as cnp

from fastrnn._core.run cimport Stack
from fastrnn._core.weights cimport Version

cdef class Workspace:
    cdef tuple key
    cdef readonly Stack stack
    cdef Version version
    cdef list weights               # RecurrentWeights, all directions of a layer, layer after layer
    cdef int arrays_each            # of the arrays that are lent, those of one RecurrentWeights
    cdef readonly object stamp      # another one for every set of values that copies were made of
    cdef object first               # where the first array lay: a hint whose packed copies may be of use, no more
    cdef cnp.ndarray sample         # a few numbers of every array, as they were when the copies were made
    cdef list snapshot              # the arrays as they were then, or None

    cdef bint changed(self, list arrays)
    cdef bint sample_differs(self, list arrays)
    cdef bint will_pack(self, bint inputs)
    cdef lend(self, list arrays, bint compare, bint inputs)

cdef Workspace borrow(str cell, Py_ssize_t layers, int directions, bint biases, bint projected, list arrays,
                      object stamp, bint inputs)
cdef give_back(Workspace workspace)
