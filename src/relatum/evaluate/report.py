"""A report: what an evaluation found, as plain data, text and one page.

In: sections of numbers, facts, notes and plots.
Out: JSON, Markdown, one self-contained HTML file, and a sentence.
This file does not know of models or questions.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from relatum.disk import write_file
from relatum.evaluate.page import Table, page
from relatum.evaluate.summary import BY_RELATION, FEW, Number, Section
from relatum.page import markdown_table

TITLES = {
    "hit@5": "Hit@5",
    "hit@1": "Hit@1",
    "mrr": "MRR",
    "other hit@5": "Hit@5, other relation",
    "other hit@1": "Hit@1, other relation",
    "other mrr": "MRR, other relation",
    "precision@10": "precision@10, all items",
    "full mrr": "MRR, all items",
}


@dataclass(frozen=True)
class Plot:
    """A picture as SVG text, with what it shows in words."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Report:
    """What `relatum.evaluate` found. Numbers are means over directions, with 95 % intervals."""

    catalogue: str
    model: str
    method: str
    seed: int
    facts: dict[str, int]
    sections: list[Section]
    notes: list[str]
    plots: list[Plot] = field(default_factory=list, repr=False)

    def headline(self) -> str:
        """Say in one sentence how the model did on the first section."""
        main = self.sections[0]
        row = main.find(self.method)
        twin = main.find("unconditioned") if self.method != "unconditioned" else None
        told: list[str] = []
        for metric, where in (("hit@5", "at random"), ("other hit@5", "under another relation")):
            parts = [
                f"{show(metric, one.numbers[metric])} {one.method}" for one in (row, twin) if one
            ]
            best = f"{show(metric, main.best(metric))} {main.best_frozen[metric]} (best frozen)"
            told.append(f"{', '.join(parts)}, {best} with negatives {where}")
        asked = f"{main.queries:,} queries among {main.candidates:,} items of {self.catalogue}"
        few = f"{len(main.few)} of {len(main.relations)} directions have fewer than {FEW} queries"
        return f"Hit@5 of 21 in % on {asked}: {'; '.join(told)}{f'; {few}' * bool(main.few)}."

    def to_json(self) -> str:
        """Return everything but the plots; a number that does not exist is null."""
        values = {name: value for name, value in asdict(self).items() if name != "plots"}
        values["headline"] = self.headline()
        return json.dumps(_plain(values), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """Return the tables and notes as Markdown."""
        parts = [f"# {self._title()}", self.headline()]
        for section in self.sections:
            parts += [f"## {section.title}", section.about]
            for table in tables(section):
                parts += [f"### {table.title}", table.about, markdown_table(table.head, table.rows)]
        parts += ["## What to keep in mind", "\n".join(f"- {note}" for note in self.notes)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def to_html(self) -> str:
        """Return one self-contained page: tables, plots and notes, light or dark."""
        sections = [(one.title, one.about, tables(one)) for one in self.sections]
        plots = [(plot.title, plot.caption, plot.svg) for plot in self.plots]
        return page(self._title(), self.headline(), sections, plots, self.notes)

    def save(self, folder: str | Path) -> None:
        """Write report.json, report.md and report.html, each in one step."""
        folder = Path(folder)
        write_file(folder / "report.json", self.to_json().encode())
        write_file(folder / "report.md", self.to_markdown().encode())
        write_file(folder / "report.html", self.to_html().encode())

    def _title(self) -> str:
        return f"Relation-guided retrieval on {self.catalogue}"


def show(metric: str, number: Number, *, sign: bool = False) -> str:
    """Write a number with its interval: MRR as it is, all else in %.

    >>> show("hit@5", Number(0.5, 0.4, 0.612)), show("mrr", Number(0.5, 0.4, 0.6), sign=True)
    ('50.0 [40.0, 61.2]', '+0.500 [+0.400, +0.600]')
    """
    form = _form(metric, sign)
    return f"{form(number.value)} [{form(number.low)}, {form(number.high)}]"


def _form(metric: str, sign: bool) -> Callable[[float], str]:
    plus = "+" if sign else ""
    if metric.endswith("mrr"):
        return lambda value: f"{value:{plus}.3f}"
    return lambda value: f"{100 * value:{plus}.1f}"


def tables(section: Section) -> list[Table]:
    """Lay a section out as tables of text."""
    return [_method_table(section), _difference_table(section), _relation_table(section)]


def _heads(metrics: Sequence[str]) -> list[str]:
    return [TITLES[name] + ("" if name.endswith("mrr") else " (%)") for name in metrics]


def _method_table(section: Section) -> Table:
    rows: list[list[str]] = []
    for row in section.rows:
        cells = [row.method, row.way]
        for metric, number in row.numbers.items():
            mark = "†" if section.best_frozen[metric] == row.method else ""
            cells.append(show(metric, number).replace(" ", f"{mark} ", 1))
        rows.append(cells)
    about = (
        "Mean over directions, with the 95 % interval. TT compares texts, II images, TI a text "
        "with images, IT an image with texts, AVG scores by the mean of these four, `both` the "
        "fused vectors; T and I ask whole items by a text or an image alone, as a search with "
        "words or a photo of one's own does. † is the best frozen encoder by that measure."
    )
    return Table("Methods", about, ["method", "way", *_heads(list(TITLES))], rows, labels=2)


def _difference_table(section: Section) -> Table:
    rows = [
        [f"{one.method} − {one.against}"]
        + [show(metric, number, sign=True) for metric, number in one.numbers.items()]
        for one in section.differences
    ]
    about = (
        "Paired: each query is answered by both methods. An interval without 0 is a difference "
        "that these queries do not explain by chance."
    )
    return Table("Differences", about, ["difference", *_heads(list(TITLES))], rows, labels=1)


def _relation_table(section: Section) -> Table:
    head = ["direction", "method", "queries", "right a query", "left out", *_heads(BY_RELATION)]
    rows: list[list[str]] = []
    for one in section.relations:
        facts = [f"{one.queries:,}", f"{one.targets:.1f}", f"{one.left_out:,}"]
        text = one.text
        for method, numbers in one.numbers.items():
            cells = [show(metric, number) for metric, number in numbers.items()]
            if one.queries < FEW:  # drawn again, they may all be the same
                cells = [cell.partition(" ")[0] for cell in cells]
            rows.append([text, method, *facts, *cells])
            text, facts = "", [""] * len(facts)
    about = (
        "`left out` counts the pairs whose texts give the answer away. `best frozen` is the "
        "encoder that is best over all directions; where another is best in one, it stands below. "
        f"There is no interval for fewer than {FEW} queries."
    )
    return Table("By direction", about, head, rows, labels=2)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
