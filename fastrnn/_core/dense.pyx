"""Products outside the time loop: the linear layer, weight gradients, the loss and dropout.

Design
a) Threads split what is written, never what is summed: rows of an output, or 16-unit groups of a weight gradient. So
   every element has one owner and one order of summation, and no bit depends on the number of threads.
b) A weight gradient is one product with K = T*B, cut into blocks of at most GRADIENT_ROWS rows that stay in L2 as
   panels. Each thread packs its own panels: with 64 units a thread the copy is 2 % of the arithmetic and saves a
   barrier a block (CL-42). Products over the same da (of W with x, of R with h) share its columns, transposed once.
c) Long work is cut into pieces, each a parallel region of its own, and signals are looked at between them. Any cut of
   an output changes no bit; the blocks of a weight gradient's rows stay what they are.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint64_t

import threading

import numpy as np

from fastrnn._core.kernels cimport FR_COLUMNS, FR_GROUP, fr_flush_begin, fr_flush_end, fr_matrix, fr_product, kernels

from fastrnn._core.team cimport check_signals, fr_team, granted_threads, part_begin, team_start, worthwhile_threads

from fastrnn._core.memory import empty
from fastrnn._core.team import renew_in_children

cdef enum:
    COLUMN = GRADIENT_ROWS + FR_GROUP  # one column of da after the other, on different sets of the caches


cdef Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    """n rounded up to whole column groups."""
    return (n + FR_GROUP - 1) // FR_GROUP * FR_GROUP


cdef Py_ssize_t panel_floats(Py_ssize_t K) noexcept nogil:
    """Floats from one column group of packed weights to the next: one line more than K, because groups 4 KiB apart
    would share one set of L1, and a product of one row reads eight of them side by side (CL-31)."""
    return (K + 1) * FR_GROUP


cdef Py_ssize_t packed_floats(Py_ssize_t K, Py_ssize_t N) noexcept nogil:
    """Floats of the packed weights of N columns."""
    return padded(N) // FR_GROUP * panel_floats(K)


cdef Py_ssize_t gradient_scratch(Py_ssize_t N) noexcept nogil:
    """Floats that one thread of weight_gradients needs for operands of N columns in all, each padded."""
    return GRADIENT_ROWS * N + FR_COLUMNS * COLUMN


cdef fitting(str who, bint fits):
    """The last look before C: whoever came here with arrays of other sizes would read or write outside them."""
    if not fits:
        raise ValueError(f"{who}: the arrays' sizes do not fit each other; expected plain numpy arrays as documented")


cdef double work_between_looks() noexcept nogil:
    """Multiply-adds of one thread between two looks at signals: a tenth of a second of a very slow processor, some
    10 ms of others. Calls with less do not look at all."""
    return 6e7 * kernels.vector


cdef Pieces pieces_of(Py_ssize_t rows, double row_work, int parts) noexcept nogil:
    cdef Pieces pieces
    cdef double least = work_between_looks() * parts, most = LONGEST_PIECE * least, block_work
    pieces.blocks = (rows + GRADIENT_ROWS - 1) // GRADIENT_ROWS
    pieces.each, pieces.turns = pieces.blocks, 1
    if rows * row_work > least:
        block_work = rows * row_work / pieces.blocks
        # A block for every thread, else they would read the panels for a few rows each.
        pieces.each = <Py_ssize_t> max(1, max(least / block_work, min(<double> parts, most / block_work)))
        pieces.each = min(pieces.each, pieces.blocks)
        pieces.turns = <Py_ssize_t> max(1, min(1e6, pieces.each * block_work / most + 0.999))
    return pieces


cdef void weight_gradients(
    Py_ssize_t units, int slots, Py_ssize_t slot_columns, Py_ssize_t K, const float *da, Py_ssize_t da_row,
    const WeightGradient *products, int count, Py_ssize_t first, Py_ssize_t last, Py_ssize_t turn, Py_ssize_t turns,
    float *scratch, const fr_team *crew, int part, int parts,
) noexcept nogil:
    """dweight[gate * units + u] += da[:, slot, u].T @ operand and dbias[gate * units + u] += da[:, slot, u].sum()

    for every product and every slot whose gate it names, over the rows of blocks first..last, this part's share of the
    columns of da that it is the turn of.
    da (K, slots at stride slot_columns, units); each product an operand (K, N), dweight (G * units, N)
    """
    cdef Py_ssize_t per_slot = padded(units) // FR_GROUP
    cdef Py_ssize_t lowest = per_slot * slots * turn // turns
    cdef Py_ssize_t groups = per_slot * slots * (turn + 1) // turns - lowest
    cdef Py_ssize_t begin = lowest + part_begin(crew, groups, part, parts, 0, 1)
    cdef Py_ssize_t end = lowest + part_begin(crew, groups, part + 1, parts, 0, 1)
    cdef Py_ssize_t blocks = (K + GRADIENT_ROWS - 1) // GRADIENT_ROWS, block, k, depth, group, slot, unit, width
    cdef Py_ssize_t pieces, columns, row, m, N
    cdef int p
    cdef float *column = scratch
    cdef float *panels
    cdef float *target
    cdef fr_product product
    cdef fr_matrix matrix
    cdef float sums[FR_COLUMNS]
    if begin == end:
        return
    for block in range(first, last):
        k = K * block // blocks
        depth = K * (block + 1) // blocks - k
        panels = scratch + FR_COLUMNS * COLUMN
        for p in range(count):
            matrix = fr_matrix(at=panels, K=depth, groups=padded(products[p].N) // FR_GROUP,
                               line=FR_GROUP * sizeof(float), panel=depth * FR_GROUP * sizeof(float))
            kernels.pack(&matrix, 0, 0, depth, products[p].N, products[p].operand + k * products[p].N, products[p].N, 1)
            panels += depth * padded(products[p].N)
        group = begin
        while group < end:  # pieces of nearly equal width within one slot and this part, of up to FR_COLUMNS columns
            slot, unit = group // per_slot, group % per_slot * FR_GROUP
            width = min(per_slot - group % per_slot, end - group)
            pieces = (width * FR_GROUP + FR_COLUMNS - 1) // FR_COLUMNS
            width = (width + pieces - 1) // pieces
            columns = min(units - unit, width * FR_GROUP)
            group += width
            for m in range(FR_COLUMNS):
                sums[m] = 0
            kernels.transpose(depth, columns, da + k * da_row + slot * slot_columns + unit, da_row,
                              column, COLUMN, sums)
            panels = scratch + FR_COLUMNS * COLUMN
            for p in range(count):
                N = products[p].N
                if products[p].gates[slot] >= 0:
                    row = products[p].gates[slot] * units + unit
                    # dweight[row:row + columns] += column.T @ operand[k:k + depth]
                    target = products[p].dweight + row * N
                    product = fr_product(
                        M=columns, groups=padded(N) // FR_GROUP, K=depth, a=column, a_row=COLUMN,
                        w=panels, w_panel=depth * FR_GROUP * sizeof(float), far=False, init=target, init_row=N, c=target, c_row=N,
                        c_group=FR_GROUP, edge=N - padded(N) + FR_GROUP,
                    )
                    kernels.gemm(&product)
                    for m in range(columns if products[p].dbias != NULL else 0):
                        products[p].dbias[row + m] += sums[m]
                panels += depth * padded(N)


cdef class Version:
    """Of a layer's weights: a number that changes before they do and after it.

    What is made of the weights carries the number read before; it is true to them while the number is the same.
    """

    def advance(self):
        self.number += 1


cdef class LinearPanels:
    """The weights of a linear layer, packed for y = x W^T + b and for dx = dy W; see `Panels`."""

    cdef readonly Py_ssize_t inputs, outputs
    cdef const float[:, ::1] weight
    cdef readonly Version version
    cdef readonly object lock
    cdef float[::1] bias, forward, transposed
    cdef long long forward_version, transposed_version
    cdef object source_bias, __weakref__

    def __init__(self, Version version not None, weight, bias):
        self.version = version
        self.weight = weight
        self.source_bias = bias
        self.outputs, self.inputs = weight.shape
        self.bias = np.zeros(padded(self.outputs), dtype=np.float32)
        self.forward = self.transposed = None
        self.forward_version = self.transposed_version = -1
        self._renew_lock()
        renew_in_children(self)

    def _renew_lock(self):
        """A new lock, held by nobody."""
        self.lock = threading.Lock()

    def refresh(self):
        """Pack what a forward call reads, if the weights have changed."""
        cdef long long now
        cdef fr_matrix matrix
        with self.lock:
            now = self.version.number
            if self.forward_version == now:
                return
            if self.forward is None:
                self.forward = empty((packed_floats(self.inputs, self.outputs),))
            if self.source_bias is not None:
                np.asarray(self.bias)[:self.outputs] = self.source_bias
            matrix = kernels.layout(self.inputs, self.outputs)
            matrix.at = &self.forward[0]
            kernels.pack(&matrix, 0, 0, self.inputs, self.outputs, &self.weight[0, 0], 1, self.inputs)
            self.forward_version = now

    def refresh_transposed(self):
        """Pack what a backward call reads, if the weights have changed. For one thread at a time."""
        cdef long long now
        cdef fr_matrix matrix
        with self.lock:
            now = self.version.number
            if self.transposed_version == now:
                return
            if self.transposed is None:
                self.transposed = empty((packed_floats(self.outputs, self.inputs),))
            matrix = kernels.layout(self.outputs, self.inputs)
            matrix.at = &self.transposed[0]
            kernels.pack(&matrix, 0, 0, self.outputs, self.inputs, &self.weight[0, 0], self.inputs, 1)
            self.transposed_version = now


cdef void product_rows(Py_ssize_t rows, Py_ssize_t K, const float *x, Py_ssize_t x_row, const float *w,
                       const float *init, Py_ssize_t N, float *y, Py_ssize_t turn, Py_ssize_t turns,
                       const fr_team *crew, int part, int parts) noexcept nogil:
    """y (rows, N) = init + x (rows, K at stride x_row) @ packed w, this part of the rows, this turn's columns"""
    cdef Py_ssize_t all_groups = padded(N) // FR_GROUP
    cdef Py_ssize_t begin = all_groups * turn // turns, end = all_groups * (turn + 1) // turns
    cdef Py_ssize_t first = part_begin(crew, rows, part, parts, 0, 1)
    cdef Py_ssize_t last = part_begin(crew, rows, part + 1, parts, 0, 1)
    cdef unsigned before = fr_flush_begin()
    cdef fr_product product
    if init != NULL:
        init += begin * FR_GROUP
    if first < last and begin < end:
        product = fr_product(
            M=last - first, groups=end - begin, K=K, a=x + first * x_row, a_row=x_row, w=w + begin * panel_floats(K),
            w_panel=panel_floats(K) * sizeof(float), far=packed_floats(K, N) > L2_FLOATS,
            init=init, init_row=0, c=y + first * N + begin * FR_GROUP,
            c_row=N, c_group=FR_GROUP, edge=FR_GROUP if end < all_groups else N - padded(N) + FR_GROUP,
        )
        kernels.gemm(&product)
    fr_flush_end(before)


