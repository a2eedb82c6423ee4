from libc.stdint cimport int64_t

from fastrnn._panels cimport Panels

cdef Py_ssize_t gate_steps(Panels w, Py_ssize_t T, Py_ssize_t B) noexcept
cdef void forward_layer(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                        float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, int num_threads) noexcept nogil
