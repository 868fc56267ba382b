"""What to call a group: the words that tell its texts from those of other groups.

In: the texts of each group's items.
Out: a few words a group, as a phrase.
This file does not know how groups are found.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from relatum.catalogue.words import COMMON, stems

WORDS = 3
MEMBERS = 200  # read of a group at most
SHARE = 0.15  # of a group's texts that hold a word, at least


def distinguishing_words(groups: Sequence[Sequence[str]], count: int = WORDS) -> list[list[str]]:
    """Return the words of each group's texts that are rare in the others: class TF-IDF.

    A word weighs the share of the group's texts that hold it, times log(1 + A / f), where f is the
    word's total over groups and A a group's mean total (BERTopic, arXiv 2203.05794, section 3.3).

    >>> distinguishing_words([["red lamp", "old lamp"], ["red sofa", "red chair"]], 1)
    [['lamp'], ['red']]
    """
    shares = [_shares(texts[:MEMBERS]) for texts in groups]
    totals: dict[str, float] = {}
    for word, share in (pair for words in shares for pair in words.items()):
        totals[word] = totals.get(word, 0) + share
    mean = sum(totals.values()) / max(len(groups), 1)
    found = []
    for words in shares:
        weights = {word: n * np.log1p(mean / totals[word]) for word, n in words.items()}
        often = [word for word in weights if words[word] >= min(SHARE, max(words.values()))]
        best = sorted(often, key=lambda word: (-weights[word], word))
        forms = {min(stems(word), default=word): word for word in reversed(best)}  # one form each
        found.append([word for word in best if word in forms.values()][:count])
    return found


def _shares(texts: Sequence[str]) -> dict[str, float]:
    counts = Counter(word for text in texts for word in _content(text))
    return {word: n / len(texts) for word, n in counts.items()}


def _content(text: str) -> set[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # takes a second

    words = re.findall(r"[^\W\d_]{3,}", text.lower())
    return set(words) - COMMON - ENGLISH_STOP_WORDS


def phrase(words: Sequence[str]) -> str:
    """Join words as people do.

    >>> phrase(["milk", "nappies", "bottles"]), phrase(["milk"])
    ('milk, nappies and bottles', 'milk')
    """
    return " and ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


def slug(words: Iterable[str], taken: set[str]) -> str:
    """Return a short id made of words that is not taken, and take it.

    >>> slug(["Baby Food", "milk"], {"baby-food-milk"})
    'baby-food-milk-2'
    """
    whole = re.sub(r"[^\w]+", "-", "-".join(words).lower()).strip("-")[:60] or "group"
    name, number = whole, 1
    while name in taken:
        number += 1
        name = f"{whole}-{number}"
    taken.add(name)
    return name
