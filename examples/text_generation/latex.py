"""A LaTeX document of what a model wrote, repaired by three rules until pdflatex takes it."""

import re
import subprocess

# The book's own names for its own things; `lcode` shows LaTeX as it is typed. What LaTeX does not know does nothing.
PREAMBLE = r"""\documentclass{book}\usepackage{verbatim}
\newenvironment{lcode}{\verbatim}{\endverbatim}
\newcommand*\cmd[1]{\texttt{\string#1}}
\newcommand\known[1]{\ifcsname#1\endcsname\else\typeout{unknown: #1}\expandafter\def\csname#1\endcsname{}\fi}
"""


def document(body):
    """A document of a body, with environments left open closed at the end; and which line the body begins at."""
    names = set(re.findall(r"\\(?:begin\{(?=[A-Za-z]+\*?\}))?([A-Za-z]+)", body))
    head = PREAMBLE + "".join(rf"\known{{{name}}}" + "\n" for name in sorted(names)) + "\\begin{document}\n"
    left_open = ["document"]
    for kind, name in re.findall(r"\\(begin|end)\{([A-Za-z]+\*?)\}", body):
        if kind == "begin":
            left_open.append(name)
        elif name in left_open[1:]:
            left_open = left_open[: -1 - left_open[::-1].index(name)]  # an inner one may have been left open
    return head + body + "".join(f"\n\\end{{{name}}}" for name in reversed(left_open)), head.count("\n") + 1


def compiled(text, path):
    """Make a PDF beside `path` and count the repairs: where pdflatex stops, that line or the last before it goes."""
    lines = whole = re.sub(r"(?<!\\)%.*", "", text).splitlines()  # comments go unread
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error", path.name]
    while True:
        source, first = document("\n".join(lines))
        path.write_text(source, "utf-8")
        said = subprocess.run(command, cwd=path.parent, capture_output=True, timeout=60).stdout.decode(errors="replace")
        if "Output written on" in said:
            return {"lines": len(whole), "taken out": len(whole) - len(lines), "unknown": said.count("unknown:")}
        place = re.search(r"on input line (\d+) ended by|" + re.escape(path.name) + r":(\d+):", said)
        last = min(int(place[1] or place[2]) - first + 1, len(lines)) if place else len(lines)
        last = max(place for place in range(last) if lines[place].strip())
        lines = lines[:last] + lines[last + 1 :]
