"""Which file of the package may import which: the table of CONTRIBUTING.md, held against every import there is."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastrnn"

# A folder, a file by its name, or all other files of the package's own folder; and what these may import of fastrnn.
OTHERS = "other `*.py`"
ROOMS = {
    "_core/": ["_core/"],
    "_check/": ["_check/"],
    "cells.py": [],
    "_command.py": [],
    "reference/": ["reference/"],
    OTHERS: ["_core/", "_check/", "decoding/", "cells.py", OTHERS],
    "decoding/": ["_check/", "decoding/"],
    "inspect/": ["_core/", "_check/", "inspect/", OTHERS],
    "__init__.py": ["_command.py", "decoding/", "inspect/", "training/", OTHERS],
    "training/": ["_check/", "training/", OTHERS],
    "torch/": ["_core/", "torch/", OTHERS],
    "sklearn/": ["sklearn/", "__init__.py", "_check/", "decoding/", "cells.py", OTHERS],
    "charlm/": ["charlm/", "__init__.py", "decoding/", "inspect/", "cells.py", OTHERS],
    "bench/": ["bench/", "charlm/__init__.py", "reference/", "__init__.py", "cells.py", OTHERS],
    "convert/": ["convert/", "__init__.py", "cells.py", OTHERS],
    "onnx_backend.py": ["convert/"],
    "cli/": ["_core/", "bench/", "charlm/", "cli/", "convert/", "inspect/", "__init__.py", "cells.py", OTHERS],
    "__main__.py": ["cli/"],
}

# Imports beside the table, each with its reason.
EXCEPTIONS = {
    ("layers.py", "convert/onnx/writing.py"): "layer.to_onnx() asks for the writer, which knows no layers",
    ("linear.py", "convert/onnx/writing.py"): "layer.to_onnx() asks for the writer, which knows no layers",
    ("bench/machine.py", "_core/kernels.pyx"): "says which table of kernels it measures the processor for",
    ("bench/machine.py", "_core/memory.pyx"): "reads memory that lies as the layers' own does",
    ("bench/machine.py", "_core/probe.pyx"): "what the processor can do is measured by kernels",
}


class Import(NamedTuple):
    """One import: the file it is in, the module named, whether Python follows it while the file is imported."""

    file: str
    module: str
    at_import: bool
    names: tuple[str, ...] = ()


# ---------------------------------------------------------------------------------- finding the imports


@cache
def modules():
    """The file of every module, by its dotted name; a compiled one's is its `.pyx`, if it has more than a `.pxd`."""
    found = {}
    for pattern in ("*.pxd", "*.pyx", "*.py"):
        for path in PACKAGE.rglob(pattern):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = str(path.relative_to(PACKAGE))
    return found


def absolute(path, module, level):
    """The module that `from ...module import` with `level` dots means in the file `path`."""
    if level == 0:
        return module
    package = path.relative_to(ROOT).parts[:-level]
    return ".".join((*package, *filter(None, [module])))


def split(file, module, names, at_import):
    """`from module import names`: each name that is a module is an import of its own, the rest one of `module`."""
    inner = [name for name in names if f"{module}.{name}" in modules()]
    yield from (Import(file, f"{module}.{name}", at_import) for name in inner)
    if rest := tuple(name for name in names if name not in inner):
        yield Import(file, module, at_import, rest)


