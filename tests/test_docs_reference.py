"""The reference is complete: every public name has its entry, and pages that show a file of the repository name one."""

import ast
import re

import pytest
from docs_pages import DOCS, ROOT

import fastrnn

ENTRY = re.compile(r"^\.\. (currentmodule|module|automodule|auto\w+|data):: ([\w.]+)$", re.MULTILINE)


def documented():
    """The full names of all entries of the reference, modules too, and the modules whose members are all documented."""
    names, whole = set(), set()
    for path in (DOCS / "api").glob("*.rst"):
        text, module = path.read_text(encoding="utf-8"), ""
        for match in ENTRY.finditer(text):
            kind, name = match.groups()
            options = text[match.end() :].split("\n\n")[0].split("\n")
            if kind == "automodule" and "   :members:" in options:
                whole.add(name)
            elif kind.endswith("module"):
                module = name
                names.add(name)
            else:
                names.add(name if name.startswith("fastrnn.") else f"{module}.{name}")
    return names, whole


def exported(module):
    """`__all__` of a module, read from its source: some need packages that are not installed."""
    path = ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} has no __all__")


def test_every_name_of_the_package_is_in_the_reference():
    names, _ = documented()
    assert {f"fastrnn.{name}" for name in fastrnn.__all__} - names == set()


# What a format needs of `fastrnn.convert.onnx` is no name for users.
OF_EVERY_FORMAT = {"EXTENSIONS", "NAME", "recognise", "written_here"}


@pytest.mark.parametrize(
    "module",
    [
        *("fastrnn.charlm", "fastrnn.convert", "fastrnn.convert.onnx", "fastrnn.init", "fastrnn.onnx_backend"),
        *("fastrnn.decoding", "fastrnn.inspect", "fastrnn.sklearn", "fastrnn.torch", "fastrnn.training"),
    ],
)
def test_every_name_of_a_module_is_in_the_reference(module):
    names, whole = documented()
    wanted = set(exported(module)) - set(fastrnn.__all__) - (OF_EVERY_FORMAT if "onnx" in module else set())
    assert module in whole or {f"{module}.{name}" for name in wanted} - names == set()


@pytest.mark.parametrize("path", sorted((ROOT / "fastrnn").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_word_of_a_docstring_is_read_as_a_link(path):
    """In reStructuredText a word that ends in _ is a link to something of that name: it belongs between ``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and getattr(node, "name", "")[:1] != "_":
            prose = re.sub(r"``.+?``|`.+?`", "", ast.get_docstring(node) or "", flags=re.DOTALL)
            prose = re.sub(r"(?m)^[\w, ]+ :.*$", "", prose)  # names of attributes
            assert not (links := re.findall(r"(?<![\w.])\w+_(?=[\s.,;:)]|$)", prose)), links


def test_every_page_of_a_file_shows_that_file():
    """The table in docs/conf.py that turns links to files into links to pages."""
    table = re.search(r"^SHOWN = (\{.*?^\})", (DOCS / "conf.py").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for file, page in ast.literal_eval(table[1]).items():
        path = DOCS / f"{page}.md"
        included = re.search(r"^```\{include\} (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert file == "README.md" or (path.parent / included[1]).resolve() == ROOT / file, file
