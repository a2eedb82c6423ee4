"""What the losses refuse."""

import numpy as np
from error_rows import B, Rows, T, V, assert_fails_cleanly, each_of
from runs import floats

import fastrnn

ROWS = Rows()
F = 3


def outputs(*shape):
    return floats(*(shape or (T, B, F)))


def softmax(w, **changes):
    given = {"logits": w.logits, "targets": w.targets, **changes}
    return fastrnn.softmax_cross_entropy(given.pop("logits"), given.pop("targets"), **given)


def squared(z=None, y=None, **kwargs):
    return fastrnn.squared_error(outputs() if z is None else z, outputs() if y is None else y, **kwargs)


def ctc(logits=None, targets=None, **kwargs):
    logits = floats(T, B, V) if logits is None else logits
    return fastrnn.ctc_loss(logits, np.ones((B, 2), int) if targets is None else targets, **kwargs)


# ------------------------------------------------------------------------------------------------ forms

ROWS.add(
    "an empty list",
    ValueError,
    "squared_error: outputs is an empty list; expected one array (T_i, ...) or more",
    lambda w: squared([], []),
)
ROWS.add(
    "lists of several dtypes",
    TypeError,
    "squared_error: outputs[1] has dtype float64; expected float32, as outputs[0] (outputs[1].astype(np.float32))",
    lambda w: squared([outputs(4, F), np.zeros((2, F))], []),
)
ROWS.add(
    "a list of several widths",
    ValueError,
    "squared_error: outputs[1] has shape (2, 4); expected (T_i, ...), the same behind T_i for all",
    lambda w: squared([outputs(4, F), outputs(2, F + 1)], []),
)
ROWS.add(
    "a list of numbers for a softmax",
    ValueError,
    "softmax_cross_entropy: logits[0] has shape (4,); expected (T_i, n)",
    lambda w: softmax(w, logits=[floats(4)], targets=[np.zeros(4, int)]),
)
ROWS.add(
    "a list without steps for a softmax",
    ValueError,
    f"softmax_cross_entropy: logits has shape [(0, {V})]; expected (..., V), not empty",
    lambda w: softmax(w, logits=[np.zeros((0, V), np.float32)], targets=[np.zeros(0, int)]),
)
ROWS.add(
    "lengths with a list",
    ValueError,
    "squared_error: lengths are given with a list, whose arrays have lengths; expected lengths=None",
    lambda w: squared([outputs(4, F)], [outputs(4, F)], lengths=[4]),
)
ROWS.add(
    "an array beside a list",
    TypeError,
    "squared_error: targets is a ndarray; expected a list of 1, one array for each of outputs",
    lambda w: squared([outputs(4, F)], outputs(4, F)),
)
ROWS.add(
    "one mask beside a list",
    TypeError,
    "squared_error: mask is a ndarray; expected a list of 1, one array for each of outputs",
    lambda w: squared([outputs(4, F)], [outputs(4, F)], mask=np.ones(4, bool)),
)
ROWS.add(
    "lengths of no sequences",
    ValueError,
    "squared_error: outputs has shape (4,); expected (T, B, ...) beside lengths or a mask",
    lambda w: squared(outputs(4), outputs(4), lengths=[4]),
)
ROWS.add(
    "a mask of no sequences",
    ValueError,
    "softmax_cross_entropy: logits has shape (2, 7); expected (B, T, n) beside lengths or a mask",
    lambda w: softmax(w, logits=w.logits[0], targets=w.targets[0], mask=np.ones(2, bool), batch_first=True),
)
for name, value, got in (("lengths", [T] * (B + 1), (B + 1,)), ("mask", np.ones((B, T), bool), (B, T))):
    have, expected = ("have", f"(B,) = {(B,)}") if name == "lengths" else ("has", f"(T, B) = {(T, B)}")
    ROWS.add(
        f"{name} of another shape",
        ValueError,
        f"squared_error: {name} {have} shape {got}; expected {expected}",
        lambda w, name=name, value=value: squared(**{name: value}),
    )
