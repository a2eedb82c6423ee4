"""What one layer keeps of a forward run, and where everything of it is.

Legend: N packed rows of all T steps, B rows of the widest step (plan.pxd), P the width of h, D directions.

Design
a) The arrays of h have B rows more than N, for the initial state: in front where time runs forwards, behind where it
   runs backwards (walk.pxd, row_before). So the h after each step are y, and nothing is copied.
b) Two directions that are concatenated lie in one array (T + 2, B, 2P), whose first and last step hold the two initial
   states: y is what is between. Where rows end early, or outputs are merged otherwise, each has an array of its own.
c) For inference c, aux and m have one step, gates a block of steps.
"""

from libc.math cimport sqrt
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

import numpy as np

cimport numpy as cnp

from fastrnn._core.plan cimport rows_at, steps_at_once
from fastrnn._core.walk cimport Place, place_of
from fastrnn._core.weights cimport Layer, RecurrentWeights

from fastrnn._core.elementwise import dropout, take_rows
from fastrnn._core.memory import SMALL_BYTES, empty

cnp.import_array()

cdef Py_ssize_t small = SMALL_BYTES  # of arrays that `empty` need not be asked for: NumPy allocates them itself


def set_small(Py_ssize_t bytes):
    """Set the size below which `empty` is not asked; 0 is for tests that put an `empty` of their own in its place."""
    global small
    small = bytes


cdef cnp.ndarray new(Py_ssize_t a, Py_ssize_t b, Py_ssize_t c, dtype):
    """An uninitialised array (a, b, c), or (a, b) for c = 0."""
    cdef cnp.npy_intp shape[3]
    if a * b * max(c, <Py_ssize_t> 1) * (<cnp.dtype> dtype).itemsize >= small:
        shape_given = [a, b, c] if c else [a, b]
        return empty(shape_given, dtype)
    shape[0], shape[1], shape[2] = a, b, c
    return cnp.PyArray_EMPTY(3 if c else 2, shape, (<cnp.dtype> dtype).type_num, 0)


cdef void copy_rows(Py_ssize_t rows, Py_ssize_t bytes, const char *source, Py_ssize_t source_row, char *target,
                    Py_ssize_t target_row) noexcept:
    """Rows of so many bytes, whose strides are in bytes; source NULL for zeros."""
    cdef Py_ssize_t row
    if source == NULL:
        for row in range(rows):
            memset(target + row * target_row, 0, bytes)
    elif source_row == bytes and target_row == bytes:
        memcpy(target, source, rows * bytes)
    else:
        for row in range(rows):
            memcpy(target + row * target_row, source + row * source_row, bytes)


cdef class PackedBatch:
    """Sequences of different lengths, the longest first, packed by time.

    Parameters
    ----------
    lengths : (B,) int64, at least 1, not growing

    Attributes
    ----------
    T, B, rows : int
        Steps of the longest, sequences, and steps of all together.
    last_rows : (B,) int64
        Row of each sequence's last step in an array of h, whose first B rows come before all steps.
    reverse_rows : (rows,) int64
        For every packed row where the reverse direction's array of h has the state after that step.
    """

    def __init__(self, lengths):
        lengths = np.ascontiguousarray(lengths, dtype=np.int64)
        if lengths.ndim != 1 or not len(lengths) or lengths.min() < 1 or (np.diff(lengths) > 0).any():
            raise ValueError("PackedBatch: lengths do not fall; expected (B,) integers >= 1, the longest first")
        self.T, self.B = lengths[0], len(lengths)
        counts = np.searchsorted(-lengths, -np.arange(self.T), side="left").astype(np.int64)
        self.offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        self.before = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
        self.rows = self.offset[self.T]
        self.last_rows = self.B + self.offset[lengths - 1] + np.arange(self.B)
        first = np.concatenate([[0], self.B + self.offset[:self.T - 1]])
        self.reverse_rows = np.arange(self.rows) + np.repeat(first - self.offset[:self.T], counts)
        self.batch.T, self.batch.B, self.batch.rows = self.T, self.B, self.rows
        self.batch.offset = <const Py_ssize_t *> cnp.PyArray_DATA(self.offset)
        self.batch.before = <const Py_ssize_t *> cnp.PyArray_DATA(self.before)


