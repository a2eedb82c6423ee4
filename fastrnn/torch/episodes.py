"""Batches in which the state is reset where an episode starts, run whole: what reinforcement learning needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastrnn.torch.bridge import unseen, with_resets_by_torch
from fastrnn.torch.operators import BY_NAME

State = Any  # h (layers, B, H), for an LSTM a pair (h, c)


def run_with_resets(module: nn.RNNBase, x: Tensor, state: State, reset: Tensor) -> tuple[Tensor, State]:
    """Run a layer over sequences inside which episodes start: the state is zero before each step that `reset` marks.

    It does what a loop over steps does that multiplies the state by `1 - reset[t]`, in one call. Between two resets
    sequences do not depend on each other, so they run side by side.

    Parameters
    ----------
    module : torch.nn.LSTM, GRU or RNN
        Of one direction. Its hooks do not run; one with forward pre-hooks is refused.
    x : (T, B, I), or (B, T, I) where the module is batch_first
    state : h (layers, B, H), for an LSTM (h, c); None for zeros
    reset : like x's first two axes
        Bool, or numbers of which those that are not 0 mean a reset. It has no gradient.

    Returns
    -------
    y, state : as the module returns them

    Raises
    ------
    TypeError, ValueError
        Another module, two directions, forward pre-hooks, or arguments that do not fit.
    """
    return unseen(_run, module, x, state, reset)


def _run(module: nn.RNNBase, x: Tensor, state: State, reset: Tensor) -> tuple[Tensor, State]:
    _check(module, x, reset)
    module._update_flat_weights()  # as forward does: functional_call and parametrisations put others in their place
    batch_first = module.batch_first
    states = _states(module, x, state, x.shape[0 if batch_first else 1])
    name = "lstm" if isinstance(module, nn.LSTM) else "gru" if isinstance(module, nn.GRU) else module.mode.lower()
    operator = BY_NAME[name]
    options = (module.bias, module.num_layers, module.dropout, module.training, False, batch_first)

    def arguments(states: list[Tensor]) -> tuple[Any, ...]:
        return (x, states if len(states) == 2 else states[0], module._flat_weights, *options)

    resets = reset.detach().ne(0)
    if batch_first:
        resets = resets.T
    flags = _readable(resets)
    if flags is None:
        result = with_resets_by_torch(lambda given: operator(*given), arguments(states), resets)
    elif flags[1:].any():
        result = operator.with_resets(arguments(states), flags)
        if result is None:
            result = with_resets_by_torch(lambda given: operator(*given), arguments(states), flags)
    else:
        if flags[0].any():
            states = [torch.where(resets[0][:, None], torch.zeros_like(one), one) for one in states]
        result = operator(*arguments(states))
    y, *final = result
    return y, tuple(final) if len(final) == 2 else final[0]


def _readable(resets: Tensor) -> NDArray[np.bool_] | None:
    """The numbers as an array, or None where there are none yet: in transforms of torch.func and in tracers."""
    try:
        flags: NDArray[np.bool_] = resets.contiguous().numpy()
    except RuntimeError:
        return None
    return flags


def _check(module: Any, x: Tensor, reset: Any) -> None:
    who = "run_with_resets"
    if not isinstance(module, (nn.LSTM, nn.GRU, nn.RNN)):
        raise TypeError(f"{who}: module is a {type(module).__name__}; expected torch.nn.LSTM, GRU or RNN")
    if module.bidirectional:
        raise ValueError(f"{who}: module has two directions; expected one, an episode is known from its start alone")
    if module._forward_pre_hooks:
        raise ValueError(
            f"{who}: module has forward pre-hooks, which would not run; expected none, because those of weight_norm "
            "and prune make its weights: make them permanent or use torch.nn.utils.parametrizations"
        )
    if not isinstance(x, Tensor):
        raise TypeError(f"{who}: x is a {type(x).__name__}; expected a tensor")
    if not isinstance(reset, Tensor):
        raise TypeError(f"{who}: reset is a {type(reset).__name__}; expected a tensor like x's first two axes")
    if x.dim() != 3 or x.shape[2] != module.input_size or 0 in x.shape:
        letters = "(B, T, I)" if module.batch_first else "(T, B, I)"
        raise ValueError(
            f"{who}: x has shape {tuple(x.shape)}; expected {letters} with input_size={module.input_size}, not empty"
        )
    if reset.shape != x.shape[:2]:
        raise ValueError(
            f"{who}: reset has shape {tuple(reset.shape)}; expected {tuple(x.shape[:2])}, x's first two axes"
        )


def _states(module: nn.RNNBase, x: Tensor, state: State, B: int) -> list[Tensor]:
    """h, for an LSTM h and c, checked; zeros for None."""
    widths = [module.proj_size or module.hidden_size]
    if isinstance(module, nn.LSTM):
        widths.append(module.hidden_size)
    if state is None:
        return [x.new_zeros(module.num_layers, B, width) for width in widths]
    if len(widths) == 2 and not isinstance(state, (tuple, list)):
        raise TypeError(f"run_with_resets: state is a {type(state).__name__}; expected a pair (h, c)")
    states = list(state) if len(widths) == 2 else [state]
    if len(states) != len(widths):
        raise ValueError(f"run_with_resets: state has {len(states)} parts; expected a pair (h, c)")
    for name, one, width in zip("hc", states, widths, strict=False):
        if not isinstance(one, Tensor):
            raise TypeError(f"run_with_resets: state's {name} is a {type(one).__name__}; expected a tensor")
        expected = (module.num_layers, B, width)
        if one.shape != expected:
            raise ValueError(f"run_with_resets: state's {name} has shape {tuple(one.shape)}; expected {expected}")
    return states
