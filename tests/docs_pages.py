"""The pages of the documentation, their code blocks, and the packages that these need."""

import re
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(DOCS.glob("**/*.md"))]}
OPTIONAL = ("h5py", "keras", "matplotlib", "onnx", "sklearn", "torch")


def blocks(page, language):
    """What stands between the fences of one language, in order."""
    text = PAGES[page].read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def missing(code):
    """The optional packages that the code imports, itself or by a part of fastrnn, and that are not installed."""
    named = set(re.findall(r"^ *(?:import|from) ([\w.]+)", code, re.MULTILINE))
    words = {word for name in named for word in name.split(".")}
    return sorted(name for name in OPTIONAL if name in words and find_spec(name) is None)
