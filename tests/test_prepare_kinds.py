"""Each format gives, row for row, what a person would expect of it."""

import csv
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conftest import draw
from relatum.errors import DataError
from relatum.prepare import Settings, prepare

Rows = list[dict[str, Any]]


def picture(colour: str = "red", kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    draw(colour, "ball", 12).save(file, kind)
    return file.getvalue()


def lines(path: Path, rows: Sequence[object]) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def table(path: Path, rows: Rows, delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, restval="")
        writer.writeheader()
        writer.writerows(rows)


def imported(
    kind: str,
    source: Path,
    *,
    columns: dict[str, tuple[str, ...]] | None = None,
    baskets: Path | None = None,
) -> tuple[Rows, Rows, Rows]:
    """Return items, related and baskets of a source without problems."""
    output = source.parent / "catalogue"
    settings = Settings(columns=columns or {}, baskets=baskets, with_relations=False)
    found = prepare(kind, source, output, settings=settings)
    assert not found.left_out and not (output / "problems.jsonl").read_text()

    def read(name: str) -> Rows:
        path = output / name
        return pq.read_table(path).to_pylist() if path.exists() else []

    items = read("items.parquet")
    for item in items:
        if item["image"]:
            with Image.open(output / item["image"]) as kept:
                kept.load()
    assert found.items == len(items)
    return items, read("signals/related.parquet"), read("signals/baskets.parquet")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_amazon_2018(source: Path) -> None:
    product = {
        "category": ["Office Products", "Paper &amp; Pads"],
        "tech1": "",
        "description": ["<b>Soft</b> cover,<br />lined.", "&nbsp;"],
        "title": "Notebook &amp; Pen",
        "also_buy": ["B0002", "B0001", "B0002"],
        "also_view": ["B0003"],
        "brand": "by\n    \n    Acme",
        "feature": ["80 sheets"],
        "rank": [">#2,623,937 in Toys &amp; Games"],
        "price": "$1,299.50",
        "asin": "B0001",
        "imageURL": [],
        "imageURLHighRes": [],
    }
    bare = {"asin": "B0002", "title": "Stapler", "price": "", "also_buy": [], "category": []}
    lines(source / "meta_Office_Products.json.gz", [product, bare])
    reviews = [
        {"reviewerID": "A1", "asin": "B0001", "overall": 5.0, "unixReviewTime": 1316649600},
        {"reviewerID": "A1", "asin": "B0009", "overall": 1.0, "unixReviewTime": 1316736000},
    ]
    lines(source / "Office_Products.json.gz", reviews)
    items, related, baskets = imported("amazon-2018", source)
    assert items == [
        {
            "id": "B0001",
            "text": "Notebook & Pen. 80 sheets. Soft cover, lined.",
            "image": None,
            "title": "Notebook & Pen",
            "brand": "Acme",
            "category": ["Office Products", "Paper & Pads"],
            "price": 1299.5,
        },
        {
            "id": "B0002",
            "text": "Stapler",
            "image": None,
            "title": "Stapler",
            "brand": None,
            "category": [],
            "price": None,
        },
    ]
    assert [tuple(row.values()) for row in related] == [
        ("B0001", "also_bought", "B0002"),
        ("B0001", "also_viewed", "B0003"),
    ]
    assert baskets == [
        {"basket": "A1", "item": "B0001", "time": 1316649600},
        {"basket": "A1", "item": "B0009", "time": 1316736000},
    ]


IMAGES_2023 = [
    {"thumb": "t.png", "large": "pt.png", "variant": "PT01", "hi_res": None},
    {"thumb": "t.png", "large": "main.png", "variant": "MAIN", "hi_res": None},
]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_amazon_2023(source: Path, form: str) -> None:
    (source / "main.png").write_bytes(picture())
    product: dict[str, Any] = {
        "main_category": "Office Products",
        "title": "Café pen",
        "average_rating": 4.8,
        "features": ["Blue ink", "Fine"],
        "description": [],
        "price": 12.5,
        "images": IMAGES_2023,
        "store": "Acme",
        "categories": ["Office Products", "Pens"],
        "details": {"Brand": "Acme Ink", "Color": "Blue", "Material": "Steel"},
        "parent_asin": "B01",
        "bought_together": None,
    }
    if form == "parquet":  # as on the hub: lists in a dict, JSON and prices as text
        keys = list(IMAGES_2023[0])
        product["images"] = {key: [one[key] for one in IMAGES_2023] for key in keys}
        product |= {"details": json.dumps(product["details"]), "price": "12.50"}
        pq.write_table(pa.Table.from_pylist([product]), source / "meta_Office.parquet")
    else:
        lines(source / "meta_Office.jsonl", [product])
    review = {"user_id": "U1", "asin": "B0X", "parent_asin": "B01", "timestamp": 1588687728923}
    lines(source / "Office.jsonl", [review])
    items, related, baskets = imported("amazon-2023", source)
    assert items[0].pop("image").startswith("images/")
    assert items == [
        {
            "id": "B01",
            "text": "Café pen. Blue ink Fine",
            "title": "Café pen",
            "brand": "Acme Ink",
            "category": ["Office Products", "Pens"],
            "price": 12.5,
            "color": "Blue",
            "material": "Steel",
        }
    ]
    assert not related
    assert baskets == [{"basket": "U1", "item": "B01", "time": 1588687728}]


BOOK = {
    "isbn": "0151686564",
    "series": ["189911"],
    "language_code": "en-US",
    "popular_shelves": [
        {"count": "15419", "name": "to-read"},
        {"count": "1762", "name": "poetry"},
        {"count": "187", "name": "favorites"},
        {"count": "136", "name": "cats"},
    ],
    "similar_books": ["884306", "234"],
    "description": "T. S. Eliot's playful cat poems",
    "authors": [{"author_id": "18540", "role": ""}, {"author_id": "21578", "role": "Illustrator"}],
    "publisher": "Harcourt Brace & Company",
    "publication_year": "1982",
    "image_url": "https://s.gr-assets.com/assets/nophoto/book/111x148-bcc042.png",
    "book_id": "402128",
    "title": "Old Possum's Book of Practical Cats",
}


def test_goodreads(source: Path) -> None:
    lines(source / "goodreads_books_poetry.json.gz", [BOOK])
    lines(source / "goodreads_book_authors.json.gz", [{"author_id": "18540"}])  # not read
    event = {"user_id": "80d5", "book_id": "402128", "is_read": True}
    added = [{**event, "date_added": "Fri Apr 19 08:15:15 -0700 2013"}, {**event, "date_added": ""}]
    lines(source / "goodreads_interactions_poetry.json.gz", added)
    items, related, baskets = imported("goodreads", source)
    assert items == [
        {
            "id": "402128",
            "text": "Old Possum's Book of Practical Cats. T. S. Eliot's playful cat poems",
            "image": None,
            "title": "Old Possum's Book of Practical Cats",
            "authors": ["18540", "21578"],
            "series": ["189911"],
            "shelves": ["poetry", "cats"],
            "publisher": "Harcourt Brace & Company",
            "language": "en-US",
            "year": "1982",
        }
    ]
    assert [row["target"] for row in related] == ["884306", "234"]
    assert {row["kind"] for row in related} == {"similar"}
    assert [row["time"] for row in baskets] == [1366384515, None]


def test_goodreads_books_are_numbered_in_the_csv_of_interactions(source: Path) -> None:
    lines(source / "goodreads_books.json.gz", [BOOK])
    (source / "goodreads_interactions.csv").write_text(
        "user_id,book_id,is_read,rating,is_reviewed\n0,948,1,5,0\n"
    )
    (source / "book_id_map.csv").write_text("book_id_csv,book_id\n0,34684622\n948,402128\n")
    _, _, baskets = imported("goodreads", source)
    assert baskets == [{"basket": "0", "item": "402128", "time": None}]


RSS = """<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>
<title>Example - Store</title><link>https://store.example</link><description>All</description>
<item><g:id>TV_1</g:id><title>Fernseher &amp; Ton</title><description><![CDATA[<p>Groß</p>]]>
</description><link>https://store.example/tv</link><g:image_link>tv.png</g:image_link>
<g:additional_image_link>tv2.png</g:additional_image_link><g:price>49999.00 RUB</g:price>
<g:brand>Acme</g:brand><g:product_type>Home &gt; TVs</g:product_type>
<g:item_group_id>TV</g:item_group_id><g:condition>new</g:condition>
<g:shipping><g:country>US</g:country><g:price>5 USD</g:price></g:shipping></item>
</channel></rss>"""
ATOM = """<?xml version="1.0"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<title>Store</title><entry><id>tag:store,2026:1</id><g:id>TV_1</g:id><g:title>Fernseher &amp; Ton
</g:title><g:description>&lt;p&gt;Groß&lt;/p&gt;</g:description><g:link>https://store.example/tv
</g:link><g:image_link>tv.png</g:image_link><g:price>49999.00 RUB</g:price><g:brand>Acme</g:brand>
<g:product_type>Home > TVs</g:product_type><g:item_group_id>TV</g:item_group_id>
<g:condition>new</g:condition></entry></feed>"""
TSV = (
    "id\ttitle\tdescription\tlink\timage link\tprice\tbrand\tproduct_type\titem group id\tcondition"
    "\nTV_1\tFernseher & Ton\t<p>Groß</p>\thttps://store.example/tv\ttv.png\t49999.00 RUB\tAcme"
    "\tHome > TVs\tTV\tnew\n"
)


@pytest.mark.parametrize(("name", "text"), [("f.xml", RSS), ("f.atom", ATOM), ("f.tsv", TSV)])
def test_merchant(source: Path, name: str, text: str) -> None:
    (source / name).write_text(text, encoding="utf-8")
    (source / "tv.png").write_bytes(picture())
    items, _, _ = imported("merchant", source / name)
    assert items[0].pop("image").startswith("images/")
    assert items == [
        {
            "id": "TV_1",
            "text": "Fernseher & Ton. Groß",
            "title": "Fernseher & Ton",
            "brand": "Acme",
            "category": ["Home", "TVs"],
            "price": 49999.0,
            "variant_group": "TV",
            "color": None,
            "material": None,
            "size": None,
            "gender": None,
            "condition": "new",
            "availability": None,
            "link": "https://store.example/tv",
        }
    ]


OLD = {
    "Handle": "tee",
    "Title": "Tee",
    "Body (HTML)": "<ul><li>Cotton</li><li>Soft</li></ul>",
    "Vendor": "Acme",
    "Product Category": "Apparel > Shirts",
    "Type": "Shirt",
    "Tags": "summer, cotton",
    "Variant Price": "10.00",
    "Image Src": "a.png",
    "Image Position": "1",
    "Status": "active",
}
NEW = dict(
    zip(
        (
            *("URL handle", "Title", "Description", "Vendor", "Product category", "Type", "Tags"),
            *("Price", "Product image URL", "Image position", "Status"),
        ),
        OLD.values(),
        strict=True,
    )
)


@pytest.mark.parametrize("first", [OLD, NEW], ids=["old columns", "new columns"])
def test_shopify(source: Path, first: dict[str, str]) -> None:
    (source / "a.png").write_bytes(picture())
    handle, price = list(first)[0], list(first)[7]
    variant = {handle: "tee", price: "12.00"}
    mug = {handle: "mug", "Title": "Mug", price: "5.00", "Status": "draft"}
    table(source / "products_export.csv", [first, variant, mug])
    items, _, _ = imported("shopify", source)
    assert items[0].pop("image").startswith("images/")
    assert items[0] == {
        "id": "tee",
        "text": "Tee. Cotton Soft",
        "title": "Tee",
        "brand": "Acme",
        "category": ["Apparel", "Shirts"],
        "type": "Shirt",
        "tags": ["summer", "cotton"],
        "price": 10.0,
        "status": "active",
    }
    assert (items[1]["id"], items[1]["price"], items[1]["image"]) == ("mug", 5.0, None)
    assert len(items) == 2


def write_csv(path: Path, rows: Rows) -> None:
    table(path.with_suffix(".csv"), rows)


def write_semicolons(path: Path, rows: Rows) -> None:
    table(path.with_suffix(".csv"), rows, ";")


def write_lines(path: Path, rows: Rows) -> None:
    lines(path.with_suffix(".jsonl"), rows)


def write_parquet(path: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))


