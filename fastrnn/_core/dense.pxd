from fastrnn._core.kernels cimport FR_MAX_SLOTS
from fastrnn._core.team cimport fr_team

cdef enum:
    # One piece of work is at most so many times what is meant to lie between two looks at signals.
    LONGEST_PIECE = 8
    GRADIENT_ROWS = 256  # the most rows of da whose products with the operands are one block
    L2_FLOATS = 270336  # the most floats of panels that are read from L2 for the most part: 1 MiB and some lines

cdef fitting(str who, bint fits)
cdef double work_between_looks() noexcept nogil

cdef struct Pieces:
    # How a product is cut where it takes so long that signals have to be looked at meanwhile
    Py_ssize_t blocks   # of at most GRADIENT_ROWS rows, nearly equal, in all
    Py_ssize_t each     # blocks of a piece
    Py_ssize_t turns    # over its columns

cdef Pieces pieces_of(Py_ssize_t rows, double row_work, int parts) noexcept nogil

cdef Py_ssize_t padded(Py_ssize_t n) noexcept nogil
cdef Py_ssize_t panel_floats(Py_ssize_t K) noexcept nogil
cdef Py_ssize_t packed_floats(Py_ssize_t K, Py_ssize_t N) noexcept nogil
cdef Py_ssize_t gradient_scratch(Py_ssize_t N) noexcept nogil

cdef class Version:
    cdef readonly long long number

cdef struct WeightGradient:
    const float *operand        # (K, N)
    Py_ssize_t N
    int gates[FR_MAX_SLOTS]     # the gate of each slot of da, -1 where the product leaves the slot out
    float *dweight              # (G * units, N)
    float *dbias                # (G * units,) or NULL

cdef void weight_gradients(
    Py_ssize_t units, int slots, Py_ssize_t slot_columns, Py_ssize_t K, const float *da, Py_ssize_t da_row,
    const WeightGradient *products, int count, Py_ssize_t first, Py_ssize_t last, Py_ssize_t turn, Py_ssize_t turns,
    float *scratch, const fr_team *crew, int part, int parts,
) noexcept nogil

cdef void product_rows(
    Py_ssize_t rows, Py_ssize_t K, const float *x, Py_ssize_t x_row, const float *w, const float *init,
    Py_ssize_t N, float *y, Py_ssize_t turn, Py_ssize_t turns, const fr_team *crew, int part, int parts,
) noexcept nogil
