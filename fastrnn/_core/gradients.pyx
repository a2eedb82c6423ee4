"""What is summed over time after the loop: the gradients of weights and biases, and dx.

Design
a) Threads split what is written, never what is summed: rows of an output, or groups of 16 units of a weight gradient.
   So every element has one owner and one order of summation, and no bit depends on the number of threads.
b) A weight gradient is one product with K = all rows of the window, cut into blocks of at most GRADIENT_ROWS rows that
   stay in L2 as panels. Each thread packs its own panels: with 64 units a thread the copy is 2 % of the arithmetic and
   saves a barrier a block (CL-42). Products over the same da (of W with x, of R with h) share its columns, which are
   transposed once.
c) The windows of time after which the sums are made are the same for any number of threads: sums depend on them.
d) Long work is cut into pieces, each a parallel region of its own, and signals are looked at between them. Any cut of
   an output changes no bit; the blocks of a weight gradient's rows stay what they are.
"""

cimport numpy as cnp

from fastrnn._core.kernels cimport FR_COLUMNS, FR_GROUP, fr_matrix, fr_panel, fr_product
from fastrnn._core.walk cimport Walk, row_before
from fastrnn._core.plan cimport GRADIENT_ROWS, Batch, Pieces, gradient_rows, l2_bytes, offset_at, pieces_of
from fastrnn._core.team cimport check_signals, fr_team, part_begin, run_parallel
from fastrnn._core.weights cimport FROM_AUX, TO_GATES, Layer, Stage, padded

cnp.import_array()

cdef enum:
    COLUMN = GRADIENT_ROWS + FR_GROUP  # one column of da after the other, on different sets of the caches


cdef Py_ssize_t scratch_numbers(Py_ssize_t N) noexcept nogil:
    """Numbers that one thread of add_weight_gradients needs for operands of N columns in all, each padded."""
    return GRADIENT_ROWS * N + FR_COLUMNS * COLUMN


cdef Py_ssize_t layer_scratch_numbers(const Layer *w, bint indices) noexcept nogil:
    """The same for all operands of a layer: x, unless it is of indices, and what each stage multiplies."""
    return scratch_numbers((0 if indices else padded(w.inputs)) + w.stages * max(w.Pp, w.Hp))


cdef class Gradients:
    """Where the gradients of one direction of a layer are added; without arrays the weights are frozen."""

    def __init__(self, weight_ih=None, weight_hh=None, bias_ih=None, bias_hh=None, weight_hr=None):
        self.arrays = [weight_ih, bias_ih, weight_hh, bias_hh, weight_hr]
        self.number = 0 if weight_ih is None else weight_ih.itemsize
        for i, array in enumerate(self.arrays):
            self.sizes[i] = 0 if array is None else array.size
            if array is not None and not (array.flags.carray and array.itemsize == self.number):
                raise ValueError("Gradients: an array is not contiguous, writable and of one type; expected all three")
        self.into.weight_ih, self.into.bias_ih = self.pointer(0), self.pointer(1)
        self.into.weight_hh, self.into.bias_hh = self.pointer(2), self.pointer(3)
        self.into.weight_hr = self.pointer(4)

    cdef char *pointer(self, int i) except? NULL:
        return NULL if self.arrays[i] is None else cnp.PyArray_BYTES(<cnp.ndarray> self.arrays[i])

    cdef bint fits(self, const Layer *w):
        """Whether the arrays have the sizes of the layer's weights; biases may be missing."""
        cdef Py_ssize_t rows = w.cell.gates * w.H
        return all([array is None for array in self.arrays]) or (
            self.number == w.size and self.sizes[0] == rows * w.inputs and self.sizes[2] == rows * w.P
            and self.sizes[1] in (0, rows) and self.sizes[3] in (0, rows)
            and self.sizes[4] == (w.P * w.H if w.projected else 0)
        )

    cdef list copies(self, bint indices):
        """(array, copy) of all that a run changes before its end; what indices change is changed at the very end."""
        return [(array, array.copy()) for array in self.arrays[2 if indices else 0:] if array is not None]


# ----------------------------------------------------------------------------------------------- weight gradients


