"""Torch's recurrent operators on fastrnn's engine: tensors in, tensors out, gradients through torch's autograd.

Nothing of torch is needed to compile this. It is compiled so that a call costs little, and so that torch.compile, which
looks into the Python functions it meets, finds none.

Design
a) A tensor is read where it lies, by its address, after its type, device, dtype and shape have been checked. What is
   not exactly of the plain kind goes to torch's own operator, which also raises torch's own errors (`reasons`).
b) Weights are lent to a workspace for one run (_core/workspace.pyx). Nothing is kept by address, identity or version.
c) Autograd keeps the tensors that backward needs (save_for_backward), so that torch notices a change of them in place.
   What the engine keeps of a run serves one backward. Where it is used up, or was not kept because somebody packs or
   drops saved tensors (checkpoints, save_on_cpu), the run is done again from the saved tensors: the bits are the same.
d) y lies in the engine's memory. Whoever writes into it, as torch allows, makes backward do the run again, too.
e) Where a gradient is to be differentiated again, or comes in a form that only torch's own operators know, torch's
   operators run again from the saved tensors and give the gradients.
"""

from libc.stdint cimport int64_t, uintptr_t

import numpy as np
import torch

cimport numpy as cnp

from fastrnn._core.gradients cimport Gradients
from fastrnn._core.tape cimport PackedBatch
from fastrnn._core.workspace cimport Workspace, borrow, give_back

from fastrnn._core.memory import empty
from fastrnn.packing import packing

cnp.import_array()

cdef enum Form:
    # How an operator takes its arguments: a batch of equal lengths, a packed one, a single step
    INPUT, DATA, CELL

cdef object Tensor = torch.Tensor, Parameter = torch.nn.Parameter
cdef object from_numpy = torch.from_numpy, threads_of_torch = torch.get_num_threads
cdef object grad_enabled = torch.is_grad_enabled, autocast = torch.is_autocast_enabled
cdef object tracing = torch._C._get_tracing_state, transforms = torch._C._functorch.peek_interpreter_stack
cdef object modes = torch._C._len_torch_dispatch_stack, keys_of = torch._C._dispatch_keys
cdef object batched = torch._C._functorch.is_legacy_batchedtensor
cdef object set_eval_frame = torch._C._dynamo.eval_frame.set_eval_frame
cdef object forward_ad = torch.autograd.forward_ad
cdef object float32 = torch.float32, float64 = torch.float64, int64 = torch.int64
cdef object included = torch._C._dispatch_tls_is_dispatch_key_included, PYTHON = torch._C.DispatchKey.PythonDispatcher
cdef object COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd

# What not every version that is tested has (torch/versions.py):
# 2.4 gives a set of keys no number, but a text.
cdef object value_of = getattr(torch._C.DispatchKeySet, "raw_repr", torch._C.DispatchKeySet.__repr__)
# Until 2.7 nobody tells whether saved tensors are packed: what the engine keeps of a run stays, and a checkpoint saves
# no memory.
cdef object packs_saved_tensors = getattr(
    torch._C._autograd, "_top_saved_tensors_default_hooks", lambda ignored: None)

with torch.inference_mode():
    _inference = value_of(keys_of(torch.zeros(1)))
cdef object PLAIN = value_of(keys_of(torch.zeros(1))), INFERENCE = _inference

cdef bint by_speed = True


def set_by_speed(bint wanted):
    """Whether torch's own operator gets the calls that it does faster; if not, all that can run here do (for tests)."""
    global by_speed
    by_speed = wanted


calls = {}  # how many calls of each operator took which way


# --------------------------------------------------------------------------------------------- what goes elsewhere


cdef str mode_against():
    """Why nothing may be computed here now, or None."""
    if autocast("cpu"):
        return "autocast"
    if transforms() is not None:
        return "functorch"
    if modes() > 0 or included(PYTHON):
        return "dispatch mode, compile or export"
    if tracing() is not None:
        return "tracing"
    if forward_ad._current_level >= 0:
        return "forward-mode gradients"
    return None


