"""What the texts of queries mean: whose words they are, and if the catalogue tells who is linked.

In: the model's relations, the texts under which the catalogue tells of links.
Out: queries in the relations' own spelling, and the relations that they want.
This file does not know how an answer is found.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from relatum.catalogue import Direction, Relation, directions
from relatum.store.query import Query


class Ways:
    """The ways to ask for known relations, by their texts and by paraphrases."""

    def __init__(self, relations: Sequence[Relation], told: Iterable[str] = ()) -> None:
        """Take the relations, and the texts that the catalogue tells links of."""
        self.told = frozenset(told)
        ways = directions(relations)
        forth = {way.relation: way for way in ways if not way.is_backward}
        own = [(way.text, way) for way in ways]
        others = [(text, forth[one.id]) for one in relations for text in one.paraphrases]
        self._said: dict[str, tuple[str, Direction]] = {}
        for text, way in (*own, *others):
            self._said.setdefault(fold(text), (text, way))

    def respelled(self, query: Query) -> Query:
        """Return a query whose relations are spelled as the model learned them."""
        texts = [text for text in query.weights if text]
        spelled = [self._said.get(fold(text), (text,))[0] for text in texts]
        if spelled == texts or len({*spelled}) < len(texts):
            return query
        return replace(query, relation=dict(zip(spelled, query.weights.values(), strict=True)))

    def wanted(self, query: Query) -> frozenset[str] | None:
        """Return the texts of the relations that are wanted; None where one is not told of."""
        texts = [text for text, weight in query.weights.items() if weight > 0]
        known = [self._said.get(fold(text or "")) for text in texts]
        found = frozenset(one[1].text for one in known if one is not None)
        return found if None not in known and found <= self.told else None


def fold(text: str) -> str:
    """Return a text as it is compared with others: case, spaces and a last stop do not count.

    >>> fold("Share  a colour. ") == fold("share a colour")
    True
    """
    return " ".join(text.casefold().split()).rstrip(" .!?")
