"""The words of a text that tell it from others.

In: texts in any language that parts words by spaces.
Out: their content words without endings; of groups' texts, those that name a group.
This file does not know of catalogues.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable

COMMON = frozenset(
    "a about all an and are as at be been both by can do for from get give go has have in into is "
    "it its make made no not of off on one or out same so some such that the their them they "
    "this to two up use used was with you your".split()
)

MANY = 5  # texts of groups


def stems(text: str) -> frozenset[str]:
    """Return the content words of a text without their endings.

    >>> sorted(stems("Both are made of cotton: cottons, boxes and knitting"))
    ['box', 'cotton', 'knitt']
    """
    return frozenset(_stem(word) for word in _words(text) if word not in COMMON)


def all_stems(text: str) -> frozenset[str]:
    """Return the words of a text without their endings, common ones too.

    >>> sorted(all_stems("the mark off"))
    ['mark', 'off', 'the']
    """
    return frozenset(map(_stem, _words(text)))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{2,}", text.lower())


def labels(relation: str, texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return for each text of a relation's groups the stems that name the group.

    Words that the relation's own text has name none, nor do those of all texts (of most, where
    there are `MANY`); common ones do where a text has no others ("both carry the mark off"), if it
    is not the only one.

    >>> found = labels("are of one type", ["both are fire types of it", "both are ice types of it"])
    >>> [sorted(words) for words in found.values()]
    [['fire'], ['ice']]
    >>> labels("carry the same mark", ["both carry the mark off", "both carry the mark up"])
    {'both carry the mark off': frozenset({'off'}), 'both carry the mark up': frozenset({'up'})}
    """
    asked = all_stems(relation)
    told = {text: all_stems(text) - asked for text in texts}
    often = Counter(word for words in told.values() for word in words)
    least = len(told) / 2 if len(told) >= MANY else max(len(told) - 1, 1)
    shared = {word for word, count in often.items() if count > least}
    own = {text: words - shared for text, words in told.items()}
    others = own if len(told) > 1 else {}
    return {
        text: words & stems(text) or others.get(text, frozenset()) for text, words in own.items()
    }


def without(text: str, label: Collection[str]) -> str:
    """Return a text without the words of its label.

    >>> without("both are made of glasses", {"glass"})
    'both are made of'
    """
    return " ".join(word for word in _words(text) if _stem(word) not in label)


def _stem(word: str) -> str:
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
