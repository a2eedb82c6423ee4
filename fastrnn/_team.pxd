cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil
