cimport cython
cimport numpy as cnp
from libc.stdint cimport int64_t

from fastrnn._core.walk cimport Walk
from fastrnn._core.plan cimport Batch
from fastrnn._core.weights cimport RecurrentWeights


@cython.final
cdef class LayerState:
    cdef RecurrentWeights weights
    cdef Batch batch
    cdef Walk walk
    cdef bint long_step
    cdef cnp.ndarray h, c
    cdef cnp.ndarray chosen_h, chosen_c  # of the same sizes, for a step of some rows; None before the first of these
    cdef list kept
    cdef Py_ssize_t B, h_bytes, c_bytes  # of a row; 0 without c
    cdef Py_ssize_t bytes                # of all rows' h that a step takes

    cdef void run_on(self, cnp.ndarray h, cnp.ndarray c, Py_ssize_t rows) noexcept
    cdef void take_all(self) noexcept
    cdef make_room(self)
    cdef void choose(self, const int64_t *rows, Py_ssize_t n, const char *reset) noexcept
    cdef void keep(self, const int64_t *rows, Py_ssize_t n, const char *reset) noexcept


cdef void take_rows(const char *source, char *to, Py_ssize_t bytes, const int64_t *rows, Py_ssize_t n,
                    const char *zero) noexcept nogil
cdef void advance(LayerState layer, int num_threads) noexcept nogil
