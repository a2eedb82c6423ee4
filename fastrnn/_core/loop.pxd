from libc.stdint cimport int64_t

from fastrnn._core.plan cimport Batch, Plan
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
    char *daux                  # (B, Hp), only in a step
    char *dm                    # (B, Hp), only in a step
    char *dprojected            # (N, P) OUT what the projection's weights have for their gradient

cdef struct Span:
    # What a time loop is to do: some rows of some steps, in every direction its own steps
    Py_ssize_t first, last
    Py_ssize_t begin[2]
    Py_ssize_t end[2]

cdef Py_ssize_t row_before(const Walk *walk, Py_ssize_t t) noexcept nogil
cdef Py_ssize_t row_after(const Walk *walk, Py_ssize_t t) noexcept nogil
cdef void run_alone(Walk *walk) noexcept nogil
cdef void run_span(Walk *walks, int directions, const Plan *plan, const Span *span, bint backward) noexcept nogil
