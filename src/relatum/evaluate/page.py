"""One self-contained page: tables, plots and notes as HTML.

In: tables of text, plots as SVG, notes.
Out: a page without anything loaded from elsewhere, light or dark as the reader's system is.
This file does not know what the numbers mean.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template


@dataclass(frozen=True)
class Table:
    """A table of text; the first `labels` columns are words, the rest are numbers."""

    title: str
    about: str
    head: list[str]
    rows: list[list[str]]
    labels: int


def page(
    title: str,
    headline: str,
    sections: Sequence[tuple[str, str, Sequence[Table]]],
    plots: Sequence[tuple[str, str, str]],
    notes: Sequence[str],
) -> str:
    """Fill the template."""
    template = resources.files("relatum.evaluate").joinpath("page.html").read_text("utf-8")
    return Template(template).substitute(
        title=escape(title),
        headline=escape(headline),
        plots="\n".join(_plot(*plot) for plot in plots),
        sections="\n".join(_section(*section) for section in sections),
        notes="\n".join(f"<li>{_text(note)}</li>" for note in notes),
    )


def _plot(title: str, caption: str, svg: str) -> str:
    return (
        f"<section><h2>{escape(title)}</h2><figure>{svg}"
        f"<figcaption>{escape(caption)}</figcaption></figure></section>"
    )


def _section(title: str, about: str, tables: Sequence[Table]) -> str:
    inner = "\n".join(_table(table) for table in tables)
    return f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>\n{inner}</section>"


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{" class=label" if place < table.labels else ""}>{escape(cell)}</th>'
        for place, cell in enumerate(table.head)
    )
    rows = "\n".join(_row(row, table.labels) for row in table.rows)
    return (
        f"<h3>{escape(table.title)}</h3><p>{_text(table.about)}</p>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(cells: Sequence[str], labels: int) -> str:
    kind = ' class="first"' if cells[0] else ""
    inner = "".join(
        f'<th scope="row">{escape(cell)}</th>' if place < labels else f"<td>{_number(cell)}</td>"
        for place, cell in enumerate(cells)
    )
    return f"<tr{kind}>{inner}</tr>"


def _number(cell: str) -> str:
    """Set the interval of a number in small print."""
    return re.sub(r" (\[[^\]]*\])", r"<small>\1</small>", escape(cell))


def _text(words: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(words))
