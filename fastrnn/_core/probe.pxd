# Bytes of the data cache of level 1, 2 or 3 that one core sees; 0 for none.
cdef Py_ssize_t cache_bytes(int level) noexcept nogil
