"""The frame that every page of tables shares: one file, nothing loaded from elsewhere.

In: a title, a sentence, a body in HTML and the rules of style that it needs besides.
Out: a page, light or dark as the reader's system is; pictures within it; tables as Markdown.
This room does not know what stands in the body.
"""

import base64
from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template


def frame(title: str, headline: str, body: str, style: str) -> str:
    """Fill the frame; title and headline are plain text."""
    template = resources.files("relatum").joinpath("frame.html").read_text("utf-8")
    return Template(template).substitute(
        title=escape(title), headline=escape(headline), body=body, style=style.strip()
    )


def inline(webp: bytes, alt: str = "") -> str:
    """Return an `img` that holds its picture."""
    code = base64.b64encode(webp).decode()
    return f'<img src="data:image/webp;base64,{code}" alt="{escape(alt)}">'


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a table in Markdown.

    >>> print(markdown_table(["a", "b|c"], [["1", "2"]]))
    | a | b\|c |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [head, ["---"] * len(head), *rows]
    plain = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in plain)
