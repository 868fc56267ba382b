"""Relations are found where they were put, described, judged, reviewed and written whole."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata
from sklearn.metrics import adjusted_mutual_info_score

from conftest import write_rows
from relatum.catalogue import Catalogue
from relatum.errors import ConfigError, DataError
from relatum.relations import NoiseReport, Plan, Source, mine
from relatum.relations.builders import build
from relatum.relations.mine import write_tables
from relatum.relations.pairs import (
    Pairs,
    communities,
    count_together,
    pairs_of,
    strongest,
)
from relatum.relations.plan import After, Column, Copies, Table, Together, Topics
from relatum.relations.source import Half, read_baskets, read_vectors

WORDS = ("milk", "saw", "tent", "piano", "ball", "lamp", "rope", "cake", "ink", "oar")


def write_shop(
    folder: Path,
    *,
    items: int = 80,
    baskets: int = 1500,
    noise: Sequence[float] = (0.2, 0.2, 0.2, 0.2),
    seed: int = 0,
) -> np.ndarray:
    """Write items and baskets of as many kinds as there are noises; return the kinds."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    kinds = np.arange(items) % len(noise)
    rows = [
        {
            "id": f"i{row:03}",
            "text": f"{WORDS[kind]} article {chr(97 + row // 4 % 26) * 3} of ours",
            "image": None,
            "price": float(row),
            "category": ["all", WORDS[kind], f"shelf {row % 8}"],
            "tags": [WORDS[kind], "new"] if row % 3 else ["new"],
            "brand": f"brand {row % 5}",
        }
        for row, kind in enumerate(kinds.tolist())
    ]
    write_rows(folder, "items", rows)
    events = []
    for number in range(baskets):
        kind = int(rng.integers(len(noise)))
        members = np.flatnonzero(kinds == kind)
        for _ in range(int(rng.integers(2, 7))):
            own = rng.random() > noise[kind]
            item = int(rng.choice(members if own else items))
            events.append((f"b{number:05}", f"i{item:03}", len(events)))
    order = rng.permutation(len(events))
    write_events(folder, [events[place] for place in order])
    return kinds


def write_events(folder: Path, events: Sequence[tuple[str, str, int | None]]) -> None:
    (folder / "signals").mkdir(exist_ok=True)
    names = ("basket", "item", "time")
    columns = dict(zip(names, zip(*events, strict=True), strict=True))
    pq.write_table(pa.table(columns), folder / "signals/baskets.parquet")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mining") / "shop"
    write_shop(folder)
    return folder


@pytest.fixture(scope="module")
def source(shop: Path) -> Source:
    return Source.open(shop)


def labels(source: Source, groups: Sequence[Sequence[str]]) -> np.ndarray:
    found = np.full(len(source.items), -1)
    for label, names in enumerate(groups):
        found[[source.rows[name] for name in names]] = label
    return found


def test_pairs_equal_a_plain_loop(source: Source) -> None:
    assert source.baskets is not None
    matrix = source.baskets.matrix(80, 50)
    counts = count_together(matrix).toarray()
    rows = matrix.toarray()
    expected = np.zeros((80, 80), dtype=np.int64)
    for row in rows:
        expected += np.outer(row, row)
    np.fill_diagonal(expected, 0)
    assert (counts == expected).all()
    pairs = pairs_of(count_together(matrix))
    ends = expected.sum(0)
    by_chance = np.outer(ends, ends) / ends.sum()
    assert np.allclose(pairs.expected, by_chance[pairs.one, pairs.other])
    assert ((pairs.weight() > 0) & (pairs.weight() <= 1)).all()


def test_the_strongest_pairs_equal_a_plain_loop(source: Source) -> None:
    assert source.baskets is not None
    pairs = pairs_of(count_together(source.baskets.matrix(80, 50)))
    kept = strongest(pairs, 3)
    strength, wanted = pairs.strength(), set()
    for item in range(80):
        mine_ = np.flatnonzero((pairs.one == item) | (pairs.other == item))
        wanted |= set(mine_[np.argsort(-strength[mine_], kind="stable")[:3]].tolist())
    assert len(kept.one) == len(wanted)