def linear_forward(LinearPanels w, const float[:, ::1] x, float[:, ::1] y, int num_threads):
    """y = x @ weight.T + bias;  x IN (rows, inputs), y OUT (rows, outputs)"""
    cdef Py_ssize_t rows = x.shape[0], block = 0, until, first, last, turn
    cdef int part, parts = granted_threads(
        worthwhile_threads(num_threads, rows // 4, <double> rows * w.inputs * w.outputs)
    )
    cdef Pieces pieces = pieces_of(rows, <double> w.inputs * w.outputs, parts)
    cdef fr_team crew
    fitting("Linear", w.forward is not None and x.shape[1] == w.inputs
            and y.shape[0] == rows and y.shape[1] == w.outputs)
    team_start(&crew, parts)
    while block < pieces.blocks:
        until = min(block + pieces.each, pieces.blocks)
        first, last = rows * block // pieces.blocks, rows * until // pieces.blocks
        for turn in range(pieces.turns):
            if block or turn:
                check_signals()
            for part in prange(parts, num_threads=parts, schedule="static", nogil=True):
                product_rows(last - first, w.inputs, &x[first, 0], w.inputs, &w.forward[0], &w.bias[0], w.outputs,
                             &y[first, 0], turn, pieces.turns, &crew, part, parts)
        block = until


def linear_backward(LinearPanels w, const float[:, ::1] x, const float[:, ::1] dy, float[:, ::1] dx,
                    float[:, ::1] dweight, float[::1] dbias, int num_threads):
    """dx = dy @ weight, dweight += dy.T @ x, dbias += dy.sum(0)

    x IN (rows, inputs), dy IN (rows, outputs), dx OUT (rows, inputs), dweight IN and OUT, dbias IN and OUT or empty,
    both as before where a signal's handler raises
    """
    cdef Py_ssize_t rows = x.shape[0], need = gradient_scratch(padded(w.inputs))
    cdef double work = <double> rows * w.inputs * w.outputs
    cdef int parts = granted_threads(worthwhile_threads(num_threads, padded(w.outputs) // FR_GROUP, work))
    cdef float[:, ::1] scratch = empty((parts, need))
    cdef bint may_end = 2 * work > work_between_looks()
    fitting("Linear.backward", w.transposed is not None and x.shape[1] == w.inputs
            and dx.shape[0] == dy.shape[0] == rows and dx.shape[1] == dweight.shape[1] == w.inputs
            and dy.shape[1] == dweight.shape[0] == w.outputs and dbias.shape[0] in (0, w.outputs))
    before = [(array, array.copy()) for array in map(np.asarray, (dweight, dbias))] if may_end else []
    try:
        linear_backward_pieces(w, x, dy, dx, dweight, dbias, scratch, parts)
        if may_end:
            check_signals()
    except BaseException:
        for array, values in before:
            array[...] = values
        raise


cdef linear_backward_pieces(LinearPanels w, const float[:, ::1] x, const float[:, ::1] dy, float[:, ::1] dx,
                            float[:, ::1] dweight, float[::1] dbias, float[:, ::1] scratch, int parts):
    cdef Py_ssize_t rows = x.shape[0], block = 0, until, first, last, turn
    cdef Pieces pieces = pieces_of(rows, 2.0 * w.inputs * w.outputs, parts)
    cdef float *bias = &dbias[0] if dbias.shape[0] else NULL
    cdef int part
    cdef fr_team crew
    team_start(&crew, parts)
    while block < pieces.blocks:
        until = min(block + pieces.each, pieces.blocks)
        first, last = rows * block // pieces.blocks, rows * until // pieces.blocks
        for turn in range(pieces.turns):
            if block or turn:
                check_signals()
            for part in prange(parts, num_threads=parts, schedule="static", nogil=True):
                product_rows(last - first, w.outputs, &dy[first, 0], w.outputs, &w.transposed[0], NULL, w.inputs,
                             &dx[first, 0], turn, pieces.turns, &crew, part, parts)
                linear_gradient(x, dy, dweight, bias, block, until, turn, pieces.turns, &scratch[part, 0], &crew,
                                part, parts)
        block = until


cdef void linear_gradient(const float[:, ::1] x, const float[:, ::1] dy, float[:, ::1] dweight, float *dbias,
                          Py_ssize_t first, Py_ssize_t last, Py_ssize_t turn, Py_ssize_t turns,
                          float *scratch, const fr_team *crew, int part, int parts) noexcept nogil:
    cdef WeightGradient product
    cdef unsigned before = fr_flush_begin()
    product.operand, product.N, product.dweight, product.dbias = &x[0, 0], x.shape[1], &dweight[0, 0], dbias
    product.gates[0] = 0
    weight_gradients(dy.shape[1], 1, 0, x.shape[0], &dy[0, 0], dy.shape[1], &product, 1, first, last, turn, turns,
                     scratch, crew, part, parts)
    fr_flush_end(before)


cdef Py_ssize_t piece(double each, int parts) noexcept nogil:
    """How many things of so much work each lie between two looks at signals."""
    return <Py_ssize_t> max(1, min(<double> (1 << 60), work_between_looks() * parts / each))


cdef void loss_rows(const float[:, ::1] logits, const int64_t[::1] targets, float scale, float[:, ::1] dlogits,
                    float[::1] losses, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t row
    cdef unsigned before = fr_flush_begin()
    for row in range(first, last):
        losses[row] = kernels.cross_entropy(logits.shape[1], &logits[row, 0], targets[row], scale, &dlogits[row, 0])
    fr_flush_end(before)


def cross_entropy(const float[:, ::1] logits, const int64_t[::1] targets, float scale, float[:, ::1] dlogits,
                  float[::1] losses, int num_threads):
    """losses = -log softmax(logits)[targets], dlogits = scale * (softmax(logits) - onehot(targets)), row by row

    logits IN (rows, V), targets IN (rows,) all in 0..V-1, dlogits OUT (rows, V), losses OUT (rows,) in nats
    """
    cdef Py_ssize_t rows = logits.shape[0], part, first = 0, count
    cdef double each = 20.0 * logits.shape[1]
    cdef int parts = granted_threads(worthwhile_threads(num_threads, rows, rows * each))
    cdef Py_ssize_t most = piece(each, parts)
    fitting("softmax_cross_entropy", targets.shape[0] == losses.shape[0] == dlogits.shape[0] == rows
            and dlogits.shape[1] == logits.shape[1])
    while first < rows:
        if first:
            check_signals()
        count = min(most, rows - first)
        for part in prange(parts, num_threads=parts, schedule="static", nogil=True):
            loss_rows(logits, targets, scale, dlogits, losses,
                      first + count * part // parts, first + count * (part + 1) // parts)
        first += count


cdef void dropout_share(const float[::1] source, float[::1] target, float p, uint64_t key, Py_ssize_t first,
                        Py_ssize_t last) noexcept nogil:
    cdef unsigned before = fr_flush_begin()
    kernels.dropout(last - first, key, first, p, &source[first], &target[first])
    fr_flush_end(before)


def dropout(const float[::1] source, float[::1] target, float p, uint64_t key, int num_threads):
    """target = source with the elements dropped that (key, index) selects at probability p, the rest times 1/(1-p).

    source IN, target OUT, may be the same array. The same call on a gradient is dropout's backward.
    """
    cdef Py_ssize_t n = source.shape[0], part, first = 0, count
    cdef int parts = granted_threads(worthwhile_threads(num_threads, n, 4.0 * n))
    cdef Py_ssize_t most = piece(4.0, parts)
    fitting("dropout", target.shape[0] == n)
    while first < n:
        if first:
            check_signals()
        count = min(most, n - first)
        for part in prange(parts, num_threads=parts, schedule="static", nogil=True):
            dropout_share(source, target, p, key,
                          first + count * part // parts, first + count * (part + 1) // parts)
        first += count
