from libc.stdint cimport int64_t

cdef struct Region:
    int threads
    int64_t preempted, began, computing, computed


cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil
cdef void begin_region(Region *region, int threads) noexcept nogil
cdef void end_share(Region *region, Py_ssize_t part) noexcept nogil
cdef void end_region(Region *region) noexcept nogil
