"""Bad arguments of whole models and of fit: their messages, and that nothing has changed."""

import math
import sys

import numpy as np
from error_rows import Rows, assert_fails_cleanly, each_of

import fastrnn
from fastrnn.training import ExponentialDecay, ReduceOnPlateau, WarmUp

ROWS = Rows()


def add(error, message, call):
    ROWS.add(f"{len(ROWS)}: {message[:50]}", error, message, lambda w: call())


def linear(inputs=5, outputs=4, **options):
    return fastrnn.Linear(inputs, outputs, seed=1, **options)


LSTM, GRU, BOTH = (fastrnn.LSTM(3, 5, seed=1), fastrnn.GRU(3, 5, seed=1), fastrnn.LSTM(3, 5, 1, bidirectional=True))
OTHER = fastrnn.LSTM(4, 5, seed=2)
MODEL = fastrnn.SequenceModel(LSTM, linear())
INPUTS, TARGETS = [np.ones((2, 3), np.float32)], [np.array([1, 2])]


def model(*layers, **options):
    return lambda: fastrnn.SequenceModel(*layers, **options)


def pair(*layers, **options):
    return lambda: fastrnn.EncoderDecoder(*layers, **{"start": 0, "end": 1, **options})


def fit(given=MODEL, inputs=INPUTS, targets=TARGETS, **options):
    return lambda: fastrnn.fit(given, inputs, targets, **options)


# ------------------------------------------------------------------------------------------------- models

