"""Whatever is wrong with a source is named, and skipped or refused: never a stack trace."""

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import damaged
from relatum.errors import DataError
from relatum.prepare import Prepared, Settings, prepare
from test_prepare_kinds import BOOK, OLD, Rows, lines, pack, picture, save_split, table

QUICK = Settings(with_relations=False)
GOOD = {"id": "good", "text": "A lamp"}
LINES = ("table", "amazon-2018", "amazon-2023", "goodreads")  # formats of JSON lines


def as_record(kind: str, **changes: object) -> dict[str, object]:
    """Return a row of a format of JSON lines; `id` and `text` stand for its own names."""
    ids = {"table": "id", "amazon-2018": "asin", "amazon-2023": "parent_asin"}
    texts = {"table": "text"}
    row = {**GOOD, **changes}
    names = {"id": ids.get(kind, "book_id"), "text": texts.get(kind, "title")}
    return {names.get(key, key): value for key, value in row.items()}


def name_of(kind: str) -> str:
    prefix = {"amazon-2018": "meta_", "amazon-2023": "meta_", "goodreads": "goodreads_books_"}
    return f"{prefix.get(kind, '')}x.jsonl"


def skipped(kind: str, source: Path, settings: Settings = QUICK) -> tuple[Prepared, Rows, Rows]:
    """Check that the source is refused in one line; return what --skip-bad makes of it."""
    output = source.parent / "catalogue"
    with pytest.raises(DataError) as refusal:
        prepare(kind, source, output, settings=settings)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 900
    assert not output.exists()
    found = prepare(kind, source, output, settings=settings, skip_bad=True)
    told = [json.loads(line) for line in (output / "problems.jsonl").read_text().splitlines()]
    assert sum(found.left_out.values()) == len(told) > 0
    assert all(one["what"] and one["where"] and one["fix"] for one in told)
    return found, told, pq.read_table(output / "items.parquet").to_pylist()


def refused(kind: str, source: Path) -> str:
    """Check that --skip-bad does not help; return the line."""
    with pytest.raises(DataError) as refusal:
        prepare(kind, source, source.parent / "catalogue", settings=QUICK, skip_bad=True)
    assert "\n" not in str(refusal.value) and not (source.parent / "catalogue").exists()
    return str(refusal.value)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


HUGE = "9" * 5000
DEEP = "[" * 100_000 + "]" * 100_000
BAD_LINES: dict[str, tuple[bytes, str]] = {
    "wrong encoding": ('{"ID": "a", "TEXT": "Café"}'.encode("latin-1"), "0xe9"),
    "cut off": (b'{"ID": "a", "TEXT": "lam', "JSON object"),
    "not an object": (b'"lamp"', "got str"),
    "deep JSON": (b'{"ID": "a", "TEXT": ' + DEEP.encode() + b"}", "recursion"),
    "a huge number": (f'{{"ID": "a", "TEXT": "t", "n": {HUGE}}}'.encode(), "digits"),
    "a huge id": (f'{{"ID": {"9" * 400}, "TEXT": "t"}}'.encode(), "a huge number"),
    "null id": (b'{"ID": null, "TEXT": "t"}', "got None"),
    "blank id": (b'{"ID": " ", "TEXT": "t"}', "got ' '"),
    "id is a list": (b'{"ID": ["a"], "TEXT": "t"}', "got ['a']"),
    "id is a fraction": (b'{"ID": 1.5, "TEXT": "t"}', "got 1.5"),
    "id is not a number": (b'{"ID": NaN, "TEXT": "t"}', "got nan"),
    "id is true": (b'{"ID": true, "TEXT": "t"}', "got True"),
    "NUL in the id": (b'{"ID": "a\\u0000b", "TEXT": "t"}', "control characters"),
    "half a surrogate pair in the id": (b'{"ID": "a\\ud83d", "TEXT": "t"}', "surrogate"),
    "an endless id": (f'{{"ID": "{"a" * 2000}", "TEXT": "t"}}'.encode(), "2,000 characters"),
    "no id": (b'{"TEXT": "t"}', "expected the key"),
    "duplicate id": (b'{"ID": "good", "TEXT": "another"}', "duplicate id 'good', first at"),
    "no text": (b'{"ID": "a", "TEXT": null}', "neither a text nor a picture"),
    "only markup": (b'{"ID": "a", "TEXT": "<br><script>x</script>"}', "neither a text"),
    "binary": (bytes(range(128, 256)), "expected UTF-8"),
    "NUL bytes": (b"\x00" * 50, "JSON object"),
    "an HTML page": (b"<html><body>Not found</body></html>", "JSON object"),
}


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("damage", BAD_LINES)
def test_a_bad_line_is_named_and_skipped(source: Path, kind: str, damage: str) -> None:
    line, expected = BAD_LINES[damage]
    keys = list(as_record(kind))
    line = line.replace(b'"ID"', f'"{keys[0]}"'.encode()).replace(
        b'"TEXT"', f'"{keys[1]}"'.encode()
    )
    good, last = json.dumps(as_record(kind)), json.dumps(as_record(kind, id="last"))
    path = source / name_of(kind)
    path.write_bytes(b"\n".join([good.encode(), line, b"", last.encode()]))
    found, told, items = skipped(kind, source)
    assert found.left_out == {"row": 1} and expected in told[0]["what"]
    assert told[0]["where"] == f"{path.name}:2"
    assert [item["id"] for item in items] == ["good", "last"]