@pytest.mark.parametrize("write", [write_csv, write_semicolons, write_lines, write_parquet])
def test_table_with_named_columns(source: Path, write: Callable[[Path, Rows], None]) -> None:
    (source / "p").mkdir()
    (source / "p/1.webp").write_bytes(picture("green", "WEBP"))
    first = {"sku": "1", "name": "灯", "body": "<p>A  lamp</p>", "file": "p/1.webp", "cm": "7.5"}
    first |= {"room": "Küche", "seen": "2|1|2", "zip": "01234"}
    second = {**first, "sku": "2", "body": "", "file": "", "cm": "12", "seen": ""}
    write(source / "goods", [first, second])
    orders = [{"order": "o1", "sku": "1", "day": "2024-05-31"}, {"order": "o1", "sku": "2"}]
    orders[1]["day"] = ""
    write(source.parent / "orders", orders)
    columns = {"id": ("sku",), "text": ("name", "body"), "image": ("file",)}
    columns |= {"also_viewed": ("seen",), "basket": ("order",), "item": ("sku",), "time": ("day",)}
    where = next(source.parent.glob("orders.*"))
    items, related, baskets = imported("table", source, columns=columns, baskets=where)
    assert items[0]["image"].endswith(".webp") and items[1]["image"] is None
    is_csv = where.suffix == ".csv"
    for item in items:
        del item["image"]
    assert items == [
        {
            "id": "1",
            "text": "灯. A lamp",
            "cm": 7.5 if is_csv else "7.5",
            "room": "Küche",
            "zip": "01234",
        },
        {
            "id": "2",
            "text": "灯",
            "cm": 12.0 if is_csv else "12",
            "room": "Küche",
            "zip": "01234",
        },
    ]
    assert [tuple(row.values()) for row in related] == [("1", "also_viewed", "2")]
    assert [tuple(row.values()) for row in baskets] == [("o1", "1", 1717113600), ("o1", "2", None)]


