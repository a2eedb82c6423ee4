from libc.stdint cimport int64_t

from fastrnn._kernels cimport fr_cell

cdef class Panels:
    cdef const fr_cell *cell
    cdef readonly Py_ssize_t inputs, H, Hp, columns, row
    cdef readonly int states, aux
    cdef const float[:, ::1] weight_ih, weight_hh
    cdef object bias_ih, bias_hh, lock
    cdef float[::1] bias, input, recurrent, input_transposed, recurrent_transposed
    cdef float[:, ::1] table
    cdef bint input_stale, recurrent_stale, input_transposed_stale, recurrent_transposed_stale, table_stale

    cdef bint is_stale(self, bint indices) noexcept
    cdef _pack_bias(self)
    cdef _pack_input(self)
    cdef _pack_recurrent(self)
    cdef _pack_recurrent_transposed(self)
    cdef _pack_input_transposed(self)
    cdef _pack_table(self)


cdef Py_ssize_t gate_steps(Panels w, Py_ssize_t T, Py_ssize_t B) noexcept
cdef void forward_layer(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                        float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, int num_threads) noexcept nogil
