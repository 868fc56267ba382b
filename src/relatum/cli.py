"""The command line: one step a command, progress on stderr, results on stdout.

In: the words a person types.
Out: folders and files; tables, or JSON with `--json`; exit code 2 and one line for what the user
can fix. This room holds no logic of its own.
"""

import json
import logging
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from relatum.catalogue import Catalogue, examine
from relatum.catalogue.examine import counts, problems_page
from relatum.config import Config
from relatum.disk import write_file
from relatum.encoders import cache_folder
from relatum.errors import RelatumError
from relatum.evaluate import evaluate
from relatum.model import Model
from relatum.prepare import KINDS, Settings, column_names, prepare
from relatum.progress import bars
from relatum.quickstart import quickstart
from relatum.relations import Plan, Writer, mine
from relatum.relations.report import headline
from relatum.store import Hit, Store
from relatum.study import KINDS as STUDIES
from relatum.study import Kind as Study
from relatum.study import study
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
def validate_command(
    catalogue: CatalogueName,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file too.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the split searched for copies.")] = 0,
) -> None:
    """List everything wrong or doubtful about a catalogue; exit code 2 if there is an error."""
    problems = examine(catalogue, seed=seed)
    if html is not None:
        write_file(html, problems_page(catalogue, problems).encode())
    if as_json:
        _print_json([vars(problem) for problem in problems])
    else:
        for problem in problems:
            sys.stdout.write(f"{problem.severity}: {problem}\n")
            sys.stdout.write("".join(f"    {example}\n" for example in problem.examples))
        sys.stdout.write(f"{counts(problems)}\n")
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(2)


@app.command("prepare")
def prepare_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=", ".join(KINDS))],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A file, or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The catalogue to write.")],
    column: Annotated[
        list[str] | None, typer.Option(help="Ours and theirs: text=title+description, id=sku")
    ] = None,
    baskets: Annotated[Path | None, typer.Option(help="A table of who took what.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Where pictures' paths begin.")] = None,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Texts only.")] = False,
    rate: Annotated[float, typer.Option(help="Downloads a second from one host.")] = 8.0,
    relations: Annotated[Path | None, typer.Option(help="What to mine, as TOML.")] = None,
    no_relations: Annotated[bool, typer.Option("--no-relations", help="Mine later.")] = False,
    skip_bad: SkipBad = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Make a catalogue from the files of a shop or a data set; repeat to go on after a stop."""
    settings = Settings(
        columns=column_names(column or ()),
        baskets=baskets,
        pictures=pictures,
        with_pictures=not no_pictures,
        rate=rate,
        cache=cache,
        plan=Plan.load(relations) if relations is not None else None,
        with_relations=not no_relations,
    )
    try:
        with bars() as report:
            found = prepare(
                kind, source, output, settings=settings, skip_bad=skip_bad, report=report
            )
    except KeyboardInterrupt:
        sys.stderr.write("relatum: interrupted; the same command goes on\n")
        raise typer.Exit(130) from None
    if as_json:
        _print_json(asdict(found))
    else:
        out.print(f"{found.headline()}; next: relatum train {output} -o MODEL", soft_wrap=True)


@app.command("mine")
def mine_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A catalogue folder.")],
    plan: Annotated[Path | None, typer.Option(help="What to mine, as TOML.")] = None,
    review: Annotated[
        Path | None,
        typer.Option(help="CSV of verdicts; written with proposals if it is not there."),
    ] = None,
    vectors: Annotated[
        list[str] | None, typer.Option(help="text=FILE or image=FILE, as relatum embed writes it.")
    ] = None,
    llm_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible endpoint; key in $RELATUM_LLM_KEY.")
    ] = None,
    llm_model: Annotated[str, typer.Option(help="The model to ask there.")] = "default",
    llm_calls: Annotated[int, typer.Option(help="Calls at most.")] = 200,
    llm_tokens: Annotated[int, typer.Option(help="Tokens at most.")] = 200_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the prompts only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mine relations from metadata, baskets and copies; writes tables and a noise report."""
    settings = Plan.load(plan) if plan is not None else None
    writer = None
    if llm_url is not None or dry_run:
        url, kept = llm_url or "http://127.0.0.1", cache_folder() / "descriptions"
        writer = Writer(url, llm_model, kept, llm_calls, llm_tokens, dry=dry_run)
    given: dict[str, np.ndarray | str] = {}
    for pair in vectors or ():
        name, _, path = pair.partition("=")
        given[name] = path
    with bars() as progress:
        found = mine(folder, settings, vectors=given, writer=writer, review=review, report=progress)
    if writer is not None and dry_run:
        sys.stdout.write("\n\n".join(writer.prompts) + "\n")
    elif as_json:
        _print_json(asdict(found))
    else:
        out.print(f"{headline(found)} Report: {folder / 'mined/report.html'}", soft_wrap=True)


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


