"""The log: lines that a crash has torn are cut off, and what is no log is left as it is."""

import json

import pytest
from charlm_tools import (
    train,
)

from fastrnn.charlm.record import Report
from fastrnn.cli import log, main
from fastrnn.cli.log import append_to_log, is_log, prepare_log, read_log


def lines(*steps):
    return b"".join(
        json.dumps(dict(zip(Report.__dataclass_fields__, (1, s, 2.5, None, 9.0, 1.5), strict=True))).encode() + b"\n"
        for s in steps
    )


@pytest.mark.parametrize("tail", [b"{", b'{"epoch": 1, "st', b"\0" * 100, b"\xff\xfe", lines(30)[:-2], b"\n"])
def test_a_torn_last_line_is_cut_off(tmp_path, tail):
    path = tmp_path / "m.jsonl"
    path.write_bytes(lines(10, 20) + tail)
    assert [report.step for report in read_log(path)] == [10, 20]
    prepare_log(path)
    assert path.read_bytes() == lines(10, 20)
    append_to_log(path, Report(1, 30, 2.5, None, 9.0, 1.5))
    assert path.read_bytes() == lines(10, 20, 30)


def test_a_log_without_its_last_line_end_or_with_half_a_line_only_goes_on(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(lines(10)[:-1])
    prepare_log(path)
    assert path.read_bytes() == lines(10)
    for length in range(1, 40):
        path.write_bytes(lines(10)[:length])
        assert is_log(path)
        prepare_log(path)
        assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"not a log\n",
        b"not a log",
        b'{"text": "a"}\n',
        b"{}",
        b"[" * 100_000,
        b"\0" * 50,
        lines(1) + b"?\n" + lines(2),
        lines(1) + b"{}\n",
        lines(1) + b"note: a good run\n",
        lines(1) + b"note: a good run",
        b'{"epoch": 1, "my": "precious',
        b'{"epoch": 1, "weights": [' + b"1, " * 4000,
        lines(10).replace(b"10", b"9" * 30),
        lines(10).replace(b"2.5", b"NaN") + lines(11),
        lines(1).replace(b"1.5", b"null") * 2,
    ],
)
def test_what_is_no_log_is_left_as_it_is(tmp_path, data):
    path = tmp_path / "m.jsonl"
    path.write_bytes(data)
    for read in (read_log, prepare_log):
        with pytest.raises(log.UserError, match="not a log"):
            read(path)
    assert path.read_bytes() == data


def test_a_run_goes_on_after_a_torn_line(folder, capsys):
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    with open("m.jsonl", "ab") as file:
        file.write(b'{"epoch": 2, "st')
    assert main.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 0
    assert [report.step for report in read_log("m.jsonl")] == [42, 84]
