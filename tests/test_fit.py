"""Training: what a step is, where a run stands, and that a resumed run is the run that was never interrupted."""

import csv
import json
import math
from functools import partial

import numpy as np
import pytest
import safetensors.numpy
from model_problems import classifier, sequences, tagger, tokens, translator

import fastrnn
from fastrnn import archive, inspect, runtime
from fastrnn.errors import UserError
from fastrnn.training import Callback, CosineDecay, Epoch, ExponentialDecay, History, ReduceOnPlateau, StepDecay, WarmUp
from fastrnn.training.batches import epoch_steps, plain_batches

N = 40


def problem(seed=0, n=N, dtype="float32"):
    """Whether the running sum of the first feature is positive, at each step."""
    rng = np.random.default_rng(seed)
    inputs = sequences(rng, rng.integers(1, 12, n), dtype=dtype)
    return inputs, [(one[:, 0].cumsum() > 0).astype(np.int64) for one in inputs]


def model(**options):
    return tagger("float32", **options)


def bits(model):
    return np.concatenate([module.flat_params for module in model.modules.values()]).tobytes()


def trained(**options):
    """The bits of a model after a run, and the run's history."""
    one, (inputs, targets) = model(dropout=0.2), problem()
    history = fastrnn.fit(one, inputs, targets, **{"epochs": 3, "batch_size": 8, "seed": 5, **options})
    return bits(one), history


# ------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.parametrize("size, together", [(1, 1), (7, 1), (7, 3), (100, 2)])
def test_every_sequence_is_in_one_batch_of_an_epoch(bucket, size, together):
    lengths = np.random.default_rng(0).integers(1, 50, 61)
    steps = epoch_steps(lengths, size, together, bucket, seed=3, epoch=2)
    batches = [batch for step in steps for batch in step]
    assert sorted(np.concatenate(batches)) == list(range(61))
    assert max(map(len, steps)) == min(together, len(batches)) and max(map(len, batches)) == min(size, 61)


def test_buckets_waste_little_on_padding():
    lengths = np.random.default_rng(1).integers(1, 200, 1000)

    def share_of_padding(bucket):
        batches = [batch for step in epoch_steps(lengths, 20, 1, bucket, 0, 0) for batch in step]
        padded = sum(len(batch) * lengths[batch].max() for batch in batches)
        return 1 - lengths.sum() / padded

    assert share_of_padding(True) < 0.05 < 0.3 < share_of_padding(False)


