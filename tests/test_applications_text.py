"""examples/text_generation: its baselines in small, and its scores, which the slow tests hold."""

import shutil
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "text_generation"
MOST_LINES = 150


@pytest.fixture
def example(monkeypatch):
    """The example as a module, forgotten after the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import text_generation

    yield text_generation
    sys.modules.pop("text_generation")


def test_the_example_is_short():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")) <= MOST_LINES


def test_no_file_is_both_learnt_and_held_out(example):
    learnt, held_out = example.texts()["Python"]
    argparse = Path(sys.modules["argparse"].__file__).read_text(encoding="utf-8")
    assert (argparse in learnt) != (argparse in held_out)
    assert 0.02 < len(held_out) / len(learnt) < 0.5


def test_the_probabilities_of_a_5_gram_model_add_up_to_1(example):
    text = Path(example.__file__).read_text(encoding="utf-8")
    for context in ("impo", "tree", "zzzz"):
        assert sum(2 ** -example.ngram_bits(text, context + letter) for letter in set(text)) == pytest.approx(1)


def test_a_line_is_python_if_all_of_it_is_tokens(example):
    assert example.python_share("x = 1\n\n    if x:\n'open\n(\nprint(x) ? y\nthe last line does not count") == 0.4


def test_every_environment_of_a_document_is_closed(example):
    source, first = example.document("\\begin{itemize}\\begin{lcode}\n\\begin{center}\\end{lcode}\\odd")
    assert source.endswith("\\odd\n\\end{itemize}\n\\end{document}")
    assert source.split("\n")[first - 1] == "\\begin{itemize}\\begin{lcode}"
    assert "\\known{odd}" in source


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_pdflatex_takes_a_repaired_document(example, tmp_path):
    written = "\\chapter{One}\nA \\new{word}, % a comment {\n\\begin{center}\nIn $x the middle\n\n}\nGood."
    counts = example.compiled(written, tmp_path / "written.tex")
    assert (tmp_path / "written.pdf").read_bytes().startswith(b"%PDF")
    assert counts == {"lines": 7, "taken out": 2, "unknown": 1}


def test_a_reader_that_learns_on_predicts_each_step_before_it_learns_from_it(example, monkeypatch):
    learnt, held_out = (Path(path).read_text(encoding="utf-8") for path in (example.__file__, __file__))
    monkeypatch.setattr(example, "LETTERS", 20)
    monkeypatch.setattr(example, "SETTINGS", {**example.SETTINGS, "hidden": 16})
    monkeypatch.setattr(example, "LEARN", {"Python": {"epochs": 1}})
    bits, written = example.learn("Python", learnt + "\nclass ", held_out)
    assert bits["LSTM, learning on"] < bits["LSTM"]
    assert all(len(text) >= 20 for text in written.values())


@pytest.mark.slow
@pytest.mark.parametrize("name, least_python", [("Python", 0.6), ("LaTeX", 0)])
def test_an_lstm_needs_fewer_bits_than_a_5_gram_and_learning_on_fewer_than_xz(example, name, least_python):
    if name == "LaTeX" and not example.BOOK.exists():
        pytest.skip("the Debian package texlive-latex-recommended-doc is not installed")
    bits, written = example.learn(name, *example.texts()[name])
    assert bits["LSTM"] < bits["5-gram"]
    assert bits["LSTM, learning on"] < bits["xz"]
    assert example.python_share(written["LSTM"]) >= least_python
