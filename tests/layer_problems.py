"""A stack of twins with any options under a random linear loss: what it returns, and its gradients.

Everything goes by name: x, the states h_l0, c_l0, h_l0_reverse, ..., and PyTorch's names of weights.
Results are y and the final states; a gradient is called d and what it is the gradient of.
"""

import importlib
from dataclasses import dataclass, field
from itertools import pairwise

import cases
import numpy as np
from runs import as_tuple, from_tuple

from fastrnn.reference import lstmp, stack

T, B, I = 5, 4, 2  # noqa: E741
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")

# Name: (twin, its options). The LSTMP, which is PyTorch's LSTM with proj_size, has no class yet.
CELLS = {
    name: (importlib.import_module(f"fastrnn.reference.{kind.lower()}"), options)
    for name, kind, options in cases.CELLS
} | {"lstmp": (lstmp, {})}


@dataclass
class Problem:
    """Random arrays for a stack, and the rows' lengths, mask and resets."""

    name: str  # of CELLS
    seed: int = 0
    time: int = T
    batch: int = B
    widths: tuple = (3,)  # H of each layer
    projection: int = 2  # P, of the LSTMP alone
    merge: str | None = None
    dropout: bool = False
    integers: bool = False
    lengths: np.ndarray | None = None
    mask: np.ndarray | None = None
    zero_output_for_mask: bool | None = None
    reset: np.ndarray | None = None
    inputs: int = I
    arrays: dict = field(init=False)
    upstream: dict = field(init=False)
    masks: list | None = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.cell, self.options = CELLS[self.name]
        merged = 2 if self.merge == "concat" else 1
        outputs = [merged * self.columns("h", layer) for layer in range(len(self.widths))]
        lead = (self.time, self.batch)
        x = rng.integers(self.inputs, size=lead) if self.integers else rng.normal(size=(*lead, self.inputs))
        self.arrays = {"x": x}
        for layer, suffix in self.runs():
            for kind in self.cell.STATES:
                shape = (self.batch, self.columns(kind, layer))
                self.arrays[f"{kind}_l{layer}{suffix}"] = rng.normal(size=shape)
        for layer, suffix in self.runs():
            for weight, shape in zip(WEIGHTS, self.shapes(layer, [self.inputs, *outputs][layer]), strict=False):
                self.arrays[f"{weight}_l{layer}{suffix}"] = rng.normal(size=shape) * 0.7
        self.upstream = {"y": rng.normal(size=(*lead, outputs[-1]))}
        self.upstream |= {state: rng.normal(size=self.arrays[state].shape) for state in self.states()}
        self.masks = [(rng.random((*lead, width)) < 0.6) / 0.6 for width in outputs[:-1]] if self.dropout else None

    def runs(self):
        """Layer and suffix of every layer and direction, in PyTorch's order."""
        suffixes = ("",) if self.merge is None else ("", "_reverse")
        return [(layer, suffix) for layer in range(len(self.widths)) for suffix in suffixes]

    def columns(self, kind, layer):
        return self.projection if self.name == "lstmp" and kind == "h" else self.widths[layer]

    def shapes(self, layer, inputs):
        rows, out = len(self.cell.GATES) * self.widths[layer], self.columns("h", layer)
        four = [(rows, inputs), (rows, out), (rows,), (rows,)]
        return [*four, (out, self.widths[layer])] if self.name == "lstmp" else four

    def states(self):
        return [f"{kind}_l{layer}{suffix}" for kind in self.cell.STATES for layer, suffix in self.runs()]

    def weights(self):
        return [name for name in self.arrays if name.startswith(WEIGHTS)]

    def steps(self):
        options = ("lengths", "mask", "zero_output_for_mask", "reset")
        return {option: getattr(self, option) for option in options}

    def inside(self):
        """(T, B): the step is one of the row's own."""
        lengths = np.full(self.batch, self.time) if self.lengths is None else self.lengths
        return np.arange(self.time)[:, None] < lengths

    def taken(self):
        """(T, B): the row takes the step."""
        return self.inside() if self.mask is None else self.inside() & self.mask

    def zeros(self):
        """Whether outputs of masked steps are 0."""
        return self.merge is not None if self.zero_output_for_mask is None else self.zero_output_for_mask

    def as_states(self, named, listed=None):
        """What the stack takes: each kind an array, or a list where layers differ in width."""
        kinds = []
        for kind in self.cell.STATES:
            own = [[] for _ in self.widths]
            for layer, suffix in self.runs():
                own[layer].append(named[f"{kind}_l{layer}{suffix}"])
            unequal = len({array.shape for layer in own for array in layer}) > 1
            kinds.append([np.stack(layer) for layer in own] if unequal or listed else np.concatenate(own))
        return from_tuple(kinds)

    def by_name(self, states, prefix=""):
        kinds = [states] if len(self.cell.STATES) == 1 else states
        flat = [array for kind in kinds for layer in kind for array in (layer if layer.ndim == 3 else [layer])]
        return {prefix + name: array for name, array in zip(self.states(), flat, strict=True)}

    def as_layers(self, named):
        names = ([f"{w}_l{layer}{suffix}" for w in WEIGHTS] for layer, suffix in self.runs())
        return [tuple(named[name] for name in own if name in named) for own in names]

    def forward(self, arrays=None, listed=None):
        """Return y and the final states by name, and the tape."""
        arrays = self.arrays if arrays is None else arrays
        y, final, tape = stack.forward(
            self.cell,
            arrays["x"],
            self.as_states(arrays, listed),
            self.as_layers(arrays),
            self.masks,
            merge=self.merge,
            **self.steps(),
            **self.options,
        )
        return {"y": y} | self.by_name(final), tape

    def run(self, listed=None):
        """Every result and every gradient."""
        results, tape = self.forward(listed=listed)
        dx, initial, dlayers = stack.backward(tape, self.upstream["y"], self.as_states(self.upstream, listed))
        dweights = dict(zip(self.weights(), (dw for own in dlayers for dw in own), strict=True))
        gradients = {"dx": dx} | self.by_name(initial, "d") | {f"d{name}": dw for name, dw in dweights.items()}
        return results | gradients

    def loss(self, arrays):
        results, _ = self.forward(arrays)
        return sum((upstream * results[name]).sum() for name, upstream in self.upstream.items())

    def differentiable(self):
        return [name for name in self.arrays if name != "x" or not self.integers]

    def rows(self, chosen):
        """The same problem for these rows alone, in this order."""
        picked = {"batch": len(chosen)}
        for option in ("lengths", "mask", "reset"):
            value = getattr(self, option)
            picked[option] = value if value is None else value[..., chosen]
        other = Problem(**{**self.settings(), **picked})

        def pick(arrays):
            axes = dict.fromkeys(arrays, 0) | {"x": 1, "y": 1}
            kept = self.weights()
            return {name: a if name in kept else a.take(chosen, axes[name]) for name, a in arrays.items()}

        other.arrays, other.upstream = pick(self.arrays), pick(self.upstream)
        other.masks = None if self.masks is None else [mask[:, chosen] for mask in self.masks]
        return other

    def but(self, **changes):
        """The same arrays under other options, of the same shapes."""
        other = Problem(**{**self.settings(), **changes})
        other.arrays, other.upstream, other.masks = self.arrays, self.upstream, self.masks
        return other

    def settings(self):
        return {name: getattr(self, name) for name, f in self.__dataclass_fields__.items() if f.init}


