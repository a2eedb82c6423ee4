"""sb3-contrib's recurrent policies, run by whole sequences.

RecurrentPPO's policies call their LSTM once for every time step as soon as an episode starts inside a batch. `patch`
replaces the one function that does so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fastrnn.torch.episodes import run_with_resets

_NAME = "_process_sequence"
_originals: dict[type, Any] = {}


def patch() -> None:
    """Let `sb3_contrib`'s recurrent policies run sequences whole. Calling it again changes nothing."""
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy as Policy

    if Policy not in _originals:
        _originals[Policy] = vars(Policy)[_NAME]
        setattr(Policy, _NAME, staticmethod(process_sequence))


def unpatch() -> None:
    """Undo `patch`."""
    while _originals:
        policy, original = _originals.popitem()
        setattr(policy, _NAME, original)


def process_sequence(
    features: Tensor, lstm_states: tuple[Tensor, Tensor], episode_starts: Tensor, lstm: nn.LSTM
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """What the policy's function of that name returns, in one run.

    Parameters
    ----------
    features : (sequences * steps, features)
        One sequence after the other.
    lstm_states : (h, c), each (layers, sequences, H)
    episode_starts : (sequences * steps,)
        1 where an episode starts.
    lstm : torch.nn.LSTM
        Time first.

    Returns
    -------
    y : (sequences * steps, H)
    lstm_states
    """
    sequences = lstm_states[0].shape[1]
    x = features.reshape(sequences, -1, lstm.input_size).swapaxes(0, 1)
    starts = episode_starts.reshape(sequences, -1).swapaxes(0, 1)
    y, states = run_with_resets(lstm, x, lstm_states, starts)
    return torch.flatten(y.transpose(0, 1), start_dim=0, end_dim=1), states
