"""Which questions a report has: on relations that were trained on, on unseen groups and relations.

In: a catalogue, the ids asked about, the model's split.
Out: sets of questions with a title and a sentence.
This file does not know of methods.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from relatum.catalogue import Catalogue, Direction, Group, Relation, Split
from relatum.catalogue.words import labels, without
from relatum.protocols.questions import Questions, build_questions

GROUPS = 50  # unseen groups asked about at most, the largest first


@dataclass(frozen=True)
class Asked:
    """One section's questions."""

    title: str
    about: str
    questions: list[Questions]


def ask(
    catalogue: Catalogue,
    ids: Sequence[str],
    split: Split | None,
    seed: int,
    known: Collection[str] | None = None,
) -> list[Asked]:
    """Build the sections that have questions.

    `known` are the texts of the relations that were trained on; None: all of the catalogue's but
    those that the split holds out.
    """
    unseen = set(split.relations_held_out if split else ())
    if known is not None:
        unseen |= {one.id for one in catalogue.relations if one.text not in known}
    seen = [relation.id for relation in catalogue.relations if relation.id not in unseen]
    rest = [relation.id for relation in catalogue.relations if relation.id in unseen]
    groups = split.groups_held_out if split else ()
    sections = [
        Asked(
            "Relations seen in training" if split else "All relations",
            "Relations that were trained on, asked of the items named under “What to keep in mind”."
            if split
            else "All relations of the catalogue.",
            build_questions(catalogue, ids, seed=seed, relations=seen),
        ),
        Asked(
            "Unseen groups",
            "Groups that were not trained on, asked by their own texts.",
            _group_questions(catalogue, ids, set(groups), seed),
        ),
        Asked(
            "Unseen relations",
            "Relations of which neither text nor links were trained on.",
            build_questions(catalogue, ids, seed=seed, relations=rest) if rest else [],
        ),
    ]
    return [section for section in sections if section.questions]


def _group_questions(
    catalogue: Catalogue, ids: Sequence[str], names: set[str], seed: int
) -> list[Questions]:
    """Ask for the members of each named group by the group's text, as if it were a relation."""
    known = set(ids)
    sizes = {
        group: sum(name in known for name in group.items)
        for group in catalogue.groups
        if group.name in names and group.text
    }
    groups = sorted((g for g in sizes if sizes[g] > 1), key=lambda g: -sizes[g])[:GROUPS]
    if not groups:
        return []
    relations = {group.name: group for group in groups}
    plain = _without_labels(catalogue)
    larger = replace(
        catalogue,
        # a text without the words of the group's own, so that these are found to leak
        relations=(*catalogue.relations, *(Relation(name, plain[name]) for name in relations)),
        groups=(*catalogue.groups, *(replace(g, relation=g.name) for g in groups)),
    )
    found = build_questions(larger, ids, seed=seed, relations=list(relations))
    return [_by_own_text(asked, relations[asked.direction.relation]) for asked in found]


def _without_labels(catalogue: Catalogue) -> dict[str, str]:
    """Return by group its relation's text and its own, without the words that name it."""
    found: dict[str, str] = {}
    for relation in catalogue.relations:
        texts = {g.name: g.text for g in catalogue.groups if g.relation == relation.id and g.text}
        named = labels(relation.text, texts.values())
        found |= {
            name: f"{relation.text} {without(text, named[text])}" for name, text in texts.items()
        }
    return found


def _by_own_text(asked: Questions, group: Group) -> Questions:
    text = group.text or ""
    return replace(asked, direction=Direction(group.name, text, text))
