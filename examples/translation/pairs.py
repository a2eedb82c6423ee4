"""English and Polish from two packages, and what translates without learning: the nearest English that is known."""

import gettext

import numpy as np
import pycountry
from num2words import num2words

CATALOGUES = {
    "iso3166-1": pycountry.countries, "iso3166-2": pycountry.subdivisions, "iso3166-3": pycountry.historic_countries,
    "iso639-3": pycountry.languages, "iso639-5": pycountry.language_families, "iso15924": pycountry.scripts,
    "iso4217": pycountry.currencies}


def numbers(count, rng):
    """Pairs of `count` different numbers of six digits in words, as num2words writes them."""
    chosen = 100_000 + rng.choice(900_000, count, replace=False)
    return [(num2words(number), num2words(number, lang="pl")) for number in chosen.tolist()]


def names(rng):
    """Pairs of names of countries, regions, currencies, languages and scripts, which people translated, shuffled.

    An English name comes once, so that none is both learnt and tested; those that are the same in Polish do not come.
    """
    pairs = {}
    for catalogue, entries in CATALOGUES.items():
        polish = gettext.translation(catalogue, pycountry.LOCALES_DIR, languages=["pl"]).gettext
        for entry in entries:
            if polish(entry.name) != entry.name:
                pairs.setdefault(entry.name, polish(entry.name))
    return rng.permutation(sorted(pairs.items())).tolist()


def nearest(text, pairs):
    """The Polish of the pair whose English is the fewest edits from `text`, and how many (Levenshtein's distance)."""
    others = [english for english, _ in pairs]
    letters = np.array(others).view(np.int32).reshape(len(others), -1).T.copy()  # NumPy fills up with 0
    row = np.tile(np.arange(len(letters) + 1, dtype=np.int16)[:, None], len(others))  # "" from the first 0, 1, ...
    for count, letter in enumerate(text, 1):
        above, row = row, np.full_like(row, count)
        for place in range(len(letters)):
            shorter = np.minimum(row[place], above[place + 1]) + 1
            row[place + 1] = np.minimum(shorter, above[place] + (letters[place] != ord(letter)))
    edits = row[[len(other) for other in others], range(len(others))]
    return pairs[int(edits.argmin())][1], int(edits.min())
