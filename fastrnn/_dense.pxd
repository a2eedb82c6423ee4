from libc.stdint cimport int64_t

cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil
cdef Py_ssize_t padded(Py_ssize_t n) noexcept nogil
cdef Py_ssize_t gradient_scratch(Py_ssize_t N) noexcept nogil
cdef void weight_gradient(
    Py_ssize_t units, int slots, const int *gates, Py_ssize_t slot, Py_ssize_t K,
    const float *da, Py_ssize_t da_row, const float *operand, Py_ssize_t operand_row, Py_ssize_t N,
    float *dweight, float *dbias, float *scratch, Py_ssize_t part, Py_ssize_t parts,
) noexcept nogil
