"""`whole_sequences.py torch|fastrnn PROGRAM ...`: sb3-contrib's policies run their LSTM over whole sequences.

`fastrnn` is `fastrnn.torch.sb3`. `torch` is what PyTorch alone gains: the episodes of a batch that is trained on start
at the first step of a sequence, so a mask of the initial state is enough.
"""

import runpy
import sys

import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy as Policy

import fastrnn.torch.sb3

step_by_step = Policy._process_sequence


def process_sequence(features, lstm_states, episode_starts, lstm):
    sequences = lstm_states[0].shape[1]
    starts = episode_starts.reshape(sequences, -1).T
    if starts[1:].any():
        return step_by_step(features, lstm_states, episode_starts, lstm)
    x = features.reshape(sequences, -1, lstm.input_size).swapaxes(0, 1)
    going_on = (1.0 - starts[0]).view(1, sequences, 1)
    y, states = lstm(x, tuple(going_on * state for state in lstm_states))
    return torch.flatten(y.transpose(0, 1), start_dim=0, end_dim=1), states


if sys.argv[1] == "fastrnn":
    fastrnn.torch.sb3.patch()
else:
    Policy._process_sequence = staticmethod(process_sequence)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
