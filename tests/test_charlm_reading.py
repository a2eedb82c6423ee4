"""Texts from files, standard input and pipes, compressed and in other encodings; what is no text is named."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import shlex
import shutil
import subprocess
import sys
import tarfile
import threading
import types
import zipfile

import numpy as np
import pytest
from charlm_tools import TEXT, run, save_model, tiny_options
from safetensors.numpy import save as safetensors_bytes

from fastrnn.charlm import load
from fastrnn.cli import reading
from fastrnn.cli.reading import read_texts
from fastrnn.errors import UserError

RICH = "naïve Ω 日本 🙂\r\n" * 50


def test_files_are_joined_as_they_are(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_bytes("\ufeffäb\r\n".encode())
    second.write_bytes(b"c\0")
    assert read_texts([first, second]) == "äb\r\nc\0"


def test_file_that_is_not_utf8_is_named_with_the_byte(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9 au lait")
    with pytest.raises(UserError, match=r"latin.txt: not UTF-8 text: byte 0xe9 at offset 3"):
        read_texts([path])


def test_file_cut_inside_a_character_says_so(tmp_path):
    path = tmp_path / "cut.txt"
    path.write_bytes("caf\u00e9".encode()[:-1])
    with pytest.raises(UserError, match=r"byte 0xc3 at offset 3 \(the file ends in the middle of a character\)"):
        read_texts([path])


# ------------------------------------------------------------------------------------- compression


COMPRESS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
}


@pytest.mark.parametrize("kind", COMPRESS)
def test_compressed_texts_are_read_whatever_their_names(kind, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(COMPRESS[kind](("\ufeff" + RICH).encode()))
    assert read_texts([path]) == RICH


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_compressed_texts_joined_by_cat_are_one_text(kind, tmp_path):
    path = tmp_path / "text"
    streams = [COMPRESS[kind](part.encode()) for part in ("a\u00e9", "", "b" * 100_000, "c")]
    path.write_bytes(b"".join(streams) + (b"\0" * 4 if kind == "xz" else b""))
    assert read_texts([path]) == "a\u00e9" + "b" * 100_000 + "c"


@pytest.mark.parametrize("kind", COMPRESS)
def test_cut_and_damaged_compressed_texts_are_one_clear_line(kind, tmp_path):
    path = tmp_path / "text.z"
    data = COMPRESS[kind](os.urandom(500).hex().encode())
    for size in range(14, len(data), 37):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=rf"text.z: (the {kind} data end too early|damaged {kind} data)"):
            read_texts([path])
    for place in range(14, len(data) - 1, 37):
        path.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        try:
            text = read_texts([path])
        except UserError as error:
            text = str(error)
        # The old format of lzma has no checksum.
        assert "text.z: " in text or len(text) == 1000 or kind == "lzma"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_rubbish_after_a_compressed_text_is_not_ignored(kind, tmp_path):
    path = tmp_path / "text.z"
    whole = COMPRESS[kind](b"whole")
    for rest in (b"rubbish", whole[:-3], b"BZh9rubbish"):
        path.write_bytes(whole + rest)
        with pytest.raises(UserError, match=rf"(damaged {kind} data|{kind} data end too early)"):
            read_texts([path])


def test_zstd_is_read_where_python_can_and_named_elsewhere(tmp_path, monkeypatch):
    path = tmp_path / "text.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + RICH.encode())
    if sys.version_info < (3, 14):
        with pytest.raises(UserError, match=r"text.zst: zstd-compressed, which needs Python 3.14; decompress it first"):
            read_texts([path])

    class Decompressor:
        """As `compression.zstd` has it: what it is given, without the first bytes."""

        eof, needs_input, unused_data = False, True, b""

        def decompress(self, data, limit):
            self.eof, self.unused_data = len(data) < io.DEFAULT_BUFFER_SIZE, b""
            return data.removeprefix(b"\x28\xb5\x2f\xfd")

    monkeypatch.setitem(sys.modules, "compression", types.ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", types.SimpleNamespace(ZstdDecompressor=Decompressor))
    assert read_texts([path]) == RICH


@pytest.mark.skipif(sys.version_info < (3, 14) or not shutil.which("zstd"), reason="needs Python 3.14 and zstd")
def test_zstd_files_are_read(tmp_path):
    (tmp_path / "text").write_text(RICH, encoding="utf-8", newline="")
    subprocess.run(["zstd", "-q", tmp_path / "text"], check=True)
    assert read_texts([tmp_path / "text.zst"]) == RICH


def test_a_text_that_expands_without_end_stops_at_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20), 9))
    monkeypatch.setattr(reading, "_memory", lambda: 40 << 20)
    with pytest.raises(UserError, match=r"bomb.gz: more than 10485760 bytes of text"):
        read_texts([path])
    (tmp_path / "a").write_text("a" * (6 << 20))
    with pytest.raises(UserError, match="more than"):
        read_texts([tmp_path / "a", tmp_path / "a"])
    assert len(read_texts([tmp_path / "a"])) == 6 << 20


def test_compressed_inside_compressed_is_named(tmp_path):
    path = tmp_path / "twice.gz"
    path.write_bytes(gzip.compress(bz2.compress(b"text")))
    with pytest.raises(UserError, match="bzip2 data inside compressed data"):
        read_texts([path])


# ------------------------------------------------------------------- other encodings, no text at all


LANGUAGES = {
    "English": "It was the best of times,\nit was ‘the worst’.\n",  # noqa: RUF001
    "Russian": "Все счастливые семьи\n",  # noqa: RUF001
    "Greek": "Μῆνιν ἄειδε\n",
    "Hebrew": "בראשית ברא\n",
    "Hindi": "नमस्ते दुनिया\n",
    "Chinese": "你好，世界。\n一切都好。\n",  # noqa: RUF001
    "Japanese": "これはテストです。\n",
    "Korean": "안녕하세요 세계\n",
    "emoji": "🙂🙃 ok\n",
    "one word": "hello",
    "two letters": "ab",
    "Russian word": "слово",  # no NUL in UTF-16, and valid UTF-8
    "Chinese line": "你好，世界。一切都好。天下大势，分久必合，合久必分。",  # noqa: RUF001
}


@pytest.mark.parametrize("times", [1, 3000])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-16", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32-le", "UTF-32LE"),
        ("utf-32-be", "UTF-32BE"),
    ],
)
def test_utf16_and_utf32_are_named_with_and_without_a_mark(language, encoding, name, times, tmp_path):
    path = tmp_path / "wide.txt"
    path.write_bytes((LANGUAGES[language] * times).encode(encoding))
    with pytest.raises(UserError, match=rf"wide.txt: {name} text; .* \(iconv -f {name} -t UTF-8\)"):
        read_texts([path])
    path.write_bytes((LANGUAGES[language] * times).encode("utf-8"))
    assert read_texts([path]) == LANGUAGES[language] * times


def test_big_endian_mark_and_appended_utf16_are_named(tmp_path):
    path = tmp_path / "mixed.txt"
    path.write_bytes(b"\xfe\xff\0a\0b")
    with pytest.raises(UserError, match="UTF-16 text"):
        read_texts([path])
    path.write_bytes(TEXT.encode() * 100 + ("more\n" * 30_000).encode("utf-16-le"))  # as Windows' >> does
    with pytest.raises(UserError, match="UTF-16"):
        read_texts([path])


@pytest.mark.skipif(not shutil.which("iconv"), reason="needs iconv")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-32-be"])
def test_the_advice_works_when_typed(encoding, tmp_path):
    path = tmp_path / "wide.txt"
    path.write_bytes(RICH.encode(encoding))
    with pytest.raises(UserError) as caught:
        read_texts([path])
    advice = str(caught.value).rpartition("(")[2].rstrip(")")
    (tmp_path / "utf8.txt").write_bytes(subprocess.check_output([*shlex.split(advice), path]))
    assert read_texts([tmp_path / "utf8.txt"]) == RICH


def test_some_nuls_are_text_and_many_are_not(tmp_path):
    path = tmp_path / "nul.txt"
    for text in ("one\0two\0three\0", TEXT * 100 + "\0", "\0" + TEXT):
        path.write_text(text)
        assert read_texts([path]) == text
    for data in (bytes(100), b"\x01\0\x02\0" * 50, b"\0\0ab" * 50, TEXT.encode() * 100 + bytes(1 << 20)):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"nul.txt: (binary data|UTF-)"):
            read_texts([path])


def test_clear_binaries_are_named(tmp_path):
    (tmp_path / "t.txt").write_text(TEXT)
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as file:
        file.write(tmp_path / "t.txt", "t.txt")
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as file:
        file.add(tmp_path / "t.txt", "t.txt")
    (tmp_path / "t.pdf").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "t.7z").write_bytes(b"7z\xbc\xaf\x27\x1c\0\4")
    kinds = {"t.zip": "a zip archive", "t.tar.gz": "a tar archive", "t.pdf": "a PDF", "t.7z": "a 7z"}
    for name, words in kinds.items():
        with pytest.raises(UserError, match=rf"{name}: {words}.*; expected UTF-8 text: extract"):
            read_texts([tmp_path / name])


def test_texts_with_control_characters_and_latin_1_are_no_utf16(tmp_path):
    path = tmp_path / "t"
    text = "\x1b[31mred\x1b[0m \x07 \x02start\x03 \x1c\x1d\x1e\x1f\n" + TEXT
    path.write_text(text)
    assert read_texts([path]) == text
    for latin in (("café à la crème, déjà vu\n" * 500).encode("latin-1"), b"caf\xe9\x07\x02\0 au lait " * 50):
        path.write_bytes(latin)
        with pytest.raises(UserError, match="not UTF-8 text: byte 0xe9 at offset 3"):
            read_texts([path])


@pytest.mark.parametrize("after", ["\n", "\t", "\r\n", " "])
@pytest.mark.parametrize("control", ["\0", "\x01", "\x08", "\x1a"])
@pytest.mark.parametrize("letters", ["abcdefghijklmnopqrstuvwxyz", "ACGT", "0123456789"])
def test_a_column_of_characters_with_a_control_character_is_no_utf16(after, control, letters, tmp_path):
    text = "".join(letter + after for letter in letters * 300) + control + TEXT
    (tmp_path / "t").write_bytes(text.encode())
    assert read_texts([tmp_path / "t"]) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_after_much_other_text_is_named_with_its_place(encoding, tmp_path):
    (tmp_path / "t").write_bytes((TEXT * 100).encode() + "a few words more".encode(encoding))
    with pytest.raises(UserError, match=r"t: UTF-16 text from byte (151999|152000) on, and other text"):
        read_texts([tmp_path / "t"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (safetensors_bytes({"a": np.zeros(9, np.float32)}), "a safetensors file"),
        (pickle.dumps(list(range(1000))), "pickled Python objects"),
        (b"\x02\x21\x4c\x18" + bytes(range(256)), "lz4-compressed"),
        (b"\x89LZO\0\r\n" + bytes(range(256)), "lzop-compressed"),
    ],
)
def test_models_and_rarer_compressions_are_named(data, words, tmp_path):
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(UserError, match=f"t: {words}; expected UTF-8 text"):
        read_texts([tmp_path / "t"])


def test_standard_input_without_bytes_is_read_too(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("né à Zürich"))
    assert read_texts(["-"]) == "né à Zürich"


@pytest.mark.parametrize("text", ["BZh9 is a name", "PK", "LZIP", "]]", "ustar " * 60, "7z"])
def test_texts_that_begin_like_binaries_are_texts(text, tmp_path):
    (tmp_path / "t").write_text(text)
    assert read_texts([tmp_path / "t"]) == text


# ------------------------------------------------------------------------- names, pipes, standard input


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "name of a text is empty; expected a file, or -"), (".", r"\.: a folder; expected a file"), ("a\0b", "NUL")],
)
def test_names_that_are_no_files_are_refused(name, words):
    with pytest.raises(UserError, match=words):
        read_texts([name])


class Standard:
    """A standard input of given bytes, as an object without a number."""

    closed = False

    def __init__(self, data):
        self.buffer = io.BytesIO(data)

    def fileno(self):
        raise io.UnsupportedOperation


def test_standard_input_is_read_once(tmp_path, monkeypatch):
    (tmp_path / "b.txt").write_text("b")
    monkeypatch.setattr(sys, "stdin", Standard(gzip.compress(b"in")))
    assert read_texts([tmp_path / "b.txt", "-", tmp_path / "b.txt"]) == "binb"
    monkeypatch.setattr(sys, "stdin", Standard(b"in"))
    with pytest.raises(UserError, match="-: named twice, and it can be read once only"):
        read_texts(["-", "-"])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="standard input is closed"):
        read_texts(["-"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_in_pieces_and_once(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write():
        with open(path, "wb", buffering=0) as pipe:
            for piece in (b"\x1f", gzip.compress(RICH.encode())[1:]):
                pipe.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_texts([path]) == RICH
    writer.join()
    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(UserError, match="pipe: named twice"):  # and does not wait for ever
        read_texts([path, path])
    writer.join()


def test_the_command_takes_texts_from_standard_input_and_says_how_to_go_on(tmp_path):
    words = ["train", "-", *tiny_options(epochs=100_000), "--seconds", "0.2", "--threads", "1"]
    code, _, err = run(*words, folder=tmp_path, stdin=TEXT)
    assert code == 0
    assert f"learning standard input: {len(TEXT)} characters" in err
    assert "go on with (give the text of - again)" in err.splitlines()[-2]
    command = shlex.split(err.splitlines()[-1])
    command = command[command.index("train") :]
    assert command[:2] == ["train", "-"]
    step = load(tmp_path / "model.safetensors").training["step"]
    code, _, err = run(*command, "--seconds", "0.2", folder=tmp_path, stdin=TEXT)
    assert code == 0
    assert load(tmp_path / "model.safetensors").training["step"] > step
    code, _, err = run(*command, folder=tmp_path, stdin=TEXT[1:])
    assert code == 1
    assert "not the text" in err


def test_eval_takes_compressed_texts_and_standard_input(tmp_path):
    save_model(tmp_path / "model")
    (tmp_path / "text").write_bytes(lzma.compress(TEXT.encode()))
    (tmp_path / "plain").write_text(TEXT)
    results = [run("eval", "model", name, folder=tmp_path, stdin=TEXT) for name in ("text", "plain", "-")]
    assert results[0][0] == 0
    assert results[0] == results[1] == results[2]
