from libc.stdint cimport int64_t

from fastrnn._core.weights cimport Panels

cdef Py_ssize_t time_block(Panels w, Py_ssize_t T, Py_ssize_t rows) noexcept nogil
cdef double forward_work(Panels w, Py_ssize_t B, Py_ssize_t T, Py_ssize_t inputs) noexcept nogil
cdef double backward_work(Panels w, Py_ssize_t B, Py_ssize_t T, Py_ssize_t inputs) noexcept nogil
cdef int forward_layer(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                       float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, bint at_rest,
                       int num_threads) except -1 nogil
cdef backward_layer(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                    const float[:, :, ::1] h, const float[:, :, ::1] c, const float[:, :, ::1] aux,
                    const float[:, :, ::1] dy, float[:, ::1] dh, float[:, ::1] dc, float[:, :, ::1] dx,
                    float[:, ::1] dweight_ih, float[:, ::1] dweight_hh, float[::1] dbias_ih, float[::1] dbias_hh,
                    bint may_end, int num_threads)
