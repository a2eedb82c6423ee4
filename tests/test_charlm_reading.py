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
from fastrnn.charlm.reading import read_texts


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
