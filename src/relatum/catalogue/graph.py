"""Who is linked to whom, under each way to ask for a relation.

In: a catalogue and the order of its items.
Out: `Direction`s (a directed relation can be asked from either end) and sparse matrices of links.
This file does not know of batches or vectors.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from relatum.catalogue.catalogue import Catalogue
from relatum.catalogue.links import Group, Relation


@dataclass(frozen=True)
class Direction:
    """A relation as asked: `text` conditions the source, `inverse` the candidates.

    For an undirected relation the two are the same.
    """

    relation: str
    text: str
    inverse: str
    is_backward: bool = False

    @property
    def name(self) -> str:
        """Return a short name, unique in the catalogue."""
        return f"{self.relation} (inverse)" if self.is_backward else self.relation


def directions(relations: Sequence[Relation]) -> list[Direction]:
    """List the ways to ask for the relations: one each, two for a directed one."""
    found: list[Direction] = []
    for relation in relations:
        inverse = relation.inverse or relation.text
        found.append(Direction(relation.id, relation.text, inverse))
        if relation.directed:
            found.append(Direction(relation.id, inverse, relation.text, is_backward=True))
    return found


def linked(
    catalogue: Catalogue,
    relation: str,
    rows: Mapping[str, int],
    without_groups: Collection[str] = (),
) -> sparse.csr_array:
    """Return the links of a relation as an (items, items) matrix of weights, source by target.

    Only items in `rows` (id to row) count. Groups named `relation/group` in `without_groups` are
    left out. Undirected links stand both ways; the diagonal is empty.
    """
    directed = next(r.directed for r in catalogue.relations if r.id == relation)
    links = [link for link in catalogue.links if link.relation == relation]
    links = [link for link in links if link.source in rows and link.target in rows]
    sources = [np.array([rows[link.source] for link in links], dtype=np.int64)]
    targets = [np.array([rows[link.target] for link in links], dtype=np.int64)]
    weights = [np.array([link.weight for link in links], dtype=np.float32)]
    for group in catalogue.groups:
        if group.relation == relation and group.name not in without_groups:
            one, other = _pairs(group, rows)
            sources.append(one)
            targets.append(other)
            weights.append(np.ones(len(one), dtype=np.float32))
    ends = (np.concatenate(sources), np.concatenate(targets))
    matrix = _matrix(*ends, np.concatenate(weights), len(rows))
    return matrix if directed else sparse.csr_array(matrix.maximum(matrix.T))


def clique(group: Group, rows: Mapping[str, int]) -> sparse.csr_array:
    """Return the links within a group as an (items, items) matrix of ones."""
    one, other = _pairs(group, rows)
    return _matrix(one, other, np.ones(len(one), dtype=np.float32), len(rows))


def as_asked(matrix: sparse.csr_array, direction: Direction) -> sparse.csr_array:
    """Turn a relation's matrix to the direction it is asked in: asked item by wanted item."""
    return sparse.csr_array(matrix.T) if direction.is_backward else matrix


def _pairs(group: Group, rows: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    members = np.array([rows[name] for name in group.items if name in rows], dtype=np.int64)
    one, other = np.repeat(members, len(members)), np.tile(members, len(members))
    return one[one != other], other[one != other]


def _matrix(
    sources: np.ndarray, targets: np.ndarray, weights: np.ndarray, count: int
) -> sparse.csr_array:
    matrix = sparse.csr_array((weights, (sources, targets)), shape=(count, count))
    matrix.sum_duplicates()
    matrix.data = np.minimum(matrix.data, 1.0)
    return matrix
