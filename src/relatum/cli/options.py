"""What the commands share: the app, their common options, how they load and print.

In: nothing.
Out: names for the other files of this room.
This file knows no command.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from relatum.catalogue import Catalogue

app = typer.Typer(
    help="Relation-conditioned multimodal representations: train, judge, index, search.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# a pipe has no edge to cut at; texts and paths may hold square brackets
out = Console(width=None if sys.stdout.isatty() else 1000, markup=False)
# what rooms say too, here so that help need not wait for torch
STUDIES = ("rivals", "ablations", "beta", "curve", "unseen", "groups", "domain")
FILES = ("table", "folder", "datasets", "webdataset", "amazon-2018", "amazon-2023", "goodreads")
FILES += ("merchant", "shopify")
SHARD = 10_000

SOURCE = "A catalogue folder, or the built-in furniture or survival."

CatalogueName = Annotated[str, typer.Argument(metavar="CATALOGUE", help=SOURCE)]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what is bad and say so.")]
Cache = Annotated[
    Path | None, typer.Option(help="Token cache; default $RELATUM_CACHE or ~/.cache/relatum.")
]


def print_json(value: object) -> None:
    """Write JSON for machines."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def load(source: str, *, skip_bad: bool, pictures: bool = True) -> "Catalogue":
    """Load a catalogue, saying what was left out."""
    from relatum.catalogue import Catalogue

    catalogue = Catalogue.load(source, skip_bad=skip_bad, pictures=pictures)
    for problem in catalogue.left_out:
        sys.stderr.write(f"left out: {problem}\n")
    return catalogue
