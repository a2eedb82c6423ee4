from fastrnn._core.kernels cimport (
    FR_MAX_SLOTS, FR_MAX_STAGES, fr_backward_block, fr_cell, fr_forward_block, fr_kernels, fr_matrix
)

cdef class Version:
    cdef readonly long long number

cdef enum:
    # The packed copies that a layer may have, each with a version of its own. The bias belongs to RECURRENT.
    RECURRENT, INPUT, TABLE, RECURRENT_TRANSPOSED, INPUT_TRANSPOSED, COPIES

cdef enum:
    # What a stage's product reads: h, what an earlier stage left in aux, or the cell's output m
    FROM_H, FROM_AUX, FROM_M
    # Where its result goes
    TO_GATES, TO_H
    MAX_STAGES = FR_MAX_STAGES + 1

cdef struct Stage:
    # One line of the program that a step is: target = source @ matrix (gates are added to), then the equations
    int source, target
    int first, count                    # TO_GATES: slots of the gate buffer
    int gates[FR_MAX_SLOTS]             # and the public gate of each
    fr_matrix matrix, transposed
    void (*forward)(const fr_forward_block *) noexcept nogil
    void (*backward)(const fr_backward_block *) noexcept nogil

cdef struct Layer:
    # What the loops read of one layer's weights; the matrices' memory is the PackedWeights' that the struct is part of
    const fr_kernels *table
    const fr_cell *cell
    Py_ssize_t size                     # bytes of an element
    Py_ssize_t inputs, H, Hp
    Py_ssize_t P, Pp                    # the width of h: H, or proj_size; rounded up to whole groups
    Py_ssize_t columns, row             # of the gate buffer: those in use, and the stride of its rows
    Py_ssize_t input_bytes, recurrent_bytes
    int stages
    Stage stage[MAX_STAGES]             # a step: the cell's stages, then what the options add
    bint projected                      # the last stage makes h of m
    fr_matrix input, input_transposed
    const char *bias                    # (columns,)
    const char *index_rows              # (inputs, columns): bias + W onehot(v), a ready row for every index

cdef class PackedWeights:
    cdef Layer layer
    cdef readonly Version version
    cdef readonly object lock
    cdef object __weakref__, dtype
    cdef list memory            # an array a copy, or None
    cdef object bias_memory
    cdef long long made_of[COPIES]      # the version of the weights that each copy was made of, -1 for none

    cdef prepare(self, Version version, dtype)
    cdef bint is_stale(self, unsigned copies) noexcept
    cdef refresh_copies(self, unsigned copies)
    cdef pack(self, int copy)
    cdef char *room_for(self, int copy, Py_ssize_t bytes, bint zero) except NULL

cdef class RecurrentWeights(PackedWeights):
    cdef object weight_ih, weight_hh, bias_ih, bias_hh, weight_hr

    cdef find_cell(self, str name)
    cdef write_program(self)
    cdef pack_bias(self)
    cdef pack_input(self)
    cdef pack_recurrent(self)
    cdef pack_recurrent_transposed(self)
    cdef pack_input_transposed(self)
    cdef pack_table(self)

cdef class LinearWeights(PackedWeights):
    cdef object weight, source_bias

cdef Py_ssize_t padded(Py_ssize_t n) noexcept nogil
cdef unsigned copies_for_forward(bint indices) noexcept nogil
