"""Commands that fill, search and serve stores, and the quickstart that does it all."""

import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from relatum.cli.options import (
    AsJson,
    Cache,
    CatalogueName,
    ModelFolder,
    SkipBad,
    app,
    load,
    out,
    print_json,
)
from relatum.errors import RelatumError
from relatum.progress import bars

if TYPE_CHECKING:
    from relatum.store import Hit


@app.command("index")
def index_command(
    model: ModelFolder,
    catalogue: CatalogueName,
    output: Annotated[str, typer.Option("-o", "--output", help="The store: a folder or URI.")],
    shards: Annotated[
        Path | None, typer.Option("--from", help="A folder that relatum embed wrote.")
    ] = None,
    skip_bad: SkipBad = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Fill a store with a catalogue's items; the same command goes on where it was stopped."""
    from relatum.bulk.folder import Embeddings
    from relatum.model import Model
    from relatum.store import Store

    loaded = Model.load(model)
    found, read = load(catalogue, skip_bad=skip_bad, pictures=shards is None), None
    if shards is not None:
        made = Embeddings(shards, loaded.fingerprint, found)
        found, read = made.catalogue, made.read
    try:
        with bars() as report:
            store = Store.build(loaded, found, output, encoded=read, cache=cache, report=report)
    except KeyboardInterrupt:
        sys.stderr.write("relatum: interrupted; the same command goes on\n")
        raise typer.Exit(130) from None
    untold = store.untold()
    if as_json:
        print_json({"store": output, "items": len(store), "untold": untold})
    else:
        if untold:
            what = f"the catalogue has no links of {len(untold)} known texts, as {untold[0]!r}"
            then = "hits under these have no known links, and probabilities of other relations"
            out.print(f"{what}: {then}")
        words = ["relatum", "search", output, "--item", *(item.id for item in found.items[:1])]
        then = f"; next: {shlex.join(words)}" if found.items else ""
        out.print(f"{len(store)} items in {output}{then}", soft_wrap=True)


@app.command("search")
def search_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store's folder or URI.")],
    item: Annotated[str | None, typer.Option(help="Search from an item of the store.")] = None,
    text: Annotated[str | None, typer.Option(help="Search from a text.")] = None,
    image: Annotated[Path | None, typer.Option(help="Search from a picture.")] = None,
    relation: Annotated[
        list[str] | None,
        typer.Option(help="Any relation, in plain words; several with weights: 'same kind=-1'"),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    offset: Annotated[int, typer.Option(help="How many to pass over first.")] = 0,
    where: Annotated[str | None, typer.Option(help="SQL filter: room = 'Kitchen'")] = None,
    min_score: Annotated[float | None, typer.Option(help="Least probability, 0 to 1.")] = None,
    exclude_linked: Annotated[
        bool, typer.Option("--exclude-linked", help="Leave out what is linked already.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which words carried each match.")
    ] = False,
    example: Annotated[
        list[str] | None,
        typer.Option(help="Ids of a source and of what it should find: a,b; at most thirty times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find what stands in a relation, or in several, to an item, a text or a picture."""
    if item is None and text is None and image is None:
        raise RelatumError("expected --item, --text or --image", fix="say what to search from")
    if item is not None and (text is not None or image is not None):
        raise RelatumError("--item came with --text or --image", fix="name one source")
    if k < 1:
        raise RelatumError(f"expected at least 1, got {k}", where="-k")
    examples = [_pair(one) for one in example or ()]
    from relatum.store import Store

    hits = Store.open(store).search(
        item=item,
        text=text,
        image=image,
        relation=_weights(relation or []),
        k=k,
        offset=offset,
        where=where,
        min_score=min_score,
        exclude_linked=exclude_linked,
        explain=explain,
        examples=examples,
    )
    if as_json:
        print_json([asdict(hit) for hit in hits])
    elif hits:
        out.print(_hits_table(hits, relation, explain=explain))
    else:
        out.print("nothing passes" if where or min_score else "nothing else is in the store")


def _pair(example: str) -> tuple[str, str]:
    """Read 'f0001,f0002' as two ids."""
    source, _, target = example.partition(",")
    if not source or not target or "," in target:
        what, fix = f"expected two ids, got {example!r}", "write them with a comma between: a,b"
        raise RelatumError(what, where="--example", fix=fix)
    return source, target


def _weights(texts: list[str]) -> str | dict[str, float] | None:
    """Read 'same kind=-1' as a text and its weight; a text without one weighs 1.

    >>> _weights(["same room"]), _weights(["same room", "same kind=-1"])
    ('same room', {'same room': 1.0, 'same kind': -1.0})
    """
    weights: dict[str, float] = {}
    for text in texts:
        found = re.fullmatch(r"(.+)=\s*([-+]?\d*\.?\d+)\s*", text)
        weights[found[1].strip() if found else text] = float(found[2]) if found else 1.0
    if not weights:
        return None
    return next(iter(weights)) if list(weights.values()) == [1.0] else weights


def _hits_table(hits: "list[Hit]", relation: list[str] | None, *, explain: bool) -> Table:
    table = Table(
        title=f"under {', '.join(map(repr, relation))}" if relation else "under no relation"
    )
    for column in ("rank", "id", "score", "probability"):
        table.add_column(column, justify="left" if column == "id" else "right")
    tells = any(hit.is_linked for hit in hits)
    if tells:
        table.add_column("linked", justify="center")
    table.add_column("text")
    if explain:
        table.add_column("carried by")
    for hit in hits:
        chance = "" if hit.probability is None else f"{hit.probability:.2f}"
        cells = [str(hit.rank), hit.id, f"{hit.score:.3f}", chance]
        cells += ["✓" if hit.is_linked else ""] * tells + [hit.text or "(picture only)"]
        words = sorted((hit.explanation and hit.explanation.hit.words) or (), key=lambda w: -w[1])
        best = [f"{word} {weight:+.3f}" for word, weight in words[:4]]
        table.add_row(*cells, *([", ".join(best)] if explain else []))
    return table


@app.command("serve")
def serve_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store's folder or URI.")],
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="RELATUM_TOKEN", help="Needed for writes; see docs/serve.")
    ] = None,
) -> None:
    """Serve a store over HTTP, with a page to look around in."""
    from relatum.store import Store

    try:
        from relatum.serve import serve
    except ModuleNotFoundError as error:
        fix = "pip install 'relatum[serve]'"
        raise RelatumError(f"serving needs the package {error.name}", fix=fix) from error
    serve(Store.open(store), host=host, port=port, token=token)


@app.command("quickstart")
def quickstart_command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for everything.")] = Path(
        "runs/quickstart"
    ),
    cache: Cache = None,
) -> None:
    """Run all of it on the built-in furniture: encode, train, evaluate, index, search."""
    from relatum.quickstart import quickstart

    with bars() as report:
        done = quickstart(output, report=report, cache=cache)
    out.print(done.terminal())
    out.print(done.headline, soft_wrap=True)
    out.print(f"pictures: {done.page}\nreport:   {done.report}")