BAD_VALUES: dict[str, tuple[dict[str, object], str]] = {
    "10 MB of text": ({"text": "lamp " * 2_000_000}, "10,000,000 characters"),
    "long text": ({"text": "lamp " * 3_000}, "14,999 characters"),
    "half a surrogate pair": ({"text": "A lamp \ud83d"}, "surrogate"),
    "NUL bytes": ({"text": "A \0lamp"}, "control characters"),
    "text is an object": ({"text": {"a": 1}, "description": "d"}, "expected a text, got dict"),
}


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("damage", BAD_VALUES)
def test_a_bad_value_is_named_and_left_out(source: Path, kind: str, damage: str) -> None:
    values, expected = BAD_VALUES[damage]
    row = as_record(kind, **values)
    if kind == "table" and damage == "text is an object":
        row["image"] = "a.png"
        (source / "a.png").write_bytes(picture())
    lines(source / name_of(kind), [row])
    found, told, items = skipped(kind, source)
    assert set(found.left_out) == {"value"} and expected in told[0]["what"]
    assert told[0]["id"] == "good" == items[0]["id"]
    assert len(items[0]["text"] or "") <= 10_000 and "\0" not in (items[0]["text"] or "")


@pytest.mark.parametrize("price", ["call us", ".a-box-inner{background:#fff}" * 9, -1, True, [3]])
@pytest.mark.parametrize("kind", ["amazon-2018", "amazon-2023"])
def test_a_price_that_is_no_number_is_named(source: Path, kind: str, price: object) -> None:
    lines(source / name_of(kind), [as_record(kind, price=price)])
    _, told, items = skipped(kind, source)
    assert "price: expected a number" in told[0]["what"] and items[0]["price"] is None


@pytest.mark.parametrize("price", ["", None, "None", "$5.99 - $12.99", "from 5.99", "£5.99"])
def test_a_price_as_shops_write_it_is_no_problem(source: Path, price: object) -> None:
    lines(source / "meta_x.json", [as_record("amazon-2018", price=price)])
    found = prepare("amazon-2018", source, source.parent / "c", settings=QUICK)
    assert not found.left_out
    (item,) = pq.read_table(source.parent / "c/items.parquet").to_pylist()
    assert item["price"] == (5.99 if price and price != "None" else None)


