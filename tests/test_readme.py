"""README.md: its lines that set up, and the map of folders. `test_docs_code.py` runs its Python."""

import re

from docs_pages import DOCS, ROOT, blocks


def test_every_line_that_sets_up_makes_its_own_environment():
    lines = [line for line in "".join(blocks("README.md", "sh")).splitlines() if "pip install" in line]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_lines_that_run_in_the_clone_install_it_in_place():
    """Python finds the clone's sources first, and they have compiled modules only after `pip install -e`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "pip install" in line and re.search(r"sphinx|pytest", line)]
    assert len(lines) >= 3 and all("pip install -e " in line for line in lines)


def test_every_folder_of_the_map_is_there():
    text = (DOCS / "internals" / "index.md").read_text(encoding="utf-8")
    paths = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(paths) >= 8
    for path in paths:
        assert (ROOT / path).exists(), path
