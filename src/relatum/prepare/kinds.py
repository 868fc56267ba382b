"""The formats that catalogues come in: what each one's fields mean.

In: the values of one record, and a list of notes.
Out: a `Row`; what had to be left out of it is said in the notes, and a row without a good id is
`Unusable`. This file does not know where records come from.

Formats, as published: Amazon Reviews 2018 (nijianmo.github.io/amazon) and 2023
(amazon-reviews-2023.github.io), Goodreads (mengtingwan.github.io/data/goodreads), Google's product
data specification (support.google.com/merchants/answer/7052112), Shopify's product CSV
(help.shopify.com, both its old and its new column names).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from relatum.prepare.clean import (
    Unusable,
    identifier,
    names,
    plain_text,
    price,
    sentences,
)
from relatum.prepare.sources import PICTURE, Meter, Record, read_file

Values = Mapping[str, Any]
Related = list[tuple[str, str]]
Basket = tuple[str, str, int | None]
RELATED = ("also_bought", "also_viewed", "bought_together", "similar")
HOUSEKEEPING = re.compile(r"to-read|currently-reading|default|.*(own|favou?rite|library|kindle).*")


@dataclass(frozen=True)
class Row:
    """An item to be; `image` is a path, an address or bytes."""

    id: str
    text: str | None
    image: str | bytes | None = None
    metadata: dict[str, object] = field(default_factory=dict)
    related: Related = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """How to read one format; `baskets` gives (basket, item, time in seconds) of a record."""

    row: Callable[[Values, list[str]], Row]
    basket: Callable[[Values], Basket]
    required: tuple[str, ...] = ()
    items: str = ""  # how files with items are called, in a folder that holds baskets too
    baskets: str = ""  # what the names of files with baskets hold
    group: tuple[str, ...] = ()  # columns whose equal values make one item of many rows


def find_kind(name: str, columns: Mapping[str, Sequence[str]]) -> Kind:
    """Return the format called `name`; `columns` maps our columns to those of a table."""
    basket = partial(_basket, columns)
    table = partial(_table, columns)
    ids = tuple(columns.get("id", ("id",)))
    mapped = tuple(one for key in ("text", "image") for one in columns.get(key, ()))
    kinds = {
        "table": Kind(table, basket, (*ids, *mapped)),
        "folder": Kind(partial(_table, {"id": ("__id__",), **columns}), basket),
        "datasets": Kind(table, basket, mapped),
        "webdataset": Kind(partial(_shard, columns), basket),
        "amazon-2018": Kind(_amazon_2018, _review_2018, ("asin",), items="meta_"),
        "amazon-2023": Kind(_amazon_2023, _review_2023, ("parent_asin",), items="meta_"),
        "goodreads": Kind(
            _goodreads, _interaction, ("book_id",), items="goodreads_books", baskets="interactions"
        ),
        "merchant": Kind(_merchant, basket),
        "shopify": Kind(_shopify, basket, ("Title",), group=("Handle", "URL handle")),
    }
    return kinds[name]


KINDS = ("table", "folder", "datasets", "webdataset", "amazon-2018", "amazon-2023", "goodreads")
KINDS += ("merchant", "shopify")


def merge_rows(records: Iterator[Record], group: Sequence[str]) -> Iterator[Record]:
    """Join neighbouring records of one product: the first filled cell of each column counts."""
    held: Record | None = None
    for record in records:
        key = next((record.values[one] for one in group if record.values.get(one)), None)
        if record.problem or key is None:
            fix = record.fix or "fill in the handle"
            yield Record(record.where, {}, record.problem or "the row has no handle", fix)
        elif held is not None and held.values["__key__"] == key:
            both = dict(held.values)
            for name, cell in record.values.items():
                both[name] = both.get(name) or cell
            held = Record(held.where, both)
        else:
            if held is not None:
                yield held
            held = Record(record.where, {**record.values, "__key__": key})
    if held is not None:
        yield held


def _table(columns: Mapping[str, Sequence[str]], values: Values, notes: list[str]) -> Row:
    used = {"id", "text", "image", "__id__", *(one for many in columns.values() for one in many)}
    parts = columns.get("text") or ("text",)
    image = next((values[one] for one in columns.get("image", ("image",)) if values.get(one)), None)
    if isinstance(image, dict):  # how Hugging Face datasets store pictures
        image = image.get("bytes") or image.get("path")
    if image is not None and not isinstance(image, str | bytes):
        notes.append(f"image: expected a path, an address or bytes, got {type(image).__name__}")
        image = None
    related = [
        (kind, target)
        for kind in RELATED
        for one in columns.get(kind, (kind,))
        for target in names(values.get(one))
    ]
    metadata = {
        key: _metadata(key, value, notes)
        for key, value in values.items()
        if key not in used and key not in RELATED
    }
    ids = columns.get("id", ("id",))
    return Row(
        id=identifier(next((values[one] for one in ids if values.get(one) is not None), None)),
        text=sentences(*(plain_text(values.get(one), one, notes) for one in parts)),
        image=image,
        metadata=metadata,
        related=related,
    )


def _metadata(key: str, value: object, notes: list[str]) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value) if abs(value) < 10**30 else None
    if isinstance(value, str):
        return plain_text(value, key, notes)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return [text for one in value if (text := plain_text(one, key, notes))]
    return plain_text(json.dumps(value, ensure_ascii=False, default=str), key, notes)


def _basket(columns: Mapping[str, Sequence[str]], values: Values) -> Basket:
    basket, item, time = (
        next((it for it in map(values.get, named) if it not in (None, "")), None)
        for named in (columns.get(name, (name,)) for name in ("basket", "item", "time"))
    )
    return identifier(basket, "basket"), identifier(item, "item"), _seconds(time)


def _seconds(value: object, unit: int = 1) -> int | None:
    """Read a time: seconds (or of 1/unit), or a date in ISO or Goodreads' form."""
    if value in (None, ""):
        return None
    try:
        if isinstance(value, int | float):
            seconds = int(value) // unit
        elif not isinstance(value, str):
            raise ValueError
        elif re.fullmatch(r"-?\d{1,18}(\.0*)?", value):
            seconds = int(value.partition(".")[0]) // unit
        elif value[:1].isdigit():
            moment = datetime.fromisoformat(value)
            seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        else:
            seconds = int(datetime.strptime(value, "%a %b %d %H:%M:%S %z %Y").timestamp())
        if abs(seconds) < 2**53:
            return seconds
    except (ValueError, OverflowError):
        pass  # told below, with those that are out of range
    what = f"expected a time in seconds or as 2024-05-31T12:00, got {str(value)[:40]!r}"
    raise Unusable(what, "correct it or leave it empty")


