"""How far mined relations can be trusted: support, stability, held-out agreement, overlap, leaks.

In: a source, what was mined from it.
Out: a line of numbers for each relation and each group, with a proposal to accept or drop it.
This file does not know how that is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from jaxtyping import Int
from scipy import sparse

from relatum.catalogue import Group, Link
from relatum.catalogue.overlap import jaccard, neighbours, sample_rows
from relatum.catalogue.words import all_stems, labels
from relatum.progress import Report, silent
from relatum.relations.builders import Mined, build, count_signal
from relatum.relations.pairs import lift
from relatum.relations.plan import After, Builder, Plan, Together, Topics
from relatum.relations.source import Half, Source

PAIRS = 5_000  # of a relation whose lift is measured, at most
SAMPLES = 6
DISSOLVED = 0.5  # a group below it is not found again (Hennig 2007, doi 10.1016/j.csda.2006.11.025)
SELDOM = 0.1  # a relation of links below it hardly repeats any
CHANCE = 1.5  # lift


@dataclass(frozen=True)
class Line:
    """One relation, or one of its groups; what could not be measured is None.

    `stability`: how much of it is found again in half of the evidence (Jaccard of the group and the
    one most like it; for links, the share found in both halves). `lift`: how often its pairs occur
    together in the half it was not mined from, as a multiple of chance. `told`: the share of
    members whose text holds a word of the group's label.
    """

    relation: str
    group: str
    text: str
    found: str
    items: int
    links: int
    stability: float | None
    lift: float | None
    told: float | None
    samples: tuple[str, ...]
    proposal: str = "accept"
    reason: str = ""


@dataclass(frozen=True)
class NoiseReport:
    """What `mine` found out; `overlaps` are (relation, relation, Jaccard of their links)."""

    catalogue: str
    facts: dict[str, int]
    relations: list[Line]
    groups: list[Line]
    overlaps: list[tuple[str, str, float]]
    notes: list[str] = field(default_factory=list)


@dataclass
class _Repeats:
    """What halves of the evidence gave for one builder: stabilities and lifts by group."""

    stability: dict[str, list[float]] = field(default_factory=dict)
    lift: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, stability: float, lift: float) -> None:
        """Keep one half's numbers."""
        self.stability.setdefault(name, []).append(stability)
        if np.isfinite(lift):
            self.lift.setdefault(name, []).append(lift)

    def of(self, name: str) -> tuple[float | None, float | None]:
        """Return means over halves."""
        found = [values.get(name) for values in (self.stability, self.lift)]
        stability, lift = (float(np.mean(values)) if values else None for values in found)
        return stability, lift


def measure_noise(
    source: Source, mined: Sequence[Mined], plan: Plan, *, report: Report = silent
) -> tuple[list[Line], list[Line]]:
    """Return a line for each relation and one for each group, those of one relation together."""
    repeats: dict[Builder, _Repeats] = {}
    again = [b for b in plan.relations if isinstance(b, Together | After | Topics)]
    for place, builder in enumerate(again):
        here = [one for one in mined if one.builder == builder]
        repeats[builder] = _repeat(source, builder, here, plan)
        report("resample", place + 1, len(again), builder.build)
    whole = _behaviour(source)
    relations: list[Line] = []
    groups: list[Line] = []
    for one in mined:
        seen = repeats.get(one.builder)
        numbers = [_numbers(source, one, group, seen, whole) for group in one.groups]
        named = labels(one.relation.text, [group.text for group in one.groups if group.text])
        pairs = zip(one.groups, numbers, strict=True)
        groups += [_line(source, one, *pair, named) for pair in pairs]
        own = _numbers(source, one, None, seen, whole)
        if seen is not None and not one.links:
            sizes = [len(group.items) for group in one.groups]
            own = _mean([n[0] for n in numbers], sizes), _mean([n[1] for n in numbers], sizes)
        relations.append(_line(source, one, None, own, named))
    return relations, groups


def _numbers(
    source: Source,
    one: Mined,
    group: Group | None,
    repeats: _Repeats | None,
    whole: sparse.csr_array | None,
) -> tuple[float | None, float | None]:
    """Return the stability and lift of a relation or of one of its groups."""
    if repeats is not None:
        return repeats.of(f"{one.relation.id}/{group.id if group else ''}")
    agreed = _lift(
        whole, _pairs_of(source, one) if group is None else _pairs_in(source, group.items)
    )
    return None, agreed if np.isfinite(agreed) else None


def _behaviour(source: Source) -> sparse.csr_array | None:
    """Return the counts of baskets, or of the first kind of related items, or None."""
    for signal in ("baskets", *sorted(source.related)):
        counts = count_signal(source, Together(signal=signal))
        if counts is not None and counts.nnz:
            return counts
    return None


def _repeat(source: Source, builder: Builder, mined: Sequence[Mined], plan: Plan) -> _Repeats:
    """Mine from halves again and compare with what the whole gave."""
    found = _Repeats()
    for seed in range(plan.seed, plan.seed + plan.resamples):
        parts = [source.part(Half(seed, is_rest)) for is_rest in (False, True)]
        built = [build(part, builder) for part in parts]
        for place in (0, 1):
            counts = _held_out(parts[1 - place], builder)
            for one in mined:
                if one.links:
                    _repeat_links(source, one.relation.id, built, place, counts, found)
            _repeat_groups(source, mined, built[place], counts, found)
    return found


def _held_out(rest: Source, builder: Builder) -> sparse.csr_array | None:
    if isinstance(builder, Together):
        return count_signal(rest, builder)
    return _behaviour(rest)


