"""Training a character model: it learns, it resumes bit for bit, its numbers are what they say."""

import math

import numpy as np
import pytest
from charlm_tools import TEXT, tiny, trained

import fastrnn
from fastrnn.charlm import Settings, Trainer, UserError, Vocabulary, load
from fastrnn.charlm.evaluate import bits, compressed_bits, mean_loss, stream_count
from fastrnn.charlm.loop import run
from fastrnn.charlm.record import TrainingRecord
from fastrnn.charlm.settings import changed, fine_tuned, settings_from


class Silent:
    """A progress display that only notes what it is given."""

    def __init__(self):
        self.samples = []

    def advance(self, epoch, loss):
        pass

    def report(self, report):
        pass

    def sample(self, text):
        self.samples.append(text)


def run_to_end(trainer, **options):
    reports, saves = [], []
    values = {"interrupted": lambda: False, "save": lambda: saves.append(trainer.step)}
    run(trainer, Silent(), log=reports.append, **{**values, **options})
    return reports, saves


def resumed(trainer, path, text=TEXT, **changes):
    """The trainer saved, loaded and made anew."""
    trainer.save(path)
    model_file = load(path)
    record = TrainingRecord.from_json(model_file.training, model_file.settings)
    return Trainer.resume(model_file, record, changed(record.settings, changes), text)


def assert_same_weights(a, b):
    for one, other in zip(a.model.modules, b.model.modules, strict=True):
        np.testing.assert_array_equal(one.flat_params, other.flat_params)


# ---------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "ugrnn"])
def test_learns_a_repeated_text_nearly_by_heart(cell):
    text = "hello world\n" * 100
    rates = {"lr": 0.01, "lr_decay": 0.7, "lr_decay_after": 2}
    trainer = trained(text, cell=cell, hidden=32, epochs=8, **rates)
    # Not quite zero: each of the four streams starts somewhere inside the line.
    assert trainer.validation_loss() < 0.1


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adagrad", "sgd"])
def test_every_optimizer_lowers_the_loss(optimizer):
    lr = {"rmsprop": 0.01, "adam": 0.01, "adagrad": 0.1, "sgd": 1.0}[optimizer]
    trainer = trained(steps=0, optimizer=optimizer, lr=lr)
    losses = [trainer.train_step() for _ in range(trainer.steps)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:3])


def test_first_loss_is_that_of_guessing():
    trainer = trained(steps=0)
    assert trainer.train_step() == pytest.approx(math.log(len(trainer.vocabulary)), rel=0.1)


# --------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "lstm", "layers": 2, "dropout": 0.3},
        {"cell": "gru", "optimizer": "adam"},
        {"cell": "rnn", "optimizer": "adagrad", "lr_decay_after": 0},
        {"cell": "ugrnn", "optimizer": "sgd", "layers": 2, "dropout": 0.5},
    ],
    ids=lambda changes: changes["cell"],
)
@pytest.mark.parametrize("interrupted_after", [1, 42, 57])
def test_resumed_run_is_bit_for_bit_the_uninterrupted_one(changes, interrupted_after, tmp_path):
    whole = trained(**changes)
    assert whole.windows_per_epoch == 42  # so that the three steps are inside and between epochs
    part = trained(steps=interrupted_after, **changes)
    part = resumed(part, tmp_path / "m.safetensors")
    assert part.step == interrupted_after
    while not part.finished:
        part.train_step()
    assert_same_weights(part, whole)
    whole.save(tmp_path / "a.safetensors")
    part.seconds = whole.seconds
    part.save(tmp_path / "b.safetensors")
    a, b = load(tmp_path / "a.safetensors"), load(tmp_path / "b.safetensors")
    assert a.training == b.training
    for name in a.extras:
        np.testing.assert_array_equal(a.extras[name], b.extras[name])


def test_resuming_with_another_text_is_refused(tmp_path):
    trainer = trained(steps=3)
    with pytest.raises(UserError, match="not the text"):
        resumed(trainer, tmp_path / "m.safetensors", text=TEXT[:-1])


@pytest.mark.parametrize(
    "change",
    [{"cell": "gru"}, {"hidden": 8}, {"batch": 2}, {"seq": 4}, {"seed": 2}, {"optimizer": "sgd"}],
)
def test_options_that_contradict_the_file_are_refused(change):
    option = f"--{next(iter(change))}"
    with pytest.raises(UserError, match=f"{option} .* contradicts"):
        changed(tiny(), change)


