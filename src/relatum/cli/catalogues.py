"""Commands that make and check catalogues: validate, prepare, mine."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relatum.cli.options import (
    FILES,
    AsJson,
    Cache,
    CatalogueName,
    SkipBad,
    app,
    out,
    print_json,
)
from relatum.disk import cache_folder, write_file
from relatum.progress import bars

if TYPE_CHECKING:
    import numpy as np

SHOWN = 5  # examples of a problem


@app.command("validate")
def validate_command(
    catalogue: CatalogueName,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file too.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the split searched for copies.")] = 0,
) -> None:
    """List everything wrong or doubtful about a catalogue; exit code 2 if there is an error."""
    from relatum.catalogue import examine
    from relatum.catalogue.examine import counts, problems_page

    problems = examine(catalogue, seed=seed)
    if html is not None:
        write_file(html, problems_page(catalogue, problems).encode())
    if as_json:
        print_json([vars(problem) for problem in problems])
    else:
        for problem in problems:
            sys.stdout.write(f"{problem.severity}: {problem}\n")
            sys.stdout.write("".join(f"    {example}\n" for example in problem.examples[:SHOWN]))
            if (more := len(problem.examples) - SHOWN) > 0:
                sys.stdout.write(
                    f"    and {more:,} more: --json lists all, --html FILE a thousand\n"
                )
        sys.stdout.write(f"{counts(problems)}\n")
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(2)


@app.command("prepare")
def prepare_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=", ".join(FILES))],
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
    from relatum.prepare import NONE, Settings, column_names, prepare
    from relatum.relations import Plan

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
        print_json(asdict(found))
    else:
        then = f"train {output} -o MODEL" if found.relations != NONE else f"mine {output}"
        out.print(f"{found.headline()}; next: relatum {then}", soft_wrap=True)


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
    from relatum.relations import Plan, Writer, mine
    from relatum.relations.report import headline

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
        print_json(asdict(found))
    else:
        out.print(f"{headline(found)} Report: {folder / 'mined/report.html'}", soft_wrap=True)
