"""What the service is asked and what it answers, as JSON.

In: a request's body. Out: the same as checked values, and the models of every answer; the OpenAPI
description is made of them. This file does not know how they are answered.
"""

import base64
import binascii
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from relatum.catalogue import Relation as KnownRelation
from relatum.errors import StoreError
from relatum.store import Hit, Tie
from relatum.store.query import EXAMPLES

MOST_K, MOST_OFFSET = 200, 10_000
FIX = "write the filter like room = 'Kitchen' AND width_cm < 80"
WORDS = {
    *("and", "or", "not", "in", "is", "null", "like", "ilike", "between", "true", "false"),
    *("array_has", "array_has_any", "array_has_all", "lower", "upper"),
}
TOKEN = re.compile(
    r"\s+|'(?:[^']|'')*'|(?P<name>`[^`]+`|[^\W\d]\w*)|\d+(?:\.\d*)?(?:e[+-]?\d+)?|[<>=!]=?|<>|[(),+\-*/%.\[\]]",
    re.IGNORECASE,
)


def check_filter(where: str | None, columns: set[str]) -> str | None:
    """Return a filter made of columns, values and comparisons only, `StoreError` for any other.

    SQL functions are left out, as one like repeat() may take all memory.

    >>> check_filter("room = 'Kitchen' AND width_cm < 80", {"room", "width_cm"})
    "room = 'Kitchen' AND width_cm < 80"
    """
    place = 0
    while where is not None and place < len(where):
        found = TOKEN.match(where, place)
        if found is None:
            raise StoreError(f"cannot read the filter at {where[place : place + 20]!r}", fix=FIX)
        name = (found["name"] or "").strip("`")
        if name and name.lower() not in WORDS and name not in columns:
            what = f"no column {name!r} (a value stands in quotes: '{name}')"
            if where[found.end() :].lstrip().startswith("("):
                what = f"the function {name!r} is not allowed"
            raise StoreError(f"{what}; columns: {', '.join(sorted(columns))}", fix=FIX)
        place = found.end()
    return where


def _decode(value: object) -> object:
    """Read base64, with or without the head of a data URL."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(re.sub(r"^data:[\w/+.-]*;base64,", "", value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("expected a picture's bytes in base64") from error


def _plain(value: str | None) -> str | None:
    """Refuse what no file or index can hold; what is left out is None."""
    if value is not None and re.search("[\0\ud800-\udfff]", value):
        raise ValueError("expected text without NUL characters and lone surrogates")
    return value


Plain = AfterValidator(_plain)
Id = Annotated[str, Plain, Field(min_length=1, max_length=512, examples=["f0015"])]
Text = Annotated[str, Plain, Field(min_length=1, max_length=10_000, examples=["a desk lamp"])]
Words = Annotated[str, Plain, Field(min_length=1, max_length=500)]
Picture = Annotated[
    bytes,
    BeforeValidator(_decode, json_schema_input_type=str),
    Field(description="PNG, JPEG, WebP, GIF or BMP in base64."),
]
Weight = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]
Relation = Annotated[
    Words | Annotated[dict[Words, Weight], Field(min_length=1, max_length=16)] | None,
    Field(
        description="Any text, several with their weights, or null: likeness in general.",
        examples=["belong in the same room", {"give light": 1, "share a use or a kind": -0.5}],
    ),
]
Filter = Annotated[
    str, Plain, Field(max_length=1000, examples=["room = 'Kitchen' AND width_cm < 80"])
]
Where = Filter | None
Metadata = Annotated[dict[Words, Any], Field(max_length=64, examples=[{"room": "Kitchen"}])]


class Strict(BaseModel):
    """A body in which an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid")


class Source(Strict):
    """A text, a picture or both."""

    text: Text | None = None
    image: Picture | None = None


class Search(Source):
    """A question: what stands in a relation to an item, or to a text and/or a picture?"""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["item"]},
                {"anyOf": [{"required": ["text"]}, {"required": ["image"]}]},
            ]
        }
    )
    item: Id | None = None
    relation: Relation = None
    k: Annotated[int, Field(ge=1, le=MOST_K)] = 10
    offset: Annotated[int, Field(ge=0, le=MOST_OFFSET)] = 0
    where: Where = None
    min_score: Annotated[float | None, Field(ge=0, le=1, description="Least probability.")] = None
    exclude_linked: bool = False
    explain: bool = False
    examples: Annotated[
        list[tuple[Id, Id]],
        Field(max_length=EXAMPLES, description="Pairs, source and target, of which it holds."),
    ] = []

    @model_validator(mode="after")
    def _has_one_source(self) -> "Search":
        if (self.item is None) == (self.text is None and self.image is None):
            raise ValueError("expected one source: item, or text and/or image")
        return self


class Embed(Strict):
    """Texts and pictures whose vectors are wanted."""

    inputs: Annotated[list[Source], Field(min_length=1, max_length=64)]
    relation: Words | None = None
    modality: Literal["image", "text", "both"] = "both"


class Pair(Strict):
    """Two items of the store."""

    source: Id
    target: Id


class Content(Source):
    """What an item is made of; it replaces what was there."""

    metadata: Metadata = {}


class NewItem(Content):
    """An item to add, or to replace the one of its id."""

    id: Id


class NewItems(Strict):
    """Items that are written in one step."""

    items: Annotated[list[NewItem], Field(min_length=1, max_length=64)]


class Entry(BaseModel):
    """An item of the store; its picture is at `/v1/thumbnails/{id}`."""

    id: str
    text: str | None
    has_image: bool
    metadata: dict[str, Any]


class Entries(BaseModel):
    """Some items, and how many pass the filter in all."""

    total: int
    items: list[Entry]


class Found(BaseModel):
    """The hits of a search, best first."""

    hits: list[Hit]


class Vectors(BaseModel):
    """Vectors in the order of the inputs."""

    model: str
    vectors: list[list[float]]


class Ties(BaseModel):
    """How well each known relation fits two items, best first."""

    relations: list[Tie]


class Value(BaseModel):
    """A value of a metadata column, and how many items have it; null in a large store."""

    value: str
    count: int | None


class Column(BaseModel):
    """A metadata column: its name in a filter and, where they are few, its values.

    One that `is_list` is filtered by array_has(name, value).
    """

    key: str
    name: str
    is_list: bool
    values: list[Value]


class Relations(BaseModel):
    """The relations that the model was trained on, and what items may be filtered by."""

    relations: list[KnownRelation]
    about: Annotated[
        dict[str, str],
        Field(
            description="By a relation's id, the key of the column that tells who is linked.",
            examples=[{"same-room": "room"}],
        ),
    ]
    columns: list[Column]


class Health(BaseModel):
    """That the service is up, and what it serves."""

    status: Literal["ok"]
    catalogue: str
    model: str
    items: int
    writable: bool


class Written(BaseModel):
    """How many items were written."""

    items: int


class Fault(BaseModel):
    """What went wrong: a stable kind, a message for people, the id that the log has."""

    kind: str
    message: str
    request_id: str


class Problem(BaseModel):
    """The one error model of the service."""

    error: Fault
