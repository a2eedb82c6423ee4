cimport numpy as cnp

from fastrnn._core.walk cimport Walk
from fastrnn._core.plan cimport Batch
from fastrnn._core.weights cimport Layer, RecurrentWeights

cdef class PackedBatch:
    cdef Batch batch
    cdef readonly Py_ssize_t T, B, rows
    cdef readonly cnp.ndarray offset, last_rows, reverse_rows
    cdef cnp.ndarray before

cdef class LayerTape:
    cdef readonly Py_ssize_t T, B, rows
    cdef Batch batch
    cdef Walk walks[2]
    cdef int directions
    cdef object dtype, merge
    cdef PackedBatch packed         # None where every step has all rows
    cdef readonly cnp.ndarray x     # what walks read: kept alive
    cdef tuple weights              # and the layer that they point at
    cdef list states                # one array a direction, or a single one that both lie in
    cdef list kept                  # every other array that the walks point into
    cdef list outputs               # a direction's h after each step, (N, P); made where a merge needs it
    cdef readonly object dropped    # None, or the share and the key that make the same mask again
    cdef readonly list dh           # None, or what backward writes: see `watch`
    cdef bint reusable              # backward leaves the gates as they are
    cdef readonly Py_ssize_t checkpoint  # 0, or steps of a segment whose gates are computed again
    # Of each direction: the segments' begins and ends, c before each, the one whose gates are at hand (layer.pyx)
    cdef list segments, carried, segment

    cdef bint joined(self)
    cdef bint fits(self, const Layer *w)
    cdef take_weights(self, tuple weights)
    cdef list new_states(self, const Layer *w)
    cdef copy_edge(self, char *array, Py_ssize_t array_row, Py_ssize_t columns, char *edge, bint back, bint out)
    cdef char *keep(self, Py_ssize_t rows, Py_ssize_t columns) except? NULL
    cdef prepare(self, int direction, RecurrentWeights weights, bint taped)
    cdef start(self, int direction, const char *h, const char *c)
    cdef finish(self, int direction, char *h, char *c)
    cdef cnp.ndarray output(self)
    cdef list output_of_directions(self)
    cdef cnp.ndarray drop_out(self, cnp.ndarray y, float share, rng, int num_threads)

cdef cnp.ndarray new(Py_ssize_t a, Py_ssize_t b, Py_ssize_t c, dtype)
cdef void copy_rows(Py_ssize_t rows, Py_ssize_t bytes, const char *source, Py_ssize_t source_row, char *target,
                    Py_ssize_t target_row) noexcept
