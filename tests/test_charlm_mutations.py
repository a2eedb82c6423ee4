"""Model files changed at random: each is refused with one clear error, or is the same model as before.

Where the change comes with a checksum of its own, as from somebody who means harm, the file may load as another model,
but nothing else than a clear error may come of it, and `info` says the same as `--resume`.
"""

import contextlib
import copy
import json
import re
import struct

import numpy as np
import pytest
from charlm_tools import TEXT, trained
from safetensors.numpy import save as pack

from fastrnn import archive
from fastrnn.charlm import Trainer, UserError, checkpoint, load
from fastrnn.charlm.record import Report, TrainingRecord
from fastrnn.charlm.train import resumable
from fastrnn.cli.main import main

RUNS = {
    "lstm": {"layers": 2, "dropout": 0.2},
    "gru": {"optimizer": "adam"},
    "rnn": {"optimizer": "adagrad"},
    "ugrnn": {"optimizer": "sgd"},
}

# As JSON text, so that what Python's own numbers cannot say is among them.
HOSTILE = [
    *("null", "true", "false", '""', '"x"', '"\\ud800"', '"\\u0000\\u001b[31m"', "[]", "{}", "[[]]", '{"a": 1}'),
    *("0", "-0", "1", "-1", "2", "3", "41", "42", "43", "84", "85", "0.0", "-0.0", "0.5", "1.0", "-1.5", "1e-320"),
    *("1e38", "1e39", "1e308", "1e400", "-1e400", "NaN", "Infinity", "-Infinity"),
    *(str(2**n + d) for n in (31, 32, 53, 63, 64, 127, 128) for d in (-1, 0)),
    *("1" + "0" * 39, "1" + "0" * 400, "9" * 5000, "-" + "9" * 50, "[" * 2000 + "]" * 2000, '"' + "y" * 10000 + '"'),
]


def parts(data):
    """(header as a dict, the bytes after it) of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, rest):
    """A safetensors file of a header as JSON text, and the bytes after it."""
    return struct.pack("<Q", len(header.encode())) + header.encode() + rest


def places(value, path=()):
    """Paths to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield (*path, key)
        yield from places(part, (*path, key))


def mutated_json(text, rng):
    """A JSON text with one value replaced, taken away, doubled or put beside a stranger."""
    value = json.loads(text)
    found = list(places(value))
    if not found or rng.random() < 0.05:
        return str(rng.choice(HOSTILE))
    path = found[rng.integers(len(found))]
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    kind = rng.integers(6)
    if kind == 0:
        del holder[path[-1]]
        return json.dumps(value)
    if kind == 1 and isinstance(holder, dict):
        holder["stranger"] = 1
        return json.dumps(value)
    if kind == 2 and isinstance(holder[path[-1]], (int, float)):
        number = holder[path[-1]]
        near = [number + 1, number - 1, -number, number * 2, float(number), str(number)]
        holder[path[-1]] = near[rng.integers(len(near))]
        return json.dumps(value)
    if kind == 3 and isinstance(holder, dict):
        holder["doubled"] = holder[path[-1]]
        return json.dumps(value).replace('"doubled"', json.dumps(path[-1]))
    holder[path[-1]] = "placeholder"
    return json.dumps(value).replace('"placeholder"', str(rng.choice(HOSTILE)))


def flipped(data, rng, end):
    """One to three bits of the first `end` bytes changed."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(end)] ^= 1 << rng.integers(8)
    return bytes(data)


def spliced(data, rng):
    """Some bytes taken away, doubled or moved."""
    start, stop = sorted(rng.integers(len(data), size=2).tolist())
    stop = min(stop, start + 50)
    return [data[:start] + data[stop:], data[:stop] + data[start:], data[stop:] + data[:stop]][rng.integers(3)]


def mutated_entry(data, rng):
    """An entry of the metadata changed, under the old checksum."""
    header, rest = parts(data)
    metadata = header["__metadata__"]
    key = str(rng.choice(["training", "training", "training", "model", "vocabulary", "version", "format", "sha256"]))
    metadata[key] = mutated_json(metadata[key], rng) if key in ("training", "model", "vocabulary") else "1"
    return joined(json.dumps(header), rest)


def mutated_layout(data, rng):
    """A tensor's name, type, shape or place changed."""
    header, rest = parts(data)
    return joined(mutated_json(json.dumps(header), rng), rest)


def by_accident(data, rng):
    (length,) = struct.unpack("<Q", data[:8])
    kind = rng.integers(5)
    if kind == 0:
        return flipped(data, rng, len(data))
    if kind == 1:
        return flipped(data, rng, 8 + length)
    if kind == 2:
        return spliced(data, rng)
    return (mutated_entry if kind == 3 else mutated_layout)(data, rng)


