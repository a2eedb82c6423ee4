"""Torch's recurrent operators on fastrnn's engine: tensors in, tensors out, gradients through torch's autograd.

Nothing of torch is needed to compile this. It is compiled so that a call costs little, and so that torch.compile, which
looks into the Python functions it meets, finds none.

Design
a) tensors.pyx has what a tensor must be to be read here, calls.pyx the arguments and the engine's run. What does not
   fit goes to torch's own operator, which also raises torch's own errors.
b) Autograd keeps the tensors that backward needs (save_for_backward), so that torch notices a change of them in place.
   What the engine keeps of a run serves one backward. Where it is used up, or was not kept because somebody packs or
   drops saved tensors (checkpoints, save_on_cpu), the run is done again from the saved tensors: the bits are the same.
c) y lies in the engine's memory. Whoever writes into it, as torch allows, makes backward do the run again, too.
d) Where a gradient is to be differentiated again, or comes in a form that only torch's own operators know, torch's
   operators run again from the saved tensors and give the gradients.
"""

import torch

from fastrnn.torch.calls cimport CELL, DATA, INPUT, Call, Kind
from fastrnn.torch.tensors cimport tensor_against

cdef object Tensor = torch.Tensor, int64 = torch.int64, grad_enabled = torch.is_grad_enabled
cdef object included = torch._C._dispatch_tls_is_dispatch_key_included, PYTHON = torch._C.DispatchKey.PythonDispatcher
cdef object COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
cdef object set_eval_frame = torch._C._dynamo.eval_frame.set_eval_frame
# Until PyTorch 2.7 nobody tells whether saved tensors are packed: what the engine keeps of a run stays, and a
# checkpoint saves no memory.
cdef object packs_saved_tensors = getattr(
    torch._C._autograd, "_top_saved_tensors_default_hooks", lambda ignored: None)

counts = {}  # how many calls of each operator took which way


# ------------------------------------------------------------------------------------------------------- operators


cdef class Operator(Kind):
    """One of torch's operators: called with its arguments, it computes here what it can, the rest with torch's own."""

    cdef readonly object overload
    cdef readonly str name
    cdef dict counts

    def __init__(self, overload, str cell, str form, int gates, int states):
        """overload: the torch.ops.aten.lstm.input, for example; cell: of the kernel table; form: input, data, cell"""
        self.overload, self.cell, self.gates, self.states = overload, cell, gates, states
        self.name = f"{overload._schema.name.partition('::')[2]}"
        self.form = {"input": INPUT, "data": DATA, "cell": CELL}[form]
        if self.form == DATA:
            self.name += ", packed"
        self.counts = counts.setdefault(self.name, {})

    def __call__(self, *arguments):
        """What the operator returns."""
        result = self.attempt(arguments)
        return self.by_torch(arguments) if result is None else result

    def attempt(self, tuple arguments):
        """The result, or None where torch's own operator is to compute it; counted either way."""
        cdef Call call = Call(self)
        return self.run(call) if self.count(call.take(arguments)) else None

    def with_resets(self, tuple arguments, reset):
        """As `attempt`, with the state 0 before the steps that reset (T, B), bool, says; of one direction."""
        cdef Call call = Call(self)
        cdef str reason = call.take(arguments)
        if reason is None and (self.form != INPUT or call.directions != 1 or (call.dropout > 0 and call.layers > 1)):
            reason = "resets with two directions or dropout"
        if not self.count(reason):
            return None
        call.take_resets(reset)
        return self.run(call)

    cdef bint count(self, str reason):
        """Whether there is no reason against computing here."""
        cdef str way = "fastrnn" if reason is None else "torch: " + reason
        self.counts[way] = self.counts.get(way, 0) + 1
        return reason is None

    cdef run(self, Call call):
        """What the operator returns."""
        if call.dropout > 0 and call.layers > 1:
            return self.run_with_dropout(call)
        y, final = run_layers(call)
        return self.returned(y, final)

    cdef returned(self, y, list final):
        if self.form == CELL:
            return tuple(final) if self.states == 2 else final[0]
        return (y, *final)

    cdef run_with_dropout(self, Call call):
        """Layer by layer, with torch's dropout between them: its generator makes the masks."""
        x = call.x.transpose(0, 1) if call.batch_first else call.x
        finals = []
        for layer in range(call.layers):
            x, final = run_layers(call.call_of_layer(layer, x))
            finals.append(final)
            if layer < call.layers - 1:
                x = torch.dropout(x, call.dropout, True)
        final = [torch.cat(kind) for kind in zip(*finals)]
        return self.returned(x.transpose(0, 1) if call.batch_first else x, final)

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