def test_entities_scripts_and_languages(source: Path) -> None:
    text = (
        "<style>p{}</style><p>Caf&eacute; &#x1F525;</p>&lt;3 灯 <b>Größe</b>!<script>x()</script>"
    )
    lines(source / "x.jsonl", [{"id": 1, "text": text}])
    prepare("table", source, source.parent / "c", settings=QUICK)
    (item,) = pq.read_table(source.parent / "c/items.parquet").to_pylist()
    assert item["text"] == "Café 🔥 <3 灯 Größe!"


@pytest.mark.parametrize(
    "text", ["<!--" * 15_000, "<a " * 15_000, "<script>" * 7_000, "&#" * 30_000]
)
def test_hostile_markup_takes_no_time(source: Path, text: str) -> None:
    lines(source / "x.jsonl", [{"id": 1, "text": text}, {"id": 2, "text": "t"}])
    prepare("table", source, source.parent / "c", settings=QUICK, skip_bad=True)


@pytest.mark.parametrize("kind", LINES)
def test_a_truncated_gzip_gives_what_came_before(source: Path, kind: str) -> None:
    rows = [as_record(kind, id=f"a{k}", note=str(hash(str(k)))) for k in range(2_000)]
    path = source / f"{name_of(kind)}.gz"
    lines(path, rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, told, items = skipped(kind, source)
    assert "breaks off" in told[-1]["what"] and path.name in told[-1]["where"]
    assert 100 < found.items == len(items) < 2_000


@pytest.mark.parametrize("kind", LINES)
def test_a_damaged_gzip_is_named(source: Path, kind: str) -> None:
    path = source / f"{name_of(kind)}.gz"
    lines(path, [as_record(kind, id=f"a{k}", note=str(hash(str(k)))) for k in range(3_000)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
    path.write_bytes(data)
    _, told, items = skipped(kind, source)
    assert told and items


def test_a_byte_order_mark_and_carriage_returns_are_no_problem(source: Path) -> None:
    (source / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"id": "a", "text": "t"}\r\n\r\n')
    (source / "y.csv").write_bytes(b'\xef\xbb\xbfid,text\r\na2,"t\r\nu"\r\n')
    for name in ("x.jsonl", "y.csv"):
        found = prepare("table", source / name, source.parent / name, settings=QUICK)
        assert found.items == 1 and not found.left_out
    (item,) = pq.read_table(source.parent / "y.csv/items.parquet").to_pylist()
    assert (item["id"], item["text"]) == ("a2", "t u")


USELESS: dict[str, tuple[str, bytes, str]] = {
    "empty file": ("x.jsonl", b"", "the file is empty"),
    "empty gzip": ("x.jsonl.gz", gzip.compress(b""), "no row is left"),
    "blank lines": ("x.jsonl", b"\n\n", "no row is left"),
    "UTF-16": ("x.csv", "id,text\na,t\n".encode("utf-16"), "UTF-16"),
    "a JSON list": ("x.json", b'[{"id": "a", "text": "t"}]', "one JSON list"),
    "missing columns": ("x.csv", b"sku,name\n1,lamp\n", "expected the columns id, got sku, name"),
    "wrong delimiter": ("x.csv", b"id:text\na:t\n", "expected the columns id, got id:text"),
    "a column twice": ("x.csv", b"id,text,text\na,t,u\n", "two columns"),
    "only a header": ("x.csv", b"id,text\n", "no row is left"),
    "no Parquet": ("x.parquet", b"PAR1 but not really", "expected a Parquet file"),
    "no Arrow": ("x.arrow", b"ARROW1..........", "expected an Arrow stream"),
    "no tar": ("x.tar", b"<html>" * 200, "breaks off"),
    "no XML": ("x.xml", b"not xml", "the XML cannot be read"),
    "XML of another kind": ("x.xml", b"<svg><g/></svg>", "no row is left"),
    "Parquet without a column": ("y.parquet", b"", "expected the columns id"),
}


@pytest.mark.parametrize("damage", USELESS)
def test_a_file_of_no_use_is_refused(source: Path, damage: str) -> None:
    name, data, expected = USELESS[damage]
    (source / name).write_bytes(data)
    if name == "y.parquet":
        pq.write_table(pa.table({"text": ["t"]}), source / name)
    assert expected in refused("table", source / name)


def test_a_source_that_is_not_there_is_refused(source: Path) -> None:
    assert "no such file" in refused("table", source / "nowhere.csv")
    assert "found no table" in refused("table", source)
    (source / "x.jsonl").write_text("{}")
    assert "found no file called meta_*" in refused("amazon-2018", source)
    assert "expected a folder" in refused("folder", source / "x.jsonl")
    assert "dataset_dict.json" in refused("datasets", source)
    (source / "dataset_dict.json").write_text("[")
    assert "cannot be read" in refused("datasets", source)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"a", "expected 2 cells, got 1"),
        (b"a,b,c", "expected 2 cells, got 3"),
        (b'a,"b"c', "cannot be read"),
        (b"a,Caf\xe9", "0xe9"),
        (b",t", "expected an id"),
        (b'a,"never closed', "cannot be read"),
        (b"good,t", "duplicate id"),
        (b"a,lamp\0", "control characters"),
    ],
)
@pytest.mark.parametrize("kind", ["table", "merchant"])
def test_a_bad_row_of_a_table_is_named(source: Path, kind: str, row: bytes, expected: str) -> None:
    names = b"id,text" if kind == "table" else b"id,title"
    (source / "x.csv").write_bytes(names + b"\ngood,A lamp\n" + row + b"\n")
    _, told, items = skipped(kind, source)
    assert any(expected in one["what"] for one in told) and items[0]["id"] == "good"
    assert all(one["where"].startswith("x.csv:") for one in told)