def by_hand(problem):
    """Every result and gradient of `problem`, by the cell alone on one row and one piece at a time.

    Nothing is shared with the driver: a row is cut at its resets, the steps that a piece does not
    take are left out, the cell runs over the rest, and the outputs are laid back into time.
    """
    x, grads, backs, results = problem.arrays["x"], {}, [], {}
    for layer in range(len(problem.widths)):
        if layer and problem.masks is not None:
            x = x * problem.masks[layer - 1]
        outputs, own = [], []
        for number, suffix in problem.runs():
            if number == layer:
                y, finals, back = one_direction(problem, x, f"_l{layer}{suffix}", suffix == "_reverse")
                outputs.append(y)
                own.append(back)
                results |= finals
        backs.append((outputs, own))
        x = merged(problem.merge, outputs)
    results["y"] = x

    dy = problem.upstream["y"]
    for layer in reversed(range(len(problem.widths))):
        outputs, own = backs[layer]
        dxs = []
        for back, dy_own in zip(own, unmerged(problem.merge, dy, outputs), strict=True):
            dx, named = back(dy_own)
            dxs.append(dx)
            grads |= named
        dx = None if dxs[0] is None else sum(dxs)
        if layer:
            dy = dx if problem.masks is None else dx * problem.masks[layer - 1]
    return results | {"dx": dx} | grads


