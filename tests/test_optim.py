"""Every optimiser against a plain NumPy statement of its rule, PyTorch, and its own checkpoint."""

import json
import pickle
from contextlib import contextmanager

import numpy as np
import pytest
from numpy_layer import Dense, every_dtype, other
from safetensors.numpy import load, save

import fastrnn
from fastrnn._core import update
from fastrnn.optim import SGD, Adagrad, Adam, RMSprop

STEPS = 6
SIZES = [1, 3, 4, 5, 31, 1000]  # around the vector widths, and a long one


class Buffers(dict):
    """A dict with the one buffer behind it."""

    def __init__(self, flat):
        super().__init__(weight=flat)
        self.flat = flat


class FakeModule:
    """The part of a layer that an optimiser sees."""

    def __init__(self, size, seed=0, dtype=np.float32):
        self.values = np.random.default_rng(seed).standard_normal(size).astype(dtype)
        self.flat_grads = np.zeros(size, dtype)
        self.edits = 0

    @property
    def flat_params(self):
        view = self.values.view()
        view.flags.writeable = False
        return view

    @contextmanager
    def editing(self):
        yield Buffers(self.values)
        self.edits += 1

    def zero_grad(self):
        self.flat_grads[:] = 0.0


def gradients(size, steps=STEPS, seed=1, dtype=np.float32):
    """Gradients of several magnitudes, some of them zero throughout, as a rare character's are."""
    rng = np.random.default_rng(seed)
    grads = rng.standard_normal((steps, size)) * 10.0 ** rng.integers(-3, 2, size)
    grads[:, 1::7] = 0.0
    return grads.astype(dtype)


# The rules, as the papers state them: parameters after all gradients, in float64.


def plain_sgd(p, grads, lr, momentum=0.0):
    velocity = np.zeros_like(p)
    for g in grads:
        velocity = momentum * velocity + g
        p = p - lr * velocity
    return p


def plain_rmsprop(p, grads, lr, alpha=0.99, eps=1e-8):
    square_avg = np.zeros_like(p)
    for g in grads:
        square_avg = alpha * square_avg + (1 - alpha) * g**2
        p = p - lr * g / (np.sqrt(square_avg) + eps)
    return p


def plain_adagrad(p, grads, lr, eps=1e-10):
    square_sum = np.zeros_like(p)
    for g in grads:
        square_sum = square_sum + g**2
        p = p - lr * g / (np.sqrt(square_sum) + eps)
    return p


def plain_adam(p, grads, lr, betas=(0.9, 0.999), eps=1e-8):
    mean, square = np.zeros_like(p), np.zeros_like(p)
    for step, g in enumerate(grads, start=1):
        mean = betas[0] * mean + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g**2
        corrected = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
        p = p - lr * corrected[0] / (np.sqrt(corrected[1]) + eps)
    return p


CASES = {
    "sgd": (SGD, plain_sgd, {"lr": 0.05}),
    "sgd momentum": (SGD, plain_sgd, {"lr": 0.05, "momentum": 0.9}),
    "rmsprop": (RMSprop, plain_rmsprop, {"lr": 0.002}),
    "rmsprop others": (RMSprop, plain_rmsprop, {"lr": 0.01, "alpha": 0.95, "eps": 1e-3}),
    "adagrad": (Adagrad, plain_adagrad, {"lr": 0.05}),
    "adagrad others": (Adagrad, plain_adagrad, {"lr": 0.05, "eps": 1e-2}),
    "adam": (Adam, plain_adam, {"lr": 0.003}),
    "adam others": (Adam, plain_adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-4}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def train(optimizer, module, grads):
    for grad in grads:
        module.flat_grads[:] = grad
        optimizer.step()
    return module.values


def assert_close(actual, expected, travelled):
    """A few roundings a step, each relative to the parameter or to the distance travelled."""
    tolerance = 4 * STEPS * np.finfo(actual.dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * travelled)


@every_case
@every_dtype
@pytest.mark.parametrize("size", SIZES)
def test_matches_plain_statement(case, dtype, size):
    optimizer, plain, arguments = case
    module, grads = FakeModule(size, dtype=dtype), gradients(size, dtype=dtype)
    expected = plain(module.values.astype(np.float64), grads.astype(np.float64), **arguments)
    travelled = np.abs(expected - module.values).max()
    assert_close(train(optimizer(module, **arguments), module, grads), expected, travelled)


@every_case
@every_dtype
def test_matches_pytorch(case, dtype):
    torch = pytest.importorskip("torch")
    optimizer, _, arguments = case
    module, grads = FakeModule(1000, dtype=dtype), gradients(1000, dtype=dtype)
    parameter = torch.nn.Parameter(torch.from_numpy(module.values.copy()))
    theirs = getattr(torch.optim, optimizer.__name__)([parameter], **arguments)
    for grad in grads:
        parameter.grad = torch.from_numpy(grad.copy())
        theirs.step()
    expected = parameter.detach().numpy()
    travelled = np.abs(expected - module.values).max()
    assert_close(train(optimizer(module, **arguments), module, grads), expected, travelled)


@pytest.mark.parametrize("optimizer", [SGD, RMSprop, Adagrad, Adam])
def test_defaults_are_pytorchs(optimizer):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim, optimizer.__name__)([torch.nn.Parameter(torch.zeros(1))])
    ours = optimizer(FakeModule(1)).state_dict()
    expected = dict(theirs.param_groups[0])
    expected["beta1"], expected["beta2"] = expected.get("betas", (None, None))
    for name in set(ours) & {"lr", "momentum", "alpha", "eps", "beta1", "beta2"}:
        assert ours[name] == expected[name], name


