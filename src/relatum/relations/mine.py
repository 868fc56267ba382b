"""Mine relations from a catalogue folder: build, describe, judge, review, write.

In: a folder with an items table and perhaps `signals/`, a plan.
Out: the tables relations, groups and links in that folder; the noise report in `mined/`.
This file does not know how a relation is found.
"""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relatum.catalogue.tables import Problem, find_table, read_rows
from relatum.disk import write_file
from relatum.errors import ConfigError, DataError
from relatum.progress import Report, silent
from relatum.relations.builders import PEOPLE, Mined, build
from relatum.relations.describe import Writer, describe, rephrase
from relatum.relations.noise import NoiseReport, measure_noise, overlaps
from relatum.relations.plan import After, Builder, Column, Copies, Plan, Together, Topics
from relatum.relations.report import apply_review, read_review, save_report, write_review
from relatum.relations.source import Source
from relatum.relations.words import distinguishing_words, phrase

OUTPUT = "mined"
REQUIRED = {
    "relations": ("id", "text"),
    "groups": ("relation", "group", "items"),
    "links": ("source", "relation", "target"),
}


def mine(
    folder: str | Path,
    plan: Plan | None = None,
    *,
    vectors: Mapping[str, np.ndarray | str] | None = None,
    writer: Writer | None = None,
    review: Path | None = None,
    report: Report = silent,
) -> NoiseReport:
    """Mine the relations of a plan, or of a default one, and write them into the folder.

    Relations that are there already stay, but for those that were mined before. A `review` file
    that exists is applied; one that does not is written with proposals. With a `writer` whose
    `dry` is set, nothing is written. Raises `DataError` and `ConfigError`.
    """
    folder = Path(folder)
    source = Source.open(folder, vectors)
    plan = plan or default_plan(source)
    mined, notes = _build_all(source, plan, report)
    if writer is not None:
        mined = [_described(one, source, writer) for one in mined]
        notes += [f"{writer.refused} texts were left as they are: the budget was spent"]
        notes = notes if writer.refused else notes[:-1]
    lines, groups = measure_noise(source, mined, plan, report=report)
    facts = _facts(source, mined)
    found = NoiseReport(folder.name, facts, lines, groups, overlaps(source, mined), notes)
    if writer is not None and writer.dry:
        return found
    left = mined
    if review is not None and review.exists():
        left, lost = apply_review(mined, read_review(review))
        notes += [f"{review.name}: nothing was mined that is called {name}" for name in lost]
    elif review is not None:
        write_review(found, review)
    write_tables(folder, left)
    save_report(found, source.items, folder / OUTPUT)
    return found


def default_plan(source: Source) -> Plan:
    """Return a plan from what there is: columns, signals, vectors, copies.

    Numbers are left out: only people know which difference counts.
    """
    found: list[Builder] = []
    for column in dict.fromkeys(name for item in source.items for name in item.metadata):
        values = [item.metadata.get(column) for item in source.items]
        if _is_path(column, values):
            found.append(Column(column=column, depth=2))
        elif _repeats(values):
            found.append(Column(column=column))
    signals = [signal for signal in PEOPLE if signal in source.related]
    signals += ["baskets"] if source.baskets is not None else []
    for signal in signals:
        found += [Together(signal=signal), Together(signal=signal, shape="groups")]
    if source.baskets is not None and np.isfinite(source.baskets.time).any():
        found.append(After())
    found += [Copies(by="image"), Copies(by="text")]
    found += [Topics(vectors=name) for name in source.vectors]
    return Plan(relations=tuple(found))


def _is_path(column: str, values: Sequence[object]) -> bool:
    """Tell whether a column holds paths such as `Office > Paper > Notebooks`, or lists of them."""
    if column == "category" and any(isinstance(value, list) for value in values):
        return True
    return sum(isinstance(value, str) and " > " in value for value in values) > len(values) / 4


def _repeats(values: Sequence[object]) -> bool:
    """Tell whether a column has at least two words that several items share, but not most."""
    words: Counter[str] = Counter()
    for value in values:
        some = value if isinstance(value, list) else [value]
        words.update({one for one in some if isinstance(one, str) and len(one) <= 60})
    shared = [n for n in words.values() if 2 <= n <= len(values) / 2]
    return len(shared) > 1 and sum(shared) >= 0.2 * sum(words.values())


def _build_all(source: Source, plan: Plan, report: Report) -> tuple[list[Mined], list[str]]:
    mined: list[Mined] = []
    notes: list[str] = []
    for place, builder in enumerate(plan.relations):
        found = build(source, builder)
        mined += found
        report("mine", place + 1, len(plan.relations), builder.build)
        if not found:
            told = builder.model_dump_json(exclude_defaults=True)
            notes.append(f"nothing was found by {builder.build} {told}")
        if isinstance(builder, Column) and builder.band is None and _is_measured(source, builder):
            what = f"the column {builder.column!r} holds numbers with fractions"
            notes.append(f"{what}: its groups have equal ones; a band would join those near")
    names = Counter(one.relation.id for one in mined)
    twice = [name for name, number in names.items() if number > 1]
    if twice:
        fix = "give one of them an id in the plan"
        raise ConfigError(f"two mined relations are called {twice[0]!r}", where="plan", fix=fix)
    return mined, notes