def test_a_shop_export_with_bad_rows(source: Path) -> None:
    blank = {"Handle": "", "Title": "No handle"}
    table(source / "p.csv", [{**OLD, "Image Src": ""}, blank, {"Handle": "empty"}])
    _, told, items = skipped("shopify", source)
    assert [one["what"] for one in told] == [
        "the row has no handle",
        "the row has neither a text nor a picture",
    ]
    assert [item["id"] for item in items] == ["tee"]


BOMB = b"""<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">
<!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;">
<!ENTITY g "&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;"><!ENTITY h "&g;&g;&g;&g;&g;&g;&g;&g;&g;&g;">
<!ENTITY i "&h;&h;&h;&h;&h;&h;&h;&h;&h;&h;">]>"""
ITEM = b"<item><id>good</id><title>A lamp</title></item>"


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        (b"", ITEM[:30], "cannot be read further"),
        (b"", b"<item><g:id>a</g:id></item>", "unbound prefix"),
        (b"", b"<item><id>a</id><title>&nbsp;</title></item>", "undefined entity"),
        (BOMB, b"<item><id>a</id><title>&i;</title></item>", "cannot be read further"),
        (b"", b"<item><title>no id</title></item>", "expected an id"),
        (b"", ITEM, "duplicate id"),
    ],
)
def test_a_feed_that_breaks_off(source: Path, head: bytes, tail: bytes, expected: str) -> None:
    body = head + b"<rss><channel>" + ITEM + tail + b"</channel></rss>"
    (source / "feed.xml").write_bytes(body)
    _, told, items = skipped("merchant", source)
    assert expected in told[0]["what"] and [item["id"] for item in items] == ["good"]


def test_a_feed_may_not_read_files(source: Path) -> None:
    head = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]>'
    item = b"<item><id>a</id><title>&f;</title></item>"
    (source / "feed.xml").write_bytes(head + b"<rss>" + ITEM + item + b"</rss>")
    _, told, items = skipped("merchant", source)
    assert told and [item["text"] for item in items] == ["A lamp"]


