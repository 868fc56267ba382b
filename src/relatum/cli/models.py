"""Commands that make, judge and use models: train, evaluate, study, embed."""

import sys
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer

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
from relatum.config import Config
from relatum.disk import write_file
from relatum.distributed import is_first
from relatum.errors import RelatumError
from relatum.evaluate import evaluate
from relatum.model import Model
from relatum.progress import bars
from relatum.study import KINDS as STUDIES
from relatum.study import Kind as Study
from relatum.study import study
from relatum.train import train


@app.command("train")
def train_command(
    catalogue: CatalogueName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model folder to write.")],
    config: Annotated[Path | None, typer.Option(help="Settings as TOML.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: training.seed=1")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the snapshot.")] = False,
    logs: Annotated[
        Path | None, typer.Option("--tensorboard", help="A folder for TensorBoard.")
    ] = None,
    skip_bad: SkipBad = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a catalogue."""
    settings = Config.load(config, sets or ())
    found = load(catalogue, skip_bad=skip_bad)
    try:
        with bars() as report:
            model = train(
                found,
                settings,
                output,
                resume=resume,
                cache=cache,
                report=report,
                tensorboard=logs,
            )
    except KeyboardInterrupt:
        sys.stderr.write("relatum: interrupted; the same command with --resume goes on\n")
        raise typer.Exit(130) from None
    if as_json and is_first():
        print_json({"model": output, "fingerprint": model.fingerprint})
    elif is_first():
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
    found = load(catalogue, skip_bad=skip_bad)
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
    found = load(catalogue, skip_bad=skip_bad)
    with bars() as report:
        tokens = loaded.encode(found.items, cache=cache, report=report)
    vectors = getattr(loaded.condition(tokens, relation), modality).numpy()
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    table = pa.table({"id": [item.id for item in found.items], "vector": column})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_file(output, sink.getvalue().to_pybytes())
    out.print(f"{len(found.items)} vectors of {vectors.shape[1]} dimensions in {output}")