def _is_measured(source: Source, builder: Column) -> bool:
    """Tell whether a column holds numbers with fractions."""
    values = (item.metadata.get(builder.column) for item in source.items)
    return any(isinstance(one, float) and math.isfinite(one) and one % 1 for one in values)


def _described(one: Mined, source: Source, writer: Writer) -> Mined:
    """Have clusters described by their texts, and relations said in other ways."""
    groups, relation = list(one.groups), one.relation
    if isinstance(one.builder, Together | Topics):
        texts = [[source.items[source.rows[n]].text or "" for n in g.items] for g in groups]
        words = map(phrase, distinguishing_words(texts))
        asked = [describe(relation.text, *pair) for pair in zip(words, texts, strict=True)]
        answers = [writer.write(words) for words in asked]
        if isinstance(one.builder, Together) and one.builder.shape == "relations":
            text, ways = (answers[0].text, answers[0].paraphrases) if answers[0] else ("", ())
            relation = replace(relation, text=text or relation.text, paraphrases=ways)
            return replace(one, relation=relation)
        for place, answer in enumerate(answers):
            if answer:
                groups[place] = replace(groups[place], text=f"both {answer.text}")
    answer = None if one.builder.paraphrases else writer.write(rephrase(relation.text))
    if answer:
        relation = replace(relation, paraphrases=answer.paraphrases)
    return replace(one, relation=relation, groups=tuple(groups))


def _facts(source: Source, mined: Sequence[Mined]) -> dict[str, int]:
    baskets = source.baskets
    return {
        "items": len(source.items),
        "baskets": len(baskets.keys) if baskets else 0,
        "events": len(baskets.item) if baskets else 0,
        "events of unknown items": baskets.unknown if baskets else 0,
        "related": sum(map(len, source.related.values())),
        "relations": len(mined),
        "groups": sum(len(one.groups) for one in mined),
        "links": sum(len(one.links) for one in mined),
    }


def write_tables(folder: Path, mined: Sequence[Mined]) -> None:
    """Write the three tables in the formats they have, what is not mined left as it is.

    All are made ready before the first is written, each then appears in one step.
    """
    paths = {name: find_table(folder, name) for name in REQUIRED}
    rows = {name: _read(path, name) for name, path in paths.items()}
    old = {row["id"] for row in rows["relations"] if str(row.get("mined")).lower() in ("true", "1")}
    taken = {row["id"] for row in rows["relations"]} - old
    for one in mined:
        if one.relation.id in taken:
            what = f"the relation {one.relation.id!r} is there already and was not mined"
            raise DataError(what, where=folder, fix="give the mined one another id in the plan")
    kept = {
        name: [r for r in rows[name] if r["relation"] not in old] for name in ("groups", "links")
    }
    kept["relations"] = [row for row in rows["relations"] if row["id"] not in old]
    new = {
        "relations": [{**_values(one.relation), "mined": True} for one in mined],
        "groups": [_values(group) for one in mined for group in one.groups],
        "links": [vars(link) for one in mined for link in one.links],
    }
    files = {}
    for name, path in paths.items():
        if path is not None or new[name]:
            path = path or folder / f"{name}.{'parquet' if name == 'links' else 'jsonl'}"
            files[path] = _table_bytes(path.suffix, name, [*kept[name], *new[name]])
    for path, data in files.items():
        write_file(path, data)


def _values(row: object) -> dict[str, Any]:
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(row).items()}
    if "items" in values:
        values["group"] = values.pop("id")
    return values


def _read(path: Path | None, name: str) -> list[dict[str, Any]]:
    problems: list[Problem] = []
    rows = [row.values for row in read_rows(path, REQUIRED[name], problems)] if path else []
    if problems:
        raise problems[0].error()
    return rows


def _table_bytes(suffix: str, name: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    columns = list(dict.fromkeys([*REQUIRED[name], *(key for row in rows for key in row)]))
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if suffix == ".csv":
        file = io.StringIO()
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            is_plain = (str, int, float, type(None))
            cells = {k: v if isinstance(v, is_plain) else json.dumps(v) for k, v in row.items()}
            writer.writerow(cells)
        return file.getvalue().encode()
    sink = pa.BufferOutputStream()
    arrays = {key: pa.array([row.get(key) for row in rows]) for key in columns}
    pq.write_table(pa.table(arrays), sink)
    return sink.getvalue().to_pybytes()
