"""The words of a text that tell it from others.

In: texts in any language that parts words by spaces.
Out: their content words without endings; of groups' texts, those that name a group.
This file does not know of catalogues.
"""

import re
from collections import Counter
from collections.abc import Iterable

COMMON = frozenset(
    "a about all an and are as at be been both by can do for from get give go has have in into is "
    "it its make made no not of off on one or out same so some such that the their them they "
    "this to two up use used was with you your".split()
)


def stems(text: str) -> frozenset[str]:
    """Return the content words of a text without their endings.

    >>> sorted(stems("Both are made of cotton: cottons, boxes and knitting"))
    ['box', 'cotton', 'knitt']
    """
    words = re.findall(r"[^\W\d_]{2,}", text.lower())
    return frozenset(_stem(word) for word in words if word not in COMMON)


def labels(relation: str, texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return for each text of a relation's groups the stems that name the group.

    Words that the relation's own text has name none, nor do those of all texts or of most.

    >>> found = labels("are of one type", ["both are fire types of it", "both are ice types of it"])
    >>> [sorted(words) for words in found.values()]
    [['fire'], ['ice']]
    """
    asked = stems(relation)
    told = {text: stems(text) - asked for text in texts}
    often = Counter(word for words in told.values() for word in words)
    shared = {word for word, count in often.items() if count > max(1, len(told) / 2)}
    return {text: words - shared for text, words in told.items()}


def _stem(word: str) -> str:
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
