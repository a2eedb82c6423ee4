"""The time loop: every recurrent layer, forward, backward and one step at a time, whatever its cell.

Legend: T time, B batch, I input, H hidden, G gates; Hp is H rounded up to whole groups of 16 units.

Design
a) One loop for all cells. What a cell is stands in its row of the kernel table (src/cells): the slots of the gate
   buffer that W x and R h are added to, and the equations. No cell is named here.
b) Three phases. Project: the gate buffer of a block of time steps = bias + x W^T, one product. Recur: per step, += h
   R^T and the equations, one 16-unit block at a time so that the gates are still in L1. Gradients: for blocks of time
   from the end, the reverse loop does equations and dh = da R only; then dx, dW, dR, db are products over the block's
   steps*B rows, while its da is still in a cache.
c) States have T+1 slots, slot 0 the initial one, so no step is special. A stream's step and an inference run are the
   same code with fewer slots: c is updated in place, gates hold one block of steps.
d) Threads own batch rows and walk time with no barrier, in backward a block of it; rows do not depend on each other.
   Weight gradients are split by units (_dense.pyx). Each sum has one order, whatever the number of threads.
e) Backward writes the gradients of the pre-activations over the activations: the tape is used up, and half the
   memory and traffic saved. From there on the buffer is called `da`.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy

import threading

import numpy as np

from fastrnn._dense cimport WeightGradient, gradient_scratch, padded, weight_gradients
from fastrnn._kernels cimport (
    FR_GROUP, FR_MAX_STAGES, fr_backward_block, fr_flush_begin, fr_flush_end, fr_forward_block, fr_stage,
    kernels
)
from fastrnn._team cimport team

from fastrnn._memory import empty

cdef enum:
    # Floats of gate buffer that one thread projects ahead of the recurrence: 192 KiB, less than half of any L2.
    PROJECTED_FLOATS = 49152
    # Floats of recurrent panels between two turns to the equations when there are few rows: 128 KiB.
    SWEEP_FLOATS = 32768
    # Floats of da between two turns to its weight gradients, 4 MiB, in whole blocks of GRADIENT_ROWS rows.
    GRADIENT_FLOATS = 1048576
    GRADIENT_ROWS = 256


cdef class Panels:
    """One layer's weights, packed for the kernels; packed again at the first use after a change.

    A panel is 16 columns wide: panels[group][k][lane]. Groups of `input` and `recurrent` are in the order of the gate
    buffer's columns, slot by slot.
    """

    def __init__(self, cell, weight_ih, weight_hh, bias_ih=None, bias_hh=None):
        self.cell = NULL
        cdef bytes name = cell.encode()
        for i in range(kernels.cell_count):
            if kernels.cells[i].name == name:
                self.cell = &kernels.cells[i]
        if self.cell == NULL:
            raise ValueError(f"Panels: there is no compiled cell {cell!r}")
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = weight_ih, weight_hh, bias_ih, bias_hh
        self.inputs, self.H = weight_ih.shape[1], weight_hh.shape[1]
        self.Hp = padded(self.H)
        self.columns = self.cell.slots * self.Hp
        self.row = self.columns + FR_GROUP  # else the rows of a tile would fall on the same few sets of the caches
        self.states, self.aux = self.cell.states, self.cell.aux
        self.input = self.recurrent = self.input_transposed = self.recurrent_transposed = None
        self.table = None
        self.lock = threading.Lock()
        self.stale()

    def stale(self):
        """The weights have changed."""
        self.input_stale = self.recurrent_stale = self.table_stale = True
        self.input_transposed_stale = self.recurrent_transposed_stale = True

    def refresh(self, bint indices, bint backward):
        """Pack what a forward (of indices or of vectors) or a backward call reads, if the weights have changed."""
        with self.lock:
            if self.recurrent_stale:
                self._pack_bias()
                self._pack_recurrent()
                self.recurrent_stale = False
            if indices and self.table_stale:
                self._pack_table()
                self.table_stale = False
            elif not indices and self.input_stale:
                self._pack_input()
                self.input_stale = False
            if backward and self.recurrent_transposed_stale:
                self._pack_recurrent_transposed()
                self.recurrent_transposed_stale = False
            if backward and not indices and self.input_transposed_stale:
                self._pack_input_transposed()
                self.input_transposed_stale = False

    cdef bint is_stale(self, bint indices) noexcept:
        return self.recurrent_stale or (self.table_stale if indices else self.input_stale)

    cdef _pack_bias(self):
        """bias[slot] = b_ih where W x is added to the slot, plus b_hh where R h is."""
        bias = np.zeros((self.cell.slots, self.Hp), dtype=np.float32)
        cdef const fr_stage *stage
        if self.bias_ih is not None:
            for slot in range(self.cell.gates):
                bias[slot, :self.H] = self.bias_ih.reshape(-1, self.H)[self.cell.input_gates[slot]]
            for s in range(self.cell.stages):
                stage = &self.cell.stage[s]
                for i in range(stage.count):
                    bias[stage.first + i, :self.H] += self.bias_hh.reshape(-1, self.H)[stage.gates[i]]
        self.bias = bias.reshape(-1)

    cdef _pack_input(self):
        cdef int slot
        if self.input is None:
            self.input = empty((self.cell.gates * self.Hp * self.inputs,))
        for slot in range(self.cell.gates):
            # input[slot] = weight_ih[gate].T
            kernels.pack(self.inputs, self.H, &self.weight_ih[self.cell.input_gates[slot] * self.H, 0], 1, self.inputs,
                         &self.input[slot * self.Hp * self.inputs], self.inputs * FR_GROUP)

    cdef _pack_recurrent(self):
        if self.recurrent is None:
            self.recurrent = empty((self.cell.gates * self.Hp * self.H,))
        cdef Py_ssize_t at = 0
        cdef int s, i
        for s in range(self.cell.stages):
            for i in range(self.cell.stage[s].count):
                # recurrent[stage][slot] = weight_hh[gate].T
                kernels.pack(self.H, self.H, &self.weight_hh[self.cell.stage[s].gates[i] * self.H, 0], 1, self.H,
                             &self.recurrent[at], self.H * FR_GROUP)
                at += self.Hp * self.H

    cdef _pack_recurrent_transposed(self):
        cdef Py_ssize_t at = 0
        cdef const fr_stage *stage
        cdef int s, i
        if self.recurrent_transposed is None:
            self.recurrent_transposed = empty((self.cell.gates * self.Hp * self.Hp,))
            self.recurrent_transposed[:] = 0
        for s in range(self.cell.stages):
            stage = &self.cell.stage[s]
            for i in range(stage.count):
                # Rows slot*Hp + unit of a stage's panels = weight_hh[gate]; the padding's rows stay 0.
                kernels.pack(self.H, self.H, &self.weight_hh[stage.gates[i] * self.H, 0], self.H, 1,
                             &self.recurrent_transposed[at + i * self.Hp * FR_GROUP], stage.count * self.Hp * FR_GROUP)
            at += stage.count * self.Hp * self.Hp

    cdef _pack_input_transposed(self):
        cdef Py_ssize_t K = self.cell.gates * self.Hp
        cdef int slot
        if self.input_transposed is None:
            self.input_transposed = empty((K * padded(self.inputs),))
            self.input_transposed[:] = 0
        for slot in range(self.cell.gates):
            kernels.pack(self.H, self.inputs, &self.weight_ih[self.cell.input_gates[slot] * self.H, 0], self.inputs, 1,
                         &self.input_transposed[slot * self.Hp * FR_GROUP], K * FR_GROUP)

    cdef _pack_table(self):
        """table[v] = bias + W onehot(v), a ready row of the gate buffer for every index."""
        if self.table is None:
            self.table = empty((self.inputs, self.columns))
        table = np.asarray(self.table)
        table[:] = self.bias
        weight = np.asarray(self.weight_ih).reshape(self.cell.gates, self.H, self.inputs)
        for slot in range(self.cell.gates):
            table[:, slot * self.Hp:slot * self.Hp + self.H] += weight[self.cell.input_gates[slot]].T


cdef Py_ssize_t time_block(Panels w, Py_ssize_t T, Py_ssize_t rows) noexcept nogil:
    """Time steps to project at once."""
    return min(T, max(<Py_ssize_t> 1, PROJECTED_FLOATS // (w.row * rows)))


cdef Py_ssize_t gate_steps(Panels w, Py_ssize_t T, Py_ssize_t B) noexcept:
    """Steps of gate buffer that inference needs: one block's."""
    return time_block(w, T, B)