add(ValueError, "SequenceModel: head takes 4 features; expected 5", model(LSTM, linear(4)))
add(ValueError, "SequenceModel: pool is 'max'; expected one of last, mean", model(LSTM, linear(), pool="max"))
add(
    ValueError,
    "SequenceModel: head is of float64; expected float32, as the others",
    model(LSTM, linear(dtype="float64")),
)
add(
    ValueError,
    "EncoderDecoder: decoder is also encoder; expected a layer of its own (copy.copy(layer))",
    pair(GRU, GRU, linear()),
)
add(TypeError, "SequenceModel: recurrent is a Linear; expected a layer, Recurrent", model(linear(), linear()))
add(
    TypeError,
    "SequenceModel: embedding is a Linear; expected a layer, Embedding or None",
    model(LSTM, linear(), embedding=linear()),
)
add(
    TypeError,
    "SequenceModel: loss is 'ctc'; expected a callable (outputs, targets, *, reduction, num_threads)",
    model(LSTM, linear(), "ctc"),
)
add(
    ValueError,
    "SequenceModel.begin: the model has pool='last'; expected one of a single direction with pool=None",
    lambda: fastrnn.SequenceModel(LSTM, linear(), pool="last").begin(2),
)
add(
    ValueError,
    "SequenceModel.step: the model is bidirectional; expected one of a single direction with pool=None",
    lambda: fastrnn.SequenceModel(BOTH, linear(10)).step(np.array([0, 1])),
)
add(
    ValueError,
    "EncoderDecoder: decoder has states ('h',); expected ('h', 'c'), as the encoder leaves them",
    pair(LSTM, GRU, linear()),
)
add(
    ValueError,
    "EncoderDecoder: decoder has units [5]; expected [10], as the encoder leaves them",
    pair(BOTH, LSTM, linear()),
)
add(
    ValueError,
    "EncoderDecoder: decoder is bidirectional; expected one that reads what it has written alone",
    pair(LSTM, BOTH, linear()),
)
add(
    ValueError,
    "EncoderDecoder: combine is given without attention; expected both or neither",
    pair(LSTM, OTHER, linear(), combine=linear()),
)
add(ValueError, "EncoderDecoder: head takes 4 features; expected 5", pair(LSTM, OTHER, linear(4)))
add(ValueError, "EncoderDecoder: end is 4; expected one of head's out_features=4", pair(LSTM, OTHER, linear(), end=4))
add(
    ValueError,
    "EncoderDecoder: target_embedding has 3 rows; expected 4, head's",
    pair(LSTM, OTHER, linear(), target_embedding=fastrnn.Embedding(3, 4, seed=1)),
)
add(
    ValueError,
    "EncoderDecoder: target_embedding has embedding_dim=3; expected 4, the input_size of decoder",
    pair(LSTM, OTHER, linear(), target_embedding=fastrnn.Embedding(4, 3, seed=1)),
)
add(
    ValueError,
    "SequenceModel: embedding has embedding_dim=4; expected 3, the input_size of recurrent",
    model(LSTM, linear(), embedding=fastrnn.Embedding(4, 4, seed=1)),
)
add(
    ValueError,
    "EncoderDecoder: attention has query_size=5 and key_size=4; expected 5, the decoder's outputs, and 5, the "
    "encoder's",
    pair(LSTM, OTHER, linear(9), attention=fastrnn.Attention(5, 4, "general", seed=1)),
)
add(
    TypeError,
    "SequenceModel: loss returned (0.0, [1]); expected (sum, doutputs, weight) for reduction='sum_and_weight'",
    lambda: fastrnn.SequenceModel(LSTM, linear(), lambda *given, **options: (0.0, [1])).measure(INPUTS, TARGETS),
)
PAIR = fastrnn.EncoderDecoder(LSTM, OTHER, linear(), start=0, end=1)
add(
    ValueError,
    "EncoderDecoder: inputs is []; expected a list of arrays, at least one",
    lambda: PAIR.begin([]),
)
add(
    ValueError,
    "EncoderDecoder: inputs[1] is float64 of shape (2, 3); expected one step or more, of dtype and features as "
    "inputs[0]: float32 (T_i, 3)",
    lambda: PAIR.begin([INPUTS[0], INPUTS[0].astype(float)]),
)
add(
    TypeError,
    "EncoderDecoder: inputs[0] has dtype float64; expected integers (T_i,), or floats (T_i, I)",
    lambda: PAIR.begin([[1.0, 2.0]]),
)
add(
    ValueError,
    "EncoderDecoder: targets[0] has shape (1, 1); expected (S_i,) tokens",
    lambda: PAIR.measure(INPUTS, [np.array([[2]])]),
)
add(
    ValueError,
    "EncoderDecoder: targets has 1 items; expected 2, as inputs has",
    lambda: PAIR.measure(INPUTS * 2, [np.array([2])]),
)
add(
    IndexError,
    "LSTM: x holds index 9223372036854775807; expected indices in 0..3 (input_size=4)",
    lambda: PAIR.measure(INPUTS, [np.array([2**64 - 1], np.uint64)]),
)
add(
    ValueError,
    "EncoderDecoder.step: tokens is 3; expected (N,) integers, one a sequence",
    lambda: PAIR.step(3, PAIR.begin(INPUTS)),
)
add(TypeError, "EncoderDecoder.backward: tape is None; expected what forward returned", lambda: PAIR.backward(None, 0))
add(
    TypeError,
    "SequenceModel.backward: doutputs is a ndarray; expected a list of 2, an array for each sequence",
    lambda: MODEL.backward(MODEL.forward(INPUTS * 2)[1], np.ones((4, 4), np.float32)),
)
add(
    ValueError,
    "SequenceModel.backward: doutputs[0] has shape (1, 4); expected the shape of the outputs[0] = (2, 4)",
    lambda: MODEL.backward(MODEL.forward([INPUTS[0], INPUTS[0][:1]])[1], [np.ones((n, 4), np.float32) for n in (1, 2)]),
)
add(
    ValueError,
    "SequenceModel.backward: doutputs has shape (2, 1, 4); expected the shape of the outputs = (1, 2, 4)",
    lambda: MODEL.backward(MODEL.forward(np.stack(INPUTS))[1], np.ones((2, 1, 4), np.float32)),
)
for changed in ("head", "pool", "modules"):
    add(
        AttributeError,
        f"SequenceModel: {changed} is fixed; expected a new SequenceModel for another",
        lambda changed=changed: setattr(MODEL, changed, None),
    )
add(ValueError, "EncoderDecoder: start is -1; expected an integer >= 0", pair(LSTM, OTHER, linear(), start=-1))

# ---------------------------------------------------------------------------------------------------- fit

