"""The frame that every page of tables shares: one file, nothing loaded from elsewhere.

In: a title, a sentence, a body in HTML and the rules of style that it needs besides.
Out: a page, light or dark as the reader's system is.
This room does not know what stands in the body.
"""

from html import escape
from importlib import resources
from string import Template


def frame(title: str, headline: str, body: str, style: str) -> str:
    """Fill the frame; title and headline are plain text."""
    template = resources.files("relatum").joinpath("frame.html").read_text("utf-8")
    return Template(template).substitute(
        title=escape(title), headline=escape(headline), body=body, style=style.strip()
    )
