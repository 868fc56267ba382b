"""A plan: which relations to mine from what, as settings.

In: a TOML file, or nothing.
Out: a frozen `Plan`, a list of builders' settings.
This file does not know how relations are built.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relatum.errors import ConfigError


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Builder(_Settings):
    id: str = Field(default="", description="the relation's id; default: made from what it is of")
    text: str = Field(default="", description="the relation in plain words; default: a template")
    inverse: str = Field(default="", description="the same from the other end, where directed")
    paraphrases: tuple[str, ...] = Field(default=(), description="other ways to say it")


class Column(_Builder):
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


class Together(_Builder):
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


class After(_Builder):
    """Items that follow another in time, more often than the other way round; directed."""

    build: Literal["after"] = "after"
    window: int = Field(default=3, ge=1, description="how many purchases later at most")
    support: int = Field(default=3, ge=1, description="how often at least")
    significance: float = Field(default=2.5, ge=0, description="of the asymmetry, in deviations")


class Copies(_Builder):
    """Pictures that look the same, or texts that differ in numbers, sizes and colours only."""

    build: Literal["copies"] = "copies"
    by: Literal["image", "text"] = "text"
    largest: int = Field(default=100, ge=2, description="items a group; larger ones are left out")


class Topics(_Builder):
    """Neighbourhoods of vectors, clustered by HDBSCAN."""

    build: Literal["topics"] = "topics"
    vectors: str = Field(default="text", description="which of the vectors that were given")
    smallest: int = Field(default=5, ge=2, description="items a topic at least")
    dimensions: int = Field(default=16, ge=1, description="principal components that are clustered")
    most: int = Field(default=20_000, ge=10, description="items; of more, some are drawn")


class Table(_Builder):
    """Links from a table: columns `source`, `target`, optional `weight`."""

    build: Literal["table"] = "table"
    path: str = Field(description=".jsonl, .csv or .parquet, seen from the catalogue's folder")
    directed: bool = False


Builder = Column | Together | After | Copies | Topics | Table


class Plan(_Settings):
    """What to mine."""

    relations: tuple[Annotated[Builder, Field(discriminator="build")], ...]
    resamples: int = Field(
        default=4, ge=0, description="halves of the baskets that all is mined from again"
    )
    seed: int = Field(default=0, ge=0, description="draws halves, samples and communities")

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - pydantic gives anything
        """Check the settings; `ConfigError` names the first that is wrong."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            what = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
            raise ConfigError(what, where="plan", fix="docs/relations.md shows a plan") from error

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Read a TOML file with a table `[[relations]]` for each builder."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            fix = "correct the file or its name"
            raise ConfigError(f"cannot read the plan: {reason}", where=path, fix=fix) from error
        return cls(**values)
