from libc.stdint cimport int64_t, uint64_t

cdef extern from "kernels.h":
    enum:
        FR_GROUP
        FR_COLUMNS
        FR_MAX_SLOTS
        FR_MAX_STAGES
        FR_ELEMENT_LOSSES
        FR_LATTICE_EDGE

    ctypedef struct fr_forward_block:
        Py_ssize_t rows, begin, end, gates_row, slot, h_row, state_row
        void *gates
        const void *h
        const void *c
        void *h_next
        void *c_next
        void *aux

    ctypedef struct fr_backward_block:
        Py_ssize_t rows, begin, end, gates_row, slot, gates_next, h_row, state_row, dy_row, carry_row
        void *gates
        const void *h
        const void *c
        const void *c_next
        const void *dy
        void *dh
        void *dc
        void *daux

    ctypedef struct fr_stage:
        int first, count, from_aux
        int gates[FR_MAX_SLOTS]
        void (*forward)(const fr_forward_block *) noexcept nogil
        void (*backward)(const fr_backward_block *) noexcept nogil

    ctypedef struct fr_cell:
        const char *name
        int gates, slots, states, aux, stages
        int input_gates[FR_MAX_SLOTS]
        fr_stage stage[FR_MAX_STAGES]

    ctypedef struct fr_matrix:
        void *at
        Py_ssize_t K, groups, line, panel

    void *fr_panel(const fr_matrix *matrix, Py_ssize_t k, Py_ssize_t group) noexcept nogil

    ctypedef struct fr_product:
        Py_ssize_t M, groups, K, a_row, w_panel, init_row, c_row, c_group, edge
        const void *a
        const void *w
        bint far
        const void *init
        void *c

    ctypedef struct fr_additive:
        Py_ssize_t A, count, key_row
        const void *query
        const void *keys
        const void *v

    ctypedef struct fr_class_weights:
        Py_ssize_t V
        const void *weights
        double sum, own, rest

    ctypedef struct fr_element_rows:
        Py_ssize_t count, columns
        double scale, option

    ctypedef struct fr_lattice:
        Py_ssize_t T, S, width
        const double *joins
        const double *log_joins
        const double *lives
        double *blanks
        double *labels
        double *a
        double *carry
        int64_t *exponents

    Py_ssize_t FR_LATTICE_STRIDE(Py_ssize_t width) noexcept nogil

    ctypedef struct fr_kernels:
        const char *name
        int size, vector, rows, cell_count
        const fr_cell **cells
        fr_matrix (*layout)(Py_ssize_t K, Py_ssize_t N) noexcept nogil
        void (*pack)(const fr_matrix *matrix, Py_ssize_t k0, Py_ssize_t group0, Py_ssize_t K, Py_ssize_t N,
                     const void *source, Py_ssize_t source_k, Py_ssize_t source_n) noexcept nogil
        void (*gemm)(const fr_product *product) noexcept nogil
        void (*transpose)(Py_ssize_t K, Py_ssize_t columns, const void *rows, Py_ssize_t row,
                          void *out, Py_ssize_t out_row, void *sum) noexcept nogil
        void (*add)(Py_ssize_t n, const void *source, void *target) noexcept nogil
        double (*cross_entropy)(Py_ssize_t V, const void *logits, Py_ssize_t target, double scale,
                                void *dlogits) noexcept nogil
        double (*softmax)(Py_ssize_t V, const void *logits, double scale, void *p) noexcept nogil
        double (*weighted_cross_entropy)(const fr_class_weights *classes, const void *logits, Py_ssize_t target,
                                         double scale, void *dlogits) noexcept nogil
        double (*elements[FR_ELEMENT_LOSSES])(const fr_element_rows *rows, const void *outputs, const void *targets,
                                              void *doutputs) noexcept nogil
        void (*ctc_gather)(Py_ssize_t S, Py_ssize_t width, const int64_t *labels, const void *logits, double all,
                           double *log_p) noexcept nogil
        void (*ctc_scatter)(Py_ssize_t S, const int64_t *labels, const double *posterior, double scale,
                            void *dlogits) noexcept nogil
        int (*ctc_lattice)(const fr_lattice *lattice, int logs, double *loss) noexcept nogil
        void (*dropout)(Py_ssize_t n, uint64_t key, uint64_t first, float p, const void *source,
                        void *target) noexcept nogil
        void (*tanh)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        void (*sigmoid)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        void (*softmax_backward)(Py_ssize_t n, const void *p, const void *dp, void *dx) noexcept nogil
        void (*additive_scores)(const fr_additive *of, void *scores) noexcept nogil
        void (*additive_backward)(const fr_additive *of, const void *dscores, void *dquery, void *dkeys,
                                  void *dv) noexcept nogil
        double probe_flops
        Py_ssize_t probe_block
        double (*probe_multiply_add)(Py_ssize_t rounds) noexcept nogil
        double (*probe_read)(Py_ssize_t rounds, Py_ssize_t n, const void *data) noexcept nogil

    const fr_kernels *fr_select(const char *limit, int size) nogil
    const fr_kernels *fr_available(int i) nogil
    int fr_has_openmp() nogil
    unsigned fr_flush_begin() noexcept nogil
    void fr_flush_end(unsigned before) noexcept nogil

# The tables that this process uses, of float and of double elements, chosen once when fastrnn is imported.
cdef const fr_kernels *kernels
cdef const fr_kernels *kernels_f64
