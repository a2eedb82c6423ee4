"""Texts from files, standard input and pipes, compressed and in other encodings; what is no text is named."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import threading
import types
import zipfile
import zlib

import pytest
from charlm_tools import TEXT, run, save_model, tiny_options

from fastrnn.charlm import load, reading
from fastrnn.charlm.errors import UserError
from fastrnn.charlm.reading import default_text, read_texts


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


def test_default_text_is_the_top_level_modules_in_order(tmp_path):
    (tmp_path / "b.py").write_bytes(b"# coding: latin-1\n# \xe9\r\n")
    (tmp_path / "a.py").write_text("import b\n")
    (tmp_path / "broken.py").write_bytes(b"# \xff\n")
    (tmp_path / "notes.txt").write_text("no")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "c.py").write_text("no")
    assert default_text(tmp_path) == ("import b\n# coding: latin-1\n# é\n", 2)


def test_default_text_of_this_python_is_large_and_the_same_each_time():
    text, files = default_text()
    assert len(text) > 1_000_000
    assert files > 50
    assert default_text() == (text, files)


def test_default_text_missing_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="name a text"):
        default_text(tmp_path)
