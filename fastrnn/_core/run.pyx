"""One run of a stack of layers: layer after layer, and the state that goes in and comes out.

This is the compiled half of `layers.Recurrent`, because at one sequence of few units the arithmetic takes a few
microseconds and as much Python would double it. Arguments have been checked (`takes...` say which need not be).

A state is a list of its kinds, h or h and c. Each is an array (L*D, B, width), or where layers differ in width a list
of an array (D, B, width) a layer. L layers, D directions; B are the sequences of a packed batch in its order.
"""

import numpy as np

cimport numpy as cnp

from fastrnn._core.elementwise cimport fitting
from fastrnn._core.gradients cimport Gradients, Targets
from fastrnn._core.layer cimport run_backward, run_forward
from fastrnn._core.plan cimport backward_work, forward_work, work_between_looks
from fastrnn._core.tape cimport LayerTape, PackedBatch, copy_rows, new
from fastrnn._core.team cimport check_signals
from fastrnn._core.walk cimport Walk
from fastrnn._core.weights cimport Layer, RecurrentWeights, copies_for_forward

from fastrnn._core.elementwise import dropout
from fastrnn._core.memory import empty
from fastrnn._core.tape import unmerged

cnp.import_array()


cdef bint plain(array, cnp.dtype dtype, cnp.npy_intp a, cnp.npy_intp b, cnp.npy_intp c):
    """Whether array is C-contiguous, of the dtype and of shape (a, b, c), or (a, c) for b = 0; a or b negative for any
    size but 0."""
    cdef int axes = 3 if b else 2
    return (
        cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == dtype.type_num
        and cnp.PyArray_NDIM(array) == axes and cnp.PyArray_ISCARRAY_RO(array)
        and (cnp.PyArray_DIM(array, 0) == a or (a < 0 and cnp.PyArray_DIM(array, 0) > 0))
        and (b == 0 or cnp.PyArray_DIM(array, 1) == b or (b < 0 and cnp.PyArray_DIM(array, 1) > 0))
        and cnp.PyArray_DIM(array, axes - 1) == c
    )


