from fastrnn._core.plan cimport Plan
from fastrnn._core.walk cimport Walk

cdef struct Span:
    # What a time loop is to do: some rows of some steps, in every direction its own steps
    Py_ssize_t first, last
    Py_ssize_t begin[2]
    Py_ssize_t end[2]

cdef void run_alone(Walk *walk) noexcept nogil
cdef void run_span(Walk *walks, int directions, const Plan *plan, const Span *span, bint backward) noexcept nogil