def test_a_column_of_several_types_becomes_text_and_none_is_lost(source: Path) -> None:
    rows = [{"id": k, "text": f"t{k}", "x": x} for k, x in enumerate([1, "a", 2.5, ["b"], None])]
    rows += [{"id": 9, "text": "t", "n": 3}, {"id": 10, "text": "t", "n": 2.5, "flag": True}]
    lines(source / "a.jsonl", rows)
    items, _, _ = imported("table", source)
    assert [item["x"] for item in items] == ["1", "a", "2.5", '["b"]', None, None, None]
    assert [item["n"] for item in items][5:] == [3.0, 2.5] and items[6]["flag"] is True
    assert [item["id"] for item in items] == ["0", "1", "2", "3", "4", "9", "10"]


def test_folder_with_captions_and_labels(source: Path) -> None:
    (source / "lamps").mkdir()
    (source / "lamps/1.png").write_bytes(picture("red"))
    (source / "lamps/1.txt").write_text("A red lamp\r\n", encoding="utf-8-sig")
    (source / "2.JPG").write_bytes(picture("blue", "JPEG"))
    (source / "notes.md").write_text("not a picture")
    items, _, _ = imported("folder", source)
    assert [(i["id"], i["text"], i["label"], i["image"][-4:]) for i in items] == [
        ("2", None, None, ".jpg"),
        ("lamps/1", "A red lamp", "lamps", ".png"),
    ]


