"""What layers and models look like, and the names of callables in checkpoints."""

from functools import partial

import pytest

import fastrnn
from fastrnn.naming import name_of

MADE = [
    "LSTM(4, 8)",
    "GRU(4, (8, 16), num_layers=2, dropout=0.1, bidirectional=True, merge='sum', dtype='float64')",
    "RNN(2, 3, nonlinearity='relu', bias=False, batch_first=True)",
    "Linear(8, 3)",
    "Linear(8, 3, bias=False)",
    "Embedding(5, 4, padding_index=0)",
    "Attention(8, 8)",
    "Attention(8, 6, kind='additive', hidden_size=7)",
    "Dropout(0.5)",
]


NAMES = {name: getattr(fastrnn, name) for name in fastrnn.__all__}


@pytest.mark.parametrize("made", MADE)
def test_a_layer_shows_the_call_that_makes_one_like_it(made):
    layer = eval(made, NAMES)
    assert repr(layer) == made
    assert eval(repr(layer), NAMES).flat_params.shape == layer.flat_params.shape


def test_a_model_shows_its_layers():
    model = fastrnn.SequenceModel(
        fastrnn.GRU(2, 3), fastrnn.Linear(3, 1), fastrnn.squared_error, dropout=0.2, pool="mean"
    )
    lines = ["SequenceModel(GRU(2, 3),", "Linear(3, 1),", "loss=squared_error,", "dropout=0.2,", "pool='mean')"]
    assert [line.strip() for line in repr(model).splitlines()] == lines
    assert model.dropout == 0.2


def test_an_object_that_is_not_finished_has_a_name():
    assert repr(fastrnn.LSTM.__new__(fastrnn.LSTM)) == "LSTM()"


def test_callables_are_named_with_their_options():
    assert name_of(partial(fastrnn.huber_loss, delta=0.5)) == "huber_loss(delta=0.5)"
    assert name_of(fastrnn.training.StepDecay(3)).startswith("StepDecay(")