def _shard(columns: Mapping[str, Sequence[str]], values: Values, notes: list[str]) -> Row:
    """Read a sample of a tar shard: a picture, a text, and JSON with more."""
    found: dict[str, Any] = {}
    for extension in [name for name in values if name.rpartition(".")[2] == "json"]:
        try:
            more = json.loads(values[extension])
        except (ValueError, RecursionError) as error:
            raise Unusable(f"{extension} is not JSON: {error}", "correct the file") from error
        found |= more if isinstance(more, dict) else {extension: more}
    found["id"] = found.get("id") or values["__key__"]
    for extension, content in values.items():
        if PICTURE.fullmatch(f"x.{extension}"):
            found["image"] = content
        elif extension in ("txt", "text", "caption", "cls"):
            name = "cls" if extension == "cls" else "text"
            try:
                found[name] = content.decode()
            except UnicodeDecodeError as error:
                raise Unusable(f"{extension} is not UTF-8", "save it as UTF-8") from error
    if "text" not in columns and found.get("text") is None:
        found["text"] = found.pop("caption", None)
    return _table(columns, found, notes)


def _first(value: object) -> str | None:
    """Return the first text of a list, or a text itself."""
    if isinstance(value, list | tuple):
        value = next((one for one in value if one), None)
    return value if isinstance(value, str) and value.strip() else None


def _related(**kinds: object) -> Related:
    return [(kind, target) for kind, targets in kinds.items() for target in names(targets)]


def _amazon_2018(values: Values, notes: list[str]) -> Row:
    own = identifier(values.get("asin"), "asin")
    title = plain_text(values.get("title"), "title", notes)
    if title and "getTime" in title:  # the data set's page names these
        notes.append("title: a script instead of a title; it is left out")
        title = None
    brand = plain_text(values.get("brand"), "brand", notes)
    words = [plain_text(values.get(name), name, notes) for name in ("feature", "description")]
    pictures = (_first(values.get(name)) for name in ("imageURLHighRes", "imageURL", "image"))
    metadata = {
        "title": title,
        "brand": re.sub(r"^by\s+", "", brand) if brand else None,
        "category": names(values.get("category")),
        "price": price(values.get("price"), notes),
    }
    related = _related(also_bought=values.get("also_buy"), also_viewed=values.get("also_view"))
    text = sentences(title, *words)
    return Row(own, text, next((one for one in pictures if one), None), metadata, related)


def _review_2018(values: Values) -> Basket:
    person = identifier(values.get("reviewerID"), "reviewerID")
    return person, identifier(values.get("asin"), "asin"), _seconds(values.get("unixReviewTime"))


def _amazon_2023(values: Values, notes: list[str]) -> Row:
    own = identifier(values.get("parent_asin"), "parent_asin")
    title = plain_text(values.get("title"), "title", notes)
    words = [plain_text(values.get(name), name, notes) for name in ("features", "description")]
    details = values.get("details") or {}
    if isinstance(details, str):  # in the Parquet files
        try:
            details = json.loads(details)
        except (ValueError, RecursionError):
            notes.append("details: expected JSON; they are left out")
    details = details if isinstance(details, dict) else {}
    brand = plain_text(details.get("Brand") or values.get("store"), "brand", notes)
    metadata = {
        "title": title,
        "brand": brand,
        "category": names(values.get("categories")),
        "price": price(values.get("price"), notes),
        "color": plain_text(details.get("Color"), "color", notes),
        "material": plain_text(details.get("Material"), "material", notes),
    }
    related = _related(bought_together=values.get("bought_together"))
    return Row(own, sentences(title, *words), _picture_2023(values), metadata, related)