cdef class LayerTape:
    """One layer's arrays in a run: kept for backward where it is taped, else only buffers."""

    def __init__(self, cnp.ndarray x, tuple weights, object merge, PackedBatch packed, bint taped,
                 Py_ssize_t checkpoint):
        """x (T, B, I) or indices (T, B); (N, I) or (N,) where packed is given. merge: None for one direction.

        checkpoint: at least so many steps lie between two kept states, and backward computes their gates again; 0 to
        keep all gates, negative for the number that needs least memory
        """
        cdef int direction
        cdef Layer *w = &(<RecurrentWeights> weights[0]).layer
        self.x, self.packed, self.merge, self.weights, self.directions = x, packed, merge, weights, len(weights)
        self.dtype = (<RecurrentWeights> weights[0]).dtype
        if packed is not None:
            self.batch = packed.batch
        else:
            self.batch.T, self.batch.B = cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1)
            self.batch.rows = self.batch.T * self.batch.B
            self.batch.offset = self.batch.before = NULL
        self.T, self.B, self.rows = self.batch.T, self.batch.B, self.batch.rows
        self.checkpoint = 0
        if taped and checkpoint:
            self.checkpoint = checkpoint
            if checkpoint < 0:  # the steps for which the kept states and one segment's gates are least together
                self.checkpoint = 1 + <Py_ssize_t> sqrt(<double> self.T * w.H / (w.row + 2 * w.H))
        self.kept = []
        self.states = self.new_states(w)
        for direction in range(self.directions):
            self.prepare(direction, weights[direction], taped and not self.checkpoint)

    cdef bint fits(self, const Layer *w):
        """Whether a layer has the sizes of the one that this was made for."""
        cdef const Layer *own = self.walks[0].w
        return (own.cell == w.cell and own.size == w.size and own.inputs == w.inputs and own.H == w.H
                and own.P == w.P and own.projected == w.projected)

    cdef take_weights(self, tuple weights):
        """Let backward read these, which fit and have the values of those before."""
        cdef int direction
        self.weights = weights
        for direction in range(self.directions):
            self.walks[direction].w = &(<RecurrentWeights> weights[direction]).layer

    cdef bint joined(self):
        """Whether the directions' states lie in one array."""
        return self.directions == 2 and self.packed is None and self.merge == "concat"

    cdef list new_states(self, const Layer *w):
        cdef list states
        cdef int direction
        cdef Walk *walk
        if self.joined():
            states = [new(self.T + 2, self.B, 2 * w.P, self.dtype)]
        elif self.packed is None:
            states = [new(self.T + 1, self.B, w.P, self.dtype) for _ in range(self.directions)]
        else:
            states = [new(self.B + self.rows, w.P, 0, self.dtype) for _ in range(self.directions)]
        for direction in range(self.directions):
            walk = &self.walks[direction]
            walk.h_row = w.P
            walk.h = cnp.PyArray_BYTES(<cnp.ndarray> states[direction if len(states) > 1 else 0])
            if self.joined():
                walk.h_row = 2 * w.P
                walk.h += direction * (self.B * walk.h_row + w.P) * w.size
        return states

    cdef char *keep(self, Py_ssize_t rows, Py_ssize_t columns) except? NULL:
        """A new array (rows, columns) that lives as long as this."""
        cdef cnp.ndarray array = new(rows, columns, 0, self.dtype)
        self.kept.append(array)
        return cnp.PyArray_BYTES(array)

    cdef prepare(self, int direction, RecurrentWeights weights, bint taped):
        """Everything of a direction's walk but its states and their gradients."""
        cdef Walk *walk = &self.walks[direction]
        cdef const Layer *w = &weights.layer
        cdef Py_ssize_t rows = self.rows if taped else self.B
        walk.w, walk.batch, walk.reverse, walk.taped = w, &self.batch, direction == 1, taped
        walk.x, walk.indices, walk.x_row = NULL, NULL, w.inputs
        if cnp.PyArray_TYPE(self.x) == cnp.NPY_INT64:
            walk.indices = <const int64_t *> cnp.PyArray_DATA(self.x)
        else:
            walk.x = cnp.PyArray_BYTES(self.x)
        walk.gate_steps = self.T if taped else steps_at_once(w, self.T, self.B)
        walk.gates = self.keep(self.rows if taped else walk.gate_steps * self.B, w.row)
        walk.c = walk.aux = walk.m = NULL
        if w.cell.states == 2:
            walk.c = self.keep(self.B + self.rows if taped else self.B, w.H)
        if w.cell.aux:
            walk.aux = self.keep(rows, w.H)
        if w.projected:
            walk.m = self.keep(rows, w.H)
        walk.dy = walk.dh = walk.dc = walk.daux = walk.dm = walk.dprojected = NULL

    # --------------------------------------------------------------------------------------- states

    cdef copy_edge(self, char *array, Py_ssize_t array_row, Py_ssize_t columns, char *edge, bint back, bint out):
        """Between the rows of h or c at one end of time and edge (B, columns); edge NULL for zeros."""
        cdef Py_ssize_t size = self.walks[0].w.size, bytes = columns * size, row, p
        cdef const int64_t *last
        array_row *= size
        if back and self.packed is not None:
            last = <const int64_t *> cnp.PyArray_DATA(self.packed.last_rows)
            for p in range(self.B):
                row = last[p] * array_row
                if out:
                    memcpy(edge + p * bytes, array + row, bytes)
                else:
                    copy_rows(1, bytes, NULL if edge == NULL else edge + p * bytes, bytes, array + row, bytes)
            return
        if back:
            array += self.rows * array_row
        if out:
            copy_rows(self.B, bytes, array, array_row, edge, bytes)
        else:
            copy_rows(self.B, bytes, edge, bytes, array, array_row)

    cdef start(self, int direction, const char *h, const char *c):
        """Set the initial state, h (B, P) and c (B, H); NULL for zeros."""
        cdef Walk *walk = &self.walks[direction]
        walk.at_rest = h == NULL
        self.copy_edge(walk.h, walk.h_row, walk.w.P, <char *> h, walk.reverse, False)
        if walk.c != NULL:
            self.copy_edge(walk.c, walk.w.H, walk.w.H, <char *> c, walk.reverse and walk.taped, False)

    cdef finish(self, int direction, char *h, char *c):
        """Copy the final state into h (B, P) and c (B, H)."""
        cdef Walk *walk = &self.walks[direction]
        self.copy_edge(walk.h, walk.h_row, walk.w.P, h, not walk.reverse, True)
        if walk.c != NULL:
            self.copy_edge(walk.c, walk.w.H, walk.w.H, c, walk.taped and not walk.reverse, True)

    # -------------------------------------------------------------------------------------- outputs

    cdef list output_of_directions(self):
        """Each direction's h after each step in the order of x: (T, B, P) or (N, P)."""
        cdef Py_ssize_t P = self.walks[0].w.P
        cdef list outputs
        if self.outputs is not None:
            return self.outputs
        if self.joined():
            y = self.states[0][1:self.T + 1]
            outputs = [y[:, :, :P], y[:, :, P:]]
        elif self.packed is None:
            outputs = [self.states[0][1:]] + [h[:self.T] for h in self.states[1:]]
        else:
            outputs = [self.states[0][self.B:]]
            if self.directions == 2:
                reverse = new(self.rows, P, 0, self.dtype)
                take_rows(self.states[1], self.packed.reverse_rows, reverse, 1)
                outputs.append(reverse)
        self.outputs = outputs
        return self.outputs

    cdef cnp.ndarray output(self):
        """y, which the next layer reads: (T, B, D*P) or (T, B, P), or the same with N for T, B."""
        if self.joined():
            return self.states[0][1:self.T + 1]
        if self.directions == 1:
            return self.states[0][1:] if self.packed is None else self.states[0][self.B:]
        forward, reverse = self.output_of_directions()
        return merged(self.merge, forward, reverse)

    cdef cnp.ndarray drop_out(self, cnp.ndarray y, float share, rng, int num_threads):
        """y with elements dropped."""
        self.dropped = (share, int(rng.integers(2**63)))
        result = empty((<object> y).shape, self.dtype)
        dropout(y.reshape(-1), result.reshape(-1), *self.dropped, num_threads)
        return result

    # ------------------------------------------------------------------------------- for those who look

    def gates(self, int direction):
        """A copy of a direction's gates, (N, G, H) in the public order; backward uses the gates themselves up."""
        cdef const Walk *walk = &self.walks[direction]
        cdef const Layer *w = walk.w
        cdef Py_ssize_t bytes = w.H * w.size
        cdef cnp.ndarray result
        cdef int slot
        if not walk.taped or self.checkpoint:
            raise ValueError("LayerTape.gates: the run kept no gates; expected one without checkpoints")
        result = new(self.rows, w.cell.gates, w.H, self.dtype)
        for slot in range(w.cell.gates):
            copy_rows(self.rows, bytes, walk.gates + slot * w.Hp * w.size, w.row * w.size,
                      cnp.PyArray_BYTES(result) + w.cell.input_gates[slot] * bytes, w.cell.gates * bytes)
        return result

    def state(self, int direction, int kind, bint after):
        """A copy of h (kind 0, (N, P)) or c (kind 1, (N, H)) of a direction before or after every step."""
        cdef const Walk *walk = &self.walks[direction]
        cdef const char *array = walk.c if kind else walk.h
        cdef Py_ssize_t columns = walk.w.H if kind else walk.w.P, row = walk.w.H if kind else walk.h_row, t
        cdef Place place
        cdef cnp.ndarray result
        if kind and (array == NULL or not walk.taped or self.checkpoint):
            raise ValueError("LayerTape.state: the run kept no c; expected an LSTM's without checkpoints")
        result = new(self.rows, columns, 0, self.dtype)
        columns, row = columns * walk.w.size, row * walk.w.size
        for t in range(self.T):
            place = place_of(walk, t)
            copy_rows(rows_at(&self.batch, t), columns, array + (place.after if after else place.before) * row, row,
                      cnp.PyArray_BYTES(result) + place.row * columns, columns)
        return result

    def watch(self, bint on):
        """Let backward write into `dh`, for each direction, the gradient (N, P) of h after each step; it then uses
        copies of the gates up."""
        self.dh = None
        if on:
            self.dh = [new(self.rows, self.walks[0].w.P, 0, self.dtype) for _ in range(self.directions)]


def merged(merge, forward, reverse):
    """One output of two, each (..., P)."""
    wide = merge == "concat"
    *rows, P = forward.shape
    y = empty((*rows, 2 * P if wide else P), forward.dtype)
    if wide:
        return np.concatenate([forward, reverse], axis=forward.ndim - 1, out=y)
    if merge == "mul":
        return np.multiply(forward, reverse, out=y)
    np.add(forward, reverse, out=y)
    if merge == "ave":
        y *= 0.5
    return y


def unmerged(merge, dy, forward, reverse):
    """The two gradients of dy's two outputs: backward of `merged`. Those of "concat" are views."""
    if merge == "concat":
        *_, P = forward.shape
        return dy[..., :P], dy[..., P:]
    if merge == "mul":
        return dy * reverse, dy * forward
    if merge == "ave":
        dy = dy * dy.dtype.type(0.5)
    return dy, dy