cdef class Stack:
    """Layers 0..n-1, each reading what the one below writes."""

    def __init__(self, list weights, merge=None):
        """weights: for each layer a tuple of one RecurrentWeights for each direction; merge: None for one direction."""
        cdef RecurrentWeights first = weights[0][0]
        self.weights, self.merge = [tuple(layer) for layer in weights], merge
        self.directions, self.states, self.dtype = len(weights[0]), first.layer.cell.states, first.dtype
        for kind in range(2):
            self.same_widths[kind] = len({self.width_of(kind, layer) for layer in range(len(weights))}) == 1

    # ------------------------------------------------------------------------------------ what fits

    cdef const Layer *layer(self, Py_ssize_t layer) noexcept:
        return &(<RecurrentWeights> (<tuple> self.weights[layer])[0]).layer

    cdef Py_ssize_t width_of(self, int kind, Py_ssize_t layer) noexcept:
        """Columns of h or c of a layer."""
        return self.layer(layer).H if kind else self.layer(layer).P

    cdef Py_ssize_t y_width(self):
        cdef Py_ssize_t P = self.width_of(0, len(self.weights) - 1)
        return 2 * P if self.merge == "concat" else P

    def takes(self, x):
        """Whether x needs no check and no copy: (T, B, I) in the layer's dtype, contiguous, not empty."""
        return plain(x, self.dtype, -1, -1, self.layer(0).inputs)

    def takes_gradient(self, dy, Py_ssize_t T, Py_ssize_t B):
        """Whether dy needs no check and no copy: (T, B, width of y), contiguous."""
        return plain(dy, self.dtype, T, B, self.y_width())

    cdef bint takes_kind(self, array, int kind, Py_ssize_t B):
        cdef Py_ssize_t parts = len(self.weights) * self.directions
        return self.same_widths[kind] and plain(array, self.dtype, parts, B, self.width_of(kind, 0))

    def takes_state(self, state, Py_ssize_t B):
        """The kinds of a state that needs no check and no copy, or None."""
        if self.states == 1:
            return [state] if self.takes_kind(state, 0, B) else None
        if type(state) is not tuple or len(state) != 2:
            return None
        return list(state) if self.takes_kind(state[0], 0, B) and self.takes_kind(state[1], 1, B) else None

    cdef bint fits(self, list state, Py_ssize_t B):
        """Whether the kinds of a state, if there is one, have its shapes."""
        if state is None:
            return True
        if len(state) != self.states:
            return False
        for kind in range(self.states):
            if type(state[kind]) is not list:
                if not self.takes_kind(state[kind], kind, B):
                    return False
            elif len(state[kind]) != len(self.weights) or not all([
                plain(part, self.dtype, self.directions, B, self.width_of(kind, layer))
                for layer, part in enumerate(state[kind])
            ]):
                return False
        return True

    cdef bint fits_gradient(self, LayerTape record, dy):
        """Whether dy has the form of y, or its parts that of the directions' outputs."""
        cdef Py_ssize_t rows = record.T if record.packed is None else record.rows
        cdef Py_ssize_t B = record.B if record.packed is None else 0
        if type(dy) is list:
            return len(dy) == self.directions and all([
                part is None or plain(part, self.dtype, rows, B, self.width_of(0, len(self.weights) - 1)) for part in dy
            ])
        return dy is None or plain(dy, self.dtype, rows, B, self.y_width())

    cdef list new_state(self, Py_ssize_t B):
        cdef Py_ssize_t layers = len(self.weights), layer
        cdef int kind
        return [
            new(layers * self.directions, B, self.width_of(kind, 0), self.dtype) if self.same_widths[kind] else
            [new(self.directions, B, self.width_of(kind, layer), self.dtype) for layer in range(layers)]
            for kind in range(self.states)
        ]

    cdef char *part_of(self, list state, int kind, Py_ssize_t layer, int direction) except? NULL:
        """(B, width) of a state; NULL for none."""
        cdef cnp.ndarray array
        if state is None or kind >= self.states:
            return NULL
        if type(state[kind]) is list:
            array = state[kind][layer]
        else:
            array, direction = state[kind], layer * self.directions + direction
        return cnp.PyArray_BYTES(array) + direction * cnp.PyArray_STRIDE(array, 0)

    # -------------------------------------------------------------------------------------- forward

    def forward(self, cnp.ndarray x, list initial, bint tape, float drop, rng, int num_threads,
                PackedBatch packed=None, Py_ssize_t checkpoint=0, bint reusable=False):
        """y, the final state's kinds, and the layers' tapes.

        x (T, B, I) in the layers' dtype or (T, B) int64, with `packed` (N, I) or (N,); y in the same form
        drop: the share dropped between layers; checkpoint: see LayerTape; reusable: backward uses copies of gates up
        Where a signal's handler raises, or there is no memory, rng may have been drawn from.
        """
        cdef Py_ssize_t layer, last = len(self.weights) - 1, B
        cdef LayerTape record
        cdef list records = []
        cdef bint indices = cnp.PyArray_TYPE(x) == cnp.NPY_INT64
        cdef double work = 0
        if packed is not None:
            B = packed.B
            fitting("forward", cnp.PyArray_DIM(x, 0) == packed.rows and cnp.PyArray_ISCARRAY_RO(x) and (
                indices or plain(x, self.dtype, packed.rows, 0, self.layer(0).inputs)))
        else:
            B = cnp.PyArray_DIM(x, 1)
            fitting("forward", (indices and cnp.PyArray_ISCARRAY_RO(x)) or self.takes(x))
        fitting("forward", self.fits(initial, B))
        cdef list final = self.new_state(B)
        for layer in range(last + 1):
            record = LayerTape(x, self.weights[layer], self.merge, packed, tape, checkpoint)
            record.reusable = reusable
            self.forward_layer(record, layer, initial, final, num_threads)
            records.append(record)
            work += self.directions * forward_work(self.layer(layer), &record.batch, indices)
            if work > work_between_looks(self.layer(layer)):
                check_signals()
            x, indices = record.output(), False
            if drop > 0 and layer < last:
                x = record.drop_out(x, drop, rng, num_threads)
        return x, final, records

    cdef forward_layer(self, LayerTape record, Py_ssize_t layer, list initial, list final, int num_threads):
        cdef RecurrentWeights weights
        cdef int direction
        cdef unsigned copies = copies_for_forward(record.walks[0].indices != NULL)
        for direction in range(self.directions):
            weights = (<tuple> self.weights[layer])[direction]
            if weights.is_stale(copies):
                weights.refresh_copies(copies)
            record.start(direction, self.part_of(initial, 0, layer, direction),
                         self.part_of(initial, 1, layer, direction))
        run_forward(record, num_threads)
        for direction in range(self.directions):
            record.finish(direction, self.part_of(final, 0, layer, direction), self.part_of(final, 1, layer, direction))

    def outputs(self, list records):
        """The last layer's h after each step, for each direction."""
        return (<LayerTape> records[len(records) - 1]).output_of_directions()

    # ------------------------------------------------------------------------------------- backward

    def prepare_backward(self, list records, bint input_gradient):
        """Pack the weights that `backward` reads, all before it reads any: an edit may end at any time.

        The records may be of another stack of the same sizes, whose weights had the same values.
        """
        cdef LayerTape record
        cdef Py_ssize_t layer
        fitting("backward", len(records) == len(self.weights))
        for layer in range(len(self.weights)):
            record = records[layer]
            fitting("backward", record.directions == self.directions and record.fits(self.layer(layer)))
            record.take_weights(self.weights[layer])
            for weights in self.weights[layer]:
                weights.refresh_transposed(record.walks[0].x != NULL and (layer > 0 or input_gradient))
                if record.checkpoint:
                    weights.refresh(record.walks[0].indices != NULL)

    def backward(self, list records, dy, list dfinal, bint input_gradient, list gradients, int num_threads):
        """dx (as x, or None) and the kinds of the initial state's gradient; adds to the gradients.

        After `prepare_backward`. Where a signal's handler raises, which it may do in calls of more than some tenth of a
        second, the gradients are as before.
        dy: as y, or one array for each direction in the form of `outputs`, or None; dfinal: a state or None
        gradients: for each layer a tuple of Gradients, one for each direction
        """
        cdef LayerTape record = records[0]
        cdef double work = 0
        cdef Py_ssize_t layer, B = record.B
        cdef bint may_end
        cdef list changed = []
        fitting("backward", len(records) == len(self.weights) == len(gradients) and self.fits(dfinal, B)
                and self.fits_gradient(record, dy))
        for layer in range(len(self.weights)):
            record = records[layer]
            for into in gradients[layer]:
                fitting("backward", (<Gradients> into).fits(self.layer(layer)))
            work += self.directions * backward_work(self.layer(layer), &record.batch, record.walks[0].indices != NULL)
        may_end = work > work_between_looks(self.layer(0))
        cdef list initial = self.new_state(B)
        try:
            for layer in range(len(self.weights) - 1, -1, -1):
                record = records[layer]
                if may_end:
                    for into in gradients[layer]:
                        changed += (<Gradients> into).copies(record.walks[0].indices != NULL)
                dy = self.backward_layer(record, layer, dy, dfinal, initial, layer > 0 or input_gradient,
                                         gradients[layer], may_end, num_threads)
                if layer > 0 and (<LayerTape> records[layer - 1]).dropped is not None:
                    flat = dy.reshape(-1)
                    dropout(flat, flat, *(<LayerTape> records[layer - 1]).dropped, num_threads)
        except BaseException:
            for array, values in changed:
                array[...] = values
            raise
        return dy, initial

    cdef backward_layer(self, LayerTape record, Py_ssize_t layer, dy, list dfinal, list initial, bint input_gradient,
                        tuple gradients, bint may_end, int num_threads):
        """dx, or None."""
        cdef const Layer *w = self.layer(layer)
        cdef int direction, kind
        cdef Walk *walk
        cdef Targets targets[2]
        cdef list dys = dy if type(dy) is list else self.dy_of_directions(record, dy)
        cdef list carried = [], sums = []
        cdef cnp.ndarray carry
        cdef list dxs = []  # of each direction: their sum has one order, however the directions' windows alternate
        if input_gradient and record.walks[0].x != NULL:
            dxs = [empty((<object> record.x).shape, self.dtype) for _ in range(self.directions)]
        for direction in range(self.directions):
            walk = &record.walks[direction]
            carry = cnp.PyArray_ZEROS(3, [self.states, record.B, max(w.Hp, w.Pp)], self.dtype.type_num, 0)
            carried.append(carry)
            walk.dh = cnp.PyArray_BYTES(carry)
            walk.dc = walk.dh + cnp.PyArray_STRIDE(carry, 0) if self.states == 2 else NULL
            set_dy(walk, dys[direction], 2 * w.P if type(dy) is not list and self.merge == "concat" else w.P)
            for kind in range(self.states if dfinal is not None else 0):
                copy_rows(record.B, self.width_of(kind, layer) * w.size, self.part_of(dfinal, kind, layer, direction),
                          self.width_of(kind, layer) * w.size, walk.dc if kind else walk.dh,
                          (w.Hp if kind else w.Pp) * w.size)
            targets[direction].weights = (<Gradients> gradients[direction]).into
            targets[direction].dx = NULL
            targets[direction].index_sums = NULL
            if dxs:
                targets[direction].dx = cnp.PyArray_BYTES(<cnp.ndarray> dxs[direction])
            if walk.indices != NULL:
                sums.append(np.zeros((w.inputs, w.cell.gates * w.Hp), dtype=self.dtype))
                targets[direction].index_sums = cnp.PyArray_BYTES(<cnp.ndarray> sums[direction])
        run_backward(record, targets, may_end, num_threads)
        for direction in range(self.directions):
            walk = &record.walks[direction]
            for kind in range(self.states):
                copy_rows(record.B, self.width_of(kind, layer) * w.size, walk.dc if kind else walk.dh,
                          (w.Hp if kind else w.Pp) * w.size, self.part_of(initial, kind, layer, direction),
                          self.width_of(kind, layer) * w.size)
        if may_end:
            check_signals()
        for direction in range(len(sums)):
            arrays = (<Gradients> gradients[direction]).arrays
            if arrays[0] is not None:
                add_index_gradient(w, sums[direction], arrays[0], arrays[1])
        if len(dxs) == 2:
            np.add(dxs[0], dxs[1], out=dxs[0])
        return dxs[0] if dxs else None

    cdef list dy_of_directions(self, LayerTape record, dy):
        """The gradient of each direction's output."""
        if dy is None or self.directions == 1:
            return [dy] * self.directions
        return list(unmerged(self.merge, dy, *record.output_of_directions()))


cdef set_dy(Walk *walk, cnp.ndarray dy, Py_ssize_t row):
    """Point at the gradient of a direction's output, whose rows may lie inside wider ones."""
    walk.dy = cnp.PyArray_BYTES(dy) if dy is not None else NULL
    walk.dy_row = row


cdef add_index_gradient(const Layer *w, sums, dweight, dbias):
    """dweight_ih += sums.T in the public order of gates"""
    for slot in range(w.cell.gates):
        gate = w.cell.input_gates[slot]
        units = sums[:, slot * w.Hp:slot * w.Hp + w.H]
        dweight[gate * w.H:(gate + 1) * w.H] += units.T
        if dbias is not None:
            dbias[gate * w.H:(gate + 1) * w.H] += units.sum(axis=0)