def _picture_2023(values: Values) -> str | None:
    images = values.get("images") or []
    if isinstance(images, dict):  # a dict of lists in the Parquet files, a list of dicts elsewhere
        lists = {key: many for key, many in images.items() if isinstance(many, list)}
        longest = max(map(len, lists.values()), default=0)
        images = [
            {key: many[k] for key, many in lists.items() if k < len(many)} for k in range(longest)
        ]
    images = [one for one in images if isinstance(one, dict)] if isinstance(images, list) else []
    images.sort(key=lambda one: one.get("variant") != "MAIN")
    found = (_first(one.get(size)) for one in images for size in ("hi_res", "large", "thumb"))
    return next((one for one in found if one), None)


def _review_2023(values: Values) -> Basket:
    person = identifier(values.get("user_id"), "user_id")
    item = identifier(values.get("parent_asin") or values.get("asin"), "parent_asin")
    return person, item, _seconds(values.get("timestamp"), 1000)


def _goodreads(values: Values, notes: list[str]) -> Row:
    own = identifier(values.get("book_id"), "book_id")
    title = plain_text(values.get("title"), "title", notes)
    image = _first(values.get("image_url"))
    shelves = [one.get("name") for one in values.get("popular_shelves") or () if _is_dict(one)]
    authors = [one.get("author_id") for one in values.get("authors") or () if _is_dict(one)]
    metadata = {
        "title": title,
        "authors": names(authors),
        "series": names(values.get("series")),
        "shelves": [one for one in names(shelves) if not HOUSEKEEPING.fullmatch(one)][:10],
        "publisher": plain_text(values.get("publisher"), "publisher", notes),
        "language": plain_text(values.get("language_code"), "language_code", notes),
        "year": plain_text(values.get("publication_year"), "publication_year", notes),
    }
    return Row(
        own,
        sentences(title, plain_text(values.get("description"), "description", notes)),
        None if image and "nophoto" in image else image,
        metadata,
        _related(similar=values.get("similar_books")),
    )


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _interaction(values: Values) -> Basket:
    person, book = identifier(values.get("user_id")), identifier(values.get("book_id"), "book_id")
    return person, book, _seconds(values.get("date_added"))


def by_book_number(path: Path, basket: Callable[[Values], Basket]) -> Callable[[Values], Basket]:
    """Return `basket` for the CSV of interactions, whose books are rows of `book_id_map.csv`."""
    place = path.with_name("book_id_map.csv")
    required = ("book_id_csv", "book_id")
    ids = {
        record.values["book_id_csv"]: record.values["book_id"]
        for record in read_file(place, place.name, required, Meter())
        if not record.problem
    }

    def numbered(values: Values) -> Basket:
        found = ids.get(values.get("book_id"))
        if found is None:
            what = f"book number {values.get('book_id')!r} is not in {place.name}"
            raise Unusable(what, "get both files from the same place")
        return basket({**values, "book_id": found})

    return numbered


def _merchant(values: Values, notes: list[str]) -> Row:
    found = {re.sub(r"[ _]+", "_", key.strip().lower()): value for key, value in values.items()}
    category = found.get("product_type") or found.get("google_product_category")
    title = plain_text(found.get("title"), "title", notes)
    metadata: dict[str, object] = {
        "title": title,
        "brand": plain_text(found.get("brand"), "brand", notes),
        "category": names(category, ">"),
        "price": price(found.get("price"), notes),
        "variant_group": plain_text(found.get("item_group_id"), "item_group_id", notes),
    }
    for name in ("color", "material", "size", "gender", "condition", "availability", "link"):
        metadata[name] = plain_text(found.get(name), name, notes)
    return Row(
        identifier(found.get("id")),
        sentences(title, plain_text(found.get("description"), "description", notes)),
        _first(found.get("image_link")),
        metadata,
    )


def _shopify(values: Values, notes: list[str]) -> Row:
    def cell(*aliases: str) -> object:
        return next((values[one] for one in aliases if values.get(one)), None)

    title = plain_text(cell("Title"), "Title", notes)
    metadata = {
        "title": title,
        "brand": plain_text(cell("Vendor"), "Vendor", notes),
        "category": names(cell("Product Category", "Product category"), ">"),
        "type": plain_text(cell("Type"), "Type", notes),
        "tags": names(cell("Tags"), ","),
        "price": price(cell("Variant Price", "Price"), notes),
        "status": plain_text(cell("Status"), "Status", notes),
    }
    body = plain_text(cell("Body (HTML)", "Description"), "Body (HTML)", notes)
    image = _first(cell("Image Src", "Product image URL"))
    return Row(identifier(values["__key__"], "handle"), sentences(title, body), image, metadata)