cdef void add_weight_gradients(const Sums *sums, const Cut *cut, char *scratch, const fr_team *team, int part,
                               int parts) noexcept nogil:
    """dweight[gate * units + u] += da[:, slot, u].T @ operand and dbias[gate * units + u] += da[:, slot, u].sum()

    for every operand and every slot whose gate it names, over the rows of the cut's blocks, this part's share of the
    columns of da that it is the turn of.
    """
    cdef Py_ssize_t per_slot = padded(sums.units) // FR_GROUP, groups = per_slot * sums.slots
    cdef Py_ssize_t lowest = groups * cut.turn // cut.turns, block, k, depth, group, width, pieces
    groups = groups * (cut.turn + 1) // cut.turns - lowest
    cdef Py_ssize_t begin = lowest + part_begin(team, groups, part, parts, 0, 1)
    cdef Py_ssize_t end = lowest + part_begin(team, groups, part + 1, parts, 0, 1)
    if begin == end:
        return
    for block in range(cut.first, cut.last):
        k = sums.K * block // cut.blocks
        depth = sums.K * (block + 1) // cut.blocks - k
        pack_operands(sums, k, depth, scratch)
        group = begin
        while group < end:  # pieces of nearly equal width within one slot and this part, of up to FR_COLUMNS columns
            width = min(per_slot - group % per_slot, end - group)
            pieces = (width * FR_GROUP + FR_COLUMNS - 1) // FR_COLUMNS
            width = (width + pieces - 1) // pieces
            add_columns(sums, k, depth, group // per_slot, group % per_slot * FR_GROUP, width, scratch)
            group += width


cdef fr_matrix panels_of(const Sums *sums, int index, Py_ssize_t depth, const char *scratch) noexcept nogil:
    """The panels of an operand's block in a thread's scratch, behind the columns of da and the operands before it."""
    cdef Py_ssize_t N = padded(sums.operand[index].N), line = FR_GROUP * sums.w.size, before = 0
    cdef int i
    for i in range(index):
        before += padded(sums.operand[i].N)
    return fr_matrix(at=<char *> scratch + (FR_COLUMNS * COLUMN + depth * before) * sums.w.size,
                     K=depth, groups=N // FR_GROUP, line=line, panel=depth * line)


cdef void pack_operands(const Sums *sums, Py_ssize_t k, Py_ssize_t depth, char *scratch) noexcept nogil:
    """Rows k..k+depth-1 of every operand as panels."""
    cdef const Operand *operand
    cdef fr_matrix panels
    cdef int p
    for p in range(sums.count):
        operand = &sums.operand[p]
        panels = panels_of(sums, p, depth, scratch)
        if operand.states != NULL:
            pack_states(sums, operand, k, depth, &panels)
        else:
            sums.w.table.pack(&panels, 0, 0, depth, operand.N, operand.at + k * operand.row * sums.w.size,
                              operand.row, 1)


cdef void pack_states(const Sums *sums, const Operand *operand, Py_ssize_t k, Py_ssize_t depth,
                      const fr_matrix *panels) noexcept nogil:
    """The same where the rows are the states before the steps of a ragged batch, which leave gaps: step by step."""
    cdef const Walk *walk = operand.states
    cdef const Batch *batch = walk.batch
    cdef Py_ssize_t row = sums.first + k, end = row + depth, t = step_of(batch, row), count, at
    while row < end:
        count = min(end, offset_at(batch, t + 1)) - row
        at = row_before(walk, t) + row - offset_at(batch, t)
        sums.w.table.pack(panels, row - sums.first - k, 0, count, operand.N,
                          walk.h + at * walk.h_row * sums.w.size, walk.h_row, 1)
        row += count
        t += 1


cdef Py_ssize_t step_of(const Batch *batch, Py_ssize_t row) noexcept nogil:
    """The step that a packed row is of."""
    cdef Py_ssize_t low = 0, high = batch.T - 1, middle
    while low < high:
        middle = (low + high + 1) // 2
        if offset_at(batch, middle) <= row:
            low = middle
        else:
            high = middle - 1
    return low


cdef void add_columns(const Sums *sums, Py_ssize_t k, Py_ssize_t depth, Py_ssize_t slot, Py_ssize_t unit,
                      Py_ssize_t width, char *scratch) noexcept nogil:
    """The gradients of `width` groups of units of one slot, from `unit` on, over rows k..k+depth-1."""
    cdef Py_ssize_t size = sums.w.size, columns = min(sums.units - unit, width * FR_GROUP), N, row, m
    cdef double totals[FR_COLUMNS]  # room for either type
    cdef const Operand *operand
    cdef fr_matrix panels
    cdef fr_product product
    cdef int p
    for m in range(FR_COLUMNS):
        totals[m] = 0
    sums.w.table.transpose(depth, columns, sums.da + (k * sums.row + slot * sums.slot_columns + unit) * size,
                           sums.row, scratch, COLUMN, totals)
    for p in range(sums.count):
        operand = &sums.operand[p]
        if operand.gates[slot] < 0:
            continue
        # dweight[row:row + columns] += column.T @ operand[k:k + depth]
        N, row = operand.N, operand.gates[slot] * sums.units + unit
        panels = panels_of(sums, p, depth, scratch)
        product = fr_product(
            M=columns, groups=panels.groups, K=depth, a=scratch, a_row=COLUMN, w=panels.at, w_panel=panels.panel,
            far=False, init=operand.dweight + row * N * size, init_row=N, c=operand.dweight + row * N * size, c_row=N,
            c_group=FR_GROUP, edge=N - padded(N) + FR_GROUP,
        )
        sums.w.table.gemm(&product)
        if operand.dbias != NULL:
            add_totals(columns, totals, operand.dbias + row * size, size)


cdef void add_totals(Py_ssize_t columns, const void *totals, char *dbias, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t m
    for m in range(columns):
        if size == 4:
            (<float *> dbias)[m] += (<const float *> totals)[m]
        else:
            (<double *> dbias)[m] += (<const double *> totals)[m]


cdef Sums recurrent_sums(const Walk *walk, Py_ssize_t begin, Py_ssize_t end, const LayerGradients *into) noexcept nogil:
    """dweight_ih += da.T @ x and dweight_hh += da.T @ (h before the step, or aux) over the steps begin..end-1"""
    cdef const Layer *w = walk.w
    cdef const Batch *batch = walk.batch
    cdef const Stage *stage
    cdef Operand *operand
    cdef int slot, s
    cdef Sums sums
    sums.w, sums.first, sums.K = w, offset_at(batch, begin), offset_at(batch, end) - offset_at(batch, begin)
    sums.da, sums.row = walk.gates + sums.first * w.row * w.size, w.row
    sums.units, sums.slots, sums.slot_columns, sums.count = w.H, w.cell.slots, w.Hp, 0
    if walk.x != NULL:
        operand = &sums.operand[0]
        sums.count = 1
        operand.at, operand.row, operand.N = walk.x + sums.first * walk.x_row * w.size, walk.x_row, w.inputs
        operand.states, operand.dweight, operand.dbias = NULL, into.weight_ih, into.bias_ih
        for slot in range(w.cell.slots):
            operand.gates[slot] = w.cell.input_gates[slot] if slot < w.cell.gates else -1
    for s in range(w.stages):
        stage = &w.stage[s]
        if stage.target != TO_GATES:
            continue
        operand = &sums.operand[sums.count]
        sums.count += 1
        operand.dweight, operand.dbias, operand.states = into.weight_hh, into.bias_hh, NULL
        if stage.source == FROM_AUX:
            operand.at, operand.row, operand.N = walk.aux + sums.first * w.H * w.size, w.H, w.H
        else:
            operand.at, operand.row = walk.h + row_before(walk, begin) * walk.h_row * w.size, walk.h_row
            operand.N = w.P
            if batch.offset != NULL and not walk.reverse:
                operand.states = walk
        for slot in range(w.cell.slots):
            operand.gates[slot] = stage.gates[slot - stage.first] if 0 <= slot - stage.first < stage.count else -1
    return sums


cdef Sums projection_sums(const Walk *walk, Py_ssize_t begin, Py_ssize_t end,
                          const LayerGradients *into) noexcept nogil:
    """dweight_hr += dprojected.T @ m over the steps begin..end-1"""
    cdef const Layer *w = walk.w
    cdef Operand *operand
    cdef Sums sums
    sums.w, sums.first = w, offset_at(walk.batch, begin)
    sums.K = offset_at(walk.batch, end) - sums.first
    sums.da, sums.row = walk.dprojected + sums.first * w.P * w.size, w.P
    sums.units, sums.slots, sums.slot_columns, sums.count = w.P, 1, 0, 1
    operand = &sums.operand[0]
    operand.at, operand.row, operand.N = walk.m + sums.first * w.H * w.size, w.H, w.H
    operand.states, operand.dweight, operand.dbias, operand.gates[0] = NULL, into.weight_hr, NULL, 0
    return sums


# ----------------------------------------------------------------------------------------------- products of rows


cdef void multiply_rows(const RowProduct *given, const Cut *cut, const fr_team *team, int part,
                        int parts) noexcept nogil:
    """The rows of the cut's blocks, this part of them, this turn's columns."""
    cdef Py_ssize_t size = given.w.size, groups = padded(given.N) // FR_GROUP
    cdef Py_ssize_t begin = groups * cut.turn // cut.turns, end = groups * (cut.turn + 1) // cut.turns
    cdef Py_ssize_t low = given.rows * cut.first // cut.blocks, rows = given.rows * cut.last // cut.blocks - low
    cdef Py_ssize_t first = low + part_begin(team, rows, part, parts, 0, 1)
    cdef Py_ssize_t last = low + part_begin(team, rows, part + 1, parts, 0, 1)
    cdef fr_product product
    if first >= last or begin >= end:
        return
    product = fr_product(
        M=last - first, groups=end - begin, K=given.matrix.K, a=given.x + first * given.x_row * size,
        a_row=given.x_row, w=fr_panel(given.matrix, 0, begin), w_panel=given.matrix.panel,
        far=groups * given.matrix.panel > l2_bytes, init=NULL, init_row=given.init_row,
        c=given.y + (first * given.N + begin * FR_GROUP) * size, c_row=given.N, c_group=FR_GROUP,
        edge=FR_GROUP if end < groups else given.N - padded(given.N) + FR_GROUP,
    )
    if given.init != NULL:
        product.init = given.init + (first * given.init_row + begin * FR_GROUP) * size
    given.w.table.gemm(&product)


cdef void add_index_rows(const Walk *walk, const Sums *sums, const Cut *cut, char *index_sums, const fr_team *team,
                         int part, int parts) noexcept nogil:
    """index_sums[indices[row]] += da[row] over the input slots, this part's columns"""
    cdef const Layer *w = walk.w
    cdef Py_ssize_t columns = w.cell.gates * w.Hp, row
    cdef Py_ssize_t begin = part_begin(team, columns // FR_GROUP, part, parts, 0, 1) * FR_GROUP
    cdef Py_ssize_t end = part_begin(team, columns // FR_GROUP, part + 1, parts, 0, 1) * FR_GROUP
    for row in range(sums.K * cut.first // cut.blocks, sums.K * cut.last // cut.blocks):
        w.table.add(end - begin, sums.da + (row * w.row + begin) * w.size,
                    index_sums + (walk.indices[sums.first + row] * columns + begin) * w.size)


# -------------------------------------------------------------------------------------------------------- windows


cdef void shrink_to_window(const Walk *walk, Py_ssize_t *begin, Py_ssize_t *end) noexcept nogil:
    """Of the steps that backward has before it, those until the next turn to the sums."""
    cdef const Batch *batch = walk.batch
    cdef Py_ssize_t rows = gradient_rows(walk.w), low = begin[0], high = end[0]
    if low >= high:
        return
    if walk.reverse:
        end[0] = low + 1
        while end[0] < high and offset_at(batch, end[0] + 1) - offset_at(batch, low) <= rows:
            end[0] += 1
    else:
        begin[0] = high - 1
        while begin[0] > low and offset_at(batch, high) - offset_at(batch, begin[0] - 1) <= rows:
            begin[0] -= 1


cdef struct WindowJob:
    const Walk *walk
    Sums sums, projection
    RowProduct dx           # y NULL where it is not wanted
    char *index_sums
    Cut cut
    Scratch scratch


cdef void sum_part(void *given, int part, int parts, const fr_team *team) noexcept nogil:
    cdef const WindowJob *job = <const WindowJob *> given
    cdef char *scratch = job.scratch.at + part * job.scratch.bytes
    if job.sums.operand[0].dweight != NULL:
        add_weight_gradients(&job.sums, &job.cut, scratch, team, part, parts)
    if job.projection.da != NULL:
        add_weight_gradients(&job.projection, &job.cut, scratch, team, part, parts)
    if job.index_sums != NULL and job.cut.turn == 0:
        add_index_rows(job.walk, &job.sums, &job.cut, job.index_sums, team, part, parts)
    if job.dx.y != NULL:
        multiply_rows(&job.dx, &job.cut, team, part, parts)


cdef int sum_window(const Walk *walk, Py_ssize_t begin, Py_ssize_t end, const Targets *into, int threads,
                    bint may_end) except -1 nogil:
    """The sums over steps begin..end-1 of one direction; may_end: raise what a signal's handler raises in between."""
    cdef const Layer *w = walk.w
    cdef WindowJob job
    cdef Pieces pieces
    cdef Py_ssize_t turn
    job.walk, job.index_sums, job.scratch = walk, into.index_sums, into.scratch
    job.sums = recurrent_sums(walk, begin, end, &into.weights)
    job.projection.da = NULL
    if walk.dprojected != NULL and into.weights.weight_hr != NULL:
        job.projection = projection_sums(walk, begin, end, &into.weights)
    job.dx = RowProduct(w=w, matrix=&w.input_transposed, rows=job.sums.K, N=w.inputs, x_row=w.row, init_row=w.inputs,
                        x=job.sums.da, init=NULL, y=NULL)
    if into.dx != NULL:
        # dx = da[input slots] @ weight_ih
        job.dx.y = into.dx + job.sums.first * w.inputs * w.size
    pieces = pieces_of(w, job.sums.K, <double> w.row * (w.P + (0 if walk.x == NULL else 2 * w.inputs)), threads)
    job.cut.blocks, job.cut.turns, job.cut.first = pieces.blocks, pieces.turns, 0
    while job.cut.first < pieces.blocks:
        job.cut.last = min(job.cut.first + pieces.each, pieces.blocks)
        for turn in range(pieces.turns):
            job.cut.turn = turn
            if may_end:
                check_signals()
            run_parallel(sum_part, &job, threads, threads, False)
        job.cut.first = job.cut.last
    return 0