ROWS.add(
    "targets of another shape",
    ValueError,
    f"squared_error: targets has shape {(T, B)}; expected {(T, B, F)}, as outputs",
    lambda w: squared(y=outputs(T, B)),
)
ROWS.add(
    "targets of another dtype",
    TypeError,
    "squared_error: targets has dtype float64; expected float32, as outputs (targets.astype(np.float32))",
    lambda w: squared(y=outputs().astype(np.float64)),
)
ROWS.add(
    "targets of another length in a list",
    ValueError,
    "squared_error: targets[1] has shape (3, 3); expected (2, 3), as outputs[1]",
    lambda w: squared([outputs(4, F), outputs(2, F)], [outputs(4, F), outputs(3, F)]),
)
ROWS.add(
    "a reduction that is none",
    ValueError,
    "squared_error: reduction is 'none'; expected one of mean, sum, sum_and_weight",
    lambda w: squared(reduction="none"),
)

# ---------------------------------------------------------------------------------------------- of the softmax

ROWS.add(
    "all ignored",
    ValueError,
    "softmax_cross_entropy: nothing to average, no row counts; expected some to count, or reduction='sum'",
    lambda w: softmax(w, targets=np.full((T, B), -100), ignore_index=-100),
)
ROWS.add(
    "all of no weight",
    ValueError,
    "softmax_cross_entropy: nothing to average, the class weights of all targets are 0; expected some to count, or "
    "reduction='sum'",
    lambda w: softmax(w, class_weights=np.zeros(V, np.float32)),
)
ROWS.add(
    "class_weights of another shape",
    ValueError,
    f"softmax_cross_entropy: class_weights has shape (2,); expected (V,) = {(V,)}",
    lambda w: softmax(w, class_weights=np.ones(2, np.float32)),
)
for value, said in ((-1.0, "-1.0"), (np.nan, "nan"), (np.inf, "inf")):
    ROWS.add(
        f"class_weights {value}",
        ValueError,
        f"softmax_cross_entropy: class_weights holds {said}; expected finite numbers >= 0",
        lambda w, value=value: softmax(w, class_weights=np.full(V, value, np.float32)),
    )
ROWS.add(
    "class_weights of another dtype",
    TypeError,
    "softmax_cross_entropy: class_weights has dtype float64; expected float32, as logits "
    "(class_weights.astype(np.float32))",
    lambda w: softmax(w, class_weights=np.ones(V)),
)
ROWS.add(
    "a smoothing of one",
    ValueError,
    "softmax_cross_entropy: label_smoothing is 1.0; expected a number in [0, 1)",
    lambda w: softmax(w, label_smoothing=1.0),
)
ROWS.add(
    "a target of a list",
    ValueError,
    "softmax_cross_entropy: targets[0] have shape (3,); expected (4,), one for each row of logits[0]",
    lambda w: softmax(w, logits=[floats(4, V)], targets=[np.zeros(3, int)]),
)
ROWS.add(
    "a target that counts",
    IndexError,
    f"softmax_cross_entropy: targets holds index {V}; expected indices in 0..{V - 1} (V={V})",
    lambda w: softmax(w, targets=np.full((T, B), V), ignore_index=V + 1),
)

# --------------------------------------------------------------------------------------------- of elements

ROWS.add(
    "no element",
    ValueError,
    "squared_error: nothing to average, no element counts; expected some to count, or reduction='sum'",
    lambda w: squared(lengths=[0] * B),
)
for value in (-0.5, 1.5):
    ROWS.add(
        f"a probability of {value}",
        ValueError,
        f"binary_cross_entropy: targets hold {value}; expected numbers in 0..1",
        lambda w, value=value: fastrnn.binary_cross_entropy(outputs(), np.full((T, B, F), value, np.float32)),
    )
