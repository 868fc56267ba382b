"""Embed a catalogue shard by shard; what is done already is not done again.

In: a model folder, a catalogue, perhaps a relation; an engine. Out: a folder of vectors.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from relatum.bulk.folder import MANIFEST, Plan, find_shard, write_parquet
from relatum.catalogue import Catalogue
from relatum.disk import check_place, remove_parts, write_file
from relatum.errors import DataError
from relatum.items import Item, read_image
from relatum.model import Model
from relatum.progress import Report, silent
from relatum.store.rows import encoded_columns, vector_column

SHARD = 10_000  # items a shard


@dataclass(frozen=True)
class Task:
    """A shard to make, with all that another process or machine needs for it."""

    number: int
    items: Sequence[Item]
    model: Path
    output: Path
    plan: Plan
    skip_bad: bool
    cache: Path | None


@dataclass(frozen=True)
class Outcome:
    """How many items a shard has; which were left out, or refused it, and why."""

    number: int
    count: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    refused: Sequence[str] = ()


Make = Callable[[Task], Outcome]
Engine = Callable[[Make, Iterable[Task]], Iterator[Outcome]]  # `map`: here, one after another


def make_shard(task: Task) -> Outcome:
    """Encode, condition and write a shard, unless it is done or an item bad."""
    plan, path = task.plan, task.output / f"part-{task.number:05}.parquet"
    bad = find_shard(path, plan, task.items)
    if bad is not None and (task.skip_bad or not bad):
        return Outcome(task.number, len(task.items) - len(bad), bad)
    model, items, bad = _load_once(task.model, plan.model), task.items, {}
    try:
        tokens = model.view(items, cache=task.cache)[:]
    except DataError as error:
        bad = {item.id: why for item in items if (why := _problem(item))}
        if not bad or not task.skip_bad:
            return Outcome(task.number, 0, refused=[*bad.values()] or [str(error)])
        items = [item for item in items if item.id not in bad]
        tokens = model.view(items, cache=task.cache)[:]
    columns = {"id": [item.id for item in items], **encoded_columns(model, tokens)}
    if plan.relation is not None or plan.modality != "both":
        asked = getattr(model.condition(tokens, plan.relation), plan.modality)
        columns |= {"null_vector": columns["vector"], "vector": vector_column(asked)}
    write_parquet(path, columns, asdict(plan) | {"left_out": bad})
    return Outcome(task.number, len(items), bad)


def embed_folder(
    model: Path,
    catalogue: Catalogue,
    output: Path,
    *,
    relation: str | None = None,
    modality: str = "both",
    shard: int = SHARD,
    skip_bad: bool = False,
    engine: Engine = map,
    make: Make = make_shard,
    cache: Path | None = None,
    report: Report = silent,
) -> list[Outcome]:
    """Write the vectors of a model folder for a catalogue; shards that are done are kept.

    Raises `DataError` that names what was refused in which shard, once all others are written.
    """
    plan = Plan(Model.load(model).fingerprint, catalogue.fingerprint(), relation, modality, shard)
    check_place(output)
    remove_parts(output)
    (output / MANIFEST).unlink(missing_ok=True)
    starts = range(0, len(catalogue.items), shard)
    given = model.resolve(), output.resolve(), plan, skip_bad, cache and cache.resolve()
    bare = ([replace(it, metadata={}) for it in catalogue.items[at : at + shard]] for at in starts)
    outcomes: list[Outcome] = []
    for outcome in engine(make, (Task(n, items, *given) for n, items in enumerate(bare))):
        outcomes.append(outcome)
        report("embed", len(outcomes), len(starts), f"shard {outcome.number}")
    outcomes.sort(key=lambda outcome: outcome.number)
    if refused := [f"shard {one.number}: {why}" for one in outcomes for why in one.refused]:
        what = " | ".join(refused[:3]) + f" | {len(refused) - 3} more" * (len(refused) > 3)
        fix = "the other shards are whole: mend it or add --skip-bad, and run the same again"
        raise DataError(what, where=output, fix=fix)
    left_out = {name: why for outcome in outcomes for name, why in outcome.left_out.items()}
    facts = asdict(plan) | {"counts": [out.count for out in outcomes], "left_out": left_out}
    write_file(output / MANIFEST, json.dumps(facts, indent=1).encode())
    return outcomes


def _problem(item: Item) -> str:
    """Return why an item's picture cannot be read, or nothing."""
    try:
        if item.image is not None:
            read_image(item)
    except DataError as error:
        return f"{error.where}: {error.what}" if error.where else error.what
    return ""


_load_once = lru_cache(maxsize=1)(lambda folder, fingerprint: Model.load(folder))