@every_case
def test_several_modules_are_trained_as_one_vector_would_be(case):
    optimizer, _, arguments = case
    grads = gradients(40)
    whole, parts = FakeModule(40), [FakeModule(15), FakeModule(25)]
    parts[0].values[:], parts[1].values[:] = whole.values[:15], whole.values[15:]
    expected = train(optimizer(whole, **arguments), whole, grads)
    together = optimizer(parts, **arguments)
    for grad in grads:
        parts[0].flat_grads[:], parts[1].flat_grads[:] = grad[:15], grad[15:]
        together.step()
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), expected)
    assert [part.edits for part in parts] == [STEPS, STEPS]


@every_case
@every_dtype
def test_resumed_run_is_bitwise_the_uninterrupted_one(case, dtype):
    optimizer, _, arguments = case
    grads = gradients(33, dtype=dtype)
    whole = FakeModule(33, dtype=dtype)
    expected = train(optimizer(whole, **arguments), whole, grads).copy()

    first = FakeModule(33, dtype=dtype)
    before = optimizer(first, **arguments)
    train(before, first, grads[:3])
    scalars, arrays = through_files(before.state_dict())
    second = FakeModule(33, dtype=dtype)
    second.values[:] = first.values
    after = optimizer(second, **{**arguments, "lr": 0.5})
    after.load_state_dict({**scalars, **arrays})
    assert after.lr == arguments["lr"]
    np.testing.assert_array_equal(train(after, second, grads[3:]), expected)