ROWS.add(
    "a positive_weight of zero",
    ValueError,
    "binary_cross_entropy: positive_weight is 0.0; expected a finite number > 0",
    lambda w: fastrnn.binary_cross_entropy(outputs(), np.ones((T, B, F), np.float32), positive_weight=0.0),
)
ROWS.add(
    "a delta below zero",
    ValueError,
    "huber_loss: delta is -1.0; expected a finite number > 0",
    lambda w: fastrnn.huber_loss(outputs(), outputs(), delta=-1.0),
)
ROWS.add(
    "a count below zero",
    ValueError,
    "negative_binomial_nll: targets hold -1.0; expected numbers >= 0",
    lambda w: fastrnn.negative_binomial_nll(outputs(T, B, 2), np.full((T, B, 1), -1, np.float32)),
)
ROWS.add(
    "outputs that are no pairs",
    ValueError,
    f"gaussian_nll: outputs has shape {(T, B, 3)}; expected (..., 2 * F), two a target",
    lambda w: fastrnn.gaussian_nll(outputs(), outputs()),
)
ROWS.add(
    "an output without an axis",
    ValueError,
    "gaussian_nll: outputs has shape (); expected (..., 2 * F), two a target",
    lambda w: fastrnn.gaussian_nll(np.zeros((), np.float32), outputs()),
)

# -------------------------------------------------------------------------------------------------- of CTC

ROWS.add(
    "ctc logits without a batch",
    ValueError,
    f"ctc_loss: logits has shape {(T, V)}; expected (T, B, V), or a list of arrays (T_i, V)",
    lambda w: ctc(floats(T, V)),
)
ROWS.add(
    "ctc without symbols",
    ValueError,
    f"ctc_loss: logits has shape {(T, B, 0)}; expected (T, B, V), not empty",
    lambda w: ctc(np.zeros((T, B, 0), np.float32)),
)
ROWS.add(
    "a blank beyond the alphabet",
    ValueError,
    f"ctc_loss: blank is {V}; expected an integer in 0..{V - 1}",
    lambda w: ctc(blank=V),
)
ROWS.add(
    "a blank below the alphabet",
    ValueError,
    f"ctc_loss: blank is -1; expected an integer in 0..{V - 1} (V={V})",
    lambda w: ctc(blank=-1),
)
ROWS.add(
    "a label that is the blank",
    ValueError,
    "ctc_loss: targets[1] has 3, the blank, at 2; expected labels without the blank",
    lambda w: ctc(targets=[np.array([], int), np.array([1, 2, 3])], blank=3),
)
for value in (-1, V):
    ROWS.add(
        f"a label {value}",
        IndexError,
        f"ctc_loss: targets holds index {value}; expected indices in 0..{V - 1} (V={V})",
        lambda w, value=value: ctc(targets=np.full((B, 2), value)),
    )
ROWS.add(
    "labels of too few sequences",
    ValueError,
    f"ctc_loss: targets has 1 items; expected {B}, one array (S_i,) for each sequence",
    lambda w: ctc(targets=[np.ones(2, int)]),
)
ROWS.add(
    "labels with two axes",
    ValueError,
    "ctc_loss: targets[1] has shape (1, 2); expected (S_i,)",
    lambda w: ctc(targets=[np.ones(2, int), np.ones((1, 2), int)]),
)
ROWS.add(
    "labels that are floats",
    TypeError,
    "ctc_loss: targets[0] are float64; expected an integer array (targets[0].astype(np.int64))",
    lambda w: ctc(targets=[np.ones(2), np.ones(2)]),
)
ROWS.add(
    "padded labels with one axis",
    ValueError,
    f"ctc_loss: targets have shape (4,); expected (B={B}, S), or a list of {B} arrays (S_i,)",
    lambda w: ctc(targets=np.ones(4, int)),
)
ROWS.add(
    "target_lengths with a list",
    ValueError,
    "ctc_loss: target_lengths are given with a list, whose arrays have lengths; expected target_lengths=None",
    lambda w: ctc(targets=[np.ones(2, int)] * B, target_lengths=[2] * B),
)
ROWS.add(
    "target_lengths beyond the labels",
    ValueError,
    "ctc_loss: target_lengths hold 3; expected 0..S=2",
    lambda w: ctc(target_lengths=[2, 3]),
)
ROWS.add(
    "lengths beyond the steps",
    ValueError,
    f"ctc_loss: lengths hold {T + 1}; expected 0..T={T}",
    lambda w: ctc(lengths=[1, T + 1]),
)

for who, call in (
    ("squared_error", lambda w, n: squared(num_threads=n)),
    ("ctc_loss", lambda w, n: ctc(num_threads=n)),
):
    ROWS.add_sizes(who, "num_threads", call)


@each_of(ROWS)
def test_message_and_that_nothing_changed(row):
    assert_fails_cleanly(row)