def on_purpose(content, rng):
    """A changed file with a checksum to match, or of version 1, or with no checksum."""
    tensors, metadata = copy.deepcopy(content)
    if rng.random() < 0.2:
        name = str(rng.choice(sorted(tensors)))
        value = tensors[name]
        changes = [np.nan, np.inf, -1.0, 1e38, -0.0, 1e-40]
        value.reshape(-1)[rng.integers(value.size)] = changes[rng.integers(len(changes))]
        if rng.random() < 0.3:
            tensors[name] = [value[:-1], value.astype(np.float64), value[None], value[..., :0]][rng.integers(4)]
        if rng.random() < 0.2:
            tensors[name.replace(".", "\x1b[31m.", 1)] = tensors.pop(name)
    else:
        key = str(rng.choice(["training", "training", "training", "training", "model", "vocabulary"]))
        metadata[key] = mutated_json(metadata[key], rng)
    kind = rng.integers(3)
    if kind == 0:
        metadata["sha256"] = archive.digest(tensors, metadata)
    elif kind == 1:
        metadata["version"] = "1"
        metadata["sha256"] = checkpoint._digest_1(tensors)
    return pack({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata)


@pytest.fixture(scope="module", params=RUNS)
def original(request, tmp_path_factory):
    """A file in the middle of its second epoch: its bytes, what is loaded from it, its tensors and metadata."""
    path = tmp_path_factory.mktemp("original") / "model.safetensors"
    trainer = trained(steps=42, cell=request.param, **RUNS[request.param])
    trainer.history.append(Report(1, 42, 2.5, trainer.validation_loss(), 1000.0, trainer.seconds))
    for _ in range(3):
        trainer.train_step()
    trainer.save(path)
    file = load(path)
    metadata = parts(path.read_bytes())[0]["__metadata__"]
    return path.read_bytes(), file, ({**file.parameters, **file.extras}, metadata)


def same(one, other):
    """Whether two loaded files hold the same, bit for bit."""
    arrays = [{**file.parameters, **file.extras} for file in (one, other)]
    return (
        one.settings == other.settings
        and one.vocabulary.characters == other.vocabulary.characters
        and json.dumps(one.training, sort_keys=True) == json.dumps(other.training, sort_keys=True)
        and arrays[0].keys() == arrays[1].keys()
        and all(arrays[0][name].tobytes() == arrays[1][name].tobytes() for name in arrays[0])
    )


def refusal(action, *arguments):
    """The message if `action` raises a UserError, else nothing; no other error may come out of it."""
    try:
        action(*arguments)
    except UserError as error:
        message = str(error)
        assert len(message) < 1000
        assert message.isprintable(), message
        return message
    return ""


def go_on(file):
    """Resume and make two steps."""
    record = TrainingRecord.from_json(file.training, file.settings)
    trainer = Trainer.resume(file, record, record.settings, TEXT)
    with contextlib.suppress(FloatingPointError):  # rates of 1e38; one line of the command
        for _ in range(min(2, trainer.steps - trainer.step)):
            trainer.train_step()


def check_accident(path, data, file, rng):
    """Whether a file changed by accident was refused."""
    path.write_bytes(by_accident(data, rng))
    if refusal(load, path):
        return True
    assert same(load(path), file)
    return False


def check_purpose(path, content, rng):
    """Whether a file changed on purpose was refused, by `info` at the latest."""
    path.write_bytes(on_purpose(content, rng))
    if refusal(load, path):
        return True
    file = load(path)
    message = refusal(resumable, file)
    again = refusal(go_on, file)
    if message:
        assert again == message
        return True
    assert not again or re.search("not the text|does not know|too short", again)
    return False


def check(count, original, path, seed):
    """How many of `count` files of each kind were refused."""
    data, file, content = original
    rng = np.random.default_rng(seed)
    return [
        sum(check_accident(path, data, file, rng) for _ in range(count)),
        sum(check_purpose(path, content, rng) for _ in range(count)),
    ]


def test_changed_files_are_refused_or_the_same(original, tmp_path):
    accidents, purposes = check(150, original, tmp_path / "model.safetensors", seed=1)
    assert accidents > 100
    assert 50 < purposes < 150  # some changes are legal: another rate, another loss in the history


def test_the_command_says_one_line_about_changed_files(original, tmp_path, capsys):
    _, _, content = original
    path, text = tmp_path / "model.safetensors", tmp_path / "text.txt"
    text.write_text(TEXT)
    rng = np.random.default_rng(2)
    for _ in range(20):
        path.write_bytes(on_purpose(content, rng))
        for words in (["info", path], ["sample", path, "--length", 3], ["eval", path, text]):
            assert main(list(map(str, words))) in (0, 1)
            out, err = capsys.readouterr()
            assert out.replace("\n", "").isprintable() or words[0] == "sample"
            lines = [line for line in err.splitlines() if "warning" not in line]
            assert len(lines) <= 1
            assert all(line.startswith("fastrnn: ") and line.isprintable() for line in lines)
