"""Commands that hand a model on: export onnx, sentence-transformers, vectors, pretrained."""

from pathlib import Path
from typing import Annotated

import typer

from relatum.cli.options import Cache, CatalogueName, ModelFolder, SkipBad, app, load, out
from relatum.progress import bars

exports = typer.Typer(help="Write a model for other tools.", no_args_is_help=True)
app.add_typer(exports, name="export")
Folder = Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")]


@exports.command("onnx")
def onnx_command(
    model: ModelFolder,
    output: Folder,
    int8: Annotated[bool, typer.Option("--int8", help="Quantised towers too.")] = False,
    measure: Annotated[str | None, typer.Option(help="A catalogue to check and time on.")] = None,
) -> None:
    """Write towers and conditioner as ONNX, to be served without torch."""
    from relatum.export import from_pretrained
    from relatum.export.onnx import export_onnx

    items = load(measure, skip_bad=True).items[:64] if measure else ()
    difference, costs = export_onnx(from_pretrained(model), output, int8=int8, items=items)
    for row in costs:
        out.print("".join(f"{cell:<18}" for cell in row), soft_wrap=True)
    out.print(f"{output}: vectors differ from the model's by {difference:.1e} at most")


@exports.command("sentence-transformers")
def sentence_command(
    model: ModelFolder,
    output: Folder,
    relation: Annotated[str | None, typer.Option(help="Fixed; else the null relation.")] = None,
) -> None:
    """Write a folder that SentenceTransformer loads."""
    from relatum.export import from_pretrained
    from relatum.export.sentence import export_sentence

    export_sentence(from_pretrained(model), output, relation)
    out.print(f'SentenceTransformer("{output}", trust_remote_code=True)', soft_wrap=True)


@exports.command("vectors")
def vectors_command(
    model: ModelFolder,
    catalogue: CatalogueName,
    output: Folder,
    relation: Annotated[list[str] | None, typer.Option(help="Any, in plain words.")] = None,
    skip_bad: SkipBad = False,
    cache: Cache = None,
) -> None:
    """Write a catalogue's vectors for FAISS, Qdrant or pgvector."""
    from relatum.export import export_vectors, from_pretrained

    loaded, items = from_pretrained(model), load(catalogue, skip_bad=skip_bad).items
    with bars() as report:
        names = export_vectors(loaded, items, output, relation or (), cache=cache, report=report)
    out.print(f"{len(items)} items in {output}: {', '.join(names)}", soft_wrap=True)


@exports.command("pretrained")
def pretrained_command(
    model: ModelFolder,
    output: Folder,
    report: Annotated[Path | None, typer.Option(help="What relatum evaluate wrote.")] = None,
    licence: Annotated[str, typer.Option(help="The hub's name of a licence.")] = "unknown",
    push: Annotated[str | None, typer.Option(help="A hub id: put it there too.")] = None,
) -> None:
    """Write a model with its card to a folder, and to the hub."""
    from relatum.export import from_pretrained, push_to_hub, save_pretrained

    loaded = from_pretrained(model)
    save_pretrained(loaded, output, report=report, licence=licence)
    out.print(f"the model and its card are in {output}")
    if push is not None:
        out.print(push_to_hub(loaded, push, report=report, licence=licence), soft_wrap=True)
