"""A plan: which relations to mine from what, as settings.

In: a TOML file, or nothing.
Out: a frozen `Plan`, a list of builders' settings.
This file does not know how relations are built.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from relatum.errors import ConfigError


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Builder(_Settings):
    id: str = Field(default="", description="the relation's id; default: made from what it is of")
    text: str = Field(default="", description="the relation in plain words; default: a template")
    paraphrases: tuple[str, ...] = Field(default=(), description="other ways to say it")


class _Grouping(_Builder):
    group_text: str = Field(
        default="", description="text of a group, {} for its name: both are about {}"
    )

    @field_validator("group_text")
    @classmethod
    def _has_place(cls, text: str) -> str:
        if text and "{}" not in text:
            raise ValueError("expected a text with {} where the group's name goes")
        return text


class Column(_Grouping):
    """Items with equal values in a metadata column; lists share a value."""

    build: Literal["column"] = "column"
    column: str = Field(description="the metadata column")
    band: float | None = Field(
        default=None, gt=0, description="numbers: windows of this width, at every half of it"
    )
    depth: int | None = Field(
        default=None, ge=1, description="category paths: how many levels have to be equal"
    )
    separator: str = Field(default=">", description="parts the levels of a path")
    smallest: int = Field(default=2, ge=2, description="items a group at least")
    largest: int = Field(default=1000, ge=2, description="items a group; of more, some are drawn")
    most: float = Field(
        default=0.5, gt=0, le=1, description="share of all items; a group with more is left out"
    )


class Together(_Grouping):
    """Items that occur together: in baskets, or in lists of related items."""

    build: Literal["together"] = "together"
    signal: str = Field(default="baskets", description="baskets, or a kind of related items")
    shape: Literal["links", "groups", "relations"] = Field(
        default="links", description="pairs; communities; a relation for each large community"
    )
    support: int = Field(default=2, ge=1, description="baskets that hold a pair, at least")
    significance: float = Field(
        default=2.5, ge=0, description="root of the pair's log-likelihood ratio, at least"
    )
    largest_basket: int = Field(
        default=50, ge=2, description="items a basket; of more, some are drawn"
    )
    neighbours: int = Field(default=50, ge=1, description="an item's strongest pairs that are kept")
    resolution: float = Field(
        default=1.0, gt=0, description="of modularity: higher gives more, smaller communities"
    )
    smallest: int = Field(default=4, ge=2, description="items a community at least")

    @model_validator(mode="after")
    def _groups_have_texts(self) -> "Together":
        if self.group_text and self.shape != "groups":
            raise ValueError("group_text is for shape = 'groups'")
        return self


class After(_Builder):
    """Items that follow another in time, more often than the other way round; directed."""

    build: Literal["after"] = "after"
    inverse: str = Field(default="", description="the same from the other end, where directed")
    window: int = Field(default=3, ge=1, description="how many purchases later at most")
    support: int = Field(default=3, ge=1, description="how often at least")
    significance: float = Field(default=2.5, ge=0, description="of the asymmetry, in deviations")


class Copies(_Grouping):
    """Pictures that look the same, or texts that differ in numbers, sizes and colours only."""

    build: Literal["copies"] = "copies"
    by: Literal["image", "text"] = Field(default="text", description="what is compared")
    largest: int = Field(default=100, ge=2, description="items a group; larger ones are left out")


class Topics(_Grouping):
    """Neighbourhoods of vectors, clustered by HDBSCAN."""

    build: Literal["topics"] = "topics"
    vectors: str = Field(default="text", description="which of the vectors that were given")
    smallest: int = Field(default=5, ge=2, description="items a topic at least")
    dimensions: int = Field(default=16, ge=1, description="principal components that are clustered")
    most: int = Field(default=20_000, ge=10, description="items; of more, some are drawn")


class Table(_Builder):
    """Links from a table: columns `source`, `target`, optional `weight`."""

    build: Literal["table"] = "table"
    path: str = Field(
        description=".jsonl, .csv or .parquet, beside the plan or in the catalogue's folder"
    )
    inverse: str = Field(default="", description="the same from the other end, where directed")
    directed: bool = Field(default=False, description="true: needs an inverse, which says it too")


Builder = Column | Together | After | Copies | Topics | Table
BUILDERS = {one.model_fields["build"].default: one for one in get_args(Builder)}


class Plan(_Settings):
    """What to mine."""

    relations: tuple[Annotated[Builder, Field(discriminator="build")], ...]
    resamples: int = Field(
        default=4, ge=0, description="halves of the baskets that all is mined from again"
    )
    seed: int = Field(default=0, ge=0, description="draws the halves")

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - pydantic gives anything
        """Check the settings; `ConfigError` names the first that is wrong."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _wrong(error) from error

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Read a TOML file with a table `[[relations]]` for each builder."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            fix = "correct the file or its name"
            raise ConfigError(f"cannot read the plan: {reason}", where=path, fix=fix) from error
        plan = cls(**values)
        tables = [one for one in plan.relations if isinstance(one, Table)]
        beside = {one: (path.parent / one.path).absolute() for one in tables}
        found = {one: place for one, place in beside.items() if place.is_file()}
        relations = [
            one.model_copy(update={"path": str(found[one])}) if one in found else one
            for one in plan.relations
        ]
        return plan.model_copy(update={"relations": tuple(relations)})


def _wrong(error: ValidationError) -> ConfigError:
    """Name all keys that no builder has, entry by entry, or else the first thing that is wrong."""
    errors = error.errors()
    unknown: dict[tuple[int | str, ...], list[str]] = {}
    for one in errors:
        if one["type"] == "extra_forbidden":
            unknown.setdefault(one["loc"][:-1], []).append(repr(str(one["loc"][-1])))
    told = [f"{_entry(place)}: unknown {', '.join(names)}" for place, names in unknown.items()]
    if told:
        kinds = dict.fromkeys(str(place[-1]) for place in unknown if place)
        fixes = [f"{kind} takes {', '.join(BUILDERS[kind].model_fields)}" for kind in kinds]
        if () in unknown:
            fixes.append(f"a plan takes {', '.join(Plan.model_fields)}")
        return ConfigError("; ".join(told), where="plan", fix="; ".join(fixes))
    first = errors[0]
    name = ".".join(str(part) for part in first["loc"])
    what = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
    return ConfigError(what, where="plan", fix="docs/relations.md shows a plan")


def _entry(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place[:2])) or "the plan"
