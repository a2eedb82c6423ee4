"""The NumPy twins against Keras: masks of any pattern, in one direction and in two.

Keras multiplies in float32 whatever it is given, so the tolerances are float32's.
"""

import os
from functools import partial

import numpy as np
import pytest
from layer_problems import B, I, Problem, T

torch = pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("gradients are PyTorch's here", allow_module_level=True)

# Name: (Keras's layer and options, our gates in its order).
CELLS = {
    "rnn": ("SimpleRNN", {}, [0]),
    "lstm": ("LSTM", {}, [0, 1, 2, 3]),
    "gru": ("GRU", {"reset_after": True}, [1, 0, 2]),
    "gru_before": ("GRU", {"reset_after": False}, [1, 0, 2]),
}


def in_their_order(rows, gates):
    """Our rows (G*H, ...), gates as Keras has them."""
    return np.concatenate([np.split(rows, len(gates))[gate] for gate in gates])


def weights(problem, suffix, gates, prefix="", source=None):
    """Kernel, recurrent kernel and bias, of our weights or, with prefix d, of our gradients."""
    source = problem.arrays if source is None else source
    names = [f"{prefix}{w}_l0{suffix}" for w in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    kernel, recurrent, own, other = (in_their_order(source[name], gates) for name in names)
    if problem.name == "gru":
        return [kernel.T, recurrent.T, np.stack([own, other])]
    return [kernel.T, recurrent.T, own if prefix else own + other]


@pytest.mark.parametrize("zero_output", [None, False, True])
@pytest.mark.parametrize("merge", [None, "concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("name", CELLS)
def test_masks_match_keras(name, merge, zero_output):
    kind, options, gates = CELLS[name]
    mask = np.random.default_rng(5).random((T, B)) < 0.6
    assert (mask[1:] & ~mask[:-1]).any() and not mask[0].all() and not mask[-1].all()
    problem = Problem(name, merge=merge, mask=mask, zero_output_for_mask=zero_output)
    results = problem.run()

    def layer(**kwargs):
        return getattr(keras.layers, kind)(
            problem.widths[0], return_sequences=True, return_state=True, **options, **kwargs
        )

    if merge is None:
        theirs = layer()
        each = [theirs]
    else:
        theirs = keras.layers.Bidirectional(layer(), merge, backward_layer=layer(go_backwards=True))
        each = [theirs.forward_layer, theirs.backward_layer]
    theirs.build((B, T, I))
    suffixes = [suffix for _, suffix in problem.runs()]
    for one, suffix in zip(each, suffixes, strict=True):
        one.set_weights(weights(problem, suffix, gates))
        if zero_output is not None:  # after the wrapper has had its way
            one.zero_output_for_mask = zero_output

    names = [f"{state}_l0{suffix}" for suffix in suffixes for state in problem.cell.STATES]
    tensor = partial(torch.tensor, dtype=torch.float32)
    x = tensor(problem.arrays["x"].swapaxes(0, 1), requires_grad=True)
    states = [tensor(problem.arrays[state], requires_grad=True) for state in names]
    y, *finals = theirs(x, mask=torch.tensor(mask.T), initial_state=states)
    upstream = [problem.upstream["y"].swapaxes(0, 1), *(problem.upstream[state] for state in names)]
    torch.autograd.backward([y, *finals], [tensor(array) for array in upstream])

    actual = [results["y"], results["dx"], *(results[s] for s in names), *(results[f"d{s}"] for s in names)]
    wanted = [y.detach().swapaxes(0, 1), x.grad.swapaxes(0, 1), *finals, *(state.grad for state in states)]
    for one, suffix in zip(each, suffixes, strict=True):
        actual += weights(problem, suffix, gates, "d", results)
        wanted += [weight.value.grad for weight in one.weights]
    for ours, expected in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(ours, expected.detach().numpy(), rtol=0, atol=1e-5 * max(np.abs(ours).max(), 1))