# -------------------------------------------------------------------------------------------------------- autograd


class Recurrence(torch.autograd.Function):
    """Layers in torch's graph."""

    @staticmethod
    def forward(ctx, Call call, *tensors):
        cdef Py_ssize_t first = 1 + call.kind.states
        cdef bint kept = packs_saved_tensors(True) is None
        ctx.save_for_backward(*tensors)
        call.remember_shapes(tensors)
        ctx.set_materialize_grads(False)
        y, final, records = call.forward(tensors[0], tensors[1:first], tensors[first:], kept)
        call.forget_tensors()
        ctx.call, ctx.records, ctx.shown = call, records if kept else None, y.detach()
        ctx.place = tensors[0].data_ptr()
        return (y, *final)

    @staticmethod
    def backward(ctx, dy, *dfinal):
        return (None, *gradients_of(ctx, dy, dfinal))


cdef object apply = super(torch.autograd.Function, Recurrence).apply


cdef tuple run_layers(Call call):
    """y and the final states, through autograd where a gradient may be wanted."""
    if call.taped:
        y, *final = apply(call, call.x, *call.states, *call.weights)
        return y, final
    y, final, _ = call.forward(call.x, call.states, call.weights, False)
    return y, final


cdef list gradients_of(ctx, dy, tuple dfinal):
    cdef Call call = ctx.call
    cdef tuple tensors = ctx.saved_tensors, needs = ctx.needs_input_grad[1:]
    cdef Py_ssize_t first = 1 + call.kind.states
    cdef bint fits = call.fits(tensors)
    records, shown, ctx.records, ctx.shown = ctx.records, ctx.shown, None, None
    for gradient in (dy, *dfinal):
        if gradient is not None:
            fits = fits and not grad_enabled() and tensor_against(gradient, call.dtype) is None
    if not fits:
        return gradients_by_torch(call, tensors, (dy, *dfinal), needs)
    if records is None or shown._version != 0 or tensors[0].data_ptr() != ctx.place:
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
    cdef Operator own = call.kind
    cdef Py_ssize_t first = 1 + own.states
    cdef bint again = grad_enabled()
    with torch.enable_grad():
        # Where one tensor is given twice or made of another, each is to get the gradient of its own place alone.
        tensors = tuple([
            tensor.view_as(tensor) if wanted else tensor.detach() for tensor, wanted in zip(tensors, needs)
        ])
        arguments = own.arguments_for(call, tensors[0], list(tensors[1:first]), list(tensors[first:]))
        if call.reset is None:
            outputs = own.by_torch_twice_differentiable(arguments)
        else:
            outputs = with_resets_by_torch(own.by_torch_twice_differentiable, arguments, call.reset)
        if own.form == CELL:
            final = outputs if own.states == 2 else (outputs,)
            outputs, dout = final, dout[1:]
        pairs = [(output, gradient) for output, gradient in zip(outputs, dout) if gradient is not None]
        wanted = [tensor for tensor, need in zip(tensors, needs) if need]
        found = iter(torch.autograd.grad(
            [output for output, _ in pairs], wanted, [gradient for _, gradient in pairs],
            create_graph=again, allow_unused=True) if wanted and pairs else ())
    return [next(found) if need else None for need in needs]
