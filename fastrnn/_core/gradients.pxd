from fastrnn._core.kernels cimport FR_MAX_SLOTS, fr_matrix
from fastrnn._core.walk cimport Walk
from fastrnn._core.team cimport fr_team
from fastrnn._core.weights cimport MAX_STAGES, Layer

cdef struct Operand:
    # One product of a weight gradient: dweight[gate] += da[:, slot].T @ operand
    const char *at              # (K, N): the row that goes with da's first one
    Py_ssize_t row, N
    const Walk *states          # the walk whose h before a step the rows are, or NULL where they lie close together
    int gates[FR_MAX_SLOTS]     # the gate of each slot of da, -1 where the product leaves the slot out
    char *dweight               # (G * units, N)
    char *dbias                 # (G * units,) or NULL

cdef struct Sums:
    # All that is summed over the rows of one da
    const Layer *w
    const char *da              # (K, slots at stride slot_columns, units)
    Py_ssize_t K, row, units, slot_columns
    Py_ssize_t first            # da's first row among the packed rows of the batch
    int slots, count
    bint fresh              # dweight holds nothing yet
    Operand operand[1 + MAX_STAGES]

cdef struct RowProduct:
    # y (rows, N) = init + x (rows, K) @ matrix; init_row 0 repeats one row, init may be y
    const Layer *w
    const fr_matrix *matrix
    Py_ssize_t rows, N, x_row, init_row
    const char *x
    const char *init
    char *y

cdef struct Cut:
    # What is to be done of sums or products over rows: blocks first..last-1 of them, and a turn of the columns
    Py_ssize_t blocks, first, last, turn, turns

cdef struct LayerGradients:
    # Where the gradients of a layer's parameters are added; NULL for what there is not
    char *weight_ih
    char *weight_hh
    char *bias_ih
    char *bias_hh
    char *weight_hr
    bint fresh              # those of weights hold nothing yet: one run's first sums are stored, not added

cdef class Gradients:
    cdef list arrays            # weight_ih, bias_ih, weight_hh, bias_hh, weight_hr, or None
    cdef LayerGradients into
    cdef Py_ssize_t sizes[5]    # of the arrays in numbers, 0 for None
    cdef Py_ssize_t number      # bytes of a number

    cdef char *pointer(self, int i) except? NULL
    cdef bint fits(self, const Layer *w)
    cdef list copies(self, bint indices)

cdef struct Scratch:
    char *at
    Py_ssize_t bytes            # of each thread

cdef struct Targets:
    # Where all sums of one direction go
    LayerGradients weights
    char *dx                    # (N, I), or NULL where it is not wanted
    char *index_sums            # (I, gates * Hp) where x is of indices, else NULL
    Scratch scratch

cdef Py_ssize_t scratch_numbers(Py_ssize_t N) noexcept nogil
cdef Py_ssize_t layer_scratch_numbers(const Layer *w, bint indices) noexcept nogil
cdef void add_weight_gradients(const Sums *sums, const Cut *cut, char *scratch, const fr_team *team, int part,
                               int parts) noexcept nogil
cdef void multiply_rows(const RowProduct *product, const Cut *cut, const fr_team *team, int part,
                        int parts) noexcept nogil
cdef void shrink_to_window(const Walk *walk, Py_ssize_t *begin, Py_ssize_t *end) noexcept nogil
cdef int sum_window(const Walk *walk, Py_ssize_t begin, Py_ssize_t end, const Targets *into, int threads,
                    bint may_end) except -1 nogil