def _repeat_links(
    source: Source,
    relation: str,
    built: Sequence[Sequence[Mined]],
    place: int,
    counts: sparse.csr_array | None,
    found: _Repeats,
) -> None:
    halves = [{_ends(link) for one in some for link in one.links} for some in built]
    smaller = min(map(len, halves))
    share = len(halves[0] & halves[1]) / smaller if smaller else 0.0
    found.add(f"{relation}/", share, _lift(counts, _rows(source, sorted(halves[place]))))


def _ends(link: Link) -> tuple[str, str]:
    return link.source, link.target


def _repeat_groups(
    source: Source,
    mined: Sequence[Mined],
    half: Sequence[Mined],
    counts: sparse.csr_array | None,
    found: _Repeats,
) -> None:
    """Match each group to the half's most like it."""
    others = [set(group.items) for one in half for group in one.groups]
    present = set().union(*others) if others else set()
    home: dict[str, list[int]] = {}
    for place, items in enumerate(others):
        for name in items:
            home.setdefault(name, []).append(place)
    for one in mined:
        for group in one.groups:
            members = set(group.items)
            if half and isinstance(one.builder, Topics):
                members &= present  # a fifth of the items was left out
            places = {place for name in members for place in home.get(name, ())}
            shares = {p: len(members & others[p]) / len(members | others[p]) for p in places}
            best = max(shares, key=lambda p: shares[p], default=None)
            pairs = _pairs_in(source, sorted(others[best]) if best is not None else [])
            share = shares[best] if best is not None else 0.0
            found.add(group.name, share, _lift(counts, pairs))


def _rows(source: Source, ends: Sequence[tuple[str, str]]) -> Int[np.ndarray, "pairs 2"]:
    rows = [(source.rows[a], source.rows[b]) for a, b in ends]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def _pairs_in(source: Source, names: Sequence[str]) -> Int[np.ndarray, "pairs 2"]:
    rows = np.array([source.rows[name] for name in names], dtype=np.int64)
    if len(rows) > 100:
        rows = np.random.default_rng(0).permutation(rows)[:100]
    one, other = np.triu_indices(len(rows), 1)
    return np.stack([rows[one], rows[other]], 1)


def _pairs_of(source: Source, one: Mined) -> Int[np.ndarray, "pairs 2"]:
    """Return some of a relation's pairs of rows."""
    parts = [_pairs_in(source, group.items) for group in one.groups]
    pairs = np.concatenate([_rows(source, [_ends(link) for link in one.links]), *parts])
    return np.random.default_rng(0).permutation(pairs)[:PAIRS]


def _lift(counts: sparse.csr_array | None, pairs: Int[np.ndarray, "pairs 2"]) -> float:
    if counts is None or not len(pairs):
        return float("nan")
    return lift(counts, pairs[:, 0], pairs[:, 1])


def _line(
    source: Source,
    one: Mined,
    group: Group | None,
    numbers: tuple[float | None, float | None],
    named: Mapping[str, frozenset[str]],
) -> Line:
    groups = one.groups if group is None else (group,)
    links = one.links if group is None else ()
    names = {name for link in links for name in _ends(link)}.union(*(g.items for g in groups))
    told = [(_told(source, g, named[g.text]), len(g.items)) for g in groups if g.text]
    reason = _doubt(*numbers, SELDOM if links else DISSOLVED)
    return Line(
        relation=one.relation.id,
        group=group.id if group else "",
        text=(group.text or "") if group else one.relation.text,
        found=one.found,
        items=len(names),
        links=len(links) + sum(len(g.items) * (len(g.items) - 1) // 2 for g in groups),
        stability=numbers[0],
        lift=numbers[1],
        told=_mean([share for share, _ in told], [size for _, size in told]),
        samples=_samples(links, one.groups if group is None else (), group),
        proposal="drop" if reason else "accept",
        reason=reason,
    )


def _doubt(stability: float | None, lift: float | None, least: float) -> str:
    """Say why what is not found again, or occurs together by chance, is doubtful."""
    reasons = []
    if stability is not None and stability < least:
        reasons.append(f"stability {stability:.2f} is below {least}")
    if stability is not None and lift is not None and lift < CHANCE:
        reasons.append(f"held-out lift {lift:.1f} is near chance")
    return "; ".join(reasons)


def _told(source: Source, group: Group, label: frozenset[str]) -> float:
    """Return the share of members whose text holds a word of the label."""
    texts = [source.items[source.rows[name]].text or "" for name in group.items[:200]]
    return float(np.mean([bool(all_stems(text) & label) for text in texts]))


def _samples(
    links: Sequence[Link], groups: Sequence[Group], group: Group | None
) -> tuple[str, ...]:
    """Return some members, or two of some groups, or the ends of some links."""
    rng = np.random.default_rng(0)
    if groups and not links:
        some = [groups[place] for place in rng.permutation(len(groups))[: SAMPLES // 2]]
        drawn = [rng.choice(one.items, size=2, replace=False) for one in some]
        return tuple(str(name) for pair in drawn for name in pair)
    if group is not None:
        return tuple(group.items[place] for place in rng.permutation(len(group.items))[:SAMPLES])
    drawn = rng.permutation(len(links))[: SAMPLES // 2]
    return tuple(name for place in drawn for name in _ends(links[place]))


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    total = sum(weight for _, weight in known)
    return float(sum(value * weight for value, weight in known) / total) if known else None


def overlaps(source: Source, mined: Sequence[Mined]) -> list[tuple[str, str, float]]:
    """Return the relations that share links, most first, seen from a sample of the items."""
    sample = sample_rows(len(source.items))
    near = {m.relation.id: neighbours(m.groups, m.links, source.rows, sample) for m in mined}
    found = [(a, b, jaccard(near[a], near[b])) for a, b in combinations(near, 2)]
    return sorted([one for one in found if one[2] > 0.005], key=lambda one: -one[2])