def test_options_that_may_change_take_effect_at_once(tmp_path):
    trainer = resumed(trained(steps=3), tmp_path / "m.safetensors", lr=1e-30, epochs=5)
    before = trainer.model.recurrent.flat_params.copy()
    trainer.train_step()
    np.testing.assert_array_equal(trainer.model.recurrent.flat_params, before)
    assert trainer.steps == 5 * trainer.windows_per_epoch


# -------------------------------------------------------------------------------------- fine-tuning


OTHER = "she has a sea; the other has a shore. all she sells stays there.\n" * 30
NEW = OTHER.replace("shore", "SHORE") + "ÄÖ"


def base(folder, **changes):
    """A trained model's file."""
    path = folder / "base.safetensors"
    trained(steps=5, **changes).save(path)
    return load(path)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "ugrnn"])
def test_fine_tuning_keeps_weights_and_vocabulary_and_starts_the_rest_afresh(cell, tmp_path):
    file = base(tmp_path, cell=cell, layers=2, dropout=0.1)
    settings = fine_tuned(file.settings, {"batch": 3, "seq": 7, "lr": 0.01, "epochs": 1, "optimizer": "adam"})
    assert (settings.cell, settings.layers, settings.hidden, settings.dropout) == (cell, 2, 16, 0.1)
    assert (settings.batch, settings.seq, settings.save_every) == (3, 7, Settings().save_every)
    text = OTHER[:700].replace("h", "")
    trainer = Trainer.fine_tune(file, settings, text)
    assert trainer.vocabulary.characters == file.vocabulary.characters
    assert (trainer.step, trainer.seconds, trainer.history, trainer.left_out) == (0, 0.0, [], 0)
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(value, file.parameters[name])
    # From here on it is a new run that happens to start with these weights.
    fresh = Trainer(settings, text, file.vocabulary)
    fresh.model.load_state_dict(file.parameters)
    while not trainer.finished:
        assert trainer.train_step() == fresh.train_step()
    assert_same_weights(trainer, fresh)


def test_fine_tuning_lowers_the_loss_on_the_other_text(tmp_path):
    trained(optimizer="adam", lr=0.01).save(tmp_path / "base.safetensors")
    file = load(tmp_path / "base.safetensors")
    trainer = Trainer.fine_tune(file, fine_tuned(file.settings, tiny_values(lr=0.01)), OTHER)
    first = trainer.validation_loss()
    assert first < Trainer(trainer.settings, OTHER).validation_loss()
    while not trainer.finished:
        trainer.train_step()
    assert trainer.validation_loss() < 0.8 * first


def tiny_values(**changes):
    """Options of a run that trains in milliseconds, without those of the model."""
    return {"batch": 4, "seq": 8, "epochs": 2, "val_frac": 0.1, **changes}


@pytest.mark.parametrize("change", [{"cell": "gru"}, {"layers": 2}, {"hidden": 8}])
def test_fine_tuning_cannot_change_the_architecture(change, tmp_path):
    option = f"--{next(iter(change))}"
    with pytest.raises(UserError, match=f"{option} .* contradicts the model's {option}"):
        fine_tuned(base(tmp_path).settings, change)


def test_fine_tuning_can_change_dropout(tmp_path):
    assert fine_tuned(base(tmp_path, layers=2).settings, {"dropout": 0.5}).dropout == 0.5


def test_new_characters_are_refused_or_left_out(tmp_path):
    file = base(tmp_path)
    with pytest.raises(UserError, match=r"does not know the character 'S' .* --unk skip"):
        Trainer.fine_tune(file, fine_tuned(file.settings, tiny_values()), NEW)
    trainer = Trainer.fine_tune(file, fine_tuned(file.settings, tiny_values(unk="skip")), NEW)
    known = "".join(c for c in NEW if c in file.vocabulary)
    assert trainer.left_out == len(NEW) - len(known) > 100
    plain = Trainer.fine_tune(file, fine_tuned(file.settings, tiny_values()), known)
    assert [trainer.train_step() for _ in range(3)] == [plain.train_step() for _ in range(3)]
    with pytest.raises(UserError, match="too short"):
        Trainer.fine_tune(file, fine_tuned(file.settings, tiny_values(unk="skip")), "ÄÖ" * 1000)