def merged(merge, outputs):
    if merge == "concat":
        return np.concatenate(outputs, axis=-1)
    if merge == "mul":
        return np.prod(outputs, axis=0)
    return sum(outputs) / (2 if merge == "ave" else 1)


def unmerged(merge, dy, outputs):
    if merge == "concat":
        half = dy.shape[-1] // 2
        return dy[..., :half], dy[..., half:]
    if merge == "mul":
        return dy * outputs[1], dy * outputs[0]
    return [dy / (2 if merge == "ave" else 1)] * len(outputs)


def pieces(problem, b, reverse):
    """Row b's steps in the order of the direction, cut at resets: (steps, starts from the initial state)."""
    steps = list(range(problem.inside()[:, b].sum()))
    cuts = [] if problem.reset is None else [t for t in steps if problem.reset[t, b]]
    bounds = [0, *(t for t in cuts if t), len(steps)]
    parts = [steps[start:end] for start, end in pairwise(bounds)]
    if reverse:
        parts = [part[::-1] for part in parts[::-1]]
    return [(part, i == 0 and (reverse or 0 not in cuts)) for i, part in enumerate(parts)]


def one_direction(problem, x, suffix, reverse):
    """One layer in one direction: y, the final states by name, and a function of dy for the gradients."""
    cell, taken = problem.cell, problem.taken()
    kinds = [kind + suffix for kind in cell.STATES]
    weights = [problem.arrays[w + suffix] for w in WEIGHTS if w + suffix in problem.arrays]
    y = np.zeros((problem.time, problem.batch, problem.arrays[kinds[0]].shape[-1]))
    finals = {kind: problem.arrays[kind].copy() for kind in kinds}
    tapes = []
    for b in range(problem.batch):
        for steps, first in pieces(problem, b, reverse):
            state = [problem.arrays[kind][b : b + 1] * first for kind in kinds]
            own = [t for t in steps if taken[t, b]]
            sources, tape = {}, None  # t: the step whose output y[t, b] is
            if own:
                y_own, state, tape = cell.forward(x[own, b : b + 1], from_tuple(state), weights, **problem.options)
                state = as_tuple(state)
                newest = None
                for t in steps:
                    newest = own.index(t) if t in own else newest
                    if newest is not None and (t in own or not problem.zeros()):
                        sources[t] = newest
                        y[t, b] = y_own[newest, 0]
            if steps:
                for kind, part in zip(kinds, state, strict=True):
                    finals[kind][b] = part[0]
            tapes.append((b, first, steps, own, sources, tape))

    def back(dy):
        dx = None if np.issubdtype(x.dtype, np.integer) else np.zeros(x.shape)
        dstates = {f"d{kind}": np.zeros_like(problem.arrays[kind]) for kind in kinds}
        dweights = [np.zeros_like(weight) for weight in weights]
        last = {b: i for i, (b, _, steps, *_) in enumerate(tapes) if steps}  # a row's last piece
        for i, (b, first, steps, own, sources, tape) in enumerate(tapes):
            if not steps:  # length 0: the final state is the initial one
                dparts = [problem.upstream[kind][b : b + 1] for kind in kinds]
            else:
                dparts = [problem.upstream[kind][b : b + 1] * (last[b] == i) for kind in kinds]
            if own:
                dy_own = np.zeros((len(own), 1, dy.shape[-1]))
                for t, source in sources.items():
                    dy_own[source, 0] += dy[t, b]
                dx_own, dparts, dw = cell.backward(tape, dy_own, from_tuple(dparts))
                dparts = as_tuple(dparts)
                dweights = [total + one for total, one in zip(dweights, dw, strict=True)]
                if dx is not None:
                    dx[own, b] = dx_own[:, 0]
            if first:
                for kind, part in zip(kinds, dparts, strict=True):
                    dstates[f"d{kind}"][b] = part[0]
        names = [f"d{w}{suffix}" for w in WEIGHTS]
        return dx, dstates | dict(zip(names, dweights, strict=False))

    return y, finals, back
