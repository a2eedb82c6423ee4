"""A layer's weights in the order the kernels read them.

Design
a) A packed copy carries the version of the weights that was read before it was made. So an edit that ends while another
   thread packs leaves the copy stale, and the next call packs again.
b) Everything is packed at the first use after a change, and only what that use reads.
c) The format of a matrix is the kernel table's own (`layout` and `pack`): nothing here computes an offset inside one.
d) A copy is written in place, each value once: another thread's call with the weights of before may be reading it.
"""

import threading

import numpy as np

cimport numpy as cnp

from fastrnn._core.kernels cimport FR_GROUP, fr_kernels, fr_matrix, fr_stage, kernels, kernels_f64

from fastrnn._core.memory import empty
from fastrnn._core.team import renew_in_children

cnp.import_array()

ctypedef fused real:
    float
    double


cdef Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    """n rounded up to whole groups of columns."""
    return (n + FR_GROUP - 1) // FR_GROUP * FR_GROUP


cdef unsigned copies_for_forward(bint indices) noexcept nogil:
    """The copies that a forward run reads, as a set of bits."""
    return 1 << RECURRENT | 1 << (TABLE if indices else INPUT)


cdef class Version:
    """Of a layer's weights: a number that changes before they do and after it.

    What is made of the weights carries the number read before; it is true to them while the number is the same.
    """

    def advance(self):
        self.number += 1


cdef void add_biases(const real *first, const real *second, real *total, Py_ssize_t n) noexcept:
    """total = first + second, either of which may be NULL"""
    cdef Py_ssize_t i
    for i in range(n):
        total[i] = (first[i] if first != NULL else 0) + (second[i] if second != NULL else 0)


cdef const char *gate_of(cnp.ndarray array, Py_ssize_t gate, Py_ssize_t units) noexcept:
    """The first row of a gate in an array (G * units, ...), or NULL for no array."""
    if array is None:
        return NULL
    return cnp.PyArray_BYTES(array) + gate * units * cnp.PyArray_STRIDE(array, 0)


