"""Compiled modules stay readable: short files, short functions, few arguments."""

import re
from pathlib import Path

import pytest

FOLDERS = [Path(__file__).parent.parent / "fastrnn" / name for name in ("_core", "torch")]
FILES = [path for folder in FOLDERS for kind in ("*.pyx", "*.pxd") for path in sorted(folder.glob(kind))]
MOST_LINES, MOST_FUNCTION_LINES, MOST_ARGUMENTS = 350, 60, 9
HEAD = re.compile(r"^( *)(?:def|cdef|cpdef)\s+(?!class)[^=\n(]*?(\w+)\(", re.MULTILINE)
REASON = re.compile(r"# .*(arguments|lines):.*\n *$")  # a comment above a function that says why it has so many


def functions(text):
    """Name, arguments without self, and lines of every function that has a body."""
    for head in HEAD.finditer(text):
        depth, end = 1, head.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        inside = re.sub(r"\[[^]]*\]", "", text[head.end() : end - 1])
        arguments = [part.strip() for part in inside.split(",")]
        arguments = [part for part in arguments if part not in ("", "self", "*")]
        if not text[end : text.find("\n", end)].rstrip().endswith(":"):
            continue  # a declaration
        if REASON.search(text[: head.start()]):
            continue
        lines = 1 + text[head.start() : end].count("\n")
        for line in text[text.find("\n", end) + 1 :].split("\n"):
            if line.strip() and len(line) - len(line.lstrip()) <= len(head[1]):
                break
            lines += 1
        yield head[2], len(arguments), lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    long = {name: lines for name, _, lines in functions(text) if lines > MOST_FUNCTION_LINES + 2}  # blank lines behind
    many = {name: arguments for name, arguments, _ in functions(text) if arguments > MOST_ARGUMENTS}
    assert not long and not many


def test_the_rule_sees_functions():
    found = {name: arguments for name, arguments, _ in functions((FOLDERS[0] / "loop.pyx").read_text())}
    assert found["run_span"] == 5 and found["run_alone"] == 1
