"""Batches in which the state is reset where an episode starts, run whole: what reinforcement learning needs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fastrnn.torch.bridge import with_resets_by_torch
from fastrnn.torch.operators import BY_NAME

State = Any  # h (layers, B, H), for an LSTM a pair (h, c)


def run_with_resets(module: nn.RNNBase, x: Tensor, state: State, reset: Tensor) -> tuple[Tensor, State]:
    """Run a layer over sequences inside which episodes start: the state is zero before each step that `reset` marks.

    It does what a loop over steps does that multiplies the state by `1 - reset[t]`, in one call. Between two resets
    sequences do not depend on each other, so they run side by side.

    Parameters
    ----------
    module : torch.nn.LSTM, GRU or RNN
        Of one direction. Its hooks do not run.
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
        Another module, two directions, or sizes that do not fit.
    """
    _check(module, x, reset)
    batch_first = module.batch_first
    B = x.shape[0 if batch_first else 1]
    states = _states(module, x, state, B)
    name = "lstm" if isinstance(module, nn.LSTM) else "gru" if isinstance(module, nn.GRU) else module.mode.lower()
    options = (module.bias, module.num_layers, module.dropout, module.training, False)
    resets = reset.detach().ne(0)
    if batch_first:
        resets = resets.T
    flags = resets.contiguous().numpy()
    if flags[1:].any():
        arguments = (x, states if len(states) == 2 else states[0], module._flat_weights, *options, batch_first)
        result = BY_NAME[name].with_resets(arguments, flags)
        if result is None:
            operator = BY_NAME[name]
            result = with_resets_by_torch(lambda given: operator(*given), arguments, flags)
    else:
        if flags[0].any():
            states = [torch.where(resets[0][:, None], torch.zeros_like(one), one) for one in states]
        arguments = (x, states if len(states) == 2 else states[0], module._flat_weights, *options, batch_first)
        result = BY_NAME[name](*arguments)
    y, *final = result
    return y, tuple(final) if len(final) == 2 else final[0]


def _check(module: Any, x: Tensor, reset: Any) -> None:
    who = "run_with_resets"
    if not isinstance(module, (nn.LSTM, nn.GRU, nn.RNN)):
        raise TypeError(f"{who}: module is a {type(module).__name__}; expected torch.nn.LSTM, GRU or RNN")
    if module.bidirectional:
        raise ValueError(f"{who}: module has two directions; expected one, an episode is known from its start alone")
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
    states = list(state) if len(widths) == 2 else [state]
    if len(states) != len(widths):
        raise ValueError(f"run_with_resets: state has {len(states)} parts; expected a pair (h, c)")
    for name, one, width in zip("hc", states, widths, strict=False):
        expected = (module.num_layers, B, width)
        if one.shape != expected:
            raise ValueError(f"run_with_resets: state's {name} has shape {tuple(one.shape)}; expected {expected}")
    return states