@pytest.mark.parametrize("name", ["../../evil.txt", "/etc/evil.txt", "a/../../evil.txt"])
def test_a_member_that_leads_out_of_its_archive_is_left_out(source: Path, name: str) -> None:
    pack(source / "s.tar", {"good.txt": b"A lamp", name: b"evil"})
    _, told, items = skipped("webdataset", source)
    assert "leads out" in told[0]["what"] and [item["id"] for item in items] == ["good"]


def test_links_in_an_archive_are_left_out(source: Path) -> None:
    pack(source / "s.tar", {"good.txt": b"A lamp"})
    with tarfile.open(source / "s.tar", "a") as tar:
        link = tarfile.TarInfo("evil.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    _, told, items = skipped("webdataset", source)
    assert "a link or a device" in told[0]["what"] and len(items) == 1


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"b.json": b"{"}, "is not JSON"),
        ({"b.txt": b"Caf\xe9"}, "is not UTF-8"),
        ({"b.jpg": b"<html>"}, "an HTML page"),
        ({"b.png": picture()[:60]}, "expected a whole picture"),
        ({"c.txt": b"x", "good.txt": b"again"}, "duplicate id"),
    ],
)
def test_a_bad_sample_of_an_archive(source: Path, members: dict[str, bytes], expected: str) -> None:
    pack(source / "s.tar", {"good.txt": b"A lamp"})
    with tarfile.open(source / "s.tar", "a") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    _, told, _ = skipped("webdataset", source)
    assert expected in told[0]["what"]


def test_a_truncated_archive_gives_what_came_before(source: Path) -> None:
    pack(source / "s.tar", {"good.txt": b"A lamp", "b.txt": b"x" * 5000})
    path = source / "s.tar"
    path.write_bytes(path.read_bytes()[:3000])
    _, told, items = skipped("webdataset", source)
    assert "breaks off" in told[0]["what"] and [item["id"] for item in items] == ["good"]


BAD_PICTURES: dict[str, tuple[bytes, str]] = {
    "HTML error page": (b"<!DOCTYPE html><title>404</title>", "got an HTML page"),
    "truncated": (picture()[:80], "expected a whole picture"),
    "empty": (b"", "expected a picture"),
    "text": (b"no picture at all", "expected a picture"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "expected a picture"),
}