@pytest.mark.parametrize("unk", ["error", "skip"])
@pytest.mark.parametrize("steps", [1, 40, 60])
def test_resumed_fine_tuning_is_bit_for_bit_the_uninterrupted_one(unk, steps, tmp_path):
    file = base(tmp_path, layers=2, dropout=0.3)
    text = NEW if unk == "skip" else OTHER
    settings = fine_tuned(file.settings, tiny_values(unk=unk))
    whole, part = (Trainer.fine_tune(file, settings, text) for _ in range(2))
    while not whole.finished:
        whole.train_step()
    for _ in range(steps):
        part.train_step()
    part = resumed(part, tmp_path / "m.safetensors", text)
    assert (part.step, part.settings.unk) == (steps, unk)
    while not part.finished:
        part.train_step()
    assert_same_weights(part, whole)


def test_skipping_belongs_to_the_run_and_a_new_model_has_nothing_to_skip(tmp_path):
    file = base(tmp_path)
    trainer = Trainer.fine_tune(file, fine_tuned(file.settings, tiny_values(unk="skip")), NEW)
    known = "".join(c for c in NEW if c in file.vocabulary)
    assert resumed(trainer, tmp_path / "m.safetensors", known).left_out == 0  # the same characters, the same run
    with pytest.raises(UserError, match="--unk error contradicts"):
        resumed(trainer, tmp_path / "m.safetensors", NEW, unk="error")
    with pytest.raises(UserError, match="not the text"):
        resumed(trainer, tmp_path / "m.safetensors", NEW + "s")
    with pytest.raises(UserError, match="--unk skip needs --init-from"):
        Trainer(tiny(unk="skip"), TEXT)


def test_samples_and_validation_do_not_change_the_run():
    plain = trained(steps=10, layers=2, dropout=0.2)
    busy = trained(steps=0, layers=2, dropout=0.2)
    for _ in range(10):
        busy.train_step()
        busy.sample()
        busy.validation_loss()
    assert_same_weights(plain, busy)


# ------------------------------------------------------------------------------------ the schedule


def test_learning_rate_decays_after_the_given_epoch():
    settings = Settings(lr=0.002, lr_decay=0.5, lr_decay_after=10)
    rates = [settings.learning_rate(epoch) for epoch in (1, 10, 11, 13)]
    assert rates == [0.002, 0.002, 0.001, 0.00025]


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adagrad", "sgd"])
def test_a_rate_that_decays_to_nothing_leaves_the_weights_as_they_are(optimizer, tmp_path):
    rates = {"lr_decay": 1e-4, "lr_decay_after": 0, "epochs": 200, "val_frac": 0.0}
    trainer = Trainer(tiny(optimizer=optimizer, batch=2, seq=10, **rates), TEXT[:21])
    assert trainer.steps == 200
    while trainer.step < 20:
        trainer.train_step()
    before = [module.flat_params.copy() for module in trainer.model.modules]
    trainer = resumed(trainer, tmp_path / "m.safetensors", TEXT[:21])
    while not trainer.finished:
        trainer.train_step()
    for module, weights in zip(trainer.model.modules, before, strict=True):
        np.testing.assert_array_equal(module.flat_params, weights)
    assert resumed(trainer, tmp_path / "m.safetensors", TEXT[:21]).finished


@pytest.mark.parametrize("epoch", [1, 10, 1000, 2**24, 10**30])
def test_the_learning_rate_is_one_that_float32_has(epoch):
    for decay in (1.0, 0.97, 1e-4, 1e-300):
        for lr in (1e-37, 0.002, 1e38):
            rate = np.float32(Settings(lr=lr, lr_decay=decay).learning_rate(epoch))
            assert 0 < rate < np.inf


def test_defaults_are_char_rnns():
    settings = Settings()
    assert (settings.cell, settings.layers, settings.hidden) == ("lstm", 2, 128)
    assert (settings.batch, settings.seq, settings.epochs) == (50, 50, 50)
    assert (settings.optimizer, settings.lr, settings.rms_alpha) == ("rmsprop", 0.002, 0.95)
    assert (settings.lr_decay, settings.lr_decay_after) == (0.97, 10)
    assert (settings.clip, settings.dropout, settings.val_frac) == (5.0, 0.0, 0.05)


