"""The noise report as JSON, Markdown and one page; the review file that people edit.

In: a `NoiseReport`, the items it names.
Out: report.json, report.md, report.html; a CSV with a proposal a line, and its verdicts read back.
This file does not know how the numbers came about.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from relatum.catalogue import Problem
from relatum.catalogue.page import Cell, Table, markdown, page
from relatum.catalogue.tables import read_rows
from relatum.disk import write_file
from relatum.errors import DataError
from relatum.items import Item
from relatum.relations.builders import Mined
from relatum.relations.noise import Line, NoiseReport

SHOWN = 40  # groups of a relation on the page, the largest first
VERDICTS = ("accept", "rename", "drop")
NUMBERS = ("items", "links", "stability", "lift", "told")
COLUMNS = ("relation", "group", "verdict", "text", "new_text", *NUMBERS, "reason", "samples")
ABOUT = (
    "Stability: how much is found again in half of the evidence. Lift: how often the pairs occur "
    "together in the other half, as a multiple of chance (of all evidence where the relation was "
    "not mined from it). Told: the share of items whose text holds a word of their group's label. "
    "Samples of links stand in pairs."
)
Verdicts = Mapping[tuple[str, str], tuple[str, str]]


def headline(found: NoiseReport) -> str:
    """Say in a sentence what there is and what is doubtful."""
    counts = len(found.relations), len(found.groups)
    if not any(counts):
        return f"no relation was found in {found.facts['items']:,} items; see the plan's columns."
    doubtful = [sum(one.proposal == "drop" for one in some)
                for some in (found.relations, found.groups)]  # fmt: skip
    return (
        f"{_both(*counts)} mined from {found.facts['items']:,} items; "
        f"{_both(*doubtful) if any(doubtful) else 'none'} doubtful."
    )


def _both(relations: int, groups: int) -> str:
    ends = "s" * (relations != 1), "s" * (groups != 1)
    return f"{relations:,} relation{ends[0]} and {groups:,} group{ends[1]}"


def save_report(found: NoiseReport, items: Sequence[Item], folder: Path) -> None:
    """Write report.json, report.md and report.html, each in one step."""
    title, known = f"Mined relations of {found.catalogue}", {item.id: item for item in items}
    tables = _tables(found, known)
    text = json.dumps({"headline": headline(found), **asdict(found)}, ensure_ascii=False, indent=1)
    write_file(folder / "report.json", (text + "\n").encode())
    write_file(folder / "report.md", markdown(title, headline(found), tables).encode())
    write_file(folder / "report.html", page(title, headline(found), tables).encode())


def _tables(found: NoiseReport, items: Mapping[str, Item]) -> list[Table]:
    head = ("relation", "in words", "found by", *NUMBERS, "proposal", "samples")
    rows = [_row(line, (line.relation, line.text, line.found), items) for line in found.relations]
    tables = [Table("Relations", ABOUT, head, tuple(rows))]
    for line in found.relations:
        groups = [group for group in found.groups if group.relation == line.relation]
        groups = sorted(groups, key=lambda group: -group.items)
        rows = [_row(group, (group.group, group.text), items) for group in groups[:SHOWN]]
        head = ("group", "in words", *NUMBERS, "proposal", "samples")
        about = f"The largest {len(rows)} of {len(groups):,} groups."
        if rows:
            tables.append(Table(f"Groups of “{line.text}”", about, head, tuple(rows)))
    shared = [(one, other, f"{share:.1%}") for one, other, share in found.overlaps]
    about = "The share of links that both have among those that either has."
    tables.append(Table("Overlaps", about, ("relation", "relation", "shared"), tuple(shared)))
    notes = tuple((note,) for note in found.notes)
    return [*tables, Table("What to keep in mind", "", ("note",), notes)] if notes else tables


def _row(line: Line, names: tuple[Cell, ...], items: Mapping[str, Item]) -> tuple[Cell, ...]:
    proposal = f"{line.proposal}: {line.reason}" if line.reason else line.proposal
    numbers = (getattr(line, name) for name in NUMBERS)
    return (*names, *numbers, proposal, tuple(items[name] for name in line.samples))


def write_review(found: NoiseReport, path: Path) -> None:
    """Write one line a relation and group, with the proposal as its verdict."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for line in (*found.relations, *found.groups):
        numbers = [getattr(line, name) for name in NUMBERS]
        numbers = [round(value, 3) if isinstance(value, float) else value for value in numbers]
        words = line.relation, line.group, line.proposal, line.text, ""
        writer.writerow([*words, *numbers, line.reason, "|".join(line.samples)])
    write_file(path, file.getvalue().encode())


def read_review(path: Path) -> Verdicts:
    """Return the verdict and new text of each (relation, group); `DataError` for a bad line."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    problems: list[Problem] = []
    for row in read_rows(path, COLUMNS[:5], problems, kind=".csv"):
        relation, group, verdict, _, text = (str(row.values[name] or "") for name in COLUMNS[:5])
        verdict, text = verdict.strip().lower(), text.strip()
        if verdict not in VERDICTS:
            what = f"expected accept, rename or drop, got {verdict!r}"
            raise DataError(what, where=row.where, fix="correct the verdict")
        if verdict == "rename" and not text:
            raise DataError("rename without a new_text", where=row.where, fix="write the new text")
        found[relation, group] = verdict, text
    if problems:
        raise problems[0].error()
    return found


def apply_review(mined: Sequence[Mined], verdicts: Verdicts) -> tuple[list[Mined], list[str]]:
    """Return what is left after the verdicts, renamed; and the lines that fit nothing."""
    left, known = [], set()
    for one in mined:
        groups = []
        for group in one.groups:
            known.add((one.relation.id, group.id))
            verdict, text = verdicts.get((one.relation.id, group.id), ("accept", ""))
            if verdict != "drop":
                groups.append(replace(group, text=text) if verdict == "rename" else group)
        known.add((one.relation.id, ""))
        verdict, text = verdicts.get((one.relation.id, ""), ("accept", ""))
        relation = one.relation
        if verdict == "rename":
            relation = replace(relation, text=text, paraphrases=())
        if verdict != "drop" and (groups or one.links):
            left.append(replace(one, relation=relation, groups=tuple(groups)))
    return left, ["/".join(key).strip("/") for key in verdicts if key not in known]