cdef str tensor_against(tensor, dtype):
    """Why a tensor cannot be read here, or None."""
    cdef object kind = type(tensor)
    if kind is not Tensor and kind is not Parameter:
        return "tensor subclass"
    if tensor.dtype is not dtype:
        return "mixed dtypes"
    cdef object keys = value_of(keys_of(tensor))
    if keys != PLAIN and keys != INFERENCE:
        return "not a plain CPU tensor"
    return None


# -------------------------------------------------------------------------------------------------- tensors, arrays


cdef cnp.ndarray array_of(tensor):
    """The tensor's memory as an array, or that of a copy where it is not contiguous or lies between numbers' places."""
    cdef cnp.npy_intp shape[3]
    cdef uintptr_t address
    cdef object sizes = tensor.shape
    cdef cnp.ndarray array
    cdef int axes = len(sizes), i
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    address = tensor.data_ptr()
    cdef object dtype = tensor.dtype
    if address % (4 if dtype is float32 else 8) != 0:  # of torch.frombuffer or a file that is mapped
        tensor = tensor.clone()
        address = tensor.data_ptr()
    for i in range(axes):
        shape[i] = sizes[i]
    cdef int type_num = cnp.NPY_FLOAT32 if dtype is float32 else cnp.NPY_FLOAT64 if dtype is float64 else cnp.NPY_INT64
    array = cnp.PyArray_SimpleNewFromData(axes, shape, type_num, <void *> address)
    cnp.set_array_base(array, tensor)
    return array


cdef list arrays_of(tensors):
    return [array_of(tensor) for tensor in tensors]


cdef cnp.ndarray room_like(cnp.ndarray array):
    """Room for a gradient: of a weight, uninitialised, or of a bias, zeros."""
    cdef cnp.ndarray room = empty((<object> array).shape, array.dtype)
    if cnp.PyArray_NDIM(room) == 1:
        room.fill(0)
    return room


# ------------------------------------------------------------------------------------------------------- operators


cdef class Operator:
    """One of torch's operators: called with its arguments, it computes here what it can, the rest with torch's own."""

    cdef readonly object overload
    cdef readonly str name, cell
    cdef Form form
    cdef int states, gates
    cdef dict counts

    def __init__(self, overload, str cell, str form, int gates, int states):
        """overload: the torch.ops.aten.lstm.input, for example; cell: of the kernel table; form: input, data, cell"""
        self.overload, self.cell, self.gates, self.states = overload, cell, gates, states
        self.name = f"{overload._schema.name.partition('::')[2]}"
        self.form = {"input": INPUT, "data": DATA, "cell": CELL}[form]
        if self.form == DATA:
            self.name += ", packed"
        self.counts = calls.setdefault(self.name, {})

    def __call__(self, *arguments):
        """What the operator returns."""
        result = self.attempt(arguments)
        return self.by_torch(arguments) if result is None else result

    def attempt(self, tuple arguments):
        """The result, or None where torch's own operator is to compute it; counted either way."""
        cdef Call call = Call(self)
        return call.run() if self.count(call.take(arguments)) else None

    def with_resets(self, tuple arguments, reset):
        """As `attempt`, with the state 0 before the steps that reset (T, B), bool, says; of one direction."""
        cdef Call call = Call(self)
        cdef str reason = call.take(arguments)
        if reason is None and (self.form != INPUT or call.directions != 1 or (call.dropout > 0 and call.layers > 1)):
            reason = "resets with two directions or dropout"
        if not self.count(reason):
            return None
        call.take_resets(reset)
        return call.run()

    cdef bint count(self, str reason):
        """Whether there is no reason against computing here."""
        cdef str way = "fastrnn" if reason is None else "torch: " + reason
        self.counts[way] = self.counts.get(way, 0) + 1
        return reason is None

    def by_torch(self, tuple arguments):
        """What torch's own operator returns, as if this one were not here."""
        if included(PYTHON):
            return self.overload.decompose(*arguments)
        return self.overload._op_dk(COMPOSITE, *arguments)

    def by_torch_twice_differentiable(self, tuple arguments):
        """What `by_torch` returns, with second gradients.

        oneDNN's LSTM has none, and torch takes it for batches of equal lengths: they go packed. To switch oneDNN off
        meanwhile would concern all threads.
        """
        if self.form != INPUT or self.states != 2:
            return self.by_torch(arguments)
        x, hx, weights, biases, layers, dropout, train, bidirectional, batch_first = arguments
        if batch_first:
            x = x.transpose(0, 1)
        T, B = x.shape[:2]
        data, batch_sizes = x.flatten(0, 1), torch.full((T,), B, dtype=int64, device="cpu")
        y, *final = self.overload._overloadpacket.data._op_dk(
            COMPOSITE, data, batch_sizes, hx, weights, biases, layers, dropout, train, bidirectional)
        y = y.unflatten(0, (T, B))
        return (y.transpose(0, 1) if batch_first else y, *final)

    cdef arguments_for(self, Call call, x, list states, weights):
        """The operator's arguments for other tensors than a call's own; without dropout."""
        hx = states if self.states == 2 else states[0]
        if self.form == CELL:
            return (x, hx, *weights)
        options = (call.biases, call.layers, 0.0, False, call.directions == 2)
        if self.form == DATA:
            return (x, call.batch_sizes, hx, weights, *options)
        return (x, hx, weights, *options, call.batch_first)


