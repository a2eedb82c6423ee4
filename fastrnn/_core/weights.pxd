from fastrnn._core.dense cimport Version
from fastrnn._core.kernels cimport fr_cell

cdef class Panels:
    cdef const fr_cell *cell
    cdef readonly Py_ssize_t inputs, H, Hp, columns, row, input_floats, recurrent_floats
    cdef readonly int states, aux
    cdef const float[:, ::1] weight_ih, weight_hh
    cdef const float[::1] bias_ih, bias_hh  # or None
    cdef object __weakref__
    cdef readonly object lock
    cdef float[::1] bias, input, recurrent, input_transposed, recurrent_transposed
    cdef float[:, ::1] table
    cdef readonly Version version
    # Of the weights that each was made of, -1 for none.
    cdef long long input_version, recurrent_version, table_version
    cdef long long input_transposed_version, recurrent_transposed_version

    cdef bint is_stale(self, bint indices) noexcept
    cdef _pack_bias(self)
    cdef _pack_input(self)
    cdef _pack_recurrent(self)
    cdef _pack_recurrent_transposed(self)
    cdef _pack_input_transposed(self)
    cdef _pack_table(self)
