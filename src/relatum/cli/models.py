"""Commands that make, judge and use models: train, evaluate, study, embed."""

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from relatum.cli.options import (
    SHARD,
    STUDIES,
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
    from relatum.config import Config

    settings = Config.load(config, sets or ())
    found = load(catalogue, skip_bad=skip_bad)
    from relatum.distributed import is_first  # torch takes seconds: what is wrong is said before
    from relatum.train import train

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
        then = shlex.join(["relatum", "evaluate", str(output), catalogue, "-o", "REPORT"])
        out.print(f"the model is in {output}; next: {then}", soft_wrap=True)


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
    from relatum.evaluate import evaluate
    from relatum.model import Model

    loaded = Model.load(model)
    found = load(catalogue, skip_bad=skip_bad)
    with bars() as progress:
        report = evaluate(loaded, found, folder=output, cache=cache, report=progress)
    report.save(output)
    if as_json:
        sys.stdout.write(report.to_json())
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
    method: Annotated[
        list[str] | None, typer.Option(help="Compare with this one only; may be given often.")
    ] = None,
    trained_on: Annotated[
        str | None, typer.Option(help="For the domain study: the catalogue to train on.")
    ] = None,
    cache: Cache = None,
) -> None:
    """Compare many methods over several seeds; what is done already is not done again."""
    from relatum.study import KINDS, Kind, study

    names: dict[str, Kind] = {one: one for one in KINDS}
    chosen = names.get(kind)
    if chosen is None:
        raise RelatumError(f"unknown study {kind!r}", fix=f"expected one of {', '.join(KINDS)}")
    if min(seeds, jobs) < 1:
        raise RelatumError(f"expected at least 1, got {seeds} seeds and {jobs} jobs")
    with bars() as report:
        table = study(
            chosen,
            catalogue,
            output,
            seeds=seeds,
            jobs=jobs,
            only=method or (),
            trained_on=trained_on,
            cache=cache,
            report=report,
        )
    sys.stdout.write(table.to_markdown())
    out.print(f"tables and a plot are in {output}")


@app.command("embed")
def embed_command(
    model: ModelFolder,
    catalogue: CatalogueName,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A file.parquet, or a folder for many shards.")
    ],
    relation: Annotated[str | None, typer.Option(help="Any relation, in plain words.")] = None,
    modality: Annotated[str, typer.Option(help="image, text or both")] = "both",
    shard: Annotated[int, typer.Option(min=1, help="Items a shard of a folder.")] = SHARD,
    engine: Annotated[str, typer.Option(help="For a folder: local, or ray.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Ray's processes; default one a core.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster, ray://host:10001; default one of our own.")
    ] = None,
    skip_bad: SkipBad = False,
    cache: Cache = None,
) -> None:
    """Write the items' vectors under a relation: columns id and vector; a folder can be resumed."""
    from relatum.bulk.embed import embed_folder
    from relatum.bulk.folder import write_parquet
    from relatum.bulk.workers import on_ray
    from relatum.model import Model
    from relatum.store.rows import vector_column

    if modality not in ("image", "text", "both"):
        raise RelatumError(f"expected image, text or both, got {modality!r}", where="--modality")
    if engine not in ("local", "ray"):
        raise RelatumError(f"expected local or ray, got {engine!r}", where="--engine")
    if output.suffix in (".csv", ".json", ".jsonl", ".npy", ".npz"):
        what, fix = f"cannot write {output.suffix}", "name a file.parquet, or a folder"
        raise RelatumError(what, where=output, fix=fix)
    if output.suffix != ".parquet":
        run = partial(on_ray, workers=workers, address=address) if engine == "ray" else map
        asked: Any = {"relation": relation, "modality": modality, "shard": shard}
        asked |= {"skip_bad": skip_bad, "engine": run, "cache": cache}
        found = load(catalogue, skip_bad=skip_bad, pictures=False)
        with bars() as report:
            made = embed_folder(model, found, output, report=report, **asked)
        for why in (why for one in made for why in one.left_out.values()):
            sys.stderr.write(f"left out: {why}\n")
        return out.print(f"{sum(one.count for one in made)} vectors in {output}")
    loaded, found = Model.load(model), load(catalogue, skip_bad=skip_bad)
    with bars() as report:
        tokens = loaded.view(found.items, cache=cache, report=report)
    vectors = getattr(loaded.condition(tokens, relation), modality)
    ids = [item.id for item in found.items]
    write_parquet(output, {"id": ids, "vector": vector_column(vectors)}, {})
    out.print(f"{len(ids)} vectors of {vectors.shape[1]} dimensions in {output}")
