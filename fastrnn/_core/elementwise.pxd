from libc.stdint cimport int64_t, uint64_t

from fastrnn._core.kernels cimport fr_kernels, kernels, kernels_f64

# What is done to each of many things, rows or elements. Who runs it says what its fields mean.
cdef struct Job:
    const fr_kernels *table
    Py_ssize_t first, count, columns
    const char *source
    char *target
    const int64_t *index    # of rows: where they come from, or targets of a loss
    float p
    uint64_t key
    const void *more        # of a loss, or of attention

# On things first..last-1, by thread `part` of those that run.
ctypedef void (*Work)(const Job *job, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil


cdef inline const fr_kernels *table_of(Py_ssize_t size) noexcept nogil:
    return kernels if size == 4 else kernels_f64


# The last look before C, for every module that hands it arrays.
cdef fitting(str who, bint fits)
cdef int run(Work work, Job *job, Py_ssize_t n, double each, int num_threads) except -1 nogil
cdef int run_on(int threads, Work work, Job *job, Py_ssize_t n, double each) except -1 nogil
