"""What a relation is about, told by the catalogue itself.

In: items, and the lines of groups and links that the store keeps of each.
Out: for each relation the metadata column whose equality agrees with its links; names of groups.
This file does not know of models.
"""

import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from relatum.catalogue import Group, Relation
from relatum.items import Item
from relatum.store.columns import clean

AGREES = 0.8  # Cohen's kappa from which agreement is "almost perfect" (Landis and Koch, 1977)
ITEMS = 1000  # items looked at for a relation, at most
MEMBERS = 50  # of one group, at most

Lines = Mapping[str, tuple[Sequence[str], Sequence[str]]]  # by item: its groups, its links


def about(items: Sequence[Item], relations: Sequence[Relation], lines: Lines) -> dict[str, str]:
    """Return by relation's id the metadata key that tells who is linked; none where none does.

    Two items agree in a column where they have a value in common. A directed relation is about no
    column: its two ends differ.
    """
    found: dict[str, str] = {}
    members = _members(lines)
    for relation in relations:
        if relation.directed or relation.text not in members:
            continue
        tied = _sample(members[relation.text])
        some = [item for item in items if item.id in tied]
        linked = _alike([tied[item.id] for item in some])
        keys = dict.fromkeys(key for item in some for key in item.metadata)
        columns = {key: _alike([_values(item.metadata.get(key)) for item in some]) for key in keys}
        kappas = {key: kappa(linked, alike) for key, alike in columns.items()}
        best = max(kappas, key=lambda key: kappas[key], default=None)
        if best is not None and kappas[best] >= AGREES:
            found[relation.id] = clean(best)
    return found


def kappa(one: sparse.csr_array, other: sparse.csr_array) -> float:
    """Return Cohen's kappa of two ways to say which pairs of items are alike.

    0 is chance, 1 agreement; 0 too where either says the same of all pairs.
    """
    count = len(one.indptr) - 1
    pairs = max(count * (count - 1), 1)
    shares = np.array([one.nnz, other.nnz, one.multiply(other).nnz]) / pairs
    expected = shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1])
    agreed = 1 - shares[0] - shares[1] + 2 * shares[2]
    return float((agreed - expected) / (1 - expected)) if expected < 1 else 0.0


def group_names(groups: Sequence[Group]) -> dict[tuple[str, str], str]:
    """Name each group (relation, id) by its text without the words that those of all begin with.

    >>> red, blue = Group("c", "r", (), "both are red"), Group("c", "b", (), "both are blue")
    >>> group_names([red, blue, Group("s", "x", ())])
    {('c', 'r'): 'red', ('c', 'b'): 'blue', ('s', 'x'): 'x'}
    """
    texts: dict[str, list[list[str]]] = {}
    for group in groups:
        texts.setdefault(group.relation, []).append((group.text or group.id).split())
    shared = {relation: os.path.commonprefix(some) for relation, some in texts.items()}
    names: dict[tuple[str, str], str] = {}
    for group in groups:
        words, start = (group.text or group.id).split(), len(shared[group.relation])
        names[group.relation, group.id] = " ".join(words[start:] or words)
    return names


def _members(lines: Lines) -> dict[str, dict[str, list[str]]]:
    """Return by a relation's text what ties items together, and which: a group's, a link's two."""
    found: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for id, (groups, links) in lines.items():
        for line in groups:
            found[line.partition("\t")[0]][line].append(id)
        for line in links:
            text, _, other = line.partition("\t")
            found[text]["\t".join(sorted([id, other]))].append(id)
    return {text: dict(ties) for text, ties in found.items()}


def _values(value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [str(one) for one in values]


def _sample(members: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return some items with all that ties them, whole groups where they are small."""
    chance, some = random.Random(0), dict[str, list[str]]()
    for tie in chance.sample(list(members), min(ITEMS, len(members))):
        ids = members[tie]
        some |= {id: [] for id in chance.sample(ids, min(MEMBERS, len(ids)))}
        if len(some) >= ITEMS:
            break
    for tie, ids in members.items():
        for id in ids:
            if id in some:
                some[id].append(tie)
    return some


def _alike(values: Sequence[Sequence[str]]) -> sparse.csr_array:
    """Return which items have a value in common, each with all others."""
    numbers: dict[str, int] = {}
    ends = [(row, numbers.setdefault(v, len(numbers))) for row, vs in enumerate(values) for v in vs]
    rows, columns = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    shape = len(values), max(len(numbers), 1)
    has = sparse.csr_array((np.ones(len(ends), dtype=np.float32), (rows, columns)), shape=shape)
    alike = (has @ has.T).tocoo()
    apart = alike.row != alike.col
    kept = (np.ones(apart.sum(), dtype=bool), (alike.row[apart], alike.col[apart]))
    return sparse.csr_array(kept, shape=alike.shape)
