"""The words of a text that tell it from others.

In: a text in any language that parts words by spaces.
Out: its content words without their endings; whether it holds a label's words.
This file does not know of catalogues.
"""

import re

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


def _stem(word: str) -> str:
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
