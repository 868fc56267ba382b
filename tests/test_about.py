"""What the store tells of its catalogue: columns of relations, names of groups, known links."""

import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from conftest import Settings
from relatum import Catalogue, Item, Store, train
from relatum.catalogue import Group, Link, Relation
from relatum.store import about as room
from relatum.store.about import about, group_names, kappa
from relatum.store.build import _links

COLOUR, SHAPE = "are of the same colour", "have the same shape"
ALIKE = Relation("r", "are alike")


def told(catalogue: Catalogue) -> dict[str, str]:
    return about(catalogue.items, catalogue.relations, _links(catalogue))


def made(values: dict[str, dict[str, object]], *groups: list[str]) -> Catalogue:
    items = tuple(Item(id, id, None, facts) for id, facts in values.items())
    rows = tuple(Group("r", f"g{row}", tuple(ids)) for row, ids in enumerate(groups))
    return Catalogue("made", items, (ALIKE,), rows)


@pytest.fixture(scope="module")
def store(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    model = train(catalogue, settings(split__test_items=0.2), cache=cache)
    return Store.build(model, catalogue, tmp_path_factory.mktemp("about") / "store", cache=cache)


def test_the_column_whose_equality_agrees_is_found_and_no_other(catalogue: Catalogue) -> None:
    assert told(catalogue) == {"colour": "colour"}  # no column says the shape; larger is directed


def test_built_in_catalogues_are_about_what_they_say() -> None:
    rooms = {"same-room": "room", "same-designer": "designer", "variants": "name"}
    assert told(Catalogue.load("furniture")) == rooms
    assert told(Catalogue.load("survival")) == {"material": "materials"}


def test_links_and_lists_tell_as_well_as_groups() -> None:
    values: dict[str, dict[str, object]] = {f"i{n}": {"of": [f"p{n // 2}", "x"]} for n in range(20)}
    plain = made(values)
    links = tuple(Link(f"i{n}", "r", f"i{n + 1}") for n in range(0, 20, 2))
    assert told(replace(plain, links=links)) == {}  # the x is common to all
    apart: dict[str, dict[str, object]] = {
        id: {"of": [f"p{n // 2}"]} for n, id in enumerate(values)
    }
    assert told(replace(made(apart), links=links)) == {"r": "of"}


def test_a_relation_of_one_group_is_about_no_column() -> None:
    assert told(made({id: {"same": "x"} for id in "abcd"}, list("abcd"))) == {}
    assert told(made({id: {"same": "x"} for id in "abcd"})) == {}


def test_of_large_groups_some_members_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, dict[str, object]] = {
        f"i{n}": {"kind": n % 3, "half": n % 2} for n in range(900)
    }
    groups = [[id for id, facts in values.items() if facts["kind"] == kind] for kind in range(3)]
    monkeypatch.setattr(room, "ITEMS", 50)
    monkeypatch.setattr(room, "MEMBERS", 20)
    assert told(made(values, *groups)) == {"r": "kind"}


def test_kappa_agrees_with_a_plain_loop() -> None:
    chance = random.Random(0)
    one, other = ([[str(chance.randrange(5))] for _ in range(30)] for _ in range(2))
    pairs = [(one[a] == one[b], other[a] == other[b]) for a, b in combinations(range(30), 2)]
    agreed = sum(left == right for left, right in pairs) / len(pairs)
    left, right = (sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
    expected = left * right + (1 - left) * (1 - right)
    found = kappa(room._alike(one), room._alike(other))
    assert found == pytest.approx((agreed - expected) / (1 - expected))
    assert kappa(room._alike(one), room._alike(one)) == pytest.approx(1)


def test_groups_are_named_by_what_only_they_say() -> None:
    texts = {"a": "both are found on a cook", "b": "both are found in a cave", "c": None}
    groups = [Group("place", id, (), text) for id, text in texts.items() if text]
    alone = Group("light", "lamps", (), "both give light")
    assert [*group_names([*groups, alone]).values()] == [
        "on a cook",
        "in a cave",
        "both give light",
    ]
    part = [Group("r", "a", (), "both are red"), Group("r", "b", (), "both are red and blue")]
    assert [*group_names(part).values()] == ["both are red", "and blue"]


def test_hits_say_what_the_catalogue_knows_of_them(store: Store, catalogue: Catalogue) -> None:
    colours = {item.id: item.metadata["colour"] for item in catalogue.items}
    for hit in store.search(item="i005", relation=COLOUR, k=99):
        is_same = colours[hit.id] == colours["i005"]
        assert hit.is_linked is is_same and hit.groups == {colours[hit.id]: is_same}
    larger = {link.target for link in catalogue.links if link.source == "i005"}
    hits = store.search(item="i005", relation="is larger than", k=99)
    assert {hit.id for hit in hits if hit.is_linked} == larger and not any(h.groups for h in hits)
    both = store.search(item="i005", relation={COLOUR: 1, SHAPE: 1, "is larger than": -1}, k=99)
    assert all(len(hit.groups) == 2 and hit.is_linked is any(hit.groups.values()) for hit in both)


@pytest.mark.parametrize("relation", [None, "have whatever", {COLOUR: 1, "have whatever": 1}])
def test_of_unknown_relations_the_catalogue_says_nothing(
    store: Store, relation: str | dict[str, float] | None
) -> None:
    for hit in store.search(item="i005", relation=relation, k=5):
        assert hit.is_linked is None and not hit.groups


def test_a_text_has_no_links_but_its_hits_have_groups(store: Store) -> None:
    for hit in store.search(text="a red ball", relation=COLOUR, k=5):
        assert hit.is_linked is None and [*hit.groups.values()] == [False]


def test_values_are_counted_over_all_items(store: Store, catalogue: Catalogue) -> None:
    assert store.counts("colour", 4) == dict.fromkeys(["red", "green", "blue", "black"], 12)
    assert store.counts("colour", 3) == {} and store.counts("size", 9) == {}
    assert store.about == told(catalogue) == Store.open(store.path).about