cdef bint overriding = False


def override(bint wanted):
    """Whether an `Override` computes here what it can."""
    global overriding
    overriding = wanted


cdef class Override:
    """What the dispatcher calls in place of one of torch's operators."""

    cdef Operator operator

    def __init__(self, Operator operator):
        self.operator = operator

    def __call__(self, *arguments):
        result = self.operator.attempt(arguments) if overriding else None
        return self.operator.by_torch(arguments) if result is None else result


cdef class Call:
    """The arguments of a call, checked, and what they ask for."""

    cdef Operator operator
    cdef object x, batch_sizes, dtype
    cdef list states, weights
    cdef bint biases, batch_first, projected, taped
    cdef Py_ssize_t layers, B, H, P
    cdef int directions
    cdef double dropout
    cdef PackedBatch packed
    cdef object packing         # of a batch with resets (fastrnn.packing), or None
    cdef object reset           # and those, (T, B)
    cdef object stamp           # of the workspace after the forward run

    def __init__(self, Operator operator):
        self.operator = operator

    # ------------------------------------------------------------------------------------------------- checking

    cdef str take(self, tuple arguments):
        """Take the operator's arguments; a reason against computing here, or None."""
        cdef bint train = False, bidirectional = False
        cdef str reason = mode_against()
        self.layers, self.dropout, self.batch_first, self.batch_sizes = 1, 0, False, None
        if reason is not None:
            return reason
        if self.operator.form == CELL:
            self.x, hx, *weights = arguments
            self.biases = len(weights) == 4 and weights[2] is not None
            if len(weights) > 2 and not self.biases and any([bias is not None for bias in weights[2:]]):
                return "one bias of two"
            weights = weights[:4 if self.biases else 2]
        elif self.operator.form == DATA:
            self.x, self.batch_sizes, hx, weights, self.biases, self.layers, self.dropout, train, bidirectional = \
                arguments
        else:
            self.x, hx, weights, self.biases, self.layers, self.dropout, train, bidirectional, self.batch_first = \
                arguments
        self.directions = 2 if bidirectional else 1
        if not train:
            self.dropout = 0
        self.states = list(hx) if self.operator.states == 2 else [hx]
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
        cdef int axes = 3 if self.operator.form == INPUT else 2
        cdef object shape = self.x.shape
        cdef Py_ssize_t parts = self.layers * self.directions
        if len(shape) != axes or 0 in shape or len(self.states) != self.operator.states or self.layers < 1:
            return False
        if self.operator.form == INPUT:
            self.B = shape[0 if self.batch_first else 1]
        elif self.operator.form == CELL:
            self.B = shape[0]
        elif not self.take_batch_sizes():
            return False
        cdef object recurrent = self.weights[1].shape if len(self.weights) > 1 else ()
        if len(recurrent) != 2 or recurrent[0] % self.operator.gates or 0 in recurrent:
            return False
        self.H, self.P = recurrent[0] // self.operator.gates, recurrent[1]
        self.projected = self.P != self.H
        cdef int axes_of_state = 2 if self.operator.form == CELL else 3
        for kind, state in enumerate(self.states):
            width = self.H if kind else self.P
            if state.shape != ((<object> (self.B, width)) if axes_of_state == 2 else (<object> (parts, self.B, width))):
                return False
        return not self.projected or (self.operator.states == 2 and self.operator.form != CELL)

    cdef bint take_batch_sizes(self):
        """Whether the batch sizes are what a PackedSequence has; the packed batch is then known."""
        cdef cnp.ndarray sizes
        cdef const int64_t *count
        cdef Py_ssize_t t, total = 0, steps
        given = self.batch_sizes
        if type(given) is not Tensor or given.dtype is not int64 or not given.is_cpu or given.dim() != 1:
            return False
        sizes = array_of(given)
        steps, count = cnp.PyArray_SIZE(sizes), <const int64_t *> cnp.PyArray_DATA(sizes)
        for t in range(steps):
            if count[t] < 1 or (t and count[t] > count[t - 1]):
                return False
            total += count[t]
        if steps == 0 or total != self.x.shape[0]:
            return False
        self.B = count[0]
        if count[steps - 1] != self.B:  # equal lengths are no ragged batch
            self.packed = PackedBatch(lengths_of(count, steps))
        return True

    cdef bint weights_fit(self):
        """Whether there are all weights, in the shapes that x and the first of them ask for."""
        cdef Py_ssize_t each = 2 + 2 * self.biases + self.projected, rows = self.operator.gates * self.H, i = 0
        cdef Py_ssize_t inputs = self.x.shape[2 if self.operator.form == INPUT else 1]
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
        cdef double weights = self.operator.gates * self.H * <double> (self.P + self.weights[0].shape[1])
        cdef double rows = self.B
        if self.operator.form == INPUT:
            rows *= self.x.shape[1 if self.batch_first else 0]
        elif self.operator.form == DATA:
            rows = self.x.shape[0]
        if self.operator.form == CELL and self.operator.gates == 1:
            return rows < 4 or rows * weights < 5e5
        if self.operator.form != CELL and self.operator.states == 2:
            return False
        if self.taped:
            return rows < 2 and weights > 6e4
        if self.operator.form == CELL:
            return rows < 4
        return rows < 2 and weights > 4e4 or rows < 4 and weights > 8e5

    # -------------------------------------------------------------------------------------------------- running

    cdef run(self):
        """What the operator returns."""
        if self.dropout > 0 and self.layers > 1:
            return self.run_with_dropout()
        y, final = self.run_layers()
        return self.returned(y, final)

    cdef returned(self, y, list final):
        if self.operator.form == CELL:
            return tuple(final) if self.operator.states == 2 else final[0]
        return (y, *final)

    cdef run_layers(self):
        """y and the final states, through autograd where a gradient may be wanted."""
        if self.taped:
            y, *final = apply(self, self.x, *self.states, *self.weights)
            return y, final
        y, final, _ = self.forward(self.x, self.states, self.weights, False)
        return y, final

    cdef run_with_dropout(self):
        """Layer by layer, with torch's dropout between them: its generator makes the masks."""
        cdef Call one
        cdef Py_ssize_t parts = self.directions, each = len(self.weights) // self.layers, layer
        x = self.x.transpose(0, 1) if self.batch_first else self.x
        finals = []
        for layer in range(self.layers):
            one = self.single_layer()
            one.x = x
            one.states = [state[layer * parts:(layer + 1) * parts] for state in self.states]
            one.weights = self.weights[layer * each:(layer + 1) * each]
            x, final = one.run_layers()
            finals.append(final)
            if layer < self.layers - 1:
                x = torch.dropout(x, self.dropout, True)
        final = [torch.cat(kind) for kind in zip(*finals)]
        return self.returned(x.transpose(0, 1) if self.batch_first else x, final)

    cdef Call single_layer(self):
        """A call for one of the layers, time first, without its tensors."""
        cdef Call one = Call(self.operator)
        one.batch_sizes, one.packed, one.biases, one.projected = (
            self.batch_sizes, self.packed, self.biases, self.projected)
        one.B, one.H, one.P, one.directions = self.B, self.H, self.P, self.directions
        one.layers, one.batch_first, one.dropout, one.dtype = 1, False, 0, self.dtype
        one.taped = self.taped  # a later layer's input needs a gradient wherever anything before it does
        return one

    # --------------------------------------------------------------------------------------- the engine's arrays

    cdef cnp.ndarray rows_of(self, tensor):
        """x, y or a gradient of one as the engine takes it: (T, B, columns), or (N, columns) where it is packed."""
        cdef cnp.ndarray array
        if self.packing is not None:
            array = array_of(tensor)
            return self.packing.pack(array.reshape(-1, cnp.PyArray_DIM(array, 2)))
        array = array_of(tensor.transpose(0, 1) if self.batch_first else tensor)
        if self.operator.form == INPUT or self.packed is not None:
            return array
        columns = cnp.PyArray_DIM(array, 1)
        return array.reshape(cnp.PyArray_DIM(array, 0) // self.B, self.B, columns)

    cdef tensor_of_rows(self, cnp.ndarray array):
        """The other way: in the form of the operator's x or y, without a copy but where there are resets."""
        if self.packing is not None:
            T = len(self.packing.target) // self.B
            rows = self.packing.unpack(array)
            return from_numpy(rows.reshape(self.B if self.batch_first else T, -1, cnp.PyArray_DIM(array, 1)))
        if self.operator.form != INPUT and self.packed is None:
            array = array.reshape(-1, array.shape[2])
        return from_numpy(array.swapaxes(0, 1) if self.batch_first else array)

    cdef list kinds_of(self, states):
        """The arrays (layers * directions, B, width) of states or their gradients."""
        return [
            array.reshape(1, self.B, -1) if self.operator.form == CELL else array for array in arrays_of(states)
        ]

    cdef list tensors_of_kinds(self, list kinds):
        return [from_numpy(kind[0] if self.operator.form == CELL else kind) for kind in kinds]

    cdef Workspace workspace(self, list arrays, stamp):
        return borrow(self.operator.cell, self.layers, self.directions, self.biases, self.projected, arrays, stamp)

    cdef tuple forward(self, x, states, weights, bint taped):
        """y, the final states, and what the engine keeps for backward."""
        cdef list given = self.kinds_of(states), initial = given
        cdef cnp.ndarray rows = self.rows_of(x)
        cdef Workspace workspace = self.workspace(arrays_of(weights), None)
        self.stamp = workspace.stamp
        if self.packing is not None:
            initial = [self.packing.initial_states(kind) for kind in given]
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
        workspace = self.workspace(arrays, self.stamp)
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


# -------------------------------------------------------------------------------------------------------- autograd


class Recurrence(torch.autograd.Function):
    """Layers in torch's graph."""

    @staticmethod
    def forward(ctx, Call call, *tensors):
        cdef Py_ssize_t first = 1 + call.operator.states
        cdef bint kept = packs_saved_tensors(True) is None
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        y, final, records = call.forward(tensors[0], tensors[1:first], tensors[first:], kept)
        call.x, call.states, call.weights = None, None, None
        ctx.call, ctx.records, ctx.shown = call, records if kept else None, y.detach()
        return (y, *final)

    @staticmethod
    def backward(ctx, dy, *dfinal):
        return (None, *gradients_of(ctx, dy, dfinal))


cdef object apply = super(torch.autograd.Function, Recurrence).apply


cdef list gradients_of(ctx, dy, tuple dfinal):
    cdef Call call = ctx.call
    cdef tuple tensors = ctx.saved_tensors, needs = ctx.needs_input_grad[1:]
    cdef Py_ssize_t first = 1 + call.operator.states
    records, shown, ctx.records, ctx.shown = ctx.records, ctx.shown, None, None
    for gradient in (dy, *dfinal):
        if gradient is not None and (grad_enabled() or tensor_against(gradient, call.dtype) is not None):
            return gradients_by_torch(call, tensors, (dy, *dfinal), needs)
    if records is None or shown._version != 0:
        _, _, records = call.forward(tensors[0], tensors[1:first], tensors[first:], True)
    return call.backward(records, tensors[first:], dy, dfinal, needs)


def unseen(function, *arguments):
    """What a function of ours returns. torch.compile does not look into it: it would take its NumPy for torch's."""
    before = set_eval_frame(None)
    try:
        return function(*arguments)
    finally:
        set_eval_frame(before)


def with_resets_by_torch(operator, tuple arguments, reset):
    """What `Operator.with_resets` returns, of torch's operator: it runs from one reset to the next.

    arguments: of `lstm.input` or its like, for one direction
    reset: (T, B), bool, an array; or a tensor that has no numbers to read, in transforms and tracers: each step is run
    """
    cdef bint unread = isinstance(reset, Tensor)
    x, state, *options, batch_first = arguments
    if batch_first:
        x = x.transpose(0, 1)
    single = not isinstance(state, (list, tuple))
    states, ys = ([state] if single else list(state)), []
    begins = [t for t in range(len(x)) if t == 0 or unread or reset[t].any()]
    for begin, end in zip(begins, [*begins[1:], len(x)]):
        kept = (~reset[begin] if unread else torch.from_numpy(~reset[begin]))[:, None]
        states = [torch.where(kept, one, torch.zeros_like(one)) for one in states]
        y, *states = operator((x[begin:end], states[0] if single else states, *options, False))
        ys.append(y)
    y = torch.cat(ys)
    return (y.transpose(0, 1) if batch_first else y, *states)


cdef list gradients_by_torch(Call call, tuple tensors, tuple dout, tuple needs):
    """The gradients as torch's own operators give them, from the beginning; they may be differentiated again."""
    cdef Py_ssize_t first = 1 + call.operator.states
    cdef bint again = grad_enabled()
    with torch.enable_grad():
        # Where one tensor is given twice or made of another, each is to get the gradient of its own place alone.
        tensors = tuple([
            tensor.view_as(tensor) if wanted else tensor.detach() for tensor, wanted in zip(tensors, needs)
        ])
        arguments = call.operator.arguments_for(call, tensors[0], list(tensors[1:first]), list(tensors[first:]))
        if call.reset is None:
            outputs = call.operator.by_torch_twice_differentiable(arguments)
        else:
            outputs = with_resets_by_torch(call.operator.by_torch_twice_differentiable, arguments, call.reset)
        if call.operator.form == CELL:
            final = outputs if call.operator.states == 2 else (outputs,)
            outputs, dout = final, dout[1:]
        pairs = [(output, gradient) for output, gradient in zip(outputs, dout) if gradient is not None]
        wanted = [tensor for tensor, need in zip(tensors, needs) if need]
        found = iter(torch.autograd.grad(
            [output for output, _ in pairs], wanted, [gradient for _, gradient in pairs],
            create_graph=again, allow_unused=True, is_grads_batched=False) if wanted and pairs else ())
    return [next(found) if need else None for need in needs]