def test_clipping_bounds_the_update():
    # Without momentum the update is lr times the clipped gradient.
    trainer = trained(steps=0, optimizer="sgd", lr=1.0, clip=1e-3)
    before = np.concatenate([module.flat_params for module in trainer.model.modules])
    trainer.train_step()
    after = np.concatenate([module.flat_params for module in trainer.model.modules])
    assert np.linalg.norm(after - before) == pytest.approx(1e-3, rel=1e-3)


def test_reports_come_at_their_steps_and_at_the_end_of_epochs():
    trainer = trained(steps=0, report_every=20, save_every=15)
    reports, saves = run_to_end(trainer)
    assert [r.step for r in reports] == [20, 40, 42, 60, 80, 84]
    assert [r.epoch for r in reports] == [1, 1, 1, 2, 2, 2]
    assert [r.step for r in reports if r.val_loss is not None] == [42, 84]
    assert saves == [15, 30, 42, 45, 60, 75, 84]
    assert trainer.history == [reports[2], reports[5]]
    assert all(r.chars_per_second > 0 for r in reports)


def test_interrupt_saves_after_the_step_and_deadline_validates_too():
    trainer = trained(steps=0)
    reports, saves = run_to_end(trainer, interrupted=lambda: trainer.step == 7)
    assert saves == [7]
    assert reports[-1].val_loss is None
    reports, saves = run_to_end(trainer, deadline=0.0)
    assert saves == [8]
    assert reports[-1].val_loss is not None


# --------------------------------------------------------------------------------------- bad input


def test_short_text_is_refused_with_the_numbers():
    with pytest.raises(UserError, match=r"27 of its 29 .* --batch 4 and --seq 8 takes 33"):
        Trainer(tiny(), TEXT[:29])
    with pytest.raises(UserError, match="too short"):
        Trainer(tiny(), "")


def test_one_character_text_trains():
    trainer = Trainer(tiny(epochs=1), "a" * 40)
    trainer.train_step()
    assert trainer.validation_loss() == 0.0


def test_no_validation_part_is_no_validation_loss():
    assert Trainer(tiny(val_frac=0.0), TEXT).validation_loss() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden", 0),
        ("layers", 0),
        ("batch", 0),
        ("seq", -1),
        ("hidden", 2**40),
        ("epochs", 0),
        ("lr", 0.0),
        ("lr", math.nan),
        ("lr", math.inf),
        ("lr", 1e39),
        ("lr", 1e-60),
        ("clip", math.inf),
        ("unk", "ignore"),
        ("seed", 2**63),
        ("hidden", 10**400),
        ("lr_decay", 1.5),
        ("dropout", 1.0),
        ("val_frac", 1.0),
        ("clip", -1.0),
        ("seed", -1),
        ("cell", "transformer"),
        ("optimizer", "lion"),
        ("hidden", 1.5),
        ("hidden", True),
        ("hidden", "128"),
        ("cell", ["lstm"]),
    ],
)
def test_settings_out_of_range_are_refused_by_option_name(name, value):
    with pytest.raises(UserError, match="--" + name.replace("_", "-")):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr", math.inf, "--lr is inf; expected at least 1e-37 and at most 1e+38"),
        ("clip", math.inf, "--clip is inf; expected at least 0 and at most 1e+38"),
        ("seed", -1, "--seed is -1; expected at least 0 and at most 9223372036854775807"),
        ("dropout", 1.0, "--dropout is 1.0; expected at least 0 and less than 1"),
        ("lr_decay", 0.0, "--lr-decay is 0.0; expected more than 0 and at most 1"),
        ("cell", "x\x1b[31m" * 50, r"--cell is 'x\x1b[31mx"),
    ],
)
def test_messages_name_both_ends_of_a_range(name, value, words):
    with pytest.raises(UserError) as caught:
        Settings(**{name: value})
    assert str(caught.value).startswith(words)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_windows_are_counted_as_they_are_cut():
    for changes in ({}, {"val_frac": 0.0}, {"batch": 3, "seq": 5}, {"val_frac": 0.5}):
        for size in (200, 333, 1520):
            trainer = Trainer(tiny(**changes), TEXT[:size])
            assert trainer.settings.windows_per_epoch(size) == trainer.windows_per_epoch
    assert tiny().windows_per_epoch(10) == 0