def of_python(path, file):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.Lambda))
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        at_import = path.suffix == ".py" and node not in late
        if isinstance(node, ast.Import):
            yield from (Import(file, alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(path, node.module, node.level)
            yield from split(file, module, [alias.name for alias in node.names], at_import)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = ast.unparse(node.args[0]).lstrip("f").strip("'\"")  # an f-string's beginning names the folder
            yield Import(file, name.split(".{")[0], at_import)


_CYTHON = re.compile(
    r"^(?P<indent> *)(?:from +(?P<module>[\w.]+) +c?import +(?P<names>\([^)]*\)|[^\n(]*)|c?import +(?P<whole>[\w.]+))",
    re.MULTILINE,
)


def of_cython(path, file):
    for found in _CYTHON.finditer(path.read_text(encoding="utf-8")):
        at_import = not found["indent"]
        if found["whole"]:
            yield Import(file, found["whole"], at_import)
        else:
            plain = re.sub(r"#.*|[()]| as \w+", "", found["names"])
            yield from split(file, found["module"], re.findall(r"\w+", plain), at_import)


@cache
def imports():
    """Every import of the package's files; those of a `.pxd` or `.pyi` are its module's."""
    found = []
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix not in (".py", ".pyi", ".pyx", ".pxd"):
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        file = modules().get(name, str(path.relative_to(PACKAGE)))
        found += (of_cython if path.suffix in (".pyx", ".pxd") else of_python)(path, file)
    return found


def inside():
    """The imports of fastrnn's own modules, with the file that is imported."""
    return [(item, modules()[item.module]) for item in imports() if item.module in modules()]


# ------------------------------------------------------------------------------------------- the rules


def room(file):
    folder, slash, _ = file.partition("/")
    if slash:
        return folder + slash
    return file if file in ROOMS else OTHERS


def test_every_import_of_the_package_is_found():
    """The search itself: some imports of each kind, and every one of fastrnn leads to a file."""
    known = {(item.file, target) for item, target in inside()}
    assert len(known) > 150
    assert known >= {
        ("layers.py", "_core/run.pyx"),  # from fastrnn._core.run import Record
        ("layers.py", "_check/__init__.py"),  # from fastrnn import _check
        ("charlm/model.py", "__init__.py"),  # import fastrnn
        ("cli/main.py", "cli/train.py"),  # from . import train
        ("_core/loop.pyx", "_core/team.pyx"),  # from fastrnn._core.team cimport (several lines)
        ("_core/weights.pyx", "_core/kernels.pyx"),  # in a .pxd
        ("bench/charmodel.py", "reference/loss.py"),  # importlib.import_module
        ("bench/peers/numpy_peer.py", "reference/__init__.py"),  # importlib.import_module of an f-string
    }
    lost = {item for item in imports() if item.module.split(".")[0] == "fastrnn" and item.module not in modules()}
    assert not lost


def test_every_folder_has_a_room():
    unknown = {room(file) for file in modules().values()} - set(ROOMS)
    assert not unknown, "say in ROOMS and in CONTRIBUTING.md what these may import"


def test_files_import_only_what_their_room_may():
    beside = {
        (item.file, target)
        for item, target in inside()
        if not {room(target), target} & set(ROOMS[room(item.file)])
    }
    wrong = sorted(beside - set(EXCEPTIONS))
    assert not wrong, "; ".join(f"{file} imports {target}" for file, target in wrong)
    assert not sorted(set(EXCEPTIONS) - beside), "exceptions that nothing needs any longer"


def private(name):
    return name.startswith("_") and not name.endswith("__")


def test_private_names_stay_in_their_room():
    """Neither `from module import _name` nor `module._name` in another room than the module's."""
    taken = [
        (item.file, name)
        for item, target in inside()
        for name in item.names or attributes(item.file, item.module.rpartition(".")[2])
        if room(item.file) != room(target) and private(name)
    ]
    assert not taken


@cache
def attributes(file, module):
    """The attributes that a Python file takes of what it calls by the name of a module."""
    if not file.endswith(".py"):
        return set()
    nodes = ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8")))
    found = [node for node in nodes if isinstance(node, ast.Attribute)]
    return {node.attr for node in found if ast.unparse(node.value).rpartition(".")[2] == module}


def test_the_package_needs_numpy_alone_to_be_imported():
    """Every other library is imported when it is asked for; the twins know no other at all."""
    theirs = {"torch/": {"torch"}, "sklearn/": {"sklearn", "scipy", "joblib"}}  # these folders are asked for themselves
    for item in imports():
        library = item.module.split(".")[0]
        own = library in ("fastrnn", "numpy", "cython", "cpython", "libc") or library in sys.stdlib_module_names
        own = own or library in theirs.get(room(item.file), ())
        assert own or (not item.at_import and room(item.file) != "reference/"), f"{item.file} imports {library}"


def test_models_and_training_are_read_when_they_are_asked_for():
    """A program that runs a layer begins without them; what is asked for is the module's own."""
    program = (
        "import sys, fastrnn; "
        "later = {f'fastrnn.{name}' for name in ('decoding', 'inspect', 'model', 'training')}; "
        "assert not later & set(sys.modules), later & set(sys.modules); "
        "assert set(fastrnn.__all__) <= set(dir(fastrnn)) and all(hasattr(fastrnn, name) for name in fastrnn.__all__); "
        "assert fastrnn.fit is sys.modules['fastrnn.training'].fit and not hasattr(fastrnn, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ------------------------------------------------------------------------------------------ no circles


def circle(pairs):
    """One circle among (file, imported file), without a start; empty if there is none."""
    graph = {}
    for file, target in pairs:
        graph.setdefault(file, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_nothing_is_imported_in_circles():
    assert not circle((item.file, target) for item, target in inside() if item.at_import)


def test_no_file_needs_one_that_needs_it():
    """Also not inside of functions or for types, but for the circles that are known."""
    every = {(item.file, target) for item, target in inside()}
    assert not circle(every)


# ---------------------------------------------------------------------------------------- in writing


def in_words(names):
    return ", ".join(name if "`" in name else f"`{name}`" for name in names) or "nothing"


@pytest.mark.parametrize("name", ROOMS)
def test_contributing_has_the_table(name):
    row = f"| {in_words([name])} | {in_words(ROOMS[name])} |"
    assert row in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), f"expected the line {row}"
