"""One self-contained page of tables whose cells are texts, numbers or items.

In: a title, a sentence, tables.
Out: a page without anything loaded from elsewhere, light or dark as the reader's system is.
This file does not know what the numbers mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from relatum.errors import DataError
from relatum.items import Item, thumbnail
from relatum.page import frame, inline, markdown_table

SIZE = 96  # pixels of a thumbnail
STYLE = """
p { max-width: 46rem; }
th, td { padding: .35rem .6rem; text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; color: var(--soft); }
tbody tr > * { border-top: 1px solid var(--line); }
td.number { text-align: right; white-space: nowrap; }
figure { display: inline-block; margin: 0 .4rem .4rem 0; width: 5.5rem; vertical-align: top; }
figure img, figure .none { width: 5.5rem; height: 5.5rem; object-fit: contain; background: #fff;
  border: 1px solid var(--line); border-radius: 3px; }
figcaption { font-size: .7rem; line-height: 1.3; color: var(--soft); overflow-wrap: anywhere; }
"""
Cell = str | int | float | tuple[Item, ...] | None


@dataclass(frozen=True)
class Table:
    """A table and what it says in words."""

    title: str
    about: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def page(title: str, headline: str, tables: Sequence[Table]) -> str:
    """Fill the frame."""
    return frame(title, headline, "\n".join(_section(table) for table in tables), STYLE)


def markdown(title: str, headline: str, tables: Sequence[Table]) -> str:
    """Return the same as Markdown, items by their ids."""
    parts = [f"# {title}", headline]
    for table in tables:
        rows = [[_plain(cell) for cell in line] for line in table.rows]
        parts += [f"## {table.title}", table.about, markdown_table(table.head, rows)]
    return "\n\n".join(parts) + "\n"


def _plain(cell: Cell) -> str:
    if isinstance(cell, tuple):
        return ", ".join(item.id for item in cell)
    return show(cell)


def show(cell: str | int | float | None) -> str:
    """Write a number as people read it; nothing as a dash.

    >>> show(1234), show(0.123456), show(31.4159), show(None), show("text")
    ('1,234', '0.12', '31', '–', 'text')
    """
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 10 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _section(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return (
        f"<section><h2>{escape(table.title)}</h2><p>{escape(table.about)}</p>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>'
        "</div></section>"
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, tuple):
        return f"<td>{''.join(map(_figure, cell))}</td>"
    kind = "" if isinstance(cell, str) else ' class="number"'
    return f"<td{kind}>{escape(show(cell))}</td>"


def _figure(item: Item) -> str:
    text = " ".join((item.text or item.id).split())
    short = text if len(text) <= 40 else text[:39].rstrip() + "…"
    return f"<figure>{_thumbnail(item)}<figcaption>{escape(short)}</figcaption></figure>"


def _thumbnail(item: Item) -> str:
    try:
        data = thumbnail(item, SIZE, quality=70)
    except DataError:
        data = None  # a page about what is wrong shows the rest
    return inline(data) if data else '<div class="none"></div>'
