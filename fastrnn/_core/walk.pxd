from libc.stdint cimport int64_t

from fastrnn._core.kernels cimport FR_GROUP
from fastrnn._core.plan cimport Batch, offset_at
from fastrnn._core.weights cimport Layer

cdef struct Walk:
    # One direction of a layer over time: its weights, and where its arrays are. Strides count elements; an array that
    # is not wanted is NULL. N rows of a batch are packed by time (plan.pxd), B in its widest step.
    const Layer *w
    const Batch *batch
    bint reverse                # time runs from each sequence's end to its beginning
    bint taped                  # gates, c, aux and m of every step are kept for backward
    bint at_rest                # the initial state is 0
    # IN
    const char *x               # (N, I), or NULL
    Py_ssize_t x_row
    const int64_t *indices      # (N,) in 0..I-1, or NULL
    # IN the initial state, OUT the states after each step: see `row_before`
    char *h                     # (B + N, P)
    Py_ssize_t h_row
    char *c                     # (B + N, H) taped, else (B, H) and updated in place
    # OUT
    char *gates                 # (N, row) taped, else room for gate_steps steps of B rows
    Py_ssize_t gate_steps
    char *aux                   # (N, H) taped, else (B, H)
    char *m                     # what a projection multiplies: (N, H) taped, else (B, H)
    # Backward alone. IN: the gradient of h after each step, but for what comes with the carried dh
    const char *dy              # (N, P) or NULL
    Py_ssize_t dy_row
    # IN the gradient of the final state OUT of the initial one, padding 0
    char *dh                    # (B, Pp)
    char *dc                    # (B, Hp)
    # Scratch of the current step
    char *daux                  # (B, Hp)
    char *dm                    # (B, Hp)
    char *dprojected            # (N, P) OUT what the projection's weights have for their gradient

cdef inline char *moved(const Layer *w, const void *at, Py_ssize_t elements) noexcept nogil:
    """The pointer, so many elements on."""
    return <char *> at + elements * w.size

cdef struct Place:
    # Where a step's arrays begin: its packed row, and the rows of h before and after it
    Py_ssize_t row, before, after

cdef inline Place place_of(const Walk *walk, Py_ssize_t t) noexcept nogil:
    """Where step t's arrays begin.

    h has B rows more than there are packed rows. Forward, the initial state stands in front and step t writes the rows
    B + offset[t]. Reverse is the mirror image: it reads there and writes where forward would read.
    """
    cdef Py_ssize_t row = offset_at(walk.batch, t)
    cdef Py_ssize_t front = walk.batch.B + offset_at(walk.batch, t - 1) if t else 0, back = walk.batch.B + row
    return Place(row, back, front) if walk.reverse else Place(row, front, back)

cdef inline Py_ssize_t row_before(const Walk *walk, Py_ssize_t t) noexcept nogil:
    """The row of h that step t's first row reads."""
    return place_of(walk, t).before

cdef inline Py_ssize_t edge_of(Py_ssize_t columns, bint last) noexcept nogil:
    """Columns of the last group of a product."""
    return columns - (columns - 1) // FR_GROUP * FR_GROUP if last else FR_GROUP
