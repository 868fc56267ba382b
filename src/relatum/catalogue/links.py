"""What relates items: relations, and the groups and links under them.

In: texts and ids.
Out: the same as frozen values.
This file does not know of items or files.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """A relation described in plain language; a directed one has an inverse text."""

    id: str
    text: str
    directed: bool = False
    inverse: str | None = None
    paraphrases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Items that are all linked to one another under a relation, with a narrower text or none."""

    relation: str
    id: str
    items: tuple[str, ...]
    text: str | None = None

    @property
    def name(self) -> str:
        """Return what tells it from all other groups."""
        return f"{self.relation}/{self.id}"


@dataclass(frozen=True)
class Link:
    """(source, relation, target), with a weight in (0, 1]."""

    source: str
    relation: str
    target: str
    weight: float = 1.0