add(TypeError, "fit: model is a LSTM; expected a SequenceModel or an EncoderDecoder", fit(LSTM))
add(TypeError, "fit: inputs is 3; expected a list of an item for each sequence", fit(inputs=3))
add(ValueError, "fit: targets has 0 items; expected 1, as inputs has", fit(targets=[]))
add(ValueError, "fit: inputs has no items; expected one for each sequence", fit(inputs=[], targets=[]))
add(
    ValueError,
    "fit: inputs[1] has no steps; expected one or more, leave it out",
    fit(inputs=[*INPUTS, INPUTS[0][:0]], targets=TARGETS * 2),
)
add(
    ValueError,
    "fit: optimizer is over other layers; expected those of model.modules, some or all",
    fit(optimizer=fastrnn.Adam([GRU])),
)
add(
    ValueError,
    "fit: log and checkpoint are both 'run'; expected two files",
    fit(log="run", checkpoint="run"),
)
add(
    ValueError,
    "fit: log and checkpoint are both './run'; expected two files",
    fit(log="./run", checkpoint="run"),
)
add(
    ValueError,
    "SequenceModel: targets has one value for a sequence; expected an array (T_i, ...) for its steps, or a model with "
    "pool='last' or pool='mean'",
    lambda: MODEL.measure(INPUTS, [1]),
)
add(
    ValueError,
    "SequenceModel: recurrent is batch first; expected batch_first=False, a model takes lists of sequences",
    model(fastrnn.LSTM(3, 5, batch_first=True, seed=1), linear()),
)
add(TypeError, "fit: validation is [1]; expected a pair (inputs, targets)", fit(validation=[1]))
add(
    ValueError,
    "fit: validation[1] has 0 items; expected 1, as validation[0] has",
    fit(validation=(INPUTS, [])),
)
add(ValueError, "fit: epochs is 0; expected an integer >= 1", fit(epochs=0))
add(
    ValueError,
    "fit: checkpoint is None beside resume or save_every; expected a path",
    fit(resume=True),
)
add(
    TypeError,
    "fit: checkpoint is 3; expected a path, as a string or a pathlib.Path",
    fit(checkpoint=3),
)
add(
    TypeError,
    "fit: schedule is 3; expected a callable (epoch, losses) -> factor, or None",
    fit(schedule=3),
)
for given, got in ((math.nan, "nan"), (-1.0, "-1.0"), (math.inf, "inf")):
    add(
        ValueError,
        f"fit: schedule's factor is {got}; expected a finite number >= 0",
        fit(schedule=lambda epoch, losses, given=given: given),
    )
add(
    TypeError,
    "fit: schedule's factor is a NoneType; expected a finite number >= 0",
    fit(schedule=lambda epoch, losses: None),
)
add(
    TypeError,
    "fit: optimizer made a NoneType; expected one of fastrnn's optimisers",
    fit(optimizer=lambda modules: None),
)
add(
    TypeError,
    "fit: callbacks is [3]; expected a list of fastrnn.training.Callback",
    fit(callbacks=[3]),
)
add(
    TypeError,
    "fit: comm is 3; expected a communicator of mpi4py (MPI.COMM_WORLD)",
    fit(comm=3),
)
add(ValueError, "ReduceOnPlateau: factor is 2.0; expected a number in (0, 1]", lambda: ReduceOnPlateau(factor=2.0))
add(ValueError, "ReduceOnPlateau: floor is 1.5; expected a number in [0, 1)", lambda: ReduceOnPlateau(floor=1.5))
add(ValueError, "ExponentialDecay: after is -1; expected an integer >= 0", lambda: ExponentialDecay(0.5, after=-1))
add(TypeError, "WarmUp: then is 3; expected a callable (epoch, losses) -> factor, or None", lambda: WarmUp(2, 3))


def without_tqdm(call):
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "tqdm"}
    sys.modules["tqdm"] = None
    try:
        call()
    finally:
        del sys.modules["tqdm"]
        sys.modules.update(before)


add(
    ImportError,
    "fit: progress is True and the package tqdm is missing; expected `pip install tqdm`, or progress=False",
    lambda: without_tqdm(fit(progress=True)),
)


@each_of(ROWS)
def test_message_and_that_nothing_changed(row):
    before = MODEL.state_dict()
    assert_fails_cleanly(row)
    assert all(np.array_equal(before[name], value) for name, value in MODEL.state_dict().items())
