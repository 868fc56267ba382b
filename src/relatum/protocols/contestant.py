"""Whoever answers: a name, and vectors of both ends of a relation for some items.

In: items with their tokens, a direction (None: no relation).
Out: vectors of the items as sources and as targets.
This file does not know what is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from relatum.batch import Tokens, Vectors
from relatum.catalogue import Direction
from relatum.items import Item
from relatum.model import Model
from relatum.protocols.retrieval import Method, Scores
from relatum.scores import WAYS, Way, compare


@dataclass(frozen=True)
class Participants:
    """The items that take part in a protocol, with their tokens."""

    items: Sequence[Item]
    tokens: Tokens


@dataclass(frozen=True)
class Contestant:
    """`vectors(asked, direction)` gives the items as sources and as targets.

    A blind one does not read the relation. Where one vector an item is needed, it is that of the
    last of its `ways`.
    """

    name: str
    vectors: Callable[[Participants, Direction | None], tuple[Vectors, Vectors]]
    ways: Sequence[Way] = WAYS
    is_blind: bool = False

    def method(self, asked: Participants, ways: Sequence[Way] | None = None) -> Method:
        """Return the contestant's scores of all items against all, by direction."""

        def score(direction: Direction) -> Scores:
            ends = self.vectors(asked, direction)
            return {way: compare(*ends, way).numpy() for way in ways or self.ways}

        return score

    def ends(
        self, asked: Participants, direction: Direction | None
    ) -> tuple[Float[Tensor, "items dim"], Float[Tensor, "items dim"]]:
        """Return one vector an item, as source and as target."""
        part = {"TT": "text", "II": "image"}.get(self.ways[-1], "both")
        sources, targets = self.vectors(asked, direction)
        return getattr(sources, part), getattr(targets, part)


def from_model(name: str, model: Model, *, symmetric: bool = False) -> Contestant:
    """Ask a model: sources under the direction's text, targets under the null relation.

    With `symmetric`, targets are conditioned too, under the inverse text.
    """

    def vectors(asked: Participants, direction: Direction | None) -> tuple[Vectors, Vectors]:
        text, inverse = (direction.text, direction.inverse) if direction else (None, None)
        sources = model.condition(asked.tokens, text)
        inverse = inverse if symmetric else None
        return sources, sources if inverse == text else model.condition(asked.tokens, inverse)

    return Contestant(name, vectors, is_blind=not model.config.model.conditioned)


def blind(contestant: Contestant) -> Contestant:
    """Ask under no relation, whatever the direction."""
    return replace(
        contestant, vectors=lambda asked, _: contestant.vectors(asked, None), is_blind=True
    )
