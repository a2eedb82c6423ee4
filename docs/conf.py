"""Sphinx: `python -m sphinx -W -b html docs build/docs`. Nothing is fetched, neither now nor when a page is read."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

import fastrnn

project, author, copyright = "fastrnn", "", ""
version = release = fastrnn.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
if os.environ.get("FASTRNN_DOCS_LINKS"):  # links into other projects' pages: their indices are fetched
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
    }

# A page about an optional package is left out where that is not installed.
PAGES_THAT_NEED = {"api/torch": "torch", "api/sklearn": "sklearn"}
exclude_patterns = [page + ".rst" for page, package in PAGES_THAT_NEED.items() if find_spec(package) is None]
nitpicky = not exclude_patterns  # links to what is left out lead nowhere

APPLICATIONS = ("text_generation", "translation", "speech", "images", "captioning", "action", "tracking")


EXAMPLES = Path(__file__).parent.parent / "examples"


def readme_of(application: str) -> str:
    """The text that is an application's page, "" for none."""
    path = EXAMPLES / application / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def pictures_of(application: str) -> list[str]:
    """The names of the pictures in that text which have been drawn: the programs draw them."""
    names = re.findall(r"!\[[^]]*\]\(([^):]+)\)", readme_of(application))
    return [name for name in names if (EXAMPLES / application / name).exists()]


exclude_patterns += [f"gallery/{name}.md" for name in APPLICATIONS if not readme_of(name)]
suppress_warnings = ["toc.excluded", "toc.not_readable"] if exclude_patterns else []

# Files of the repository that a page shows as a whole: a link to such a file is a link to its page.
SHOWN = {
    "CONTRIBUTING.md": "internals/contributing",
    "CHANGELOG.md": "internals/changelog",
    "README.md": "index",
    "benchmarks/README.md": "internals/benchmarks",
    "benchmarks/clients/README.md": "internals/programs",
    "examples/pretrained/README.md": "gallery/pretrained",
    "src/README.md": "internals/kernels",
}
SHOWN |= {f"examples/{name}/README.md": f"gallery/{name}" for name in APPLICATIONS}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
default_role = "obj"
nitpick_ignore_regex = [(r"py:.*", r"(?!fastrnn).*")]  # names of NumPy, of arguments, of formulas

autodoc_typehints = "none"  # numpydoc shows what the docstrings say, with shapes and units
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
# All but these. A shape says what an array is where more words would repeat it (PR07, RT03), arguments come in groups
# or "as in a call" (PR01, PR03), a summary may be an equation (SS02, RT04), small functions say all in a sentence.
numpydoc_validation_checks = {
    *("all", "ES01", "EX01", "PR01", "PR03", "PR04", "PR06", "PR07"),
    *("RT01", "RT02", "RT03", "RT04", "SA01", "SS02", "SS05", "YD01"),
}
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
maximum_signature_line_length = 88
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "fastrnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "logo": {"text": "fastrnn"},
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "start": [], "guarantees": [], "bptt/*": []}
copybutton_selector = "div.highlight-python pre, div.highlight-sh pre"
pygments_style = "default"


class RepositoryLinks(SphinxTransform):
    """Links to the repository's files: to the page that shows the file, if there is one; a folder is just named."""

    default_priority = 5

    def apply(self, **kwargs: object) -> None:
        root = Path(self.app.srcdir).parent
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node.get("reftype") != "myst":
                continue
            if node["refdomain"] == "doc":
                name = os.path.relpath(Path(self.app.srcdir, node["reftarget"]), root) + ".md"
                node["reftarget"] = SHOWN.get(name, node["reftarget"])
            elif Path(self.env.relfn2path(node["reftarget"], self.env.docname)[1]).is_dir():
                node.replace_self(node.children)


class MissingPictures(SphinxTransform):
    """Pictures that an application has not drawn yet are left out of its page."""

    default_priority = 5

    def apply(self, **kwargs: object) -> None:
        for node in list(self.document.findall(nodes.image)):
            path = Path(self.env.relfn2path(node["uri"], self.env.docname)[1])
            if path.resolve().is_relative_to(EXAMPLES) and not path.exists():
                node.parent.remove(node)


def show_pictures(app, docname, source):
    """The gallery's front page: a card with a picture for each application."""
    cards = []
    for name in filter(readme_of, APPLICATIONS):
        title = readme_of(name).removeprefix("# ").split("\n")[0]
        pictures = [f":img-bottom: ../../examples/{name}/{picture}" for picture in pictures_of(name)[:1]]
        cards += [f":::{{grid-item-card}} {title}", f":link: {name}", ":link-type: doc", *pictures, ":::", ""]
    if docname == "gallery/index" and cards:
        source[0] += "\n".join(["", "::::{grid} 1 1 2 2", ":gutter: 3", "", *cards, "::::", ""])


def indented_is_code(app, what, name, obj, options, lines):
    """Docstrings show code as an indented paragraph, which reST takes for a quotation: say that it is code."""
    for number in reversed(range(1, len(lines))):
        begins = lines[number].startswith("    ") and not lines[number - 1].strip()
        if begins:
            before = next((line for line in reversed(lines[:number]) if line.strip()), "")
            if not before.startswith(" ") and not before.endswith("::") and before.strip("-"):
                lines[number:number] = ["::", ""]


def skip_routing(app, what, name, obj, skip, options):
    """Leave out what scikit-learn adds to every estimator for its routing of metadata; it has pages of its own."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def setup(app):
    app.add_transform(RepositoryLinks)
    app.add_transform(MissingPictures)
    app.connect("source-read", show_pictures)
    app.connect("autodoc-skip-member", skip_routing)
    app.connect("autodoc-process-docstring", indented_is_code, priority=400)  # before numpydoc
