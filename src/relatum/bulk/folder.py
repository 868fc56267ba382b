"""A folder of vectors: shards in Parquet, and the manifest that makes it whole.

In: a shard's columns, or the model and the catalogue that a folder is asked for.
Out: what is done; columns in the catalogue's order. This file does not know how they are made.
"""

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from relatum.catalogue import Catalogue
from relatum.disk import write_file
from relatum.errors import DataError
from relatum.items import Item

MANIFEST = "embeddings.json"


@dataclass(frozen=True)
class Plan:
    """What the vectors of a folder depend on; `model` and `catalogue` are fingerprints."""

    model: str
    catalogue: str
    relation: str | None
    modality: str
    shard: int
    format: int = 1


def write_parquet(path: Path, columns: Mapping[str, object], facts: Mapping[str, object]) -> None:
    """Write columns in one step; the footer says what they are of."""
    table = pa.table(dict(columns)).replace_schema_metadata({"relatum": json.dumps(facts)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_file(path, sink.getvalue().to_pybytes())


def find_shard(path: Path, plan: Plan, items: Sequence[Item]) -> dict[str, str] | None:
    """Return what a finished shard left out and why, or None where it is to be made."""
    try:
        found = pq.read_table(path, columns=["id"])
        facts = json.loads((found.schema.metadata or {})[b"relatum"])
        left_out = facts.pop("left_out")
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    kept = [item.id for item in items if item.id not in left_out]
    return left_out if (facts, found["id"].to_pylist()) == (asdict(plan), kept) else None


class Embeddings:
    """A whole folder; `catalogue` is what it is of, without the items that were left out."""

    def __init__(self, folder: Path, model: str, catalogue: Catalogue) -> None:
        """Open it; `DataError` where it is not whole, or not of this model and catalogue."""
        try:
            facts = json.loads((folder / MANIFEST).read_text())
        except (OSError, ValueError) as error:
            what, fix = f"no whole {MANIFEST} here", "the same relatum embed goes on with it"
            raise DataError(what, where=folder, fix=fix) from error
        if (facts["model"], facts["catalogue"]) != (model, catalogue.fingerprint()):
            what = "made by another model or of another catalogue"
            raise DataError(what, where=folder, fix="run relatum embed again")
        kept = (item for item in catalogue.items if item.id not in facts["left_out"])
        self.catalogue = replace(catalogue, items=tuple(kept))
        self.folder, self.ends = folder, list(accumulate(facts["counts"]))

    def read(self, start: int, count: int) -> dict[str, pa.ChunkedArray]:
        """Return what a store keeps of items from a row on: `count`, or fewer at a shard's end."""
        number = bisect.bisect_right(self.ends, start)
        table = _read_shard(self.folder / f"part-{number:05}.parquet")
        table = table.slice(start - self.ends[number] + len(table), count)
        found = {name: table[name] for name in table.column_names if name != "id"}
        return found | {"vector": found.pop("null_vector", found["vector"])}


@lru_cache(maxsize=1)
def _read_shard(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        what, fix = "the shard is gone or damaged", "run the same relatum embed again"
        raise DataError(what, where=path, fix=fix) from error