@pytest.mark.parametrize("kind", ["table", "folder", "datasets", "merchant", "shopify"])
@pytest.mark.parametrize("damage", BAD_PICTURES)
def test_a_bad_picture_is_named_and_the_text_stays(source: Path, kind: str, damage: str) -> None:
    data, expected = BAD_PICTURES[damage]
    if (kind, damage) == ("datasets", "empty"):
        pytest.skip("no bytes are no picture there")
    (source / "good.png").write_bytes(data)
    writers: dict[str, Callable[[], object]] = {
        "table": lambda: table(source / "x.csv", [{**GOOD, "image": "good.png"}]),
        "folder": lambda: (source / "good.txt").write_text("A lamp"),
        "datasets": lambda: save_split(
            source / "train", [{**GOOD, "id": x, "image": {"bytes": data}} for x in ("good", "b")]
        ),
        "merchant": lambda: (source / "f.tsv").write_text(
            "id\ttitle\timage_link\ngood\tA lamp\tgood.png\n"
        ),
        "shopify": lambda: table(
            source / "x.csv", [{"Handle": "good", "Title": "A lamp", "Image Src": "good.png"}]
        ),
    }
    writers[kind]()
    found, told, items = skipped(kind, source / "train" if kind == "datasets" else source)
    assert set(found.left_out) == {"image"} and expected in told[0]["what"]
    assert (items[0]["id"], items[0]["text"], items[0]["image"]) == ("good", "A lamp", None)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("nowhere.png", "cannot be read: no such file"),
        ("../secret.png", "lies outside"),
        ("/etc/passwd", "lies outside"),
        ("file:///etc/passwd", "not at an http or https address"),
        ("FTP://x/y.png", "not at an http or https address"),
        ("data:image/png;base64,AAAA", "not at an http or https address"),
        ("http://[bad", "is no address"),
        ("a\0b.png", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        (".", "cannot be read"),
        (7, "expected a path, an address or bytes"),
    ],
)
def test_a_picture_that_cannot_be_had_is_named(
    source: Path, image: object, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relatum.prepare.pictures.PAUSE", 0.0)
    (source.parent / "secret.png").write_bytes(picture())
    lines(source / "x.jsonl", [{**GOOD, "image": image}])
    _, told, items = skipped("table", source)
    assert expected in told[0]["what"] and items[0]["image"] is None


def test_a_picture_alone_that_is_bad_takes_its_row_along(source: Path) -> None:
    (source / "a.png").write_bytes(b"<html>")
    (source / "b.png").write_bytes(picture())
    found, _, items = skipped("folder", source)
    assert found.left_out == {"row": 1} and [item["id"] for item in items] == ["b"]


def test_pictures_without_a_row_are_told(source: Path) -> None:
    for name in ("a.png", "b.png"):
        (source / name).write_bytes(picture())
    rows: list[dict[str, Any]] = [{"file_name": "a.png", "text": "x"}, {"text": "y"}]
    lines(source / "metadata.jsonl", rows)
    _, told, _ = skipped("folder", source)
    assert [one["what"] for one in told] == [
        "expected the key file_name, got text",
        "the picture is not in metadata.jsonl",
    ]


def test_a_dataset_in_another_order_is_refused(source: Path) -> None:
    save_split(source / "d", [GOOD, {**GOOD, "id": "b"}])
    state = json.loads((source / "d/state.json").read_text())
    (source / "d/state.json").write_text(json.dumps({**state, "_indices_data_files": ["x"]}))
    assert "flatten_indices" in refused("datasets", source / "d")


@pytest.mark.parametrize("time", ["yesterday", 10**30, "9" * 30, [1], float("inf")])
@pytest.mark.parametrize("kind", ["amazon-2018", "amazon-2023", "goodreads"])
def test_a_bad_basket_row_is_named(source: Path, kind: str, time: object) -> None:
    lines(source / name_of(kind), [as_record(kind)])
    row = {"reviewerID": "A", "user_id": "A", "asin": "good", "parent_asin": "good"}
    row |= {"book_id": "good"}
    times = {"unixReviewTime": time, "timestamp": time, "date_added": time}
    nobody = {**row, "reviewerID": None, "user_id": ""}
    lines(source / "goodreads_interactions.json", [row, {**row, **times}, nobody])
    found, told, _ = skipped(kind, source)
    assert found.left_out == {"basket row": 2} and found.baskets == 1
    assert "expected a time" in told[0]["what"] and told[1]["where"].endswith(":3")


def test_a_book_that_has_no_number_is_named(source: Path) -> None:
    lines(source / "goodreads_books.json", [BOOK])
    (source / "goodreads_interactions.csv").write_text("user_id,book_id\n1,7\n1,8\n")
    assert "book_id_map.csv" in refused("goodreads", source)
    (source / "book_id_map.csv").write_text("book_id_csv,book_id\n7,402128\n")
    found, told, _ = skipped("goodreads", source)
    assert found.baskets == 1 and "'8' is not in book_id_map.csv" in told[0]["what"]


def test_a_damaged_parquet_breaks_off_or_gives_what_it_holds(source: Path) -> None:
    path = source / "x.parquet"
    pq.write_table(pa.table({"id": [f"a{n}" for n in range(300)], "text": ["a lamp"] * 300}), path)
    whole, rng, said = path.read_bytes(), random.Random(0), set[str]()
    for _ in range(25):
        path.write_bytes(damaged(whole, rng))
        try:
            prepare("table", source, source.parent / "c", settings=QUICK, skip_bad=True)
            said.add((source.parent / "c/problems.jsonl").read_text())
        except DataError as error:
            said.add(str(error))
    assert any("breaks off" in one for one in said)
