"""One version of a store's table, as LanceDB reads it.

In: ids, vectors, SQL filters.
Out: rows; what LanceDB cannot do as a `StoreError`.
This file does not know of models or relations.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from lancedb.index import BTree, IvfSq
from lancedb.query import LanceQueryBuilder, LanceVectorQueryBuilder
from lancedb.table import Table
from torch import Tensor

from relatum.errors import MissingItemError, StoreError, TableError
from relatum.store.columns import OURS

INDEX_FROM = 50_000  # rows from which an approximate index is faster than looking at all
COUNTED = 100_000  # rows looked at to count the values of a column
PARTITION = 1024  # rows a partition of the index, about
PROBES = 16  # partitions looked at, at least
WORDS = 600  # of a filter, strings and listed numbers aside: some longer ones end the process
HIDDEN = {*OURS} - {"id", "text"}  # columns that no filter is meant for
HOW = "write it like room = 'Kitchen' AND width_cm < 80"


@dataclass(frozen=True)
class View:
    """A table as it is now; later writes do not change what it reads."""

    table: Table
    path: Path | str

    def find(self, ids: Sequence[str], names: Sequence[str]) -> pa.Table:
        """Return columns of items in the order asked; `StoreError` where one is missing."""
        found = self.having(ids, names)
        rows = {name: row for row, name in enumerate(found["id"].to_pylist())}
        for name in ids:
            if name not in rows:
                raise self.missing(name)
        return found.take(pa.array([rows[name] for name in ids], pa.int64()))

    def missing(self, name: str) -> MissingItemError:
        """Return the error that says that no item has an id."""
        what, fix = f"no item {name!r} in the store", "name an id of its catalogue"
        return MissingItemError(what, where=self.path, fix=fix)

    def having(self, ids: Sequence[str], names: Sequence[str]) -> pa.Table:
        """Return columns of those of the ids that the store has, in any order."""
        search = self.table.search().where(f"id IN ({quoted(ids)})")
        with lance_errors(self.path):
            return _read(search.select(list(dict.fromkeys(["id", *names]))))

    def page(self, names: Sequence[str], where: str | None, k: int, offset: int) -> pa.Table:
        """Return columns of some rows that pass an SQL filter, in the order of the table."""
        with lance_errors(self.path, where):
            search = self.table.search()
            search = search if where is None else search.where(where)
            return _read(search.select(list(names)).limit(k).offset(offset))

    def spread(self, names: Sequence[str], most: int) -> pa.Table:
        """Return columns of rows from all over the table, at most so many."""
        count = self.count()
        offsets = sorted({count * row // most for row in range(most)} if count else ())
        with lance_errors(self.path):
            return self.table.take_offsets(offsets).select(list(names)).to_arrow()

    def nearest(
        self,
        vectors: Float[Tensor, "queries dim"],
        names: Sequence[str],
        where: str | None,
        limit: int,
    ) -> list[pa.Table]:
        """Return for each vector the `limit` rows of largest dot product that pass an SQL filter.

        All vectors are looked for in one call: sixteen cost two to three times as much as one.
        """
        tables = self._nearest(vectors, names, where, limit, is_exact=False)
        short = [row for row, found in enumerate(tables) if len(found) < limit]
        if short and self.count() >= INDEX_FROM:  # it may not have looked everywhere
            whole = self._nearest(vectors[short], names, where, limit, is_exact=True)
            for row, found in zip(short, whole, strict=True):
                tables[row] = found
        return tables

    def _nearest(
        self,
        vectors: Float[Tensor, "queries dim"],
        names: Sequence[str],
        where: str | None,
        limit: int,
        *,
        is_exact: bool,
    ) -> list[pa.Table]:
        search = LanceVectorQueryBuilder(self.table, list(vectors.numpy()), "vector")
        search = search.distance_type("dot").limit(limit).select([*names, "_distance"])
        if is_exact:
            search = search.bypass_vector_index()
        else:
            search = search.nprobes(max(PROBES, limit // 8))
            search = search.refine_factor(2)  # twice as many, ordered in full precision
        with lance_errors(self.path, where):
            search = search if where is None else search.where(where, prefilter=True)
            found = _read(search)
        if len(vectors) == 1:
            return [found]
        numbers = found["query_index"].to_numpy()
        found = found.drop_columns(["query_index"])
        return [found.filter(pa.array(numbers == row)) for row in range(len(vectors))]

    def count(self, where: str | None = None) -> int:
        """Return how many rows pass an SQL filter."""
        with lance_errors(self.path, where):
            return self.table.count_rows(where)

    def counts(self, name: str, most: int) -> dict[str, int]:
        """Return how many of the first `COUNTED` rows have each text, none if they are too many."""
        with lance_errors(self.path):
            column = self.table.search().select([name]).limit(COUNTED).to_arrow()[name]
        if pa.types.is_list(column.type):
            column = pc.call_function("list_flatten", [column])
        found = column.drop_null().value_counts()
        rows = found.to_pylist() if len(found) <= most else []
        return {one["values"]: one["counts"] for one in rows}

    def index(self) -> None:
        """Give the vectors and the ids an index, where there are rows enough."""
        count = self.count()
        indexed = {name for index in self.table.list_indices() for name in index.columns}
        if count < INDEX_FROM or indexed:
            return
        parts = max(1, count // PARTITION)
        config = IvfSq(distance_type="dot", num_partitions=parts, max_iterations=20)
        with lance_errors(self.path):
            self.table.create_index("id", config=BTree())
            self.table.create_index("vector", config=config)


def _read(search: LanceQueryBuilder) -> pa.Table:
    """Return what is found; `to_arrow` would ask for the schema three times, 2 ms in all."""
    return search.with_row_id(True).to_batches().read_all().drop_columns(["_rowid"])


def quoted(ids: Sequence[str]) -> str:
    """Return ids as a list of SQL strings.

    >>> quoted(["a", "it's"])
    "'a', 'it''s'"
    """
    names = (name.encode("utf-8", "replace").decode() for name in dict.fromkeys(ids))
    return ", ".join("'" + name.replace("'", "''") + "'" for name in names) or "NULL"


def check_filter(where: str) -> None:
    """Refuse a filter with a second statement, or so long that LanceDB's parser may crash.

    >>> check_filter("room = 'Kitchen; Bath' AND width_cm < 80")
    """
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", " '' ", where)
    words = re.findall(r"\w+|[^\w\s,]", re.sub(r",\s*[-\d.']+(?=\s*[,)])", ",", bare))
    if ";" in bare:
        raise StoreError(f"cannot read the filter {where[:200]!r}: it holds a ';'", fix=HOW)
    if len(words) > WORDS:
        what = f"cannot read the filter {where[:60]!r}...: {len(words)} words and signs"
        raise StoreError(what, fix=f"write at most {WORDS}; IN (...) may list any number")


def _plainly(line: str, where: str) -> str:
    """Say which columns a filter may name, instead of all that LanceDB knows of."""
    unknown = re.search(r"No field named (.+?)\. (.+)$", line)
    if unknown is None:
        return line.rstrip(".")
    name, rest = unknown[1].strip('"'), unknown[2].rstrip(".")
    if f'"{name}"' in where:
        return f"no column {name}; a text stands in single quotes"
    _, listed, fields = rest.partition("Valid fields are ")
    names = [one.strip("`.") for one in fields.split(", ")]
    names = [one for one in names if one not in HIDDEN and not one.startswith("_")]
    return f"no column {name}; " + (f"there are {', '.join(names)}" if listed else rest.lower())


@contextmanager
def lance_errors(path: Path | str, where: str | None = None) -> Iterator[None]:
    """Turn what LanceDB says of a filter, or of files it cannot use, into a `StoreError`."""
    if where is not None:
        check_filter(where)
    try:
        yield
    except (RuntimeError, ValueError) as error:
        line = str(error).strip().split("\n")[0].removeprefix("Invalid input, ")
        line = re.sub(r", \S+\.rs:\d+:\d+", "", line)  # the place in LanceDB's own code
        if where is not None and (isinstance(error, ValueError) or "filter expression" in line):
            line = line.split("filter expression to batch: ")[-1].split("Invalid user input: ")[-1]
            line = _plainly(line.split("sql parser error: ")[-1].removesuffix(")"), where)
            how = HOW
            if "List(" in line:
                line, how = "a column in it holds lists", "write array_has(colours, 'red')"
            raise StoreError(f"cannot read the filter {where!r}: {line}", fix=how) from error
        if not line.startswith(("lance error", "Table ")):
            raise
        fix = "free some space" if "No space left" in line else "open it again or build it again"
        raise TableError(f"cannot use the items table: {line}", where=path, fix=fix) from error
