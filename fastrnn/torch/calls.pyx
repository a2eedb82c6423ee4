"""A call of one of torch's recurrent operators: its arguments, checked, and the engine's run over them.

Weights are lent to a workspace for one run (_core/workspace.pyx). Nothing is kept by address, identity or version.
"""

from libc.stdint cimport int64_t

import numpy as np
import torch

cimport numpy as cnp

from fastrnn._core.gradients cimport Gradients
from fastrnn._core.tape cimport PackedBatch
from fastrnn._core.workspace cimport Workspace, borrow, give_back
from fastrnn.torch.tensors cimport array_of, arrays_of, mode_against, room_like, tensor_against

from fastrnn.packing import packing

cnp.import_array()

cdef object from_numpy = torch.from_numpy, threads_of_torch = torch.get_num_threads
cdef object grad_enabled = torch.is_grad_enabled
cdef object float32 = torch.float32, float64 = torch.float64, int64 = torch.int64

cdef bint by_speed = True


def set_by_speed(bint wanted):
    """Whether torch's own operator gets the calls that it does faster; if not, all that can run here do (for tests)."""
    global by_speed
    by_speed = wanted


cdef class Call:
    """The arguments of a call, checked, and what they ask for."""

    def __init__(self, Kind kind):
        self.kind = kind

    # ------------------------------------------------------------------------------------------------- checking

    cdef str take(self, tuple arguments):
        """Take the operator's arguments; a reason against computing here, or None."""
        cdef bint train = False, bidirectional = False
        cdef str reason = mode_against()
        self.layers, self.dropout, self.batch_first, self.batch_sizes = 1, 0, False, None
        if reason is not None:
            return reason
        if self.kind.form == CELL:
            self.x, hx, *weights = arguments
            self.biases = len(weights) == 4 and weights[2] is not None
            if len(weights) > 2 and not self.biases and any([bias is not None for bias in weights[2:]]):
                return "one bias of two"
            weights = weights[:4 if self.biases else 2]
        elif self.kind.form == DATA:
            self.x, self.batch_sizes, hx, weights, self.biases, self.layers, self.dropout, train, bidirectional = \
                arguments
        else:
            self.x, hx, weights, self.biases, self.layers, self.dropout, train, bidirectional, self.batch_first = \
                arguments
        self.directions = 2 if bidirectional else 1
        if not train:
            self.dropout = 0
        if self.kind.states == 2 and not isinstance(hx, (list, tuple)):
            return "one state of two"
        self.states = list(hx) if self.kind.states == 2 else [hx]
        self.weights = list(weights)
        return self.check()

    cdef str check(self):
        """A reason against these tensors, or None."""
        cdef object dtype = self.x.dtype
        cdef str reason
        self.dtype = dtype
        if dtype is not float32 and dtype is not float64:
            return "dtype"
        for tensor in (self.x, *self.states, *self.weights):
            reason = tensor_against(tensor, dtype)
            if reason is not None:
                return reason
        if not 0 <= self.dropout < 1:
            return "dropout"
        if not (self.sizes_fit() and self.weights_fit()):
            return "shapes"
        self.taped = grad_enabled() and self.needs_gradient()
        return "few rows" if by_speed and self.has_few_rows() else None

    cdef bint sizes_fit(self):
        """Whether x and the states have the axes and sizes that belong together; B, H and P are then known."""
        cdef int axes = 3 if self.kind.form == INPUT else 2
        cdef object shape = self.x.shape
        cdef Py_ssize_t parts = self.layers * self.directions
        if len(shape) != axes or 0 in shape or len(self.states) != self.kind.states or self.layers < 1:
            return False
        if self.kind.form == INPUT:
            self.B = shape[0 if self.batch_first else 1]
        elif self.kind.form == CELL:
            self.B = shape[0]
        elif not self.take_batch_sizes():
            return False
        cdef object recurrent = self.weights[1].shape if len(self.weights) > 1 else ()
        if len(recurrent) != 2 or recurrent[0] % self.kind.gates or 0 in recurrent:
            return False
        self.H, self.P = recurrent[0] // self.kind.gates, recurrent[1]
        self.projected = self.P != self.H
        for kind, state in enumerate(self.states):
            expected = [self.B, self.H if kind else self.P]
            if list(state.shape) != (expected if self.kind.form == CELL else [parts, *expected]):
                return False
        return not self.projected or (self.kind.states == 2 and self.kind.form != CELL)

    cdef bint take_batch_sizes(self):
        """Whether the batch sizes are what a PackedSequence has; the packed batch is then known."""
        cdef cnp.ndarray sizes
        cdef const int64_t *count
        cdef Py_ssize_t t, total = 0, steps, rows = self.x.shape[0]
        given = self.batch_sizes
        if tensor_against(given, int64) is not None or given.dim() != 1:
            return False
        sizes = array_of(given)
        steps, count = cnp.PyArray_SIZE(sizes), <const int64_t *> cnp.PyArray_DATA(sizes)
        for t in range(steps):
            if not 1 <= count[t] <= (count[t - 1] if t else rows) or total > rows:
                return False
            total += count[t]
        if steps == 0 or total != rows:
            return False
        self.B = count[0]
        if count[steps - 1] != self.B:  # equal lengths are no ragged batch
            self.packed = PackedBatch(lengths_of(count, steps))
        return True

    cdef bint weights_fit(self):
        """Whether there are all weights, in the shapes that x and the first of them ask for."""
        cdef Py_ssize_t each = 2 + 2 * self.biases + self.projected, rows = self.kind.gates * self.H, i = 0
        cdef Py_ssize_t inputs = self.x.shape[2 if self.kind.form == INPUT else 1]
        if len(self.weights) != each * self.layers * self.directions:
            return False
        for _ in range(self.layers):
            for _ in range(self.directions):
                expected = [(rows, inputs), (rows, self.P)] + [(rows,)] * (2 * self.biases)
                if self.projected:
                    expected.append((self.P, self.H))
                for shape in expected:
                    if self.weights[i].shape != shape:
                        return False
                    i += 1
            inputs = self.P * self.directions
        return True

    cdef take_resets(self, reset):
        """Cut the batch's rows where reset (T, B) says."""
        T = self.x.shape[1 if self.batch_first else 0]
        places = np.arange(T * self.B).reshape((self.B, T) if self.batch_first else (T, self.B))
        if self.batch_first:
            places = np.ascontiguousarray(places.T)
        self.reset = reset
        self.packing = packing(places, T * self.B, np.full(self.B, T), None, reset, True, 1)
        self.packed = self.packing.batch

    cdef bint needs_gradient(self):
        for tensor in (self.x, *self.states, *self.weights):
            if tensor.requires_grad:
                return True
        return False

    cdef bint has_few_rows(self):
        """Whether torch's own operator is faster: the products are shorter than comparing and packing the weights.

        It reads them as they are. oneDNN packs them too, so LSTM layers always run here. (Z5-2)
        """
        cdef double weights = self.kind.gates * self.H * <double> (self.P + self.weights[0].shape[1])
        cdef double rows = self.B
        if self.kind.form == INPUT:
            rows *= self.x.shape[1 if self.batch_first else 0]
        elif self.kind.form == DATA:
            rows = self.x.shape[0]
        if self.kind.form == CELL and self.kind.gates == 1:
            return rows < 4 or rows * weights < 5e5
        if self.kind.form != CELL and self.kind.states == 2:
            return False
        if self.taped:
            return rows < 2 and weights > 6e4
        if self.kind.form == CELL:
            return rows < 4
        return rows < 2 and weights > 4e4 or rows < 4 and weights > 8e5

    cdef Call call_of_layer(self, Py_ssize_t layer, x):
        """A call for one of the layers, time first, with the x that it reads."""
        cdef Call one = Call(self.kind)
        cdef Py_ssize_t parts = self.directions, each = len(self.weights) // self.layers
        one.x = x
        one.states = [state[layer * parts:(layer + 1) * parts] for state in self.states]
        one.weights = self.weights[layer * each:(layer + 1) * each]
        one.batch_sizes, one.packed, one.biases, one.projected = (
            self.batch_sizes, self.packed, self.biases, self.projected)
        one.B, one.H, one.P, one.directions = self.B, self.H, self.P, self.directions
        one.layers, one.batch_first, one.dropout, one.dtype = 1, False, 0, self.dtype
        one.taped = self.taped  # a later layer's input needs a gradient wherever anything before it does
        return one

    cdef remember_shapes(self, tuple tensors):
        self.shapes = [tensor.shape for tensor in tensors]
        if self.batch_sizes is not None:
            self.batch_sizes = self.batch_sizes.clone()

    cdef bint fits(self, tuple tensors):
        """Whether tensors are what they were in the forward run: assigned through `.data` they may be anything."""
        for tensor, shape in zip(tensors, self.shapes):
            if tensor.shape != shape or tensor_against(tensor, self.dtype) is not None:
                return False
        return True

    cdef forget_tensors(self):
        """Keep what was asked for alone: autograd keeps the tensors."""
        self.x, self.states, self.weights = None, None, None

    # --------------------------------------------------------------------------------------- the engine's arrays

    cdef cnp.ndarray rows_of(self, tensor):
        """x, y or a gradient of one as the engine takes it: (T, B, columns), or (N, columns) where it is packed."""
        cdef cnp.ndarray array
        if self.packing is not None:
            array = array_of(tensor)
            return self.packing.pack(array.reshape(-1, cnp.PyArray_DIM(array, 2)))
        array = array_of(tensor.transpose(0, 1) if self.batch_first else tensor)
        if self.kind.form == INPUT or self.packed is not None:
            return array
        columns = cnp.PyArray_DIM(array, 1)
        return array.reshape(cnp.PyArray_DIM(array, 0) // self.B, self.B, columns)

    cdef tensor_of_rows(self, cnp.ndarray array):
        """The other way: in the form of the operator's x or y, without a copy but where there are resets."""
        if self.packing is not None:
            T = len(self.packing.target) // self.B
            rows = self.packing.unpack(array)
            return from_numpy(rows.reshape(self.B if self.batch_first else T, -1, cnp.PyArray_DIM(array, 1)))
        if self.kind.form != INPUT and self.packed is None:
            array = array.reshape(-1, array.shape[2])
        return from_numpy(array.swapaxes(0, 1) if self.batch_first else array)

    cdef list kinds_of(self, states):
        """The arrays (layers * directions, B, width) of states or their gradients."""
        return [
            array.reshape(1, self.B, -1) if self.kind.form == CELL else array for array in arrays_of(states)
        ]

    cdef list tensors_of_kinds(self, list kinds):
        return [from_numpy(kind[0] if self.kind.form == CELL else kind) for kind in kinds]

    cdef Workspace workspace(self, list arrays, stamp, bint inputs):
        return borrow(
            self.kind.cell, self.layers, self.directions, self.biases, self.projected, arrays, stamp, inputs)

    cdef tuple forward(self, x, states, weights, bint taped):
        """y, the final states, and what the engine keeps for backward."""
        cdef list given = self.kinds_of(states), initial = given
        cdef cnp.ndarray rows = self.rows_of(x)
        cdef Workspace workspace
        if self.packing is not None:
            initial = [self.packing.initial_states(kind) for kind in given]
        workspace = self.workspace(arrays_of(weights), None, False)
        self.stamp = workspace.stamp
        try:
            y, final, records = workspace.stack.forward(
                rows, initial, taped, 0.0, None, threads_of_torch(), self.packed)
        finally:
            give_back(workspace)
        if self.packing is not None:
            final = [
                self.packing.final_states(kind, own, (<object> own).shape, own.dtype)
                for kind, own in zip(final, given)
            ]
        return self.tensor_of_rows(y), self.tensors_of_kinds(final), records

    cdef list backward(self, records, weights, dy, dfinal, needs):
        """The gradients of x, the states and the weights, None for what is not needed."""
        cdef list arrays = arrays_of(weights), kinds = self.gradient_kinds(dfinal), into
        cdef Workspace workspace
        cdef bint wants_x = needs[0]
        cdef cnp.ndarray rows = None if dy is None else self.rows_of(dy)
        cdef Py_ssize_t first = 1 + len(dfinal)
        into = [room_like(array) for array in arrays] if any(needs[first:]) else None
        given = kinds
        if self.packing is not None and kinds is not None:
            kinds = [self.packing.final_gradients(kind) for kind in kinds]
        workspace = self.workspace(arrays, self.stamp, wants_x)
        try:
            workspace.stack.prepare_backward(records, wants_x)
            dx, dinitial = workspace.stack.backward(
                records, rows, kinds, wants_x, self.gradients(into), threads_of_torch())
        finally:
            give_back(workspace)
        if self.packing is not None:
            dinitial = self.through_resets(dinitial, given)
        result = [self.tensor_of_rows(dx) if wants_x else None]
        result += [
            gradient if wanted else None
            for gradient, wanted in zip(self.tensors_of_kinds(dinitial), needs[1:first])
        ]
        if into is None:
            return result + [None] * len(arrays)
        return result + [from_numpy(array) if wanted else None for array, wanted in zip(into, needs[first:])]

    cdef list through_resets(self, list dinitial, list dfinal):
        """The gradients of the rows' initial states of those of the sequences', and of the final ones."""
        if dfinal is None:
            dfinal = [None] * len(dinitial)
        return [
            self.packing.initial_gradients(
                kind, own, (cnp.PyArray_DIM(kind, 0), self.B, cnp.PyArray_DIM(kind, 2)), kind.dtype)
            for kind, own in zip(dinitial, dfinal)
        ]

    cdef list gradient_kinds(self, dfinal):
        """The gradients of the final states as arrays, or None where there is none at all."""
        if all([gradient is None for gradient in dfinal]):
            return None
        widths = [self.P, self.H]
        dtype = np.float32 if self.dtype is float32 else np.float64
        shape = [self.layers * self.directions, self.B]
        return [
            np.zeros((*shape, widths[kind]), dtype) if gradient is None else self.kinds_of([gradient])[0]
            for kind, gradient in enumerate(dfinal)
        ]

    cdef list gradients(self, list into):
        """Gradients for each layer and direction, over these arrays in the order of the weights."""
        cdef Py_ssize_t each = 2 + 2 * self.biases + self.projected, i
        cdef list flat = []
        for i in range(0, each * self.layers * self.directions, each):
            if into is None:
                flat.append(Gradients())
            else:
                biases = into[i + 2:i + 4] if self.biases else [None, None]
                projection = into[i + each - 1] if self.projected else None
                flat.append(Gradients(into[i], into[i + 1], *biases, projection, True))
        return [tuple(flat[i:i + self.directions]) for i in range(0, len(flat), self.directions)]


cdef lengths_of(const int64_t *count, Py_ssize_t steps):
    """Steps of each sequence, the longest first, of the sequences that take each step."""
    cdef cnp.ndarray lengths = np.empty(count[0], dtype=np.int64)
    cdef int64_t *length = <int64_t *> cnp.PyArray_DATA(lengths)
    cdef Py_ssize_t t, p
    for t in range(steps):
        for p in range(count[t + 1] if t + 1 < steps else 0, count[t]):
            length[p] = t + 1
    return lengths