def through_files(state):
    """The scalars through JSON and the arrays through safetensors."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    scalars = {name: value for name, value in state.items() if name not in arrays}
    return json.loads(json.dumps(scalars)), load(save(arrays))


def test_state_dict_is_a_copy():
    module = FakeModule(5)
    optimizer = Adam(module)
    state = optimizer.state_dict()
    train(optimizer, module, gradients(5))
    assert state["step"] == 0
    assert not state["exp_avg.0"].any()
    optimizer.load_state_dict(state)
    state["exp_avg.0"][:] = 1.0
    assert not optimizer.state_dict()["exp_avg.0"].any()


def test_lr_can_follow_a_schedule():
    module, grads = FakeModule(7), gradients(7, steps=2)
    optimizer = SGD(module, lr=0.1)
    start = module.values.astype(np.float64)
    train(optimizer, module, grads[:1])
    optimizer.lr = 0.01
    train(optimizer, module, grads[1:])
    assert_close(module.values, start - 0.1 * grads[0] - 0.01 * grads[1], 1.0)


def test_zero_grad_reaches_every_module():
    modules = [FakeModule(3), FakeModule(4)]
    for module in modules:
        module.flat_grads[:] = 1.0
    SGD(modules).zero_grad()
    assert not any(module.flat_grads.any() for module in modules)


def test_empty_module_is_left_alone():
    module = FakeModule(0)
    for optimizer, _, arguments in CASES.values():
        train(optimizer(module, **arguments), module, gradients(0))


@every_dtype
def test_subnormal_averages_become_zero_and_the_processors_mode_is_kept(dtype):
    module = FakeModule(64, dtype=dtype)
    optimizer = RMSprop(module, alpha=0.5)
    tiny = dtype(1.5 * np.finfo(dtype).tiny)
    optimizer.load_state_dict({**optimizer.state_dict(), "square_avg.0": np.full(64, tiny)})
    optimizer.step()
    assert not optimizer.state_dict()["square_avg.0"].any()
    assert np.full(64, tiny) @ np.full(64, dtype(0.25)) > 0.0
    assert (np.full(64, tiny) * dtype(0.25)).all()


def test_layers_of_both_dtypes_are_trained_together_and_each_as_alone():
    def trained(optimizer, *modules):
        together = optimizer(list(modules))
        for step in range(3):
            for module in modules:
                module.flat_grads[:] = gradients(16, steps=3, dtype=module.dtype)[step]
            together.step()
        return together, [module.flat_params.copy() for module in modules]

    def layers():
        return Dense(3, 4, seed=0), Dense(3, 4, dtype="float64", seed=0)

    for optimizer in (SGD, RMSprop, Adagrad, Adam):
        both, values = trained(optimizer, *layers())
        for index, alone in enumerate(layers()):
            one, (expected,) = trained(optimizer, alone)
            np.testing.assert_array_equal(values[index], expected)
            for name, buffer in one.state_dict().items():
                if name.endswith(".0"):
                    assert buffer.dtype == alone.dtype
                    np.testing.assert_array_equal(both.state_dict()[f"{name[:-1]}{index}"], buffer)
        twin = pickle.loads(pickle.dumps(both))
        assert twin.state_dict().keys() == both.state_dict().keys()


@every_dtype
def test_a_state_of_the_other_dtype_is_refused_with_the_mend(dtype):
    module = Dense(3, 4, dtype=dtype)
    optimizer = RMSprop(module)
    state = {**optimizer.state_dict(), "square_avg.0": np.zeros(16, other(dtype))}
    name = np.dtype(dtype).name
    with pytest.raises(TypeError, match=rf"square_avg.0 has dtype .*; expected {name}, .*\.astype\(np.{name}\)"):
        optimizer.load_state_dict(state)
    module = FakeModule(8, dtype=dtype)
    optimizer = SGD(module)
    module.flat_grads = module.flat_grads.astype(other(dtype))
    with pytest.raises(RuntimeError, match=rf"flat_grads .*; expected a writable, contiguous {name} \(8,\)"):
        optimizer.step()


def test_hyperparameters_are_in_the_range_of_every_module():
    wide, narrow = Dense(1, 1, dtype="float64"), Dense(1, 1)
    assert SGD(wide, lr=1e-40).lr == 1e-40
    assert Adam(wide, lr=1e39, eps=1e-300).eps == 1e-300
    for modules, lr, name in (([wide, narrow], 1e-40, "float32"), (wide, 1e-310, "float64")):
        with pytest.raises(ValueError, match=f"expected a finite number >= 0 in the range of {name}"):
            SGD(modules, lr=lr)
    with pytest.raises(ValueError, match=r"lr / \(1 - beta1\) in the range of float64, up to 1.8e\+308"):
        Adam(wide, lr=1e308, betas=(0.9, 0.9))


def test_step_changes_nothing_when_one_module_is_broken():
    modules = [FakeModule(8), FakeModule(8)]
    optimizer = Adam(modules)
    for module in modules:
        module.flat_grads[:] = 1.0
    modules[1].flat_grads = np.ones(9, np.float32)
    before = [module.values.copy() for module in modules]
    with pytest.raises(RuntimeError, match=r"Adam.step: flat_grads of modules\[1\] .*\(8,\)"):
        optimizer.step()
    assert optimizer.state_dict()["step"] == 0
    assert not optimizer.state_dict()["exp_avg.0"].any()
    for module, values in zip(modules, before, strict=True):
        np.testing.assert_array_equal(module.values, values)


def test_step_reaches_a_layers_next_call():
    layer, x = fastrnn.LSTM(3, 5, seed=0), np.ones((2, 1, 3), np.float32)
    before, _ = layer(x)
    layer.flat_grads[:] = 1.0
    RMSprop(layer).step()
    after, _ = layer(x)
    assert not np.array_equal(after, before)
    fresh = fastrnn.LSTM(3, 5, seed=1)
    fresh.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(fresh(x)[0], after)


# Errors


@pytest.mark.parametrize("optimizer", [SGD, RMSprop, Adagrad, Adam])
@pytest.mark.parametrize("lr", [-1.0, np.nan, np.inf, 1e39, 1e-46, 1e-40, -1e-320])
def test_learning_rate_out_of_range(optimizer, lr):
    with pytest.raises(ValueError, match=rf"{optimizer.__name__}: lr is .*a finite number >= 0"):
        optimizer(FakeModule(3), lr=lr)
    trained = optimizer(FakeModule(3), lr=0.25)
    with pytest.raises(ValueError, match="lr is"):
        trained.lr = lr
    assert trained.lr == 0.25


@pytest.mark.parametrize(
    ("optimizer", "arguments", "message"),
    [
        (SGD, {"momentum": 1.0}, r"SGD: momentum is 1.0; expected a number in \[0, 1\)"),
        (SGD, {"momentum": np.nan}, "SGD: momentum is nan"),
        (RMSprop, {"alpha": -0.1}, "RMSprop: alpha is -0.1"),
        (RMSprop, {"eps": 0.0}, "RMSprop: eps is 0.0; expected a finite number > 0"),
        (Adagrad, {"eps": np.nan}, "Adagrad: eps is nan"),
        (Adam, {"betas": (1.0, 0.9)}, "Adam: beta1 is 1.0"),
        (Adam, {"betas": (0.9, np.nan)}, "Adam: beta2 is nan"),
    ],
)
def test_hyperparameter_out_of_range(optimizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizer(FakeModule(3), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": "0.1"}, "Adam: lr is a str; expected a finite number >= 0"),
        ({"lr": None}, "Adam: lr is a NoneType"),
        ({"lr": True}, "Adam: lr is a bool"),
        ({"betas": 0.9}, "Adam: betas is 0.9; expected a pair"),
        ({"betas": (0.9,)}, "expected a pair"),
    ],
)
def test_hyperparameter_of_wrong_type(arguments, message):
    with pytest.raises(TypeError, match=message):
        Adam(FakeModule(3), **arguments)


def test_modules_are_layers_and_come_once():
    module = FakeModule(3)
    with pytest.raises(ValueError, match=r"SGD: modules\[2\] is also modules\[0\]"):
        SGD([module, FakeModule(3), module])
    with pytest.raises(ValueError, match="SGD: modules is empty"):
        SGD([])
    with pytest.raises(TypeError, match="SGD: modules has a ndarray"):
        SGD([module, np.zeros(3)])
    with pytest.raises(TypeError, match="SGD: modules has a dict"):
        SGD({})


def broken(name, value):
    return lambda state: state.__setitem__(name, value)


@pytest.mark.parametrize(
    ("error", "message", "damage"),
    [
        (KeyError, r"missing \['exp_avg.0'\]", lambda state: state.pop("exp_avg.0")),
        (KeyError, r"missing \['step'\]", lambda state: state.pop("step")),
        (KeyError, r"missing \[\], unexpected \['square_avg.0'\]",
         broken("square_avg.0", np.zeros(6))),
        (ValueError, r"exp_avg_sq.0 has shape \(7,\); expected \(6,\)",
         broken("exp_avg_sq.0", np.zeros(7, np.float32))),
        (TypeError, "exp_avg_sq.0 has dtype float64", broken("exp_avg_sq.0", np.zeros(6))),
        (ValueError, "exp_avg_sq.0 holds NaN or infinity",
         broken("exp_avg_sq.0", np.full(6, np.nan, np.float32))),
        (ValueError, "lr is -1.0", broken("lr", -1)),
        (TypeError, "beta1 is a str", broken("beta1", "0.9")),
        (ValueError, "step is -1", broken("step", -1)),
        (TypeError, "step is a float", broken("step", 1.5)),
    ],
)  # fmt: skip
def test_load_state_dict_validates_before_it_changes(error, message, damage):
    module = FakeModule(6)
    optimizer = Adam(module, lr=0.25)
    train(optimizer, module, gradients(6))
    before = optimizer.state_dict()
    state = Adam(module, lr=0.125).state_dict()
    damage(state)
    with pytest.raises(error, match=f"Adam.load_state_dict: {message}"):
        optimizer.load_state_dict(state)
    assert optimizer.state_dict().keys() == before.keys()
    for name, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_load_state_dict_of_another_rule():
    with pytest.raises(KeyError, match=r"missing .*beta1.* unexpected .*alpha"):
        Adam(FakeModule(3)).load_state_dict(RMSprop(FakeModule(3)).state_dict())
    with pytest.raises(TypeError, match="state is a list"):
        Adam(FakeModule(3)).load_state_dict([])


def test_kernels_refuse_buffers_of_other_lengths():
    long, short = np.zeros(5, np.float32), np.zeros(4, np.float32)
    calls = [
        lambda: update.sgd(long, short, None, 0.1, 0.0),
        lambda: update.sgd(long, long, short, 0.1, 0.9),
        lambda: update.rmsprop(long, long, short, 0.1, 0.9, 1e-8),
        lambda: update.adagrad(long, long, short, 0.1, 1e-8),
        lambda: update.adam(long, long, long, short, 0.1, 0.9, 0.99, 1e-8, 1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="length 4; expected 5"):
            call()
    with pytest.raises(TypeError, match=r"signature|mismatch"):
        update.sgd(np.zeros(3, np.float16), np.zeros(3, np.float16), None, 0.1, 0.0)
    with pytest.raises(ValueError, match="dtype mismatch"):
        update.sgd(long, np.zeros(5), None, 0.1, 0.0)
    with pytest.raises(ValueError, match="step is 0"):
        update.adam(long, long, long, long, 0.1, 0.9, 0.99, 1e-8, 0)