cdef class PackedWeights:
    """The packed copies of one layer's weights; the base of those of recurrent and of linear layers."""

    def __cinit__(self):
        self.memory = [None] * COPIES
        for copy in range(COPIES):
            self.made_of[copy] = -1

    cdef prepare(self, Version version, dtype):
        self.version, self.dtype = version, dtype
        self.layer.size = dtype.itemsize
        self.layer.table = kernels if dtype.itemsize == 4 else kernels_f64
        self._renew_lock()
        renew_in_children(self)

    def _renew_lock(self):
        """Set a new lock, held by nobody."""
        self.lock = threading.Lock()

    cdef bint is_stale(self, unsigned copies) noexcept:
        """Whether any copy of the set is older than the weights."""
        cdef int copy
        for copy in range(COPIES):
            if copies >> copy & 1 and self.made_of[copy] != self.version.number:
                return True
        return False

    cdef refresh_copies(self, unsigned copies):
        """Pack those of the set that are older than the weights."""
        cdef long long now
        cdef int copy
        with self.lock:
            now = self.version.number
            for copy in range(COPIES):
                if copies >> copy & 1 and self.made_of[copy] != now:
                    self.pack(copy)
                    self.made_of[copy] = now

    cdef pack(self, int copy):
        """Make one copy: what each kind of layer does in its own way."""
        raise NotImplementedError

    cdef char *room_for(self, int copy, Py_ssize_t bytes, bint zero) except NULL:
        """The memory of a copy, which stays where it is once it has been asked for."""
        if self.memory[copy] is None:
            array = empty((bytes // self.layer.size,), self.dtype)
            if zero:
                array[:] = 0
            self.memory[copy] = array
        return cnp.PyArray_BYTES(<cnp.ndarray> self.memory[copy])


cdef Py_ssize_t bytes_of(const fr_matrix *matrix) noexcept:
    return matrix.groups * matrix.panel


cdef class RecurrentWeights(PackedWeights):
    """Those of one direction of a recurrent layer.

    Gate columns of `input` and `recurrent` are in the order of the gate buffer, slot by slot.
    """

    def __init__(self, cell, Version version not None, weight_ih, weight_hh, bias_ih=None, bias_hh=None,
                 weight_hr=None):
        cdef Layer *w = &self.layer
        cdef int s
        self.prepare(version, weight_ih.dtype)
        self.find_cell(cell)
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = weight_ih, weight_hh, bias_ih, bias_hh
        self.weight_hr = weight_hr
        w.inputs, w.P, w.H = weight_ih.shape[1], weight_hh.shape[1], weight_hh.shape[0] // w.cell.gates
        w.Hp, w.Pp = padded(w.H), padded(w.P)
        w.columns = w.cell.slots * w.Hp
        w.row = w.columns + FR_GROUP  # else the rows of a tile would fall on the same few sets of the caches
        w.input = w.table.layout(w.inputs, w.cell.gates * w.Hp)
        w.input_transposed = w.table.layout(w.cell.gates * w.Hp, w.inputs)
        w.input_bytes, w.recurrent_bytes = bytes_of(&w.input), 0
        self.write_program()
        for s in range(w.stages):
            w.recurrent_bytes += bytes_of(&w.stage[s].matrix)

    cdef find_cell(self, str name):
        cdef bytes wanted = name.encode()
        cdef const fr_kernels *table = self.layer.table
        for i in range(table.cell_count):
            if table.cells[i].name == wanted:
                self.layer.cell = table.cells[i]
                return
        raise ValueError(f"RecurrentWeights: there is no compiled cell {name!r}")

    cdef write_program(self):
        """What a step does: the cell's stages, and with a projection h = m @ weight_hr.T."""
        cdef Layer *w = &self.layer
        cdef const fr_stage *given
        cdef Stage *stage
        cdef int s, i
        w.projected = self.weight_hr is not None
        w.stages = w.cell.stages + w.projected
        for s in range(w.cell.stages):
            given, stage = &w.cell.stage[s], &w.stage[s]
            stage.source, stage.target = FROM_AUX if given.from_aux else FROM_H, TO_GATES
            stage.first, stage.count = given.first, given.count
            stage.forward, stage.backward = given.forward, given.backward
            for i in range(given.count):
                stage.gates[i] = given.gates[i]
            stage.matrix = w.table.layout(w.P, given.count * w.Hp)
            stage.transposed = w.table.layout(given.count * w.Hp, w.P)
        if w.projected:
            stage = &w.stage[w.cell.stages]
            stage.source, stage.target, stage.forward, stage.backward = FROM_M, TO_H, NULL, NULL
            stage.matrix, stage.transposed = w.table.layout(w.H, w.P), w.table.layout(w.P, w.H)

    def refresh(self, bint indices):
        """Pack what a forward call (of indices or of vectors) reads, if the weights have changed."""
        self.refresh_copies(copies_for_forward(indices))

    def refresh_transposed(self, bint inputs):
        """Pack what a backward call reads, with or without the gradient of the inputs. The caller holds the layer's
        lock."""
        self.refresh_copies(1 << RECURRENT_TRANSPOSED | (1 << INPUT_TRANSPOSED if inputs else 0))

    cdef pack(self, int copy):
        if copy == RECURRENT:
            self.pack_bias()
            self.pack_recurrent()
        elif copy == INPUT:
            self.pack_input()
        elif copy == TABLE:
            self.pack_table()
        elif copy == RECURRENT_TRANSPOSED:
            self.pack_recurrent_transposed()
        else:
            self.pack_input_transposed()

    cdef pack_bias(self):
        """bias[slot] = b_ih where W x is added to the slot, plus b_hh where R h is."""
        cdef Layer *w = &self.layer
        cdef const char *first
        cdef const char *second
        cdef const Stage *stage
        cdef char *total
        cdef int slot, s
        if self.bias_memory is None:
            self.bias_memory = np.zeros(w.columns, dtype=self.dtype)
            w.bias = cnp.PyArray_BYTES(<cnp.ndarray> self.bias_memory)
        for slot in range(w.cell.slots):
            first = gate_of(self.bias_ih, w.cell.input_gates[slot], w.H) if slot < w.cell.gates else NULL
            second = NULL
            for s in range(w.cell.stages):
                stage = &w.stage[s]
                if 0 <= slot - stage.first < stage.count:
                    second = gate_of(self.bias_hh, stage.gates[slot - stage.first], w.H)
            total = <char *> w.bias + slot * w.Hp * w.size
            if w.size == 4:
                add_biases(<const float *> first, <const float *> second, <float *> total, w.H)
            else:
                add_biases(<const double *> first, <const double *> second, <double *> total, w.H)

    cdef pack_input(self):
        cdef Layer *w = &self.layer
        cdef int slot
        w.input.at = self.room_for(INPUT, bytes_of(&w.input), False)
        for slot in range(w.cell.gates):
            # input[slot] = weight_ih[gate].T
            w.table.pack(&w.input, 0, slot * w.Hp // FR_GROUP, w.inputs, w.H,
                         gate_of(self.weight_ih, w.cell.input_gates[slot], w.H), 1, w.inputs)

    cdef pack_recurrent(self):
        cdef Layer *w = &self.layer
        cdef Stage *stage
        cdef char *at = self.room_for(RECURRENT, w.recurrent_bytes, False)
        cdef int s, i
        for s in range(w.stages):
            stage = &w.stage[s]
            stage.matrix.at = at
            at += bytes_of(&stage.matrix)
            if stage.target == TO_H:
                # matrix = weight_hr.T
                w.table.pack(&stage.matrix, 0, 0, w.H, w.P, gate_of(self.weight_hr, 0, 0), 1, w.H)
                continue
            for i in range(stage.count):
                # matrix[:, slot] = weight_hh[gate].T
                w.table.pack(&stage.matrix, 0, i * w.Hp // FR_GROUP, w.P, w.H,
                             gate_of(self.weight_hh, stage.gates[i], w.H), 1, w.P)

    cdef pack_recurrent_transposed(self):
        cdef Layer *w = &self.layer
        cdef Stage *stage
        cdef Py_ssize_t bytes = 0
        cdef char *at
        cdef int s, i
        for s in range(w.stages):
            bytes += bytes_of(&w.stage[s].transposed)
        at = self.room_for(RECURRENT_TRANSPOSED, bytes, True)
        for s in range(w.stages):
            stage = &w.stage[s]
            stage.transposed.at = at
            at += bytes_of(&stage.transposed)
            if stage.target == TO_H:
                w.table.pack(&stage.transposed, 0, 0, w.P, w.H, gate_of(self.weight_hr, 0, 0), w.H, 1)
                continue
            for i in range(stage.count):
                # Lines slot*Hp + unit of a stage's panels = weight_hh[gate]; the padding's lines stay 0.
                w.table.pack(&stage.transposed, i * w.Hp, 0, w.H, w.P,
                             gate_of(self.weight_hh, stage.gates[i], w.H), w.P, 1)

    cdef pack_input_transposed(self):
        cdef Layer *w = &self.layer
        cdef int slot
        w.input_transposed.at = self.room_for(INPUT_TRANSPOSED, bytes_of(&w.input_transposed), True)
        for slot in range(w.cell.gates):
            w.table.pack(&w.input_transposed, slot * w.Hp, 0, w.H, w.inputs,
                         gate_of(self.weight_ih, w.cell.input_gates[slot], w.H), w.inputs, 1)

    cdef pack_table(self):
        """index_rows[v] = bias + W onehot(v), a ready row of the gate buffer for every index."""
        cdef Layer *w = &self.layer
        w.index_rows = self.room_for(TABLE, w.inputs * w.columns * w.size, True)
        table = self.memory[TABLE].reshape(w.inputs, w.columns)
        weight = self.weight_ih.reshape(w.cell.gates, w.H, w.inputs)
        for slot in range(w.cell.slots):
            units = slice(slot * w.Hp, slot * w.Hp + w.H)
            if slot < w.cell.gates:
                np.add(weight[w.cell.input_gates[slot]].T, self.bias_memory[units], out=table[:, units])
            else:
                table[:, units] = self.bias_memory[units]


cdef class LinearWeights(PackedWeights):
    """Those of a linear layer: `input` for y = x W^T + b, `input_transposed` for dx = dy W."""

    def __init__(self, Version version not None, weight, bias):
        cdef Layer *w = &self.layer
        self.prepare(version, weight.dtype)
        self.weight, self.source_bias = weight, bias
        w.H, w.inputs = weight.shape
        w.Hp = padded(w.H)
        w.input, w.input_transposed = w.table.layout(w.inputs, w.H), w.table.layout(w.H, w.inputs)
        w.input_bytes = bytes_of(&w.input)
        self.bias_memory = np.zeros(w.Hp, dtype=self.dtype)
        w.bias = cnp.PyArray_BYTES(<cnp.ndarray> self.bias_memory)

    def refresh(self):
        """Pack what a forward call reads, if the weights have changed."""
        self.refresh_copies(1 << INPUT)

    def refresh_transposed(self):
        """Pack what a backward call reads, if the weights have changed. The caller holds the layer's lock."""
        self.refresh_copies(1 << INPUT_TRANSPOSED)

    cdef pack(self, int copy):
        cdef Layer *w = &self.layer
        if copy == INPUT:
            w.input.at = self.room_for(INPUT, bytes_of(&w.input), False)
            if self.source_bias is not None:
                self.bias_memory[:w.H] = self.source_bias
            w.table.pack(&w.input, 0, 0, w.inputs, w.H, gate_of(self.weight, 0, 0), 1, w.inputs)
        else:
            w.input_transposed.at = self.room_for(INPUT_TRANSPOSED, bytes_of(&w.input_transposed), False)
            w.table.pack(&w.input_transposed, 0, 0, w.H, w.inputs, gate_of(self.weight, 0, 0), w.inputs, 1)
