"""Tensors that are written in place between forward and backward: right gradients or PyTorch's own errors."""

import pytest

torch = pytest.importorskip("torch")
from torch_bridge_tools import (  # noqa: E402
    CELLS,
    HERE,
    LAYERS,
    flat,
    gradients,
    in_both,
    layer,
    losses,
    only,
    raised,
    random,
    same,
    state_of,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("torch_on_one_thread")
every_kind = pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
MODIFIED = "one of the variables needed for gradient computation has been modified by an inplace operation"


class Problem:
    """A layer or cell, and what it is given, made anew of leaves for each call: it may be written."""

    def __init__(self, kind, **options):
        self.module = layer(kind, 3, 4, **options)
        self.leaves = [random(*([2] if kind in CELLS else [5, 2]), 3, grad=True),
                       *flat(state_of(self.module, 2, grad=True))]  # fmt: skip
        self.given = len(self.leaves)
        self.leaves += self.module.parameters()

    def outputs(self):
        self.x, *self.states = [leaf * 1 for leaf in self.leaves[: self.given]]
        return flat(self.module(self.x, tuple(self.states) if len(self.states) == 2 else self.states[0]))


@every_kind
@pytest.mark.parametrize("taped", [True, False], ids=["taped", "in no_grad"])
def test_results_may_be_written(kind, taped):
    """Each one, before anything goes backward; twice, so that the run is done again. Torch's LSTM allows some only."""

    def run(write):
        problem, found = Problem(kind), []
        count = len(problem.outputs())
        for one in range(count):
            outputs = problem.outputs()
            kept = [output.clone() for output in outputs]
            if write:
                with torch.set_grad_enabled(taped):
                    outputs[one].mul_(2).add_(1)
            elif taped:  # a write that autograd does not see leaves the gradients of this loss, a sum, as they are
                outputs[one] = outputs[one] * 2 + 1
            assert all(torch.equal(output, clone) for i, (output, clone) in enumerate(zip(outputs, kept, strict=True))
                       if i != one), "a write reached another result"  # fmt: skip
            losses(outputs).backward(retain_graph=True)
            losses(outputs).backward()
            found.append(gradients(problem.leaves))
        return found

    plain = run(False)
    with only(*HERE):
        ours = run(True)
    same(ours, plain)


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_y_written_gives_torchs_gradients(kind):
    def run():
        problem = Problem(kind, layers=2, bidirectional=True)
        y, h = problem.outputs()
        y[1:3] = 0
        y.clamp_(-0.2, 0.2)
        losses([y, h]).backward()
        return y, gradients(problem.leaves)

    plain, ours, _ = in_both(run)
    same(ours, plain)


@every_kind
def test_what_backward_needs_may_not_be_written(kind):
    """x, each state, each weight: torch's own error."""
    with only(*HERE):
        for which in ("x", "states", "weights"):
            problem = Problem(kind)
            outputs = problem.outputs()
            written = {"x": [problem.x], "states": problem.states, "weights": [problem.module.parameters()]}[which]
            for tensor in written if which != "weights" else [next(problem.module.parameters())]:
                with torch.no_grad():
                    tensor.mul_(2)
            error, message = raised(losses(outputs).backward)
            assert error is RuntimeError
            assert message.startswith(MODIFIED)


@every_kind
def test_an_optimisers_step_before_backward_is_an_error(kind):
    problem = Problem(kind)
    optimiser = torch.optim.SGD(problem.module.parameters(), 0.1)
    with only(*HERE):
        losses(problem.outputs()).backward()
        outputs = problem.outputs()
        optimiser.step()
        with pytest.raises(RuntimeError, match=MODIFIED):
            losses(outputs).backward()


@every_kind
def test_backward_through_a_freed_graph_is_torchs_error(kind):
    def run():
        problem = Problem(kind)
        loss = losses(problem.outputs())
        loss.backward()
        return raised(loss.backward)

    plain, ours, _ = in_both(run)
    assert ours == plain
    assert "second time" in ours[1]


@every_kind
def test_inference_tensors_are_no_part_of_a_graph(kind):
    """Torch's own error where autograd would save one; without a graph they may be given, weights too."""

    def run():
        module, plain = layer(kind, 3, 4), random(5, 2, 3)[: None if kind in LAYERS else 1].squeeze(0)
        with torch.inference_mode():
            x, made_there = plain * 1, layer(kind, 3, 4)
        error = raised(module, x)
        with torch.no_grad():
            return error, module(x), made_there(plain)

    plain, ours, ways = in_both(run)
    same(ours, plain)
    assert "Inference tensors cannot be saved for backward" in ours[0][1]
    assert ways == HERE


@every_kind
@pytest.mark.parametrize("way", ["data", "numpy", "out", "set_", "swap"])
def test_weights_that_change_unseen_are_used_as_they_are(kind, way):
    """In training and in inference, in ways of which torch's version of a tensor tells nothing."""

    def run():
        problem, found = Problem(kind), []
        for step in range(4):
            with torch.set_grad_enabled(step % 2 == 0):
                outputs = problem.outputs()
            if step % 2 == 0:
                losses(outputs).backward(inputs=[*problem.module.parameters()])
            found.append([output.detach() for output in outputs])
            found.append([gradient for gradient in gradients(problem.leaves) if gradient is not None])
            for parameter in problem.module.parameters():
                change(parameter, way)
        return found

    plain, ours, ways = in_both(run)
    same(ours, plain)
    assert ways == HERE


def change(parameter, way):
    if way == "data":
        parameter.data.mul_(0.9).add_(0.1)
    elif way == "numpy":
        parameter.detach().numpy()[...] += 0.1
    elif way == "out":
        torch.add(parameter.data, 0.1, out=parameter.data)
    elif way == "set_":
        parameter.data.set_((parameter.data + 0.1).contiguous())
    else:
        parameter.data = parameter.data + 0.1


@every_kind
def test_results_outlive_later_calls(kind):
    """Nothing that was returned changes when later calls of the same sizes run, or when the module is gone."""

    def run():
        problem = Problem(kind)
        outputs = problem.outputs()
        losses(outputs).backward(retain_graph=True)
        found = [*outputs, *gradients(problem.leaves)]
        copies = [tensor.clone() for tensor in found]
        for seed in range(5):
            problem.leaves[0].data = random(*problem.x.shape, seed=seed)
            losses(problem.outputs()).backward()
        return all(torch.equal(tensor, clone) for tensor, clone in zip(found, copies, strict=True))

    with only(*HERE):
        assert run()
