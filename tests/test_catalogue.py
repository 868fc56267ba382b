"""A catalogue is read in three formats, and everything wrong with it is named."""

import csv
import io
import json
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image, ImageOps

from conftest import damaged, write_catalogue, write_rows
from relatum import Catalogue, Config, RelatumError, validate
from relatum.catalogue import directions, linked, split_catalogue
from relatum.errors import ConfigError, DataError
from relatum.items import Item, read_image


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def edit(folder: Path, table: str, row: int, **changes: object) -> None:
    rows = rows_of(folder / f"{table}.jsonl")
    rows[row] |= changes
    write_rows(folder, table, rows)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    return write_catalogue(tmp_path / "shapes", copies=2)


def as_csv(folder: Path) -> None:
    for table in ("items", "relations", "groups", "links"):
        rows = rows_of(folder / f"{table}.jsonl")
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with (folder / f"{table}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            for row in rows:
                cells = {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
                writer.writerow(cells)
        (folder / f"{table}.jsonl").unlink()


def as_parquet(folder: Path) -> None:
    for table in ("items", "relations", "groups", "links"):
        rows = rows_of(folder / f"{table}.jsonl")
        columns = dict.fromkeys(name for row in rows for name in row)
        arrays = {name: pa.array([row.get(name) for row in rows]) for name in columns}
        pq.write_table(pa.table(arrays), folder / f"{table}.parquet")
        (folder / f"{table}.jsonl").unlink()


@pytest.mark.parametrize("convert", [as_csv, as_parquet])
def test_the_three_formats_hold_the_same(shapes: Path, convert: object) -> None:
    before = Catalogue.load(shapes)
    assert callable(convert)
    convert(shapes)
    assert Catalogue.load(shapes) == before


def test_parquet_may_hold_the_pictures(shapes: Path) -> None:
    rows = rows_of(shapes / "items.jsonl")
    for row in rows:
        row["image"] = (shapes / row["image"]).read_bytes() if row["image"] else None
    pq.write_table(pa.Table.from_pylist(rows), shapes / "items.parquet")
    (shapes / "items.jsonl").unlink()
    item = Catalogue.load(shapes).items[0]
    assert isinstance(item.image, bytes)
    assert read_image(item).size == (48, 48)


def encoded(picture: Image.Image, kind: str = "PNG", **more: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **more)
    return file.getvalue()


def seen(data: bytes) -> np.ndarray:
    return np.asarray(read_image(Item("a", image=data)))


@pytest.mark.parametrize("told", range(9))
def test_a_photo_is_turned_as_its_camera_says(told: int) -> None:
    upright = Image.effect_noise((40, 24), 90).convert("RGB")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = told  # 0 is none of the eight
    data = encoded(upright, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (seen(data) == np.asarray(expected)).all()
    assert seen(data).shape == ((40, 24, 3) if told > 4 else (24, 40, 3))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_damaged_notes_of_a_camera_do_no_harm(kind: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "maker"
    whole, rng = exif.tobytes(), random.Random(0)
    damaged = [b"Exif\0\0II*\0", b"junkjunkjunk", b"Exif\0\0"] if kind in ("PNG", "WEBP") else []
    for _ in range(60 if kind in ("JPEG", "PNG", "WEBP") else 0):
        broken = bytearray(whole)
        broken[rng.randrange(6, len(whole))] = rng.randrange(256)
        damaged += [bytes(broken), whole[: rng.randrange(6, len(whole))]]
    for notes in [whole, *damaged]:
        data = encoded(Image.new("RGB", (40, 24), "red"), kind, exif=notes)
        assert sorted(seen(data).shape) == [3, 24, 40]


def test_sixteen_bits_become_eight() -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(4, 0)
    assert (seen(encoded(Image.fromarray(ramp)))[..., 0] == np.arange(256)).all()
    few = np.arange(256, dtype=np.int32)[None].repeat(4, 0)
    assert (seen(encoded(Image.fromarray(few), "TIFF"))[..., 0] == np.arange(256)).all()
    with pytest.raises(DataError, match="numbers with fractions"):
        seen(encoded(Image.new("F", (4, 4), 0.5), "TIFF"))


def huge_png() -> bytes:
    """A PNG that says 10,000 x 10,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BAD_ROWS = [
    ("items", {"id": "i001"}, ["items.jsonl:1", "'i001'", "duplicate"]),
    ("items", {"id": ""}, ["items.jsonl:1", "expected a text as id"]),
    ("items", {"id": 7}, ["items.jsonl:1", "expected a text as id, got 7"]),
    ("items", {"text": " ", "image": None}, ["items.jsonl:1", "'i000'", "empty text and no image"]),
    ("items", {"image": "images/no.png"}, ["items.jsonl:1", "'i000'", "does not exist"]),
    ("items", {"image": "../../secret.png"}, ["items.jsonl:1", "outside the catalogue"]),
    ("relations", {"directed": True}, ["relations.jsonl:1", "'colour'", "no inverse"]),
    ("relations", {"text": None}, ["relations.jsonl:1", "'colour'", "expected a description"]),
    ("groups", {"items": ["i000", "nobody"]}, ["groups.jsonl:1", "unknown item id 'nobody'"]),
    ("groups", {"relation": "smell"}, ["groups.jsonl:1", "unknown relation 'smell'"]),
    ("links", {"target": "nobody"}, ["links.jsonl:1", "unknown item id 'nobody'"]),
    ("links", {"weight": 3}, ["links.jsonl:1", "expected a weight in (0, 1], got 3"]),
]


@pytest.mark.parametrize(("table", "change", "words"), BAD_ROWS)
def test_a_bad_row_is_named_in_one_line(
    shapes: Path, table: str, change: dict, words: list[str]
) -> None:
    edit(shapes, table, 0, **change)
    with pytest.raises(DataError) as caught:
        Catalogue.load(shapes)
    line = str(caught.value)
    assert "\n" not in line
    # A duplicate is told where the second of the two stands.
    assert all(word.replace(":1", ":2") in line or word in line for word in words), line


def test_a_relation_without_links_is_refused_or_left_out(shapes: Path) -> None:
    rows = [*rows_of(shapes / "relations.jsonl"), {"id": "smell", "text": "smell alike"}]
    write_rows(shapes, "relations", rows)
    with pytest.raises(DataError, match=r"relations.jsonl:4: relation 'smell' has no links; add"):
        Catalogue.load(shapes)
    kept = Catalogue.load(shapes, skip_bad=True)
    assert [r.id for r in kept.relations] == ["colour", "shape", "larger"]
    assert "smell" in str(kept.left_out[0])


BAD_PICTURES = {
    "truncated": lambda data: data[: len(data) // 2],
    "mislabelled": lambda data: b"\xff\xd8\xff\xe0" + data,
    "html": lambda data: b"<html>404</html>",
    "empty": lambda data: b"",
    "huge": lambda data: huge_png(),
}


@pytest.mark.parametrize("damage", BAD_PICTURES)
def test_a_bad_picture_is_named_or_left_out(shapes: Path, damage: str) -> None:
    path = shapes / "images/i003.png"
    path.write_bytes(BAD_PICTURES[damage](path.read_bytes()))
    problems = validate(shapes)
    assert [problem.id for problem in problems] == ["i003"]
    assert "items.jsonl:4" in str(problems[0])
    kept = Catalogue.load(shapes, skip_bad=True)
    assert "i003" not in {item.id for item in kept.items}
    assert not any("i003" in group.items for group in kept.groups)
    assert not any("i003" in (link.source, link.target) for link in kept.links)
    with pytest.raises(DataError, match="i003"):
        read_image(next(i for i in Catalogue.load(shapes).items if i.id == "i003"))


def test_a_picture_of_another_format_than_its_name_is_named(shapes: Path) -> None:
    item = Catalogue.load(shapes).items[0]
    buffer = io.BytesIO()
    read_image(item).save(buffer, "JPEG")
    assert isinstance(item.image, Path)
    item.image.write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="the name says PNG, the file holds JPEG"):
        read_image(item)


def test_validate_lists_all_problems_at_once(shapes: Path) -> None:
    edit(shapes, "items", 0, id="i001")
    edit(shapes, "links", 5, weight=0)
    (shapes / "images/i005.png").write_bytes(b"no")
    with (shapes / "groups.jsonl").open("a") as file:
        file.write("{not json\n")
    found = "\n".join(str(problem) for problem in validate(shapes))
    for words in ("duplicate id 'i001'", "weight", "item 'i005'", "expected a JSON object"):
        assert words in found


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("items.csv", "name,words\n1,2\n", "items.csv:1: expected the columns id, text, image"),
        ("items.csv", "id;text;image\n1;2;3\n", "part the columns by commas"),
        ("items.csv", "id,text,image\na,b\n", "expected 3 cells"),
        ("items.jsonl", "", "no item is left"),
        ("items.parquet", "PAR1 broken", "the table cannot be read"),
        ("items.jsonl", f'{{"id": {"9" * 5000}}}', "expected a JSON object"),
        ("items.jsonl", '{"id": "a", "text": "\udce9"}\n', "expected UTF-8"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    write_rows(tmp_path, "relations", [])
    with pytest.raises(DataError) as caught:
        Catalogue.load(tmp_path)
    assert words in str(caught.value)


def test_an_unknown_catalogue_names_the_built_in_ones() -> None:
    with pytest.raises(RelatumError, match="furniture, survival"):
        Catalogue.load("no-such-folder")


@pytest.mark.parametrize("name", ["furniture", "survival"])
def test_the_built_in_catalogues_are_whole(name: str) -> None:
    catalogue = Catalogue.load(name)
    assert len(catalogue.items) > 700
    assert len(catalogue.relations) >= 8
    assert any(relation.directed for relation in catalogue.relations)
    assert sum(group.text is not None for group in catalogue.groups) > 100


def test_splits_are_disjoint_seeded_and_stable(catalogue: Catalogue) -> None:
    config = Config(seed=1).split
    split = split_catalogue(catalogue, config)
    sides = [split.train, split.validation, split.test]
    assert sorted(sum(sides, ())) == sorted(item.id for item in catalogue.items)
    assert split == split_catalogue(catalogue, config)
    assert split != split_catalogue(catalogue, Config(seed=2).split)
    assert abs(len(split.test) / len(catalogue.items) - 0.35) < 0.05


def test_the_same_text_or_picture_stays_on_one_side() -> None:
    items = tuple(Item(f"i{k}", f"chair number {k // 4 * 100 + k}") for k in range(40))
    others = tuple(Item(f"o{k}", f"{'abcdefghijklmnopqrst'[k]} thing") for k in range(20))
    split = split_catalogue(Catalogue("x", items + others, ()), Config().split)
    sides = [split.train, split.validation, split.test]
    assert sum(any(name.startswith("i") for name in side) for side in sides) == 1


def test_groups_and_relations_can_be_held_out(catalogue: Catalogue) -> None:
    config = Config(split={"held_out_groups": 0.5, "held_out_relations": ["shape"]}).split
    split = split_catalogue(catalogue, config)
    assert len(split.groups_held_out) == 2
    assert split.relations_held_out == ("shape",)
    drawn = split_catalogue(catalogue, Config(split={"held_out_relations": 2}).split)
    assert len(drawn.relations_held_out) == 2
    with pytest.raises(ConfigError, match="unknown relation 'smell'"):
        split_catalogue(catalogue, Config(split={"held_out_relations": ["smell"]}).split)


def test_links_and_groups_become_one_graph(catalogue: Catalogue) -> None:
    rows = {item.id: row for row, item in enumerate(catalogue.items)}
    colour = linked(catalogue, "colour", rows).toarray() > 0
    assert (colour == colour.T).all()
    assert not colour.diagonal().any()
    assert colour[0].sum() == 11
    larger = linked(catalogue, "larger", rows).toarray() > 0
    assert larger[1, 0] and not larger[0, 1]
    assert [d.name for d in directions(catalogue.relations)] == [
        "colour",
        "shape",
        "larger",
        "larger (inverse)",
    ]


def test_blank_paraphrases_and_texts_of_groups_are_none(tmp_path: Path) -> None:
    ids = [f"i{number}" for number in range(4)]
    write_rows(tmp_path, "items", [{"id": name, "text": name, "image": None} for name in ids])
    relation = {"id": "r", "text": "go together", "paraphrases": [" ", "match"]}
    write_rows(tmp_path, "relations", [relation])
    write_rows(tmp_path, "groups", [{"relation": "r", "group": "g", "items": ids, "text": " "}])
    found = Catalogue.load(tmp_path)
    assert found.relations[0].paraphrases == ("match",) and found.groups[0].text is None


def test_a_damaged_parquet_table_is_named(shapes: Path) -> None:
    as_parquet(shapes)
    path = shapes / "items.parquet"
    whole = path.read_bytes()
    rng, refused = random.Random(0), 0
    for _ in range(60):
        path.write_bytes(damaged(whole, rng))
        try:
            Catalogue.load(shapes, pictures=False)
        except DataError as error:
            refused += "the table cannot be read" in str(error)
    assert refused


def test_rows_of_one_group_are_one_group(tmp_path: Path) -> None:
    ids = ["a", "b", "c", "d"]
    write_rows(tmp_path, "items", [{"id": id, "text": f"lamp {id}", "image": None} for id in ids])
    write_rows(tmp_path, "relations", [{"id": "r", "text": "go together"}])
    rows = [
        {"relation": "r", "group": "one", "items": ["a", "b"]},
        {"relation": "r", "group": "one", "items": ["b", "c"], "text": "both are one"},
        {"relation": "r", "group": "two", "items": ["c"]},
        {"relation": "r", "group": "two", "items": ["d"]},
        {"relation": "r", "group": None, "items": ["a", "d"]},
        {"relation": "r", "group": None, "items": ["b", "d"]},
    ]
    write_rows(tmp_path, "groups", rows)
    one, two, *others = Catalogue.load(tmp_path).groups
    assert (one.id, one.items, one.text) == ("one", ("a", "b", "c"), "both are one")
    assert (two.id, two.items, two.text) == ("two", ("c", "d"), None)
    assert [group.items for group in others] == [("a", "d"), ("b", "d")]  # without a name: apart
    write_rows(tmp_path, "groups", [*rows, {"relation": "r", "group": "x\ty", "items": ["a", "d"]}])
    with pytest.raises(DataError, match="group 'x.*' of 'r' is blank or holds control characters"):
        Catalogue.load(tmp_path)


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    row = {"id": "a\ud83d", "text": "A lamp \ud83d", "image": None, "kind": ["\udc00x", 3]}
    write_rows(tmp_path, "items", [row, {**row, "id": "b"}])
    write_rows(tmp_path, "relations", [{"id": "r", "text": "go \ud83d together"}])
    write_rows(tmp_path, "groups", [{"relation": "r", "group": "g", "items": ["a?", "b"]}])
    found = Catalogue.load(tmp_path)
    assert [item.id for item in found.items] == ["a?", "b"]
    assert found.items[0].text == "A lamp ?" and found.items[0].metadata["kind"] == ["?x", 3]
    assert found.relations[0].text == "go ? together"
    assert Item("a\ud83d", "lamp \ud83d") == Item("a?", "lamp ?")


@pytest.mark.parametrize("folder", ["shapes", "a; b: c [1]"])
def test_a_bad_picture_is_said_in_parts(tmp_path: Path, folder: str) -> None:
    shapes = write_catalogue(tmp_path / folder, copies=2)
    first = json.loads((shapes / "items.jsonl").read_text().splitlines()[0])
    path = shapes / first["image"]
    path.write_bytes(b"no picture")
    (problem,) = validate(shapes)
    assert problem.where == f"items.jsonl:1 ({path.resolve()})" and problem.id == first["id"]
    assert problem.what.startswith(f"item {first['id']!r}: expected a picture")
    assert problem.fix == "replace the picture, or leave the item out with --skip-bad"
