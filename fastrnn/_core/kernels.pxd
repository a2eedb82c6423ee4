from libc.stdint cimport uint64_t

cdef extern from "kernels.h":
    enum:
        FR_GROUP
        FR_COLUMNS
        FR_MAX_SLOTS
        FR_MAX_STAGES

    ctypedef struct fr_forward_block:
        Py_ssize_t rows, begin, end, gates_row, slot, state_row
        float *gates
        const float *h
        const float *c
        float *h_next
        float *c_next
        float *aux

    ctypedef struct fr_backward_block:
        Py_ssize_t rows, begin, end, gates_row, slot, gates_step, state_row, carry_row
        float *gates
        const float *h
        const float *c
        const float *c_next
        const float *dy
        float *dh
        float *dc
        float *daux

    ctypedef struct fr_stage:
        int first, count, from_aux
        int gates[4]
        void (*forward)(const fr_forward_block *) noexcept nogil
        void (*backward)(const fr_backward_block *) noexcept nogil

    ctypedef struct fr_cell:
        const char *name
        int gates, slots, states, aux, stages
        int input_gates[4]
        fr_stage stage[2]

    ctypedef struct fr_product:
        Py_ssize_t M, groups, K, a_row, w_group, init_row, c_row, c_group, edge
        const float *a
        const float *w
        bint far
        const float *init
        float *c

    ctypedef struct fr_kernels:
        const char *name
        int vector, rows, cell_count
        const fr_cell **cells
        void (*pack)(Py_ssize_t K, Py_ssize_t N, const float *source, Py_ssize_t source_k, Py_ssize_t source_n,
                     float *panel, Py_ssize_t panel_group) noexcept nogil
        void (*gemm)(const fr_product *product) noexcept nogil
        void (*transpose)(Py_ssize_t K, Py_ssize_t columns, const float *rows, Py_ssize_t row,
                          float *out, Py_ssize_t out_row, float *sum) noexcept nogil
        void (*add)(Py_ssize_t n, const float *source, float *target) noexcept nogil
        float (*cross_entropy)(Py_ssize_t V, const float *logits, Py_ssize_t target, float scale,
                               float *dlogits) noexcept nogil
        void (*dropout)(Py_ssize_t n, uint64_t key, uint64_t first, float p, const float *source,
                        float *target) noexcept nogil
        void (*tanh)(Py_ssize_t n, const float *x, float *y) noexcept nogil
        void (*sigmoid)(Py_ssize_t n, const float *x, float *y) noexcept nogil
        double probe_flops
        Py_ssize_t probe_block
        float (*probe_multiply_add)(Py_ssize_t rounds) noexcept nogil
        float (*probe_read)(Py_ssize_t rounds, Py_ssize_t n, const float *data) noexcept nogil

    const fr_kernels *fr_select(const char *limit) nogil
    const fr_kernels *fr_available(int i) nogil
    unsigned fr_flush_begin() noexcept nogil
    void fr_flush_end(unsigned before) noexcept nogil

# The table that this process uses, chosen once when fastrnn is imported.
cdef const fr_kernels *kernels
