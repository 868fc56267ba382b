"""What the texts of queries mean: which known relation or group, and who is linked under them.

In: the model's relations, the texts under which the catalogue tells of links, its groups' texts.
Out: queries in the relations' own words, and how the lines of links that they want begin.
This file does not know how an answer is found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from relatum.catalogue import Relation, directions
from relatum.store.query import Query


class Ways:
    """The ways to ask for known relations: by own texts, by paraphrases, by ids; groups by text."""

    def __init__(
        self,
        relations: Sequence[Relation],
        told: Iterable[str] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Take the relations, the texts that the catalogue tells links of, lines by group's text.

        A line is a text of the group's relation, a tab and the group's id. A group's text that
        means a relation asks for the relation.
        """
        own = [way.text for way in directions(relations)]
        pairs = [(text, text) for text in own]
        pairs += [(text, one.text) for one in relations for text in one.paraphrases]
        pairs += [(way.name, way.text) for way in directions(relations)]
        pairs += [(text, text) for text in groups or ()]
        self._meant = {fold(text): meant for text, meant in reversed(pairs)}  # the first counts
        self._told = frozenset(told)
        self._lines: dict[str, list[str]] = {}
        for text, lines in (groups or {}).items():
            if (meant := self._meant[fold(text)]) not in own:
                self._lines.setdefault(meant, []).extend(f"{line}\t" for line in lines)
        self._lines |= {text: [f"{text}\t"] for text in own if text in self._told}

    def reworded(self, query: Query) -> Query:
        """Return a query whose known relations are in their own words.

        Two texts of one relation stay as they are: each has its weight.
        """
        texts = [text for text in query.weights if text]
        meant = [self._meant.get(fold(text), text) for text in texts]
        words = [own if meant.count(own) == 1 else text
                 for text, own in zip(texts, meant, strict=True)]  # fmt: skip
        if words == texts:
            return query
        return replace(query, relation=dict(zip(words, query.weights.values(), strict=True)))

    def wanted(self, query: Query) -> frozenset[str] | None:
        """Return how lines of what is wanted begin; None where the catalogue does not tell."""
        texts = [text for text, weight in query.weights.items() if weight > 0]
        known = [self._meant.get(fold(text), "") if text else "" for text in texts]
        found = [self._lines.get(text) for text in known]
        return None if None in found else frozenset(line for one in found for line in one or ())

    def tells(self, text: str) -> bool:
        """Say if the catalogue tells who is linked under a text."""
        return text in self._told


def fold(text: str) -> str:
    """Return a text as it is compared with others: case, spaces and a last stop do not count.

    >>> fold("Share  a colour. ") == fold("share a colour")
    True
    """
    return " ".join(text.casefold().split()).rstrip(" .!?")