def test_dropout_needs_two_layers():
    with pytest.raises(UserError, match="--dropout"):
        Settings(layers=1, dropout=0.5)


def test_a_model_beyond_memory_is_refused_before_it_is_made():
    with pytest.raises(UserError, match="weights"):
        Trainer(tiny(hidden=2**24), TEXT)


@pytest.mark.parametrize("values", [[], {"cell": "lstm"}, {**tiny().__dict__, "hiden": 3}])
def test_settings_from_a_file_must_be_exactly_the_known_ones(values):
    with pytest.raises(UserError, match="settings"):
        settings_from(Settings, values)


def test_no_step_after_the_last_one():
    trainer = trained()
    with pytest.raises(UserError, match="all 2 epochs are done; expected more --epochs"):
        trainer.train_step()


def test_step_with_a_loss_that_is_not_finite_changes_nothing(monkeypatch):
    trainer = trained(steps=2)
    before = trainer.model.recurrent.flat_params.copy()
    monkeypatch.setattr(trainer.model, "add_gradients", lambda *arguments: (math.inf, None))
    with pytest.raises(FloatingPointError, match="the loss is not finite"):
        trainer.train_step()
    np.testing.assert_array_equal(trainer.model.recurrent.flat_params, before)
    assert trainer.step == 2


def test_a_loss_over_a_text_that_is_not_finite_is_an_error(monkeypatch):
    trainer = trained(steps=2)
    monkeypatch.setattr(fastrnn, "softmax_cross_entropy", lambda logits, targets: (math.nan, logits))
    with pytest.raises(FloatingPointError, match="not finite: the model's weights are too large"):
        trainer.validation_loss()


@pytest.mark.parametrize("clip", [5.0, 0.0])
def test_step_with_a_gradient_that_is_not_finite_changes_nothing(clip):
    trainer = trained(steps=2, clip=clip)
    with trainer.model.head.editing() as params:
        params["bias"][0] = np.nan
    before = trainer.model.recurrent.flat_params.copy()
    with pytest.raises(FloatingPointError):
        trainer.train_step()
    np.testing.assert_array_equal(trainer.model.recurrent.flat_params, before)
    assert trainer.step == 2


# -------------------------------------------------------------------------------------- evaluation


def plain_loss(trainer, codes, streams):
    """Mean of -log p, one stream and one character at a time."""
    model, total, count = trainer.model, 0.0, 0
    length = (len(codes) - 1) // streams
    for start in range(0, streams * length, length):
        state = None
        for place in range(start, start + length):
            logits, state = model(codes[place : place + 1, None], state)
            logits = logits[0, 0].astype(np.float64)
            total += np.log(np.exp(logits).sum()) - logits[codes[place + 1]]
            count += 1
    return total / count


@pytest.mark.parametrize("streams", [1, 3])
def test_mean_loss_is_the_plain_one_whatever_the_windows(streams, monkeypatch):
    trainer = trained(steps=30)
    codes = trainer.vocabulary.encode(TEXT[:200])
    expected = plain_loss(trainer, codes, streams)
    assert mean_loss(trainer.model, codes, streams) == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr("fastrnn.charlm.evaluate._PREDICTIONS", 7 * streams)
    assert mean_loss(trainer.model, codes, streams) == pytest.approx(expected, rel=1e-5)


def test_validation_is_the_last_part_in_the_streams_of_the_batch():
    trainer = trained(steps=30)
    codes = Vocabulary.from_text(TEXT).encode(TEXT)
    last = codes[len(codes) - int(0.1 * len(codes)) :]
    assert trainer.validation_loss() == mean_loss(trainer.model, last, 4)


def test_stream_count_gives_each_stream_a_window():
    assert stream_count(55770, 50, 50) == 50
    assert stream_count(101, 50, 50) == 2
    assert stream_count(2, 50, 50) == 1


def test_bits_and_compressors_count_utf8_bytes_per_character():
    assert bits(math.log(2)) == 1.0
    sizes = compressed_bits("ü" * 10000)
    assert set(sizes) == {"bz2", "xz"}
    assert all(0 < size < 1 for size in sizes.values())
