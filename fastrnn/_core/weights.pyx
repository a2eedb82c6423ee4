"""A layer's weights in the order the kernels read them."""

import threading

import numpy as np

from fastrnn._core.dense cimport Version, packed_floats, padded, panel_floats
from fastrnn._core.kernels cimport FR_GROUP, fr_matrix, fr_stage, kernels

from fastrnn._core.memory import empty
from fastrnn._core.team import renew_in_children


cdef class Panels:
    """One layer's weights, packed for the kernels; packed again at the first use after a change.

    Every packed copy carries the version of the weights that was read before it was made: an edit that ends while
    another thread packs leaves it stale.

    A panel is 16 columns wide: panels[group][k][lane], panel_floats apart. Groups of `input` and `recurrent` are in the
    order of the gate buffer's columns, slot by slot.
    """

    def __init__(self, cell, Version version not None, weight_ih, weight_hh, bias_ih=None, bias_hh=None):
        self.cell, self.version = NULL, version
        cdef bytes name = cell.encode()
        for i in range(kernels.cell_count):
            if kernels.cells[i].name == name:
                self.cell = kernels.cells[i]
        if self.cell == NULL:
            raise ValueError(f"Panels: there is no compiled cell {cell!r}")
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = weight_ih, weight_hh, bias_ih, bias_hh
        self.inputs, self.H = weight_ih.shape[1], weight_hh.shape[1]
        self.Hp = padded(self.H)
        self.columns = self.cell.slots * self.Hp
        self.row = self.columns + FR_GROUP  # else the rows of a tile would fall on the same few sets of the caches
        self.input_floats = self.cell.gates * packed_floats(self.inputs, self.H)
        self.recurrent_floats = self.cell.gates * packed_floats(self.H, self.H)
        self.states, self.aux = self.cell.states, self.cell.aux
        self.input = self.recurrent = self.input_transposed = self.recurrent_transposed = None
        self.bias = self.table = None
        self._renew_lock()
        renew_in_children(self)
        self.input_version = self.recurrent_version = self.table_version = -1
        self.input_transposed_version = self.recurrent_transposed_version = -1

    def _renew_lock(self):
        """A new lock, held by nobody."""
        self.lock = threading.Lock()

    def refresh(self, bint indices):
        """Pack what a forward call (of indices or of vectors) reads, if the weights have changed."""
        cdef long long now
        with self.lock:
            now = self.version.number
            if self.recurrent_version != now:
                self._pack_bias()
                self._pack_recurrent()
                self.recurrent_version = now
            if indices and self.table_version != now:
                self._pack_table()
                self.table_version = now
            elif not indices and self.input_version != now:
                self._pack_input()
                self.input_version = now

    def refresh_transposed(self, bint inputs):
        """Pack what a backward call reads, with or without the gradient of the inputs. For one thread at a time."""
        cdef long long now
        with self.lock:
            now = self.version.number
            if self.recurrent_transposed_version != now:
                self._pack_recurrent_transposed()
                self.recurrent_transposed_version = now
            if inputs and self.input_transposed_version != now:
                self._pack_input_transposed()
                self.input_transposed_version = now

    cdef bint is_stale(self, bint indices) noexcept:
        cdef long long now = self.version.number
        return self.recurrent_version != now or (self.table_version if indices else self.input_version) != now

    cdef _pack_bias(self):
        """bias[slot] = b_ih where W x is added to the slot, plus b_hh where R h is."""
        cdef const fr_stage *stage
        cdef int slot, s
        cdef Py_ssize_t unit
        cdef float bias
        if self.bias is None:
            self.bias = np.zeros(self.columns, dtype=np.float32)
        if self.bias_ih is None:
            return
        for slot in range(self.cell.slots):
            for unit in range(self.H):
                bias = self.bias_ih[self.cell.input_gates[slot] * self.H + unit] if slot < self.cell.gates else 0
                for s in range(self.cell.stages):
                    stage = &self.cell.stage[s]
                    if 0 <= slot - stage.first < stage.count:
                        bias += self.bias_hh[stage.gates[slot - stage.first] * self.H + unit]
                self.bias[slot * self.Hp + unit] = bias  # once, in place: another thread's call may be reading it

    cdef _pack_input(self):
        cdef fr_matrix matrix
        cdef int slot
        if self.input is None:
            self.input = empty((self.input_floats,))
        for slot in range(self.cell.gates):
            # input[slot] = weight_ih[gate].T
            matrix = kernels.layout(self.inputs, self.H)
            matrix.at = &self.input[slot * packed_floats(self.inputs, self.H)]
            kernels.pack(&matrix, 0, 0, self.inputs, self.H, &self.weight_ih[self.cell.input_gates[slot] * self.H, 0], 1,
                         self.inputs)

    cdef _pack_recurrent(self):
        cdef fr_matrix matrix
        if self.recurrent is None:
            self.recurrent = empty((self.recurrent_floats,))
        cdef Py_ssize_t at = 0
        cdef int s, i
        for s in range(self.cell.stages):
            for i in range(self.cell.stage[s].count):
                # recurrent[stage][slot] = weight_hh[gate].T
                matrix = kernels.layout(self.H, self.H)
                matrix.at = &self.recurrent[at]
                kernels.pack(&matrix, 0, 0, self.H, self.H, &self.weight_hh[self.cell.stage[s].gates[i] * self.H, 0],
                             1, self.H)
                at += packed_floats(self.H, self.H)

    cdef _pack_recurrent_transposed(self):
        cdef fr_matrix matrix
        cdef Py_ssize_t at = 0, K
        cdef const fr_stage *stage
        cdef int s, i
        if self.recurrent_transposed is None:
            for s in range(self.cell.stages):
                at += packed_floats(self.cell.stage[s].count * self.Hp, self.H)
            self.recurrent_transposed = empty((at,))
            self.recurrent_transposed[:] = 0
        at = 0
        for s in range(self.cell.stages):
            stage = &self.cell.stage[s]
            K = stage.count * self.Hp
            for i in range(stage.count):
                # Lines slot*Hp + unit of a stage's panels = weight_hh[gate]; the padding's lines stay 0.
                matrix = kernels.layout(K, self.H)
                matrix.at = &self.recurrent_transposed[at]
                kernels.pack(&matrix, i * self.Hp, 0, self.H, self.H, &self.weight_hh[stage.gates[i] * self.H, 0],
                             self.H, 1)
            at += packed_floats(K, self.H)

    cdef _pack_input_transposed(self):
        cdef fr_matrix matrix
        cdef Py_ssize_t K = self.cell.gates * self.Hp
        cdef int slot
        if self.input_transposed is None:
            self.input_transposed = empty((packed_floats(K, self.inputs),))
            self.input_transposed[:] = 0
        for slot in range(self.cell.gates):
            matrix = kernels.layout(K, self.inputs)
            matrix.at = &self.input_transposed[0]
            kernels.pack(&matrix, slot * self.Hp, 0, self.H, self.inputs,
                         &self.weight_ih[self.cell.input_gates[slot] * self.H, 0], self.inputs, 1)

    cdef _pack_table(self):
        """table[v] = bias + W onehot(v), a ready row of the gate buffer for every index."""
        if self.table is None:
            self.table = empty((self.inputs, self.columns))
            self.table[:] = 0
        table, bias = np.asarray(self.table), np.asarray(self.bias)
        weight = np.asarray(self.weight_ih).reshape(self.cell.gates, self.H, self.inputs)
        for slot in range(self.cell.slots):  # once, in place: another thread's call may be reading it
            units = slice(slot * self.Hp, slot * self.Hp + self.H)
            if slot < self.cell.gates:
                np.add(weight[self.cell.input_gates[slot]].T, bias[units], out=table[:, units])
            else:
                table[:, units] = bias[units]
