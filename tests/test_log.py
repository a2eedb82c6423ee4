"""The log of measurements: every row has a number of its own, and whatever is cited is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOG = ROOT / "docs" / "internals" / "log"
NUMBER = r"\b(?:Z3|Z4|Z5|CL|ER)-[0-9]+\b"
TEXTS = ("docs/**/*.md", "src/**/*.[ch]", "src/*.md", "fastrnn/**/*.py*", "benchmarks/*.md", "*.md")


def numbers(prefix, file):
    return re.findall(rf"^\| {prefix}-([0-9]+) \|", (LOG / file).read_text(encoding="utf-8"), re.MULTILINE)


FILES = {"Z3": "zen3.md", "Z4": "zen4.md", "Z5": "zen5.md", "CL": "cascade-lake.md", "ER": "emerald-rapids.md"}
ROWS = {prefix: numbers(prefix, file) for prefix, file in FILES.items()}


def test_every_row_has_a_number_of_its_own_and_none_is_left_out():
    for prefix, found in ROWS.items():
        assert sorted(map(int, found)) == list(range(1, len(found) + 1)), prefix


def test_every_cell_of_a_row_is_there():
    for path in LOG.glob("[!R]*.md"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not line.startswith("|") or line.count("|") == 7, line


def test_every_cited_row_is_there():
    rows = {f"{prefix}-{number}" for prefix, found in ROWS.items() for number in found}
    cited = {}
    for pattern in TEXTS:
        for path in ROOT.glob(pattern):
            if path.suffix != ".pyc":
                cited.update(dict.fromkeys(re.findall(NUMBER, path.read_text(encoding="utf-8")), path))
    assert len(cited) > 100
    assert {number: path for number, path in cited.items() if number not in rows} == {}


def test_every_link_between_documents_leads_somewhere():
    for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), (path, link)
