"""Every argument given every odd value: losses, windows, clipping and optimisers."""

import math
from functools import partial

import numpy as np
from odd_values import (
    ANYTHING,
    LEFT_OUT,
    MOST,
    REFUSED,
    THREADS,
    B,
    Call,
    I,
    T,
    V,
    absent,
    assert_refused_or_stands_for,
    count,
    each_argument_of,
    flag,
    head,
    is_masked,
    lengths,
    nothing,
    number,
    positive,
    share,
)
from runs import floats

import fastrnn


def absent_or(only):
    """One truth value alone."""
    return lambda value: only if flag(value) is only else REFUSED


def text(value):
    """The values that are two symbols or more."""
    return [0, 1] if isinstance(value, range) else REFUSED


def rate(value):
    return 0.0 if number(value) == 0 else positive(value)


def limit(value):
    return math.inf if number(value) is not REFUSED and number(value) > MOST else positive(value)


def gradients(value):
    """An empty dict or list of them has no gradients, and the norm 0."""
    if type(value) in (dict, list, tuple) and len(value) == 0:
        return {}
    return REFUSED


def gradient(value):
    if not isinstance(value, np.ndarray) or is_masked(value) or value.dtype.kind != "f":
        return REFUSED
    return ANYTHING if np.isfinite(value).all() else LEFT_OUT  # FloatingPointError


def optimised(rule):
    def optimise(**given):
        layer = head()
        optimizer = rule(**{"modules": layer, **given})
        return stepped(layer, optimizer)

    return optimise


def stepped(layer, optimizer):
    for i in range(2):
        layer.flat_grads[:] = floats(layer.flat_grads.size, seed=i)
        optimizer.step()
    return [layer.flat_params]


def hyperparameters(rule):
    def optimise(**given):
        layer = head()
        optimizer = rule(layer)
        for name, value in given.items():
            setattr(optimizer, name, value)
        return stepped(layer, optimizer)

    return optimise


def resumed(rule, **changes):
    def optimise(**given):
        layer = head()
        optimizer = rule(layer)
        optimizer.load_state_dict({**optimizer.state_dict(), **given})
        return stepped(layer, optimizer)

    return optimise


def clipped(function, name):
    def clip(**given):
        own = head()
        own.flat_grads[:] = floats(own.flat_grads.size)
        result = function(**{"grads": own.grads, **given})
        return [np.array(0.0 if result is None else result), own.flat_grads]

    return clip


def window(**given):
    windows = fastrnn.tbptt(**given)
    return [array for pair in windows for array in pair]


def placed(position):
    windows = fastrnn.tbptt(np.arange(9), batch_size=1, seq_length=2)
    windows.position = position
    return [windows.position, *(array for pair in windows for array in pair)]


RATES = {"lr": (0.1, rate)}
ROWS = {
    "SGD": {"momentum": (0.0, share)},
    "RMSprop": {"alpha": (0.9, share), "eps": (1e-8, positive)},
    "Adagrad": {"eps": (1e-8, positive)},
    "Adam": {"betas": ((0.9, 0.99), absent), "eps": (1e-8, positive)},
}


def called(who, **given):
    return [*map(np.asarray, getattr(fastrnn, who)(**given))]


ROWS_OF_LOSSES = {
    "lengths": (None, lengths), "mask": (None, nothing), "batch_first": (False, flag), "reduction": ("mean", absent),
}  # fmt: skip


CALLS = [
    Call(
        "softmax_cross_entropy",
        lambda **given: [*map(np.asarray, fastrnn.softmax_cross_entropy(**given))],
        {"logits": (floats(T, B, V), absent), "targets": (np.arange(T * B).reshape(T, B) % V, absent),
         "ignore_index": (None, lambda value: None if value is None else count(value, -(2**63), 2**63 - 1)),
         "class_weights": (None, nothing), "label_smoothing": (0.0, share), **ROWS_OF_LOSSES, **THREADS},
    ),
    *(
        Call(
            who,
            partial(called, who),
            {name: (floats(T, B, 2 * V), absent), "targets": (np.ones((T, B, columns), np.float32), absent), **own,
             **ROWS_OF_LOSSES, **THREADS},
        )
        for who, name, columns, own in (
            ("binary_cross_entropy", "logits", 2 * V,
             {"positive_weight": (None, lambda value: None if value is None else positive(value))}),
            ("squared_error", "outputs", 2 * V, {}),
            ("huber_loss", "outputs", 2 * V, {"delta": (1.0, positive)}),
            ("gaussian_nll", "outputs", V, {}),
            ("negative_binomial_nll", "outputs", V, {}),
        )
    ),
    Call(
        "ctc_loss",
        lambda **given: [*map(np.asarray, fastrnn.ctc_loss(**given))],
        {"logits": (floats(T, B, V), absent), "targets": (np.full((B, 2), V - 1), absent), "lengths": (None, lengths),
         "target_lengths": (None, lengths), "blank": (0, lambda value: count(value, 0, V - 2)),
         "zero_infinity": (False, flag), "batch_first": (False, absent_or(False)), "reduction": ("mean", absent),
         **THREADS},
        {"logits": "logits|targets", "batch_first": "batch_first|targets"},
    ),
    Call(
        "streams",
        lambda **given: [fastrnn.streams(**given)],
        {"sequence": (np.arange(9), text), "batch_size": (2, count)},
    ),
    Call(
        "tbptt",
        window,
        {"inputs": (np.arange(19), absent), "targets": (None, nothing), "batch_size": (2, count),
         "seq_length": (2, count)},
    ),
    Call("tbptt", placed, {"position": (1, lambda value: count(value, 0, 4))}),
    Call(
        "clip_grad_norm_",
        clipped(fastrnn.clip_grad_norm_, "max_norm"),
        {"grads": (head().grads, gradients), "max_norm": (1.0, limit)},
        {"grads": "grads|a is"},
    ),
    Call(
        "clip_grad_value_",
        clipped(fastrnn.clip_grad_value_, "limit"),
        {"grads": (head().grads, gradients), "limit": (0.1, limit)},
        {"grads": "grads|a is"},
    ),
    Call("clip_grad_norm_", lambda w: [fastrnn.clip_grad_norm_({"w": w}, 1.0)], {"w": (floats(3), gradient)}),
    *(
        Call(
            rule,
            optimised(getattr(fastrnn, rule)),
            {"modules": (head(), absent), **RATES, **own},
            {"betas": "beta"},
        )
        for rule, own in ROWS.items()
    ),
    *(
        Call(rule, hyperparameters(getattr(fastrnn, rule)), {name: argument}, {"betas": "beta"})
        for rule, own in ROWS.items()
        for name, argument in {**RATES, **own}.items()
    ),
    *(
        Call(f"{rule}.load_state_dict", resumed(getattr(fastrnn, rule)), {name: argument})
        for rule, own in ROWS.items()
        for name, argument in {**RATES, **own, "step": (0, lambda value: count(value, 0, 2**53))}.items()
        if name not in ("momentum", "betas")
    ),
    Call("Adam", hyperparameters(fastrnn.Adam), {"beta1": (0.9, share), "beta2": (0.9, share)}),
    Call(
        "Adam.load_state_dict",
        lambda **given: resumed(fastrnn.Adam)(**{"exp_avg.0": given["buffer"]}),
        {"buffer": (floats(V * I + V), absent)},
        {"buffer": "exp_avg.0"},
    ),
]  # fmt: skip


@each_argument_of(CALLS)
def test_it_is_refused_by_name_or_does_what_it_stands_for(call, name):
    assert_refused_or_stands_for(call, name)