def test_a_picture_of_a_kind_that_cannot_be_read_is_named(source: Path) -> None:
    (source / "1.png").write_bytes(picture("red"))
    (source / "2.SVG").write_text("<svg/>")
    with pytest.raises(DataError, match="2.SVG: a .SVG picture cannot be read"):
        prepare("folder", source, source.parent / "c", settings=Settings(with_relations=False))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_folder_with_metadata(source: Path, form: str) -> None:
    (source / "train/sub").mkdir(parents=True)
    (source / "train/sub/1.png").write_bytes(picture("red"))
    (source / "train/2.png").write_bytes(picture("blue"))
    rows = [
        {"file_name": "sub/1.png", "caption": "A red lamp", "cm": "7"},
        {"file_name": "2.png", "caption": "A blue box", "cm": "8"},
    ]
    write = write_csv if form == "csv" else write_lines
    write(source / "train/metadata", rows)
    items, _, _ = imported("folder", source)
    assert [(i["id"], i["text"], i["cm"]) for i in items] == [
        ("train/sub/1", "A red lamp", 7.0),
        ("train/2", "A blue box", 8.0),
    ]


def save_split(folder: Path, rows: Rows, schema: pa.Schema | None = None) -> None:
    """Write a split as `save_to_disk` does: two shards of Arrow streams."""
    folder.mkdir(parents=True)
    names = [f"data-{k:05}-of-00002.arrow" for k in range(2)]
    for name, part in zip(names, (rows[:1], rows[1:]), strict=True):
        data = pa.Table.from_pylist(part, schema=schema or pa.Table.from_pylist(rows).schema)
        with ipc.new_stream(folder / name, data.schema) as stream:
            stream.write_table(data)
    label = {"names": ["lamp", "box"], "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, "label": label, "text": {"_type": "Value"}}
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "x"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


@pytest.mark.parametrize("splits", [True, False])
def test_datasets_saved_to_disk(source: Path, splits: bool) -> None:
    rows = [
        {"image": {"bytes": picture(), "path": "x.png"}, "text": f"thing {k}", "label": k}
        for k in range(2)
    ]
    save_split(source / "d/train" if splits else source / "d", rows)
    if splits:
        save_split(source / "d/test", rows)
        (source / "d/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    items, _, _ = imported("datasets", source / "d")
    assert [(item["text"], item["label"]) for item in items][:2] == [
        ("thing 0", "lamp"),
        ("thing 1", "box"),
    ]
    expected = ["train-0", "train-1", "test-0", "test-1"] if splits else ["row-0", "row-1"]
    assert [item["id"] for item in items] == expected
    assert all(item["image"] for item in items)


def pack(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_webdataset(source: Path) -> None:
    more = json.dumps({"caption": "from json", "width": 48}).encode()
    pack(
        source / "shard-000000.tar",
        {
            "a/0001.jpg": picture("red", "JPEG"),
            "a/0001.txt": b"A red lamp",
            "a/0001.json": more,
            "a/0002.seg.png": picture("green"),
            "a/0002.png": picture("blue"),
            "a/0002.cls": b"3",
        },
    )
    pack(source / "shard-000001.tar.gz", {"0003.txt": "仅文字".encode()})
    items, _, _ = imported("webdataset", source)
    assert [(i["id"], i["text"], i["width"], i["cls"]) for i in items] == [
        ("a/0001", "A red lamp", 48, None),
        ("a/0002", None, None, "3"),
        ("0003", "仅文字", None, None),
    ]
    assert items[0]["image"].endswith(".jpg") and items[2]["image"] is None


def test_the_number_0_is_a_basket_and_an_item(source: Path) -> None:
    lines(source / "x.jsonl", [{"id": 0, "text": "a lamp"}, {"id": 1, "text": "a chair"}])
    orders = source.parent / "orders.jsonl"
    lines(orders, [{"basket": 0, "item": 0, "time": 0}, {"basket": 0, "item": 1, "time": 5}])
    items, _, baskets = imported("table", source, baskets=orders)
    assert [item["id"] for item in items] == ["0", "1"]
    assert [(one["basket"], one["item"], one["time"]) for one in baskets] == [
        ("0", "0", 0),
        ("0", "1", 5),
    ]
