"""Model files: what is saved comes back, replaced whole, and hostile files get one clear error."""

import json
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest
import safetensors
from charlm_tools import TEXT, save_model, tiny, trained
from safetensors.numpy import save as pack

from fastrnn.charlm import CharacterModel, UserError, checkpoint, load
from fastrnn.charlm.model import parameter_shapes, state_arrays, state_shapes
from fastrnn.charlm.record import Report, TrainingRecord
from fastrnn.charlm.train import Trainer, resumable
from fastrnn.cli.main import main


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def header(path):
    """(header as a dict, the bytes after it) of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(path, values, rest):
    text = json.dumps(values).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def rewrite(path, **metadata):
    """The same file with some metadata replaced, and no checksum; None takes a key away."""
    values, rest = header(path)
    values["__metadata__"].update({"sha256": None, **metadata})
    values["__metadata__"] = {k: v for k, v in values["__metadata__"].items() if v is not None}
    write(path, values, rest)


def retensor(path, change):
    """The same file with its tensors changed, and no checksum."""
    metadata = header(path)[0]["__metadata__"]
    metadata.pop("sha256", None)
    file = load(path)
    tensors = {**file.parameters, **file.extras}
    path.write_bytes(pack(change(tensors), metadata))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "ugrnn"])
def test_what_is_saved_is_loaded(path, cell):
    model, vocabulary = save_model(path, TEXT + "日🙂\0", cell=cell, layers=2)
    file = load(path)
    assert file.vocabulary.characters == vocabulary.characters
    assert file.settings.cell == cell
    assert file.training is None
    again = file.build_model()
    for one, other in zip(model.modules, again.modules, strict=True):
        np.testing.assert_array_equal(one.flat_params, other.flat_params)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "ugrnn"])
def test_shapes_worked_out_are_those_of_the_model(cell):
    settings = tiny(cell=cell, layers=3)
    model = CharacterModel(settings, 11, seed=1)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert parameter_shapes(settings, 11) == shapes
    _, state = model(np.zeros((2, 5), dtype=np.int32))
    assert [part.shape for part in state_arrays(state)] == state_shapes(settings, 5)


def test_arrays_in_any_memory_order_are_saved_right(path):
    model, vocabulary = save_model(path)
    turned = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    strided = np.arange(12, dtype=np.float32)[::2]
    extras = {"optimizer.turned": turned, "optimizer.strided": strided}
    checkpoint.save(path, model, vocabulary, extras=extras)
    for name, value in load(path).extras.items():
        np.testing.assert_array_equal(value, extras[name])


def test_file_mode_follows_the_umask_and_a_link_stays(path, tmp_path):
    link = tmp_path / "link.safetensors"
    link.symlink_to(path.name)
    before = os.umask(0o027)
    try:
        save_model(link)
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_failed_save_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    save_model(path)
    old = path.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(path)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_weights_that_are_not_finite_are_not_saved(path):
    model, vocabulary = save_model(path)
    old = path.read_bytes()
    with model.head.editing() as params:
        params["bias"][0] = np.inf
    with pytest.raises(FloatingPointError, match=r"head.bias"):
        checkpoint.save(path, model, vocabulary)
    assert path.read_bytes() == old


def test_killed_while_saving_leaves_a_readable_file(path):
    save_model(path, hidden=128)
    script = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from fastrnn.charlm import checkpoint, load\n"
        f"file = load({str(path)!r}); model = file.build_model()\n"
        "print('ready', flush=True)\n"
        f"while True: checkpoint.save({str(path)!r}, model, file.vocabulary)\n"
    )
    rng = np.random.default_rng(5)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        try:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.005, 0.1))
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        load(path)
    save_model(path)
    assert list(path.parent.iterdir()) == [path]  # the next save took the stray file away


# ----------------------------------------------------------------------------------- hostile files


def test_truncated_file_is_refused_at_every_length(path):
    save_model(path, hidden=2)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    for size in [*range(40), *range(40, 8 + length, 17), *range(8 + length, len(data), 29)]:
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=r"model.safetensors: "):
            load(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, I am a text file\n",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**8) + b"{}",
        b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
        struct.pack("<Q", 4000) + b"[" * 4000,
        pack({"x": np.zeros(3, np.float32)}),
        pack({"x": np.zeros(3, np.float32)}, {"format": "pt"}),
    ],
)
def test_other_files_are_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"model.safetensors: (not a whole|a) safetensors file"):
        load(path)


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="not a file"):
        load(tmp_path)


def test_an_error_of_the_system_names_the_file(path, monkeypatch):
    save_model(path)

    def fail(*arguments, **options):
        raise OSError("Input/output error (os error 5)")

    monkeypatch.setattr(safetensors, "safe_open", fail)
    with pytest.raises(UserError, match=r"model.safetensors: cannot be read as a safetensors file: Input/output error"):
        load(path)
    with pytest.raises(UserError, match="name of a model is empty"):
        load("")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"version": "3"}, "version '3'; this program reads '2' and '1'"),
        ({"surprise": "x"}, "unknown metadata 'surprise'"),
        ({"model": None}, "missing metadata 'model'"),
        ({"vocabulary": None}, "missing metadata 'vocabulary'"),
        ({"model": "{"}, "model: not readable"),
        ({"model": "[" * 100000}, "model: not readable"),
        ({"model": "[]"}, "expected a mapping"),
        ({"vocabulary": "[1]"}, "expected a string"),
        ({"vocabulary": '"ba"'}, "sorted"),
        ({"vocabulary": '""'}, "no characters"),
        ({"vocabulary": '"a\\ud800"'}, "half of a surrogate pair"),
        ({"training": "3"}, "training"),
        ({"training": "NaN"}, "training: not readable"),
        ({"sha256": "0"}, "damaged"),
    ],
)
def test_wrong_metadata_is_refused(path, metadata, words):
    save_model(path)
    rewrite(path, **metadata)
    with pytest.raises(UserError, match=words):
        load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden": 17}, "has shape"),
        ({"hidden": 2**23}, "has shape"),
        ({"layers": 1000}, "1000 layers, but 6 parameter tensors"),
        ({"layers": 2}, "missing tensor 'recurrent.bias_hh_l1'"),
        ({"cell": "gru"}, "has shape"),
        ({"cell": "os.system"}, "--cell"),
        ({"hidden": 1e3}, "--hidden"),
        ({"hidden": -1}, "--hidden"),
        ({"hidden": 10**30}, "--hidden"),
        ({"depth": 3}, "unknown 'depth'"),
    ],
)
def test_settings_that_do_not_fit_the_tensors_are_refused(path, change, words):
    save_model(path)
    model = json.loads(header(path)[0]["__metadata__"]["model"])
    rewrite(path, model=json.dumps({**model, **change}))
    with pytest.raises(UserError, match=words):
        load(path)


def replaced(name, value):
    return lambda tensors: {**tensors, name: value}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: {k: v for k, v in tensors.items() if k != "head.bias"}, "missing .*bias"),
        (replaced("extra", np.zeros(2, np.float32)), "unexpected tensor 'extra'"),
        (replaced("head.bias", np.zeros(3, np.float32)), r"shape \(3,\)"),
        (replaced("head.bias", np.zeros(14, np.float64)), "dtype F64"),
        (replaced("head.bias", np.full(14, np.nan, np.float32)), "not finite"),
        (replaced("head.bias", np.full(14, np.inf, np.float32)), "not finite"),
        (replaced("optimizer.x", np.full(1, np.nan, np.float32)), "not finite"),
    ],
)
def test_wrong_tensors_are_refused(path, change, words):
    _, vocabulary = save_model(path)
    assert len(vocabulary) == 14
    retensor(path, change)
    with pytest.raises(UserError, match=words):
        load(path)


def test_flipped_bit_in_the_weights_is_noticed(path):
    save_model(path)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        load(path)


# ------------------------------------------------------------------------- hostile training records


@pytest.fixture
def training(path):
    """A file in the middle of an epoch, and its training record."""
    trained(steps=3, layers=2, dropout=0.2).save(path)
    return json.loads(header(path)[0]["__metadata__"]["training"])


def resume(path):
    file = load(path)
    record = TrainingRecord.from_json(file.training, file.settings)
    return Trainer.resume(file, record, record.settings, TEXT)


def test_record_as_written_resumes(path, training):
    assert resume(path).step == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": -1}, "step is -1; expected a whole number from 0 to 84"),
        ({"step": "3"}, "step"),
        ({"step": 0}, "optimizer step is 3; expected 0"),
        ({"windows_per_epoch": 0}, "windows_per_epoch is 0"),
        ({"windows_per_epoch": 41}, "windows_per_epoch"),
        ({"windows_per_epoch": 3}, "windows_per_epoch"),
        ({"seconds": 1}, "seconds"),
        ({"random": {}}, "random numbers"),
        ({"random": {"bit_generator": "PCG64", "state": 3}}, "random numbers"),
        ({"random": {"bit_generator": "MT19937", "state": {}}}, "random numbers"),
        ({"optimizer": {}}, "missing its step"),
        ({"optimizer": {"lr": 1.0, "alpha": 2.0, "eps": 1.0, "step": 3}}, "alpha is 2.0; expected --rms-alpha 0.95"),
        ({"optimizer": {"lr": 1.0, "alpha": 0.95, "step": 3}}, "missing .*eps"),
        ({"text_sha256": "00"}, "expected 64 hexadecimal digits"),
        ({"text_sha256": "0" * 64}, "not the text .* --init-from instead of --resume"),
        ({"history": [3]}, "history"),
        ({"history": [{"epoch": 1}]}, "history"),
        ({"settings": {}}, "settings: missing"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_wrong_training_records_are_refused(path, training, change, words):
    rewrite(path, training=json.dumps({**training, **change}))
    with pytest.raises(UserError, match=words):
        resume(path)


@pytest.mark.parametrize(
    "name", ["state.0", "state.1", "optimizer.square_avg.0", "optimizer.square_avg.1"]
)
def test_missing_or_misshaped_arrays_of_a_run_are_refused(path, training, name):
    retensor(path, lambda tensors: {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(UserError):
        resume(path)
    trained(steps=3).save(path)
    retensor(path, replaced(name, np.zeros(2, np.float32)))
    with pytest.raises(UserError):
        resume(path)


# Each number of the record just beyond its range, or of another type.
BEYOND = {
    "step": [-1, 85, 2**63 - 1, 10**39, 3.0, True, None],
    "windows_per_epoch": [0, -1, 43, 2**63, 42.0],
    "seconds": [-1.0, 1e12, 1e308, 3, "3", None],
    "text_characters": [0, -1, 1, 2**48 + 1, 10**39, 1520.0],
    "text_sha256": ["", "0" * 63, "G" * 64, 3, None, "\u0660" * 64],
    "settings.lr": [0.0, 1e39, -1.0, 1],
    "settings.batch": [0, 2**24 + 1, 10**39, 4.0, False],
    "settings.seed": [-1, 2**63],
    "settings.unk": ["", "drop", 3],
    "settings.hidden": [16, 17],
    "random.bit_generator": ["MT19937", "pcg64", 3],
    "random.state.state": [-1, 2**128, 1.0],
    "random.state.inc": [-1, 0, 2, 2**128, 2**128 + 1],
    "random.has_uint32": [-1, 2, 2**31, True],
    "random.uinteger": [-1, 2**32, 2**63],
    "optimizer.step": [-1, 2, 4, 2**63 - 1, 3.0],
    "optimizer.lr": [-1.0, 1e39, 0],
    "optimizer.alpha": [0.5, -0.5, 1.0, 2],
    "optimizer.eps": [-1.0, 1e39, 1e308],
    "history.0.epoch": [0, 2, -1, 1.0, 2**63],
    "history.0.step": [0, -1, 4, 2**63, 2.0],
    "history.0.loss": [-1.0, 1e40, None, 3],
    "history.0.val_loss": [-1.0, 1e40, 3, "x"],
    "history.0.chars_per_second": [-1.0, 1e40, None],
    "history.0.seconds": [-1.0, 1e12, None],
    "history.1": [None, {}, [], {"epoch": 1, "step": 2}],
}


def with_value(record, path, value):
    """A copy of the record with one value replaced."""
    record = json.loads(json.dumps(record))
    *outer, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    holder = record
    for key in outer:
        holder = holder[key]
    if isinstance(holder, list) and last == len(holder):
        holder.append(value)
    else:
        holder[last] = value
    return record


@pytest.mark.parametrize("place", BEYOND)
def test_every_number_of_the_record_has_a_range(place, path, training):
    training["history"] = [
        {"epoch": 1, "step": 2, "loss": 2.0, "val_loss": None, "chars_per_second": 1.0, "seconds": 1.0}
    ]
    rewrite(path, training=json.dumps(training))
    assert resumable(load(path)).step == 3
    for value in BEYOND[place]:
        rewrite(path, training=json.dumps(with_value(training, place, value)))
        file = load(path)
        with pytest.raises(UserError) as caught:
            resume(path)
        with pytest.raises(UserError) as again:  # what `info` asks
            resumable(file)
        assert str(again.value) == str(caught.value), value
        assert "\n" not in str(caught.value)


def test_every_place_of_the_record_has_rows_above(training):
    """A new entry of the record needs a range too."""
    random, optimizer = training["random"], training["optimizer"]
    names = {*training, *(f"random.{name}" for name in random), *(f"optimizer.{name}" for name in optimizer)}
    names |= {f"random.state.{name}" for name in random["state"]}
    names |= {f"history.0.{item.name}" for item in fields(Report)}
    assert names - {"settings", "random", "random.state", "optimizer", "history"} <= set(BEYOND)


@pytest.mark.parametrize("digits", ["1" + "0" * 400, "9" * 5000, "1e400", "-1e400", "NaN", "Infinity"])
def test_numbers_beyond_every_range_are_no_tracebacks(digits, path, training):
    for place in ("step", "seconds", "text_characters", "random.state.state", "optimizer.lr", "settings.lr"):
        rewrite(path, training=json.dumps(with_value(training, place, "HERE")).replace('"HERE"', digits))
        with pytest.raises(UserError, match="training: not readable as JSON"):
            load(path)


@pytest.mark.parametrize("text", ['{"cell": "lstm", "cell": "gru"}', '{"a": {"b": 1, "b": 1}}'])
def test_doubled_keys_are_refused(text, path):
    save_model(path)
    rewrite(path, model=text)
    with pytest.raises(UserError, match="a key is there twice among"):
        load(path)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adagrad"])
def test_negative_squares_are_refused(optimizer, path):
    trained(steps=3, optimizer=optimizer).save(path)
    name = {"rmsprop": "square_avg", "adam": "exp_avg_sq", "adagrad": "square_sum"}[optimizer]
    assert f"optimizer.{name}.1" in load(path).extras

    def negative(tensors):
        tensors[f"optimizer.{name}.1"][3] = -1e-30
        return tensors

    retensor(path, negative)
    for check in (resume, lambda path: resumable(load(path))):
        with pytest.raises(UserError, match=f"optimizer.{name}.1 holds -1.*e-30; expected no square below 0"):
            check(path)


# ---------------------------------------------------------------------------------- what is checked


@pytest.mark.parametrize("key", ["model", "vocabulary", "training", "version", "format"])
def test_the_checksum_covers_all_metadata(key, path, training):
    """One changed digit of the record must not resume silently to other weights."""
    metadata = header(path)[0]["__metadata__"]
    changed = {
        "model": metadata["model"].replace("0.2", "0.3"),
        "vocabulary": metadata["vocabulary"].replace("abe", "acd"),
        "training": metadata["training"].replace('"step": 3', '"step": 2'),
        "version": "1",
        "format": "fastrnn character model ",
    }[key]
    assert changed != metadata[key]
    rewrite(path, sha256=metadata["sha256"], **{key: changed})
    with pytest.raises(UserError, match="damaged" if key != "format" else "not a model"):
        load(path)


@pytest.mark.parametrize("part", ["state", "lr", "seconds", "text_sha256", "uinteger", "seed", "history"])
def test_the_checksum_covers_every_digit_of_the_record(part, path, training):
    metadata = header(path)[0]["__metadata__"]
    text = metadata["training"]
    start = text.index(f'"{part}"') + len(part) + 3
    for place in range(start, min(start + 40, len(text))):
        if text[place].isdigit():
            digit = str((int(text[place]) + 1) % 10)
            rewrite(path, sha256=metadata["sha256"], training=text[:place] + digit + text[place + 1 :])
            with pytest.raises(UserError, match="damaged"):
                load(path)


def test_the_checksum_covers_names_and_shapes(path):
    save_model(path)
    values, rest = header(path)
    names = ["recurrent.bias_ih_l0", "recurrent.bias_hh_l0"]
    values[names[0]], values[names[1]] = values[names[1]], values[names[0]]
    write(path, values, rest)
    with pytest.raises(UserError, match="damaged"):
        load(path)


def test_a_file_without_its_checksum_says_so(path, capsys):
    save_model(path)
    assert load(path).unchecked == ""
    rewrite(path)
    assert "no checksum" in load(path).unchecked
    assert main(["sample", str(path), "--length", "2"]) == 0
    assert f"fastrnn: warning: {path}: it has no checksum" in capsys.readouterr().err
    assert main(["info", str(path)]) == 0
    assert "no checksum" in capsys.readouterr().out


def as_version_1(path):
    """The file as version 1 was written: no `unk`, and a checksum of the tensors alone."""
    file = load(path)
    training = {**file.training, "settings": {k: v for k, v in file.training["settings"].items() if k != "unk"}}
    tensors = {**file.parameters, **file.extras}
    rewrite(path, version="1", training=json.dumps(training), sha256=checkpoint._digest_1(tensors))


def test_version_1_is_read_and_says_what_is_unchecked(path):
    whole, part = trained(layers=2, dropout=0.2), trained(steps=3, layers=2, dropout=0.2)
    part.save(path)
    as_version_1(path)
    assert "does not cover vocabulary and training record" in load(path).unchecked
    part = resume(path)
    while not part.finished:
        part.train_step()
    for one, other in zip(part.model.modules, whole.model.modules, strict=True):
        np.testing.assert_array_equal(one.flat_params, other.flat_params)
    part.save(path)
    assert load(path).unchecked == ""
    trained(steps=3).save(path)
    as_version_1(path)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        load(path)


def test_info_refuses_what_resuming_refuses(path, training, capsys):
    """With one changed value a file is fine for sampling, and `info` must not call it fine for resuming."""
    rewrite(path, training=json.dumps({**training, "optimizer": {"lr": 0.1, "step": 3}}))
    (path.parent / "text.txt").write_text(TEXT)
    messages = []
    for words in (["info", path], ["train", path.parent / "text.txt", "--resume", path]):
        assert main(list(map(str, words))) == 1
        messages.append(capsys.readouterr().err.splitlines()[-1])
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"fastrnn: {path}: training: RMSprop.load_state_dict: missing ['alpha', 'eps']")


# ------------------------------------------------------------------------------------ reading time


def test_reading_takes_no_more_than_its_size_however_a_file_is_made(path, training):
    """Each of these takes minutes if something is done for each pair of entries."""
    values, rest = header(path)
    many = 50_000
    crowd = {f"optimizer.x{index}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for index in range(many)}
    write(path, {**values, **crowd}, rest)
    with pytest.raises(UserError, match=f"{many + 14} tensors; expected at most"):
        load(path)
    write(path, values, rest)
    report = {"epoch": 1, "step": 1, "loss": 2.0, "val_loss": None, "chars_per_second": 1.0, "seconds": 1.0}
    for change in (
        {"history": [report] * many},
        {"optimizer": {**training["optimizer"], **{f"x{index}": 1.0 for index in range(many)}}},
        {"settings": {**training["settings"], **{f"x{index}": 1 for index in range(many)}}},
        {f"x{index}": 1 for index in range(many)},
    ):
        rewrite(path, training=json.dumps({**training, **change}))
        with pytest.raises(UserError) as caught:
            resumable(load(path))
        assert len(str(caught.value)) < 400
    rewrite(path, training=None, **{f"x{index}": "" for index in range(many)})
    with pytest.raises(UserError, match=r"unknown metadata 'x0', .* and 49996 more"):
        load(path)


def test_a_file_without_a_record_cannot_be_resumed(path):
    save_model(path)
    with pytest.raises(UserError, match="no training record"):
        resume(path)
