"""The rows of the test_errors files together: their messages' form, and that every error has one.

A message says who: what got; expected what.
"""

import ast
import inspect
import re
import traceback
from pathlib import Path

import test_errors_attributes
import test_errors_construction
import test_errors_inputs
import test_errors_losses
import test_errors_models
import test_errors_options
import test_errors_parts
import test_errors_training
from error_rows import prepared

from fastrnn import (
    _check,
    attention,
    borders,
    clipping,
    ctc,
    decoding,
    dropout,
    element_losses,
    embedding,
    gradcheck,
    init,
    layers,
    linear,
    lists,
    losses,
    model,
    module,
    optim,
    packing,
    parameters,
    pooling,
    rows,
    stream,
    tape,
    trainable,
    windows,
)
from fastrnn.training import fitting

MODULES = (
    _check, attention, borders, clipping, ctc, decoding, dropout, element_losses, embedding, gradcheck, init, layers,
    linear, lists, losses, model, module, optim, packing, parameters, pooling, rows, stream, tape, trainable, windows,
    fitting,
)  # fmt: skip
ROWS = [
    *test_errors_attributes.ROWS,
    *test_errors_construction.ROWS,
    *test_errors_inputs.ROWS,
    *test_errors_losses.ROWS,
    *test_errors_models.ROWS,
    *test_errors_options.ROWS,
    *test_errors_parts.ROWS,
    *test_errors_training.ROWS,
]


def test_messages_say_who_what_got_and_what_was_expected():
    for row in ROWS:
        assert re.match(r"[\w.]+: .+; .*expected", row.message), row.name
        assert "\n" not in row.message


def files_of(module):
    """A module's file, or all those of a package."""
    path = Path(inspect.getsourcefile(module))
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


def raises_of(path):
    """(file, first line, last line) of every raise statement that makes an error of a user's."""
    tree = ast.parse(path.read_text())
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call)]
    return {(str(path), n.lineno, n.end_lineno) for n in calls if getattr(n.exc.func, "id", "") != "_non_finite"}


def test_every_raise_has_a_row():
    statements = set().union(*(raises_of(path) for module in MODULES for path in files_of(module)))
    seen = set()
    for row in ROWS:
        world = prepared(row.prepare)
        try:
            row.call(world)
        except row.error as caught:
            frames = traceback.walk_tb(caught.__traceback__)
            seen.update((frame.f_code.co_filename, line) for frame, line in frames)
    missed = [(file, a) for file, a, b in statements if not any(f == file and a <= n <= b for f, n in seen)]
    assert not missed
