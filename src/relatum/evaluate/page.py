"""One self-contained page: tables, plots and notes as HTML.

In: tables of text, plots as SVG, notes.
Out: a page without anything loaded from elsewhere, light or dark as the reader's system is.
This file does not know what the numbers mean.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from relatum.page import frame

STYLE = """
h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem; }
p, li { max-width: 46rem; }
figure { margin: 0; color: var(--ink); }
figure svg { max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .9rem; max-width: 46rem; }
th, td { padding: .35rem .6rem; text-align: right; vertical-align: top; }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; font-weight: 600;
  color: var(--soft); }
th[scope=row], th.label { text-align: left; font-weight: 500; }
tr.first > * { border-top: 1px solid var(--line); }
td small { display: block; color: var(--soft); font-size: .75rem; white-space: nowrap; }
code { background: var(--band); padding: 0 .25em; border-radius: 3px; }
"""


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
    """Fill the frame."""
    kept = "\n".join(f"<li>{_text(note)}</li>" for note in notes)
    body = [
        *(_plot(*plot) for plot in plots),
        *(_section(*section) for section in sections),
        f"<section><h2>What to keep in mind</h2>\n<ul>\n{kept}\n</ul></section>",
    ]
    return frame(title, headline, "\n".join(body), STYLE)


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