def test_a_giant_basket_is_cut(tmp_path: Path) -> None:
    events = [("giant", f"i{row}", None) for row in range(1000)]
    write_events(tmp_path, [*events, ("small", "i0", None), ("small", "i1", None)])
    baskets = read_baskets(
        tmp_path / "signals/baskets.parquet", {f"i{row}": row for row in range(1000)}
    )
    sizes = baskets.matrix(1000, 50).sum(1)
    assert sorted(sizes.tolist()) == [2, 50]


def test_repeats_strangers_and_order_do_not_change_baskets(tmp_path: Path) -> None:
    rows = {"a": 0, "b": 1}
    events = [("x", "a", 1), ("y", "b", 2), ("x", "b", 3), ("x", "a", 4), ("y", "stranger", 5)]
    write_events(tmp_path, events)
    one = read_baskets(tmp_path / "signals/baskets.parquet", rows)
    write_events(tmp_path, events[::-1])
    other = read_baskets(tmp_path / "signals/baskets.parquet", rows)
    assert one.unknown == 1 and one.matrix(2, 50).toarray().tolist() in (
        [[1, 1], [0, 1]],
        [[0, 1], [1, 1]],
    )
    assert (one.matrix(2, 50).toarray() == other.matrix(2, 50).toarray()).all()


def test_halves_part_the_baskets_and_differ_by_seed(source: Source) -> None:
    whole = source.baskets
    assert whole is not None
    sizes = []
    for seed in (0, 1):
        one, rest = (source.part(Half(seed, is_rest)).baskets for is_rest in (False, True))
        assert one is not None and rest is not None
        assert len(one.keys) + len(rest.keys) == len(whole.keys)
        assert not set(one.keys.tolist()) & set(rest.keys.tolist())
        assert abs(len(one.keys) - len(rest.keys)) < 200
        sizes.append(set(one.keys.tolist()))
    assert sizes[0] != sizes[1]


def test_communities_are_those_that_were_put_in(source: Source) -> None:
    (found,) = build(source, Together(shape="groups"))
    kinds = np.arange(80) % 4
    got = labels(source, [group.items for group in found.groups])
    assert adjusted_mutual_info_score(kinds, got) >= 0.9
    assert {(group.text or "").split()[3].strip(",") for group in found.groups} == set(WORDS[:4])


def test_communities_hang_together_and_are_the_same_again() -> None:
    rng = np.random.default_rng(0)
    one, other = np.unique(np.sort(rng.integers(0, 300, (2, 500)), axis=0), axis=1)
    one, other = one[one != other], other[one != other]
    level = np.ones(len(one))
    pairs = Pairs(one, other, 2 * level, level, float(len(one)))
    found = communities(pairs, 300)
    assert found == communities(pairs, 300)
    assert sorted(row for rows in found for row in rows) == np.unique([one, other]).tolist()
    assert 5 < len(found) < 60
    for rows in found:
        inside = np.isin(one, rows) & np.isin(other, rows)
        graph = sparse.csr_array((level[inside], (one[inside], other[inside])), shape=(300, 300))
        assert len(np.unique(connected_components(graph)[1][rows])) == 1


def test_what_does_not_hang_together_is_no_community(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "relatum.relations.pairs.Louvain.fit_predict", lambda *_: np.zeros(6, np.int64)
    )
    ends, level = (np.array([0, 1, 3, 4]), np.array([1, 2, 4, 5])), np.ones(4)
    pairs = Pairs(*ends, 2 * level, level, 4.0)
    assert communities(pairs, 6) == [[0, 1, 2], [3, 4, 5]]
    assert communities(pairs.keep(np.array([], np.int64)), 6) == []


def test_a_relation_for_each_community_is_named_by_its_words(source: Source) -> None:
    found = build(source, Together(shape="relations"))
    assert len(found) == 4
    assert all(any(word in one.relation.text for word in WORDS) for one in found)


def test_links_join_items_of_a_kind(source: Source) -> None:
    (found,) = build(source, Together())
    same = [source.rows[link.source] % 4 == source.rows[link.target] % 4 for link in found.links]
    assert np.mean(same) > 0.95 and len(found.links) > 400


