"""Reading texts, the vocabulary, and what happens to characters outside it."""

import hashlib

import numpy as np
import pytest

from fastrnn.charlm import text as module
from fastrnn.charlm.text import UnknownCharacterError, Vocabulary, default_text, fingerprint
from fastrnn.errors import UserError
from fastrnn.words import listed, shown

RICH = "naïve Ω 日本 🙂 e\u0301\r\n\0"


def test_vocabulary_is_sorted_by_code_point_and_keeps_characters_as_they_are():
    vocabulary = Vocabulary.from_text(RICH)
    assert vocabulary.characters == "".join(sorted(set(RICH)))
    assert vocabulary.decode(vocabulary.encode(RICH)) == RICH
    assert len(vocabulary) == len(set(RICH))
    assert "🙂" in vocabulary
    assert "🙃" not in vocabulary
    assert "\U0010ffff" not in vocabulary


def test_encoding_in_pieces_equals_encoding_at_once(monkeypatch):
    whole = Vocabulary.from_text(RICH)
    codes, digest = whole.encode(RICH), fingerprint(RICH)
    monkeypatch.setattr(module, "_PIECE", 3)
    assert Vocabulary.from_text(RICH).characters == whole.characters
    np.testing.assert_array_equal(whole.encode(RICH), codes)
    assert fingerprint(RICH) == digest == hashlib.sha256(RICH.encode()).hexdigest()


def test_codes_are_places_in_the_sorted_vocabulary():
    codes = Vocabulary("abd").encode("dab")
    assert codes.dtype == np.int32
    assert codes.tolist() == [2, 0, 1]
    assert Vocabulary("abd").encode("").shape == (0,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("abc", "'c' (U+0063 LATIN SMALL LETTER C), at character 2 of the text;"),
        ("ab🙂 c", "'🙂' (U+1F642 SLIGHTLY SMILING FACE), at character 2 of the text and 2 others"),
        ("\udc80", "U+DC80"),
        ("\x07", "U+0007 unnamed"),
    ],
)
def test_unknown_character_is_named(text, words):
    with pytest.raises(UnknownCharacterError) as caught:
        Vocabulary("ab").encode(text)
    assert words in str(caught.value)
    assert "--unk skip" in str(caught.value)


def test_unknown_characters_can_be_left_out():
    assert Vocabulary("ab").encode("xaybz🙂", skip_unknown=True).tolist() == [0, 1]


@pytest.mark.parametrize("characters", ["", "ba", "aa"])
def test_vocabulary_refuses_what_is_empty_or_out_of_order(characters):
    with pytest.raises(UserError, match="vocabulary"):
        Vocabulary(characters)


@pytest.mark.parametrize("characters", ["a\ud800", "\ud83d\ude00", "\udfff"])
def test_half_characters_are_refused_because_a_file_would_join_them(characters):
    with pytest.raises(UserError, match="half of a surrogate pair"):
        Vocabulary(characters)


def test_values_in_messages_are_short_and_escaped():
    assert shown("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert len(shown("x" * 10**6)) < 70
    assert shown(10**5000) == "a number of thousands of digits"
    assert shown([[]]) == "a list"
    assert shown(True) == "True"
    assert listed("abcdef") == "'a', 'b', 'c', 'd' and 2 more"
    assert listed(["a\n"]) == r"'a\n'"


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