def test_epochs_differ_in_order_and_a_seed_gives_the_same_one():
    lengths = np.arange(30)
    orders = [[list(step[0]) for step in epoch_steps(lengths, 4, 1, True, 9, epoch)] for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_batches_to_measure_are_sorted_by_length():
    lengths = np.random.default_rng(2).integers(1, 50, 33)
    order = np.concatenate(plain_batches(lengths, 5))
    assert sorted(order) == list(range(33)) and np.all(np.diff(lengths[order]) >= 0)


# -------------------------------------------------------------------------------------------- steps


def test_a_model_learns():
    one, (inputs, targets) = model(), problem(n=200)
    options = {"optimizer": partial(fastrnn.Adam, lr=0.02), "epochs": 15}
    history = fastrnn.fit(one, inputs, targets, validation=problem(seed=1), **options)
    assert history.train_loss[-1] < 0.3 * history.train_loss[0]
    assert min(history.validation_loss) < 0.35


def test_a_run_is_what_it_would_be_by_hand():
    """One batch of everything, plain gradient descent: the mean loss's gradient, clipped, times the rate."""
    one, (inputs, targets) = tagger(), problem(dtype="float64")
    other = tagger()
    fastrnn.fit(one, inputs, targets, epochs=3, batch_size=N, bucket=False, clip_norm=0.05,
                optimizer=partial(fastrnn.SGD, lr=0.5))  # fmt: skip
    for _ in range(3):
        other.zero_grad()
        _, weight = other.add_gradients(inputs, targets)
        for grads in other.grads:
            grads.flat[:] /= weight
        fastrnn.clip_grad_norm_(other.grads, 0.05)
        fastrnn.SGD(list(other.modules.values()), lr=0.5).step()
    for name, value in one.state_dict().items():
        np.testing.assert_allclose(value, other.state_dict()[name], rtol=1e-10, atol=1e-12)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    assert trained()[0] == trained()[0] != trained(seed=6)[0]


def test_the_number_of_threads_changes_no_bit():
    assert trained(num_threads=1)[0] == trained(num_threads=3)[0]


def test_accumulated_batches_have_the_gradient_of_one_large_batch():
    found = []
    for size, together in ((40, 1), (10, 4), (7, 6)):
        one, (inputs, targets) = tagger(), problem(dtype="float64")
        fastrnn.fit(one, inputs, targets, epochs=2, batch_size=size, accumulate=together)
        found.append(np.concatenate([module.flat_params for module in one.modules.values()]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-9, atol=1e-12)


def test_a_model_may_end_in_one_label_for_each_sequence_or_write_another_sequence():
    rng = np.random.default_rng(8)
    one = classifier("last", "float32")
    inputs = sequences(rng, rng.integers(1, 9, 30), dtype="float32")
    history = fastrnn.fit(one, inputs, [int(len(x) > 4) for x in inputs], epochs=20,
                          optimizer=partial(fastrnn.Adam, lr=0.03))  # fmt: skip
    assert history.train_loss[-1] < 0.5 * history.train_loss[0]
    other = translator("float32")
    history = fastrnn.fit(other, tokens(rng, (3, 4, 5)), tokens(rng, (2, 3, 1)), epochs=3)
    assert len(history.epochs) == 3


def test_a_loss_that_is_not_finite_leaves_the_weights():
    one, (inputs, targets) = model(), problem()
    before = bits(one)
    inputs[3][0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r"fit: the loss of step 1 is nan.*look\(model, inputs, targets\)"):
        fastrnn.fit(one, inputs, targets, batch_size=N)
    assert bits(one) == before
    assert str(inspect.look(one, inputs, targets).first_nan) == "recurrent, layer 0, step 0, row 3: input is nan at 0"


def test_sequences_without_anything_to_count_move_nothing():
    one, (inputs, targets) = model(loss=partial(fastrnn.softmax_cross_entropy, ignore_index=-1)), problem()
    before = bits(one)
    history = fastrnn.fit(one, inputs, [np.full_like(target, -1) for target in targets], epochs=1)
    assert bits(one) == before and math.isnan(history.train_loss[0])


# ------------------------------------------------------------------------------------ rates and stops


def test_learning_rates_follow_their_schedules():
    def rates(schedule, epochs, losses=()):
        return [round(schedule(epoch, losses), 6) for epoch in epochs]

    assert rates(StepDecay(2, 0.5), (0, 1.9, 2, 4.5)) == [1, 1, 0.5, 0.25]
    assert rates(ExponentialDecay(0.5, after=1), (0, 1.5, 2, 3)) == [1, 1, 0.5, 0.25]
    assert rates(CosineDecay(4, floor=0.2), (0, 2, 4, 9)) == [1, 0.6, 0.2, 0.2]
    assert rates(WarmUp(2, CosineDecay(4)), (0, 1, 2, 4, 6)) == [0, 0.5, 1, 0.5, 0]
    plateau = ReduceOnPlateau(patience=2, factor=0.1, floor=0.05)
    series = ([], [3], [3, 4, 3], [3, 4, 3, 2, 2, 2], [1] * 9)
    assert [plateau(len(losses), losses) for losses in series] == [1, 1, 0.1, 0.05, 0.05]


def test_schedules_multiply_the_optimisers_own_rate_and_leave_it():
    seen = []

    class Watch(Callback):
        def on_step(self, run):
            seen.append((run.optimizer.lr, run.lr))

    one, (inputs, targets) = model(), problem()
    optimizer = fastrnn.SGD(list(one.modules.values()), lr=0.5)
    options = {"schedule": WarmUp(2), "epochs": 3, "batch_size": 20, "callbacks": [Watch()]}
    fastrnn.fit(one, inputs, targets, optimizer=optimizer, **options)
    assert seen == [(rate, rate) for rate in (0.0, 0.125, 0.25, 0.375, 0.5, 0.5)]
    assert optimizer.lr == 0.5


def test_training_ends_without_progress_and_keeps_the_best_weights():
    one, kept = model(), []

    class Keep(Callback):
        def on_epoch(self, run):
            kept.append(bits(run.model))

    history = fastrnn.fit(one, *problem(), validation=problem(seed=2), epochs=60, patience=3,
                          optimizer=partial(fastrnn.Adam, lr=0.3), callbacks=[Keep()])  # fmt: skip
    assert history.stopped == "no better loss in 3 epochs"
    assert len(history.epochs) == history.best_epoch + 3 == len(kept)
    assert bits(one) == kept[history.best_epoch - 1]


def test_a_callback_with_a_method_that_is_never_called_is_refused():
    with pytest.raises(TypeError, match="Late: on_epoch_end is never called; expected on_step or on_epoch"):
        class Late(Callback):
            def on_epoch_end(self, run):
                """As Keras names it."""


def test_a_callback_stops_the_run_after_the_step():
    class Stop(Callback):
        def on_step(self, run):
            if run.step == 7:
                run.stop()

    steps = []

    class Count(Callback):
        def on_step(self, run):
            steps.append((run.epoch, run.step, run.loss, run.gradient_norm))

    history = fastrnn.fit(model(), *problem(), batch_size=8, epochs=9, callbacks=[Count(), Stop()])
    assert [step for _, step, _, _ in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert history.stopped == "a callback stopped the run"
    assert all(loss > 0 and norm > 0 for _, _, loss, norm in steps)


# --------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("name", ["run.jsonl", "run.csv"])
def test_the_log_has_a_line_for_each_epoch(tmp_path, name):
    path = tmp_path / name
    _, history = trained(log=path, validation=problem(seed=1), clip_norm=0.01)
    if name.endswith("csv"):
        lines = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(path.read_text().splitlines())]
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3] and [line["step"] for line in lines] == [5, 10, 15]
    assert [line["validation_loss"] for line in lines] == history.validation_loss
    assert all(line["clipped"] == 1.0 and line["gradient_norm"] > 0.01 for line in lines)
    before = path.read_bytes()
    with pytest.raises(UserError, match="expected resume=True to go on, or a new name"):
        trained(log=path)
    assert path.read_bytes() == before
    (tmp_path / "other.txt").write_text("mine\n")
    with pytest.raises(UserError, match="is no training log"):
        trained(log=tmp_path / "other.txt")
    assert (tmp_path / "other.txt").read_text() == "mine\n"


def test_the_bar_counts_steps(capsys):
    trained(progress=True)
    assert "15/15" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- going on


class Interrupt(Callback):
    """Ctrl-C after a step."""

    def __init__(self, step):
        self.step = step

    def on_step(self, run):
        if run.step == self.step:
            raise KeyboardInterrupt


class InterruptInside:
    """Ctrl-C in the middle of the gradients of a step."""

    def __init__(self, monkeypatch, step):
        self.left, self.real = step, fastrnn.SequenceModel.add_gradients
        monkeypatch.setattr(fastrnn.SequenceModel, "add_gradients", lambda *args, **options: self(*args, **options))

    def __call__(self, *args, **options):
        found = self.real(*args, **options)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return found


@pytest.mark.parametrize("step", [2, 6])
def test_an_interrupt_inside_of_a_step_saves_what_was_before_it(tmp_path, monkeypatch, step):
    whole, _ = trained()
    path = tmp_path / "run.safetensors"
    InterruptInside(monkeypatch, step)
    with pytest.raises(KeyboardInterrupt):
        trained(checkpoint=path)
    assert json.loads(archive.metadata(path)["run"])["step"] == step - 1
    assert trained(checkpoint=path, resume=True)[0] == whole


def test_a_callback_stops_the_run_after_the_epoch():
    class Stop(Callback):
        def on_epoch(self, run):
            run.stop()

    _, history = trained(callbacks=[Stop()])
    assert len(history.epochs) == 1 and history.epochs[0].step == 5
    assert history.stopped == "a callback stopped the run"


@pytest.mark.parametrize("change", [
    {"place": 99}, {"epoch": 77}, {"history": []}, {"rate": -1.0}, {"stopped": "\x1b[31m"}, {"step": -1},
], ids=str)  # fmt: skip
def test_a_forged_checkpoint_is_refused(tmp_path, change):
    path = tmp_path / "run.safetensors"
    trained(checkpoint=path)
    metadata = archive.metadata(path)
    metadata["run"] = json.dumps({**json.loads(metadata["run"]), **change})
    tensors = safetensors.numpy.load_file(path)
    metadata["sha256"] = archive.digest(tensors, {k: v for k, v in metadata.items() if k != "sha256"})
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(UserError, match="run: "):
        trained(checkpoint=path, resume=True)


def test_an_epoch_without_a_loss_is_none_of_the_best():
    epochs = [Epoch(n, n, loss, None, 0.1, 1.0, 0.0, 1.0) for n, loss in enumerate((math.nan, 0.9, 0.5), 1)]
    assert History(epochs).best_epoch == 3


def test_a_validation_loss_that_is_infinite_is_saved(tmp_path):
    path = tmp_path / "run.safetensors"
    one, (inputs, targets) = model(loss=fastrnn.ctc_loss), problem()
    labels = [np.array([1]) for _ in targets]
    options = {"validation": (inputs[:1], [np.ones(50, np.int64)]), "checkpoint": path}
    history = fastrnn.fit(one, inputs, labels, epochs=2, **options)
    assert history.validation_loss == [math.inf, math.inf]
    assert fastrnn.fit(one, inputs, labels, epochs=2, resume=True, **options).validation_loss == [math.inf, math.inf]


@pytest.mark.parametrize("name", ["log", "checkpoint"])
def test_a_missing_folder_is_said_before_anything_happens(tmp_path, name):
    one, (inputs, targets) = model(), problem()
    before = bits(one)
    with pytest.raises(FileNotFoundError, match="its folder is not there"):
        fastrnn.fit(one, inputs, targets, **{name: tmp_path / "none" / "run"})
    assert bits(one) == before


@pytest.mark.parametrize("make", [lambda: tagger("float32", dropout=0.5), lambda: translator("float32")])
def test_every_part_of_a_model_has_the_threads_of_the_run(make, monkeypatch):
    asked, real = [], runtime.resolve
    monkeypatch.setattr(runtime, "resolve", lambda who, n: asked.append((who, n)) or real(who, n))
    rng = np.random.default_rng(0)
    one = make()
    if isinstance(one, fastrnn.SequenceModel):
        inputs, targets = problem(n=4)
    else:
        inputs, targets = tokens(rng, (3, 4)), tokens(rng, (2, 3))
    fastrnn.fit(one, inputs, targets, validation=(inputs, targets), epochs=1, num_threads=1)
    assert len(asked) > 5 and [who for who, n in asked if n != 1] == []


OPTIONS = {
    "plain": {},
    "validation": {"validation": problem(seed=1), "patience": 5},
    "schedule": {"schedule": WarmUp(1, ReduceOnPlateau(1)), "accumulate": 2},
    "momentum": {"optimizer": partial(fastrnn.SGD, lr=0.1, momentum=0.9), "bucket": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("step", [1, 3, 5, 7])
def test_a_resumed_run_is_bit_for_bit_the_run_that_went_through(tmp_path, options, step):
    whole, expected = trained(**options)
    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        trained(checkpoint=path, callbacks=[Interrupt(step)], **options)
    found, history = trained(checkpoint=path, resume=True, **options)
    assert found == whole
    assert history.losses == expected.losses and history.best_epoch == expected.best_epoch


def test_a_finished_run_goes_on_with_more_epochs(tmp_path):
    path = tmp_path / "run.safetensors"
    options = {"validation": problem(seed=1)}
    trained(checkpoint=path, epochs=2, **options)
    assert trained(checkpoint=path, resume=True, epochs=4, **options)[0] == trained(epochs=4, **options)[0]


def test_a_run_begins_where_there_is_no_checkpoint_yet(tmp_path):
    assert trained(checkpoint=tmp_path / "run.safetensors", resume=True)[0] == trained()[0]


@pytest.mark.parametrize("change, said", [
    ({"batch_size": 4}, "begun with batch_size 8"),
    ({"seed": 6}, "begun with seed 5"),
    ({"accumulate": 2}, "begun with together 1"),
    ({"schedule": StepDecay(3)}, "begun with schedule None"),
    ({"optimizer": fastrnn.SGD}, "optimizer"),
    ({"optimizer": partial(fastrnn.Adam, lr=0.5)}, "begun with optimizer"),
    ({"validation": problem(seed=1)}, "begun with data"),
], ids=str)  # fmt: skip
def test_a_run_with_other_settings_does_not_go_on(tmp_path, change, said):
    path = tmp_path / "run.safetensors"
    trained(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=said):
        trained(checkpoint=path, resume=True, **change)
    assert path.read_bytes() == before


def test_what_is_in_the_way_of_a_checkpoint_is_left_alone(tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_text("mine")
    with pytest.raises(UserError, match="is there and is no checkpoint"):
        trained(checkpoint=path, resume=True)
    assert path.read_text() == "mine"
    path.unlink()
    trained(checkpoint=path)
    with pytest.raises(UserError, match="expected resume=True"):
        trained(checkpoint=path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    trained(checkpoint=path)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), 60):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(UserError):
            trained(checkpoint=path, resume=True)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError):
        trained(checkpoint=path, resume=True)