@app.command("study")
def study_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=", ".join(STUDIES))],
    catalogue: CatalogueName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for its results.")],
    seeds: Annotated[int, typer.Option(help="How many splits and trainings.")] = 5,
    jobs: Annotated[int, typer.Option(help="Processes, each on one core.")] = 2,
    trained_on: Annotated[
        str | None, typer.Option(help="For the domain study: the catalogue to train on.")
    ] = None,
    cache: Cache = None,
) -> None:
    """Compare many methods over several seeds; what is done already is not done again."""
    names: dict[str, Study] = {one: one for one in STUDIES}
    chosen = names.get(kind)
    if chosen is None:
        raise RelatumError(f"unknown study {kind!r}", fix=f"expected one of {', '.join(STUDIES)}")
    if min(seeds, jobs) < 1:
        raise RelatumError(f"expected at least 1, got {seeds} seeds and {jobs} jobs")
    with bars() as report:
        table = study(chosen, catalogue, output, seeds=seeds, jobs=jobs, cache=cache, report=report)
    sys.stdout.write(table.to_markdown())
    out.print(f"tables and a plot are in {output}")


@app.command("index")
def index_command(
    model: ModelFolder,
    catalogue: CatalogueName,
    output: Annotated[str, typer.Option("-o", "--output", help="The store: a folder or URI.")],
    skip_bad: SkipBad = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Fill a store with a catalogue's items; the same command goes on where it was stopped."""
    loaded = Model.load(model)
    found = _load(catalogue, skip_bad=skip_bad)
    try:
        with bars() as report:
            store = Store.build(loaded, found, output, cache=cache, report=report)
    except KeyboardInterrupt:
        sys.stderr.write("relatum: interrupted; the same command goes on\n")
        raise typer.Exit(130) from None
    if as_json:
        _print_json({"store": output, "items": len(store)})
    else:
        out.print(f'{len(store)} items in {output}; next: relatum search {output} --text "a lamp"')


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
    as_json: AsJson = False,
) -> None:
    """Find what stands in a relation, or in several, to an item, a text or a picture."""
    if item is None and text is None and image is None:
        raise RelatumError("expected --item, --text or --image", fix="say what to search from")
    if item is not None and (text is not None or image is not None):
        raise RelatumError("--item came with --text or --image", fix="name one source")
    if k < 1:
        raise RelatumError(f"expected at least 1, got {k}", where="-k")
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
    )
    if as_json:
        _print_json([asdict(hit) for hit in hits])
    elif hits:
        out.print(_hits_table(hits, relation, explain=explain))
    else:
        out.print("nothing passes" if where or min_score else "nothing else is in the store")


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


def _hits_table(hits: list[Hit], relation: list[str] | None, *, explain: bool) -> Table:
    table = Table(
        title=f"under {', '.join(map(repr, relation))}" if relation else "under no relation"
    )
    for column in ("rank", "id", "score", "probability", "text"):
        table.add_column(column, justify="left" if column in ("id", "text") else "right")
    if explain:
        table.add_column("carried by")
    for hit in hits:
        chance = "" if hit.probability is None else f"{hit.probability:.2f}"
        cells = [str(hit.rank), hit.id, f"{hit.score:.3f}", chance, hit.text or "(picture only)"]
        words = sorted((hit.explanation and hit.explanation.hit.words) or (), key=lambda w: -w[1])
        best = [f"{word} {weight:+.3f}" for word, weight in words[:4]]
        table.add_row(*cells, *([", ".join(best)] if explain else []))
    return table


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
    with bars() as report:
        done = quickstart(output, report=report, cache=cache)
    out.print(done.terminal())
    out.print(done.headline, soft_wrap=True)
    out.print(f"pictures: {done.page}\nreport:   {done.report}")


if __name__ == "__main__":
    main()