def test_lists_of_related_items_are_believed(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", baskets=1)
    rows = [("i000", "also_viewed", "i001"), ("i001", "also_viewed", "i000")]
    rows += [("i002", "also_viewed", "i003"), ("i002", "also_viewed", "elsewhere")]
    table = pa.table(dict(zip(("source", "kind", "target"), zip(*rows, strict=True), strict=True)))
    pq.write_table(table, tmp_path / "shop/signals/related.parquet")
    (found,) = build(Source.open(tmp_path / "shop"), Together(signal="also_viewed"))
    assert found.relation.text == "are looked at by the same people"
    assert {(link.source, link.target) for link in found.links} == {
        ("i000", "i001"),
        ("i002", "i003"),
    }


def test_what_is_bought_after_what_is_directed(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", baskets=1)
    events = []
    for person in range(40):
        events += [(f"p{person}", "i000", 10), (f"p{person}", "i001", 20)]
        first, second = ("i002", "i003") if person % 2 else ("i003", "i002")
        events += [(f"q{person}", first, 10), (f"q{person}", second, 20)]
        events += [(f"r{person}", "i004", 10), (f"r{person}", "i005", 10)]  # at once: no order
    write_events(tmp_path / "shop", events)
    (found,) = build(Source.open(tmp_path / "shop"), After())
    assert [(link.source, link.target) for link in found.links] == [("i001", "i000")]
    assert found.relation.directed and found.relation.inverse == "is bought before"


def test_columns_group_by_value_band_list_and_level(source: Source) -> None:
    (brand,) = build(source, Column(column="brand"))
    assert sorted(len(group.items) for group in brand.groups) == [16] * 5
    assert brand.groups[0].text == "both have the brand brand 0"
    (tags,) = build(source, Column(column="tags"))
    assert {group.id for group in tags.groups} == set(WORDS[:4])  # "new" covers all: it is left out
    assert tags.relation.text == "have one of the tags in common"
    assert {group.text for group in tags.groups} == {
        f"both have {one} in tags" for one in WORDS[:4]
    }
    (told,) = build(source, Column(column="tags", group_text="both are about {}, say the tags"))
    expected = {f"both are about {one}, say the tags" for one in WORDS[:4]}
    assert {group.text for group in told.groups} == expected
    (level,) = build(source, Column(column="category", depth=2))
    assert {len(group.items) for group in level.groups} == {20}
    (price,) = build(source, Column(column="price", band=10))
    rows = [{source.rows[name] for name in group.items} for group in price.groups]
    assert all(max(some) - min(some) < 10 for some in rows)
    for one in range(75):  # whatever is closer than half a band shares a window
        assert any({one, one + 4} <= some for some in rows)


def test_variants_and_topics_and_tables(source: Source, shop: Path, tmp_path: Path) -> None:
    items = tuple(
        replace(item, text=f"{WORDS[row % 4]} {row} cm red")
        for row, item in enumerate(source.items)
    )
    (variants,) = build(replace(source, items=items), Copies(by="text"))
    assert sorted(len(group.items) for group in variants.groups) == [20] * 4
    rng = np.random.default_rng(0)
    vectors = np.eye(8)[np.arange(80) % 4] + 0.02 * rng.normal(size=(80, 8))
    vectors[7] = 0  # lacks the modality
    (topics,) = build(replace(source, vectors={"text": vectors}), Topics())
    assert sorted(len(group.items) for group in topics.groups) == [19, 20, 20, 20]
    table = Table(path="../links.jsonl", id="own", text="fit together")
    write_rows(shop.parent, "links", [{"source": "i000", "target": "i009", "weight": 0.5}])
    (own,) = build(source, table)
    assert [vars(link) for link in own.links] == [
        {"source": "i000", "relation": "own", "target": "i009", "weight": 0.5}
    ]
    with pytest.raises(ConfigError, match="need a text"):
        build(source, Table(path="../links.jsonl"))


def test_stability_tells_which_communities_are_wrong(tmp_path: Path) -> None:
    """Kinds are bought with more and more noise: what is less right is found again less."""
    noise = np.linspace(0.1, 0.95, 10)
    kinds = write_shop(tmp_path / "shop", items=200, baskets=2500, noise=noise.tolist())
    found = mine(tmp_path / "shop", Plan(relations=(Together(shape="groups"),)))
    groups = {group.id: group for group in Catalogue.load(tmp_path / "shop").groups}
    stability, right = [], []
    for line in found.groups:
        members = np.array([int(name[1:]) for name in groups[line.group].items])
        shares = [np.mean(kinds[members] == kind) for kind in range(10)]
        stability.append(line.stability)
        right.append(max(shares))
    ranks = rankdata(stability), rankdata(right)
    assert np.corrcoef(*ranks)[0, 1] > 0.6
    assert found.groups[int(np.argmax(right))].proposal == "accept"
    assert found.groups[int(np.argmin(right))].proposal == "drop"


@pytest.fixture(scope="module")
def mined(shop: Path) -> NoiseReport:
    return mine(shop, review=shop.parent / "review.csv")


def test_what_is_mined_is_a_whole_catalogue_and_a_report(shop: Path, mined: NoiseReport) -> None:
    catalogue = Catalogue.load(shop)
    ids = [relation.id for relation in catalogue.relations]
    assert ids == ["category", "tags", "brand", "baskets", "baskets-purpose", "after"]
    assert [line.relation for line in mined.relations] == ids
    assert mined.relations[-1].proposal == "drop"  # baskets without an order
    baskets = next(line for line in mined.relations if line.relation == "baskets")
    assert baskets.stability is not None and baskets.proposal == "accept"
    assert baskets.lift is not None and baskets.lift > 2
    brand = next(line for line in mined.relations if line.relation == "brand")
    assert brand.stability is None and brand.lift is not None and 0.7 < brand.lift < 1.3
    assert ("category", "baskets-purpose") in {(one, other) for one, other, _ in mined.overlaps}
    written = json.loads((shop / "mined/report.json").read_text())
    assert written["facts"]["items"] == 80
    page = (shop / "mined/report.html").read_text()
    assert "are bought together" in page and 'src="http' not in page
    assert "| baskets | are bought together |" in (shop / "mined/report.md").read_text()


def test_mining_again_changes_nothing(shop: Path, mined: NoiseReport) -> None:
    before = {path.name: path.read_bytes() for path in shop.glob("*.*")}
    again = mine(shop)
    assert (again.relations, again.groups) == (mined.relations, mined.groups)
    assert {path.name: path.read_bytes() for path in shop.glob("*.*")} == before


def test_a_review_renames_and_drops(shop: Path, mined: NoiseReport, tmp_path: Path) -> None:
    with (shop.parent / "review.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["relation"] == "brand" and not row["group"]:
            row["verdict"] = "drop"
        if row["relation"] == "baskets-purpose" and "milk" in row["group"]:
            row |= {"verdict": "rename", "new_text": "1984"}
    path = tmp_path / "edited.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([*rows, rows[0] | {"group": "gone"}])
    found = mine(shop, review=path)
    catalogue = Catalogue.load(shop)
    assert "brand" not in {relation.id for relation in catalogue.relations}
    assert "1984" in {group.text for group in catalogue.groups}  # a text, in a column of numbers
    assert found.notes[-1] == "edited.csv: nothing was mined that is called category/gone"
    path.write_text(path.read_text().replace("drop", "perhaps", 1))
    with pytest.raises(DataError, match=r"edited.csv:\d+: expected accept, rename or drop"):
        mine(shop, review=path)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_own_relations_stay_in_their_formats(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "shop"
    write_shop(folder, baskets=300)
    own = {"id": "own", "text": "are mine", "directed": True, "inverse": "is its"}
    rows = {
        "relations": [own],
        "groups": [{"relation": "own", "group": "g", "items": ["i000", "i001"], "text": "both"}],
        "links": [{"source": "i000", "relation": "own", "target": "i002", "weight": 0.5}],
    }
    for name, table in rows.items():
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(table), folder / f"{name}.parquet")
        elif suffix == "jsonl":
            write_rows(folder, name, table)
        else:
            with (folder / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, table[0])
                writer.writeheader()
                writer.writerows(
                    {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
                    for row in table
                )
    before = Catalogue.load(folder)
    for _ in range(2):
        mine(folder, Plan(relations=(Column(column="brand"), Together()), resamples=1))
        after = Catalogue.load(folder)
        assert [relation.id for relation in after.relations] == ["own", "brand", "baskets"]
        assert after.relations[:1] == before.relations
        assert after.groups[:1] == before.groups and after.links[:1] == before.links
        assert not list(folder.glob("*.part"))
    write_tables(folder, [])
    assert Catalogue.load(folder) == before
    with pytest.raises(DataError, match="'own' is there already"):
        mine(folder, Plan(relations=(Column(column="brand", id="own"),), resamples=0))


def test_a_plan_is_read_and_a_mistake_is_one_line(tmp_path: Path, shop: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('[[relations]]\nbuild = "column"\ncolumn = "brand"\nid = "maker"\n')
    assert Plan.load(path).relations == (Column(column="brand", id="maker"),)
    for text, words in (
        ("[[relations]", "cannot read the plan"),
        ('[[relations]]\nbuild = "smell"\n', "does not match any of the expected tags"),
        ('[[relations]]\nbuild = "after"\nwindou = 1\n', "windou"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            Plan.load(path)
    twice = Plan(relations=(Column(column="brand"), Column(column="tags", id="brand")))
    with pytest.raises(ConfigError, match="two mined relations are called 'brand'"):
        mine(shop, twice)


def test_a_plan_names_all_keys_that_are_not_there_and_those_that_are() -> None:
    bad = {"build": "column", "column": "brand", "file": "x", "grup_text": "y"}
    with pytest.raises(ConfigError, match="relations.1: unknown 'file', 'grup_text'.*group_text"):
        Plan(relations=({"build": "after"}, bad))  # pyright: ignore[reportArgumentType]
    table = {"build": "table", "path": "x.csv", "column": "brand"}
    told = "relations.0: unknown 'file', 'grup_text'; relations.1: unknown 'column'; "
    told += "the plan: unknown 'seeds'; column takes id, .*; table takes id, .*; a plan takes"
    with pytest.raises(ConfigError, match=told):
        Plan(relations=(bad, table), seeds=3)  # pyright: ignore[reportArgumentType]
    told = {"build": "column", "column": "brand", "group_text": "both are one"}
    with pytest.raises(
        ConfigError, match="group_text: .*a text with {} where.* got 'both are one'"
    ):
        Plan(relations=(told,))  # pyright: ignore[reportArgumentType]


def test_a_table_lies_beside_the_plan_or_in_the_catalogue(shop: Path, tmp_path: Path) -> None:
    told = '[[relations]]\nbuild = "table"\npath = "own.jsonl"\ntext = "fit together"\n'
    (tmp_path / "plans").mkdir()
    plan = tmp_path / "plans/plan.toml"
    plan.write_text(told)
    link = {"source": "i000", "target": "i009", "weight": 0.5}
    with pytest.raises(DataError, match="own.jsonl: .*there is no such file beside the plan"):
        build(Source.open(shop), Plan.load(plan).relations[0])
    write_rows(shop, "own", [link])
    (one,) = build(Source.open(shop), Plan.load(plan).relations[0])
    write_rows(tmp_path / "plans", "own", [{**link, "target": "i008"}])
    (other,) = build(Source.open(shop), Plan.load(plan).relations[0])
    (shop / "own.jsonl").unlink()
    assert [one.links[0].target, other.links[0].target] == ["i009", "i008"]
    assert other.found == "the table own.jsonl"


def test_a_misspelt_column_is_refused_and_what_was_mined_stays(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": "x", "image": None, "colour": "red"} for n in range(3)]
    write_rows(tmp_path, "items", [*rows, {"id": "3", "text": "x", "image": None}])
    mine(tmp_path, Plan(relations=(Column(column="colour", most=1),)))
    before = (tmp_path / "groups.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="no item has a column 'color'; there are colour"):
        mine(tmp_path, Plan(relations=(Column(column="color"),)))
    with pytest.raises(ConfigError, match="expected numbers in the column 'colour' .*got 'red'"):
        mine(tmp_path, Plan(relations=(Column(column="colour", band=2),)))
    assert (tmp_path / "groups.jsonl").read_bytes() == before and before


def test_numbers_with_fractions_ask_for_a_band(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "text": "x", "image": None, "price": n // 2 + 0.5, "size": float(n // 2)}
        for n in range(8)
    ]
    write_rows(tmp_path, "items", rows)
    for column, band, is_told in (
        ("price", None, True),
        ("size", None, False),
        ("price", 2, False),
    ):
        found = mine(tmp_path, Plan(relations=(Column(column=column, band=band, most=1),)))
        assert any("a band would join" in note for note in found.notes) == is_told


def test_what_is_left_out_is_told(shop: Path, tmp_path: Path) -> None:
    source = Source.open(shop)
    links = [("i000", "i009"), ("i000", "i000"), ("i000", "nobody"), ("nobody", "i000")]
    write_rows(shop, "own", [{"source": one, "target": other} for one, other in links])
    (table,) = build(source, Table(path="own.jsonl", text="go together"))
    told = "the table own.jsonl; of 4 rows, 2 name an unknown item and 1 one item twice"
    assert table.found == told and len(table.links) == 1
    (column,) = build(source, Column(column="tags"))
    assert column.found.endswith("; left out as too large: 'new' (80 items)")


def test_the_builders_say_what_the_folder_lacks(tmp_path: Path) -> None:
    write_rows(tmp_path, "items", [{"id": "a", "text": "x", "image": None, "kind": "lone"}])
    plan = Plan(relations=(Together(), After(), Topics(), Column(column="kind")), resamples=1)
    found = mine(tmp_path, plan)
    assert len(found.notes) == 4 and not found.relations
    with pytest.raises(DataError, match="1 vectors for 2 items|2 vectors for 1 items"):
        Source.open(tmp_path, {"text": np.ones((2, 3))})
    with pytest.raises(DataError, match="expected a folder"):
        mine("furniture")  # the built-in catalogue is not written to


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"colour,red", "review.csv:2: expected 5 cells"),
        (b"caf\xe9,red,accept,,", "expected UTF-8 text, got the byte 0xe9"),
        (b"colour,red,maybe,,", "review.csv:2: expected accept, rename or drop, got 'maybe'"),
    ],
)
def test_a_damaged_review_is_named(shop: Path, tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "review.csv"
    path.write_bytes(b"relation,group,verdict,text,new_text\n" + line + b"\n")
    with pytest.raises(DataError, match=words):
        mine(shop, review=path)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1.5, None, 3.0]),
        pa.array([1, None, 3]),
        pa.array([100, None, 900], pa.timestamp("ms")),
        pa.array([1, None, 3], pa.timestamp("s")),
    ],
)
def test_times_may_be_numbers_or_timestamps(tmp_path: Path, times: pa.Array) -> None:
    path = tmp_path / "baskets.parquet"
    pq.write_table(pa.table({"basket": ["b"] * 3, "item": ["x", "y", "z"], "time": times}), path)
    found = read_baskets(path, {"x": 0, "y": 1, "z": 2})
    assert found.item.tolist() == [0, 2, 1]  # the unknown time is last
    expected = times.to_numpy(zero_copy_only=False)[[0, 2]].astype("f8")
    scale = 1e3 if pa.types.is_timestamp(times.type) and times.type.unit == "ms" else 1.0
    assert found.time[:2] == pytest.approx(expected / scale) and np.isnan(found.time[2])


def test_times_in_words_and_damaged_signals_are_named(tmp_path: Path) -> None:
    path = tmp_path / "baskets.parquet"
    events = {"basket": ["b"] * 500, "item": [f"i{n}" for n in range(500)], "time": ["noon"] * 500}
    pq.write_table(pa.table(events), path)
    with pytest.raises(DataError, match="time: expected seconds since 1970 or timestamps"):
        read_baskets(path, {})
    broken = bytearray(path.read_bytes())
    broken[100:400] = bytes(300)
    path.write_bytes(broken)
    with pytest.raises(DataError, match="the signals cannot be read"):
        read_baskets(path, {})


@pytest.mark.parametrize("rows", [[[1.0, 2.0], None], [[1.0], [1.0, 2.0]]])
def test_vectors_that_do_not_fit_are_named(tmp_path: Path, rows: list) -> None:
    path = tmp_path / "vectors.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "vector": rows}), path)
    with pytest.raises(DataError, match="the vectors cannot be read"):
        read_vectors(path, ["a", "b"])


def test_a_picture_that_cannot_be_read_is_no_copy(tmp_path: Path) -> None:
    write_rows(
        tmp_path, "items", [{"id": str(n), "text": "x", "image": f"{n}.png"} for n in range(4)]
    )
    for number in range(4):
        picture = Image.effect_noise((32, 32), 60 * (number // 3 + 1))
        Image.linear_gradient("L").save(tmp_path / f"{number}.png")
        if number == 3:
            picture.save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    found = mine(tmp_path, Plan(relations=(Copies(by="image"),), resamples=0))
    (relation,) = found.relations
    assert relation.items == 2 and relation.found.endswith(
        "; 1 pictures cannot be read, see relatum validate"
    )


def test_only_what_is_directed_has_another_end() -> None:
    with pytest.raises(ConfigError, match="unknown 'inverse'"):
        Plan(relations=({"build": "column", "column": "a", "inverse": "is in"},))
    (after,) = Plan(relations=({"build": "after", "inverse": "is what comes before"},)).relations
    assert isinstance(after, After) and after.inverse == "is what comes before"