# ---------------------------------------------------------------------------------------------------- forward


cdef void project(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                  Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t last,
                  Py_ssize_t offset) noexcept nogil:
    """gates[t - offset, b] = bias + x[t, b] @ weight_ih.T  for start <= t < stop, first <= b < last"""
    cdef Py_ssize_t block, t, b, rows = last - first, inputs = w.cell.gates * w.Hp, steps = 1
    if indices.shape[0]:
        for t in range(start, stop):
            for b in range(first, last):
                memcpy(&gates[t - offset, b, 0], &w.table[indices[t, b], 0], w.columns * sizeof(float))
        return
    if rows == gates.shape[1]:  # whole batches lie one behind the other: one product for the block
        steps, rows = stop - start, rows * (stop - start)
    for block in range((stop - start) // steps):
        t = start + block * steps
        kernels.gemm(rows, inputs // FR_GROUP, w.inputs, &x[t, first, 0], w.inputs, 1, &w.input[0], w.inputs * FR_GROUP,
                     &w.bias[0], 0, &gates[t - offset, first, 0], w.row, FR_GROUP, FR_GROUP)
    if inputs < w.columns:  # slots that only R h is added to
        for t in range(start, stop):
            for b in range(first, last):
                memcpy(&gates[t - offset, b, inputs], &w.bias[inputs], (w.columns - inputs) * sizeof(float))


cdef Py_ssize_t block_groups(Panels w, const fr_stage *stage, Py_ssize_t rows) noexcept nogil:
    """Groups of units to take from product to equations at once.

    More than three rows: one, whose gates are then still in L1; a lone slot takes four, to fill the registers. Fewer
    rows live off the speed at which panels are read: as many as SWEEP_FLOATS of panels hold.
    """
    if rows < 4:
        return max(<Py_ssize_t> 4, SWEEP_FLOATS // (stage.count * w.H * FR_GROUP) // 4 * 4)
    return 1 if stage.count > 1 else 4


cdef void step(Panels w, Py_ssize_t t, float *gates, const float *h, float *h_next, const float *c, float *c_next,
               float *aux, Py_ssize_t rows) noexcept nogil:
    """h_next, c_next = cell(gates + h @ weight_hh.T, h, c) for `rows` rows that lie one behind the other

    gates IN projections OUT activations (rows, row), h c h_next c_next aux (rows, H)
    """
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, panel = w.H * FR_GROUP, at = 0, block, blocks, group, most, width, s, i
    cdef const fr_stage *stage
    cdef const float *operand
    cdef float *target
    cdef fr_forward_block units
    units.rows, units.gates_row, units.slot, units.state_row = rows, w.row, w.Hp, w.H
    for s in range(w.cell.stages):
        stage = &w.cell.stage[s]
        if stage.from_aux:
            operand = aux
        else:
            operand = h
        most = block_groups(w, stage, rows)
        blocks = (groups + most - 1) // most
        for block in range(blocks):
            # Back and forth over the panels on even and odd steps: what the last step read last is still in the cache.
            group = (blocks - 1 - block if t & 1 else block) * most
            width = min(most, groups - group)
            target = gates + stage.first * w.Hp + group * FR_GROUP
            if width < 4 and stage.count > 1:  # too few groups for the registers: the slots of each one side by side
                for i in range(width):
                    kernels.gemm(rows, stage.count, w.H, operand, w.H, 1, &w.recurrent[at + (group + i) * panel],
                                 groups * panel, target + i * FR_GROUP, w.row, target + i * FR_GROUP, w.row,
                                 w.Hp, FR_GROUP)
            else:
                for i in range(stage.count):
                    kernels.gemm(rows, width, w.H, operand, w.H, 1, &w.recurrent[at + (i * groups + group) * panel],
                                 panel, target + i * w.Hp, w.row, target + i * w.Hp, w.row, FR_GROUP, FR_GROUP)
            units.units = min(width * FR_GROUP, w.H - group * FR_GROUP)
            units.gates = gates + group * FR_GROUP
            units.h = h + group * FR_GROUP
            units.h_next = h_next + group * FR_GROUP
            units.c = c + group * FR_GROUP if c != NULL else NULL
            units.c_next = c_next + group * FR_GROUP if c != NULL else NULL
            units.aux = aux + group * FR_GROUP if aux != NULL else NULL
            stage.forward(&units)
        at += stage.count * groups * panel


cdef void forward_rows(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                       float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux,
                       Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """All of time for rows first..last."""
    cdef Py_ssize_t T = h.shape[0] - 1, block, start, stop, t, offset = 0
    cdef Py_ssize_t c_slots = c.shape[0] > 1, aux_slots = aux.shape[0] > 1
    cdef Py_ssize_t span = min(gates.shape[0], time_block(w, T, last - first))
    cdef unsigned before = fr_flush_begin()
    for block in range((T + span - 1) // span):
        start = block * span
        stop = min(start + span, T)
        if gates.shape[0] < T:
            offset = start
        project(w, x, indices, gates, start, stop, first, last, offset)
        for t in range(start, stop):
            step(w, t, &gates[t - offset, first, 0], &h[t, first, 0], &h[t + 1, first, 0],
                 &c[t * c_slots, first, 0] if c.shape[0] else NULL,
                 &c[(t + 1) * c_slots, first, 0] if c.shape[0] else NULL,
                 &aux[t * aux_slots, first, 0] if aux.shape[0] else NULL, last - first)
    fr_flush_end(before)


cdef void forward_layer(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                        float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, int num_threads) noexcept nogil:
    """One layer over T steps.

    x IN (T, B, I), or indices IN (T, B) in 0..I-1; the other one empty
    gates OUT (T, B, row), or fewer steps when nothing is taped
    h IN slot 0, OUT slots 1..T (T+1, B, H);  c the same, or (1, B, H) updated in place, or empty
    aux OUT (T or 1, B, H) or empty
    """
    cdef Py_ssize_t T = h.shape[0] - 1, B = h.shape[1], part
    cdef double work = <double> T * B * w.row * (w.H + (0 if indices.shape[0] else w.inputs))
    cdef int parts = team(num_threads, B // 4, work)
    if parts == 1:
        forward_rows(w, x, indices, gates, h, c, aux, 0, B)
        return
    for part in prange(parts, num_threads=parts, schedule="static"):
        forward_rows(w, x, indices, gates, h, c, aux, B * part // parts, B * (part + 1) // parts)


def forward(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
            float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, int num_threads):
    """`forward_layer` for Python, which holds no lock meanwhile."""
    with nogil:
        forward_layer(w, x, indices, gates, h, c, aux, num_threads)


# --------------------------------------------------------------------------------------------------- backward


cdef void step_backward(Panels w, float *gates, const float *h, const float *c, const float *c_next, const float *dy,
                        float *dh, float *dc, float *daux, Py_ssize_t rows) noexcept nogil:
    """da, dh, dc of one step for `rows` rows; gates IN activations OUT da (rows, row)"""
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, at = w.cell.gates * w.Hp * w.Hp, K, s
    cdef const fr_stage *stage
    cdef fr_backward_block block
    cdef float *target
    block.rows, block.units, block.gates_row, block.slot, block.state_row = rows, w.H, w.row, w.Hp, w.H
    block.gates, block.h, block.c, block.c_next, block.dy_row = gates, h, c, c_next, w.H
    block.dh, block.dc, block.daux, block.carry_row = dh, dc, daux, w.Hp
    for s in range(w.cell.stages - 1, -1, -1):
        stage = &w.cell.stage[s]
        block.dy = dy if s == w.cell.stages - 1 else NULL  # it joins dh once
        stage.backward(&block)
        # dh (or daux) += da[stage] @ weight_hh[stage]
        target = daux if stage.from_aux else dh
        K = stage.count * w.Hp
        at -= K * w.Hp
        kernels.gemm(rows, groups, K, gates + stage.first * w.Hp, w.row, 1, &w.recurrent_transposed[at], K * FR_GROUP,
                     target, w.Hp, target, w.Hp, FR_GROUP, FR_GROUP)


cdef void backward_rows(Panels w, float[:, :, ::1] gates, const float[:, :, ::1] h, const float[:, :, ::1] c,
                        const float[:, :, ::1] dy, float[:, ::1] dh, float[:, ::1] dc, float[:, ::1] daux,
                        float[:, :, ::1] dx, Py_ssize_t start, Py_ssize_t stop,
                        Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Steps stop-1 .. start for rows first..last."""
    cdef Py_ssize_t block, t, rows = last - first, steps = 1, K = w.cell.gates * w.Hp
    cdef unsigned before = fr_flush_begin()
    for t in range(stop - 1, start - 1, -1):
        step_backward(w, &gates[t, first, 0], &h[t, first, 0],
                      &c[t, first, 0] if c.shape[0] else NULL, &c[t + 1, first, 0] if c.shape[0] else NULL,
                      &dy[t, first, 0] if dy.shape[0] else NULL, &dh[first, 0],
                      &dc[first, 0] if c.shape[0] else NULL, &daux[first, 0] if daux.shape[0] else NULL, rows)
    if dx.shape[0]:
        if rows == gates.shape[1]:
            steps, rows = stop - start, rows * (stop - start)
        for block in range((stop - start) // steps):
            t = start + block * steps
            # dx = da[input slots] @ weight_ih
            kernels.gemm(rows, padded(w.inputs) // FR_GROUP, K, &gates[t, first, 0], w.row, 1,
                         &w.input_transposed[0], K * FR_GROUP, NULL, 0, &dx[t, first, 0], w.inputs, FR_GROUP,
                         w.inputs - padded(w.inputs) + FR_GROUP)
    fr_flush_end(before)


cdef void gradients(Panels w, float[:, :, ::1] da, const float[:, :, ::1] x, const float[:, :, ::1] h,
                    const float[:, :, ::1] aux, float[:, ::1] dweight_ih, float[:, ::1] dweight_hh,
                    float *dbias_ih, float *dbias_hh, Py_ssize_t start, Py_ssize_t stop,
                    float *scratch, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """dweight_ih += da.T @ x and dweight_hh += da.T @ h[:-1] over the rows of steps start..stop, this part's units."""
    cdef WeightGradient products[1 + FR_MAX_STAGES]
    cdef WeightGradient *product = products
    cdef const fr_stage *stage
    cdef int slot, s
    cdef unsigned before = fr_flush_begin()
    if x.shape[0]:
        product.operand, product.N = &x[start, 0, 0], w.inputs
        product.dweight, product.dbias = &dweight_ih[0, 0], dbias_ih
        for slot in range(w.cell.slots):
            product.gates[slot] = w.cell.input_gates[slot] if slot < w.cell.gates else -1
        product += 1
    for s in range(w.cell.stages):
        stage = &w.cell.stage[s]
        product.operand = &aux[start, 0, 0] if stage.from_aux else &h[start, 0, 0]
        product.N, product.dweight, product.dbias = w.H, &dweight_hh[0, 0], dbias_hh
        for slot in range(w.cell.slots):
            product.gates[slot] = stage.gates[slot - stage.first] if 0 <= slot - stage.first < stage.count else -1
        product += 1
    weight_gradients(w.H, w.cell.slots, w.Hp, (stop - start) * da.shape[1], &da[start, 0, 0], w.row,
                     products, product - products, scratch, part, parts)
    fr_flush_end(before)


cdef void index_gradient(Panels w, float[:, :, ::1] da, const int64_t[:, ::1] indices, float[:, ::1] sums,
                         Py_ssize_t start, Py_ssize_t stop,
                         Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """sums[indices[t, b]] += da[t, b] over steps start..stop and the input slots, this part's columns"""
    cdef Py_ssize_t groups = w.cell.gates * w.Hp // FR_GROUP, t, b
    cdef Py_ssize_t begin = groups * part // parts * FR_GROUP, end = groups * (part + 1) // parts * FR_GROUP
    for t in range(start, stop):
        for b in range(da.shape[1]):
            kernels.add(end - begin, &da[t, b, begin], &sums[indices[t, b], begin])


cdef Py_ssize_t gradient_steps(Panels w, Py_ssize_t B) noexcept:
    """Time steps between two turns to the weight gradients, whatever the number of threads: sums depend on it."""
    cdef Py_ssize_t rows = max(<Py_ssize_t> 1, GRADIENT_FLOATS // w.row // GRADIENT_ROWS) * GRADIENT_ROWS
    return max(<Py_ssize_t> 1, rows // B)


def backward(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
             const float[:, :, ::1] h, const float[:, :, ::1] c, const float[:, :, ::1] aux, const float[:, :, ::1] dy,
             float[:, ::1] dh, float[:, ::1] dc, float[:, :, ::1] dx, float[:, ::1] dweight_ih,
             float[:, ::1] dweight_hh, float[::1] dbias_ih, float[::1] dbias_hh, int num_threads):
    """Backpropagation through time over one layer's T steps; uses up `gates`.

    x or indices, h, c, aux IN as `forward` left them; gates IN activations OUT da
    dy IN (T, B, H) or empty;  dh, dc IN gradient of the final state OUT of the initial one (B, Hp), padding 0
    dx OUT (T, B, I) or empty;  dweight and dbias IN and OUT: added to; biases empty when there are none
    """
    cdef Py_ssize_t T = gates.shape[0], B = gates.shape[1], steps = min(T, gradient_steps(w, B))
    cdef Py_ssize_t block, start, stop, part
    cdef Py_ssize_t inputs = 0 if indices.shape[0] else w.inputs
    cdef double work = <double> steps * B * w.row
    cdef int row_parts = team(num_threads, B // 4, work * (w.H + (w.inputs if dx.shape[0] else 0)))
    # At least as many as before: OpenMP ends the threads that a smaller team leaves over, and starts them again.
    cdef int unit_parts = max(row_parts, team(num_threads, w.columns // FR_GROUP, work * (w.H + inputs)))
    cdef float *bias_ih = &dbias_ih[0] if dbias_ih.shape[0] else NULL
    cdef float *bias_hh = &dbias_hh[0] if dbias_hh.shape[0] else NULL
    cdef float[:, ::1] daux = np.zeros((B if w.cell.aux else 0, w.Hp), dtype=np.float32)
    cdef float[:, ::1] sums = np.zeros((w.inputs if indices.shape[0] else 0, w.cell.gates * w.Hp), dtype=np.float32)
    cdef float[:, ::1] scratch = empty((unit_parts, gradient_scratch(padded(inputs) + w.cell.stages * w.Hp)))
    for block in range((T + steps - 1) // steps):
        stop = T - block * steps
        start = max(<Py_ssize_t> 0, stop - steps)
        for part in prange(row_parts, num_threads=row_parts, schedule="static", nogil=True):
            backward_rows(w, gates, h, c, dy, dh, dc, daux, dx, start, stop,
                          B * part // row_parts, B * (part + 1) // row_parts)
        for part in prange(unit_parts, num_threads=unit_parts, schedule="static", nogil=True):
            gradients(w, gates, x, h, aux, dweight_ih, dweight_hh, bias_ih, bias_hh, start, stop,
                      &scratch[part, 0], part, unit_parts)
            if indices.shape[0]:
                index_gradient(w, gates, indices, sums, start, stop, part, unit_parts)
    if indices.shape[0]:
        add_index_gradient(w, np.asarray(sums), np.asarray(dweight_ih), np.asarray(dbias_ih))


cdef add_index_gradient(Panels w, sums, dweight, dbias):
    """dweight_ih += sums.T in the public order of gates"""
    for slot in range(w.cell.gates):
        gate = w.cell.input_gates[slot]
        units = sums[:, slot * w.Hp:slot * w.Hp + w.H]
        dweight[gate * w.H:(gate + 1) * w.H] += units.T
        if dbias.size:
            dbias[gate * w.H:(gate + 1) * w.H] += units.sum(axis=0)
