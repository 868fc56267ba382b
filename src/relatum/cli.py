"""The command line: one step a command, progress on stderr, results on stdout.

In: the words a person types.
Out: folders and files; tables, or JSON with `--json`; exit code 2 and one line for what the user
can fix. This room holds no logic of its own.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from relatum.catalogue import Catalogue, validate
from relatum.config import Config
from relatum.disk import write_file
from relatum.errors import RelatumError
from relatum.evaluate import evaluate
from relatum.model import Model
from relatum.progress import bars
from relatum.quickstart import quickstart
from relatum.store import Store
from relatum.train import train

app = typer.Typer(
    help="Relation-conditioned multimodal representations: train, judge, index, search.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
SOURCE = "A catalogue folder, or the built-in furniture or survival."

CatalogueName = Annotated[str, typer.Argument(metavar="CATALOGUE", help=SOURCE)]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what is bad and say so.")]
Cache = Annotated[
    Path | None, typer.Option(help="Token cache; default $RELATUM_CACHE or ~/.cache/relatum.")
]


def main() -> None:
    """Run the command line; what the user can fix is one line on stderr and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except RelatumError as error:
        sys.stderr.write(f"relatum: {error}\n")
        sys.exit(2)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def _load(source: str, *, skip_bad: bool) -> Catalogue:
    catalogue = Catalogue.load(source, skip_bad=skip_bad)
    for problem in catalogue.left_out:
        sys.stderr.write(f"left out: {problem}\n")
    return catalogue


@app.command("validate")
def validate_command(catalogue: CatalogueName, as_json: AsJson = False) -> None:
    """List every problem of a catalogue at once; exit code 2 if there is any."""
    problems = validate(catalogue)
    if as_json:
        _print_json([vars(problem) for problem in problems])
    else:
        for problem in problems:
            sys.stdout.write(f"{problem}\n")
        sys.stdout.write(f"{len(problems)} problems\n" if problems else "no problems\n")
    if problems:
        raise typer.Exit(2)


@app.command("train")
def train_command(
    catalogue: CatalogueName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model folder to write.")],
    config: Annotated[Path | None, typer.Option(help="Settings as TOML.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: training.seed=1")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the snapshot.")] = False,
    skip_bad: SkipBad = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a catalogue."""
    settings = Config.load(config, sets or ())
    found = _load(catalogue, skip_bad=skip_bad)
    try:
        with bars() as report:
            model = train(found, settings, output, resume=resume, cache=cache, report=report)
    except KeyboardInterrupt:
        sys.stderr.write("relatum: interrupted; the same command with --resume goes on\n")
        raise typer.Exit(130) from None
    if as_json:
        _print_json({"model": output, "fingerprint": model.fingerprint})
    else:
        out.print(f"the model is in {output}; next: relatum evaluate {output} {catalogue}")


@app.command("evaluate")
def evaluate_command(
    model: ModelFolder,
    catalogue: CatalogueName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The report folder to write.")],
    skip_bad: SkipBad = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Judge a model beside its baselines; writes report.json, report.md and report.html."""
    loaded = Model.load(model)
    found = _load(catalogue, skip_bad=skip_bad)
    with bars() as progress:
        report = evaluate(loaded, found, folder=output, cache=cache, report=progress)
    report.save(output)
    if as_json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        out.print(report.headline(), soft_wrap=True)
        out.print(f"report written to {output / 'report.html'}")


@app.command("index")
def index_command(
    model: ModelFolder,
    catalogue: CatalogueName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The store to write.")],
    skip_bad: SkipBad = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Fill a store with a catalogue's items, to be searched under any relation."""
    loaded = Model.load(model)
    found = _load(catalogue, skip_bad=skip_bad)
    with bars() as report:
        store = Store.build(loaded, found, output, cache=cache, report=report)
    if as_json:
        _print_json({"store": output, "items": len(store)})
    else:
        out.print(f'{len(store)} items in {output}; next: relatum search {output} --text "a lamp"')


@app.command("search")
def search_command(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store folder.")],
    item: Annotated[str | None, typer.Option(help="Search from an item of the store.")] = None,
    text: Annotated[str | None, typer.Option(help="Search from a text.")] = None,
    image: Annotated[Path | None, typer.Option(help="Search from a picture.")] = None,
    relation: Annotated[str | None, typer.Option(help="Any relation, in plain words.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    where: Annotated[str | None, typer.Option(help="SQL filter: room = 'Kitchen'")] = None,
    as_json: AsJson = False,
) -> None:
    """Find what stands in a relation to an item, a text or a picture."""
    if item is None and text is None and image is None:
        raise RelatumError("expected --item, --text or --image", fix="say what to search from")
    if item is not None and (text is not None or image is not None):
        raise RelatumError("--item came with --text or --image", fix="name one source")
    if k < 1:
        raise RelatumError(f"expected at least 1, got {k}", where="-k")
    opened = Store.open(store)
    hits = opened.search(item=item, text=text, image=image, relation=relation, k=k, where=where)
    if as_json:
        _print_json([vars(hit) for hit in hits])
        return
    if not hits:
        out.print("nothing passes the filter" if where else "nothing else is in the store")
        return
    table = Table(title=f"under {relation!r}" if relation else "under no relation")
    for column in ("rank", "id", "score", "text"):
        table.add_column(column, justify="right" if column in ("rank", "score") else "left")
    for hit in hits:
        table.add_row(str(hit.rank), hit.id, f"{hit.score:.3f}", hit.text or "(picture only)")
    out.print(table)


@app.command("embed")
def embed_command(
    model: ModelFolder,
    catalogue: CatalogueName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The Parquet file to write.")],
    relation: Annotated[str | None, typer.Option(help="Any relation, in plain words.")] = None,
    modality: Annotated[str, typer.Option(help="image, text or both")] = "both",
    skip_bad: SkipBad = False,
    cache: Cache = None,
) -> None:
    """Write the items' vectors under a relation to a Parquet file: columns id and vector."""
    if modality not in ("image", "text", "both"):
        raise RelatumError(f"expected image, text or both, got {modality!r}", where="--modality")
    loaded = Model.load(model)
    found = _load(catalogue, skip_bad=skip_bad)
    with bars() as report:
        tokens = loaded.encode(found.items, cache=cache, report=report)
    vectors = getattr(loaded.condition(tokens, relation), modality).numpy()
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    table = pa.table({"id": [item.id for item in found.items], "vector": column})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_file(output, sink.getvalue().to_pybytes())
    out.print(f"{len(found.items)} vectors of {vectors.shape[1]} dimensions in {output}")


@app.command("quickstart")
def quickstart_command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for everything.")] = Path(
        "runs/quickstart"
    ),
    cache: Cache = None,
) -> None:
    """Run all of it on the built-in furniture: encode, train, evaluate, index, search."""
    with bars() as report:
        done = quickstart(output, report=report, cache=cache)
    out.print(done.terminal())
    out.print(done.headline, soft_wrap=True)
    out.print(f"pictures: {done.page}\nreport:   {done.report}")


if __name__ == "__main__":
    main()
