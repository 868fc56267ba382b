"""Train a model on a catalogue.

In: a catalogue, settings, perhaps a folder for the model and its snapshots.
Out: a `Model`; in the folder, `metrics.jsonl` and snapshots from which `resume` goes on exactly.
This room does not know how models are compared.
"""

from pathlib import Path
from typing import Any

from relatum.catalogue import Catalogue
from relatum.checkpoint import MANIFEST, remove_snapshots
from relatum.config import Config
from relatum.disk import check_place, disk_errors_named
from relatum.distributed import agree, is_first, joined, one_goes_ahead
from relatum.encoders import OWN, find_encoder
from relatum.encoders.tuning import begin_tuning, fill_tuned
from relatum.errors import CheckpointError, ConfigError, EncoderError, expect
from relatum.model import Model
from relatum.progress import Report, silent
from relatum.train.board import Board, open_board
from relatum.train.close import fit_closed_forms
from relatum.train.run import RELATUM, Recipe, Run, prepare, split_weights
from relatum.train.snapshot import restore, save_state, write_metrics
from relatum.train.step import take_step, validate
from relatum.train.watch import Watch


def train(
    catalogue: Catalogue,
    config: Config | None = None,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    cache: Path | None = None,
    report: Report = silent,
    recipe: Recipe = RELATUM,
    encoder: Any = None,  # noqa: ANN401
    tensorboard: Path | None = None,
) -> Model:
    """Train on a catalogue and return the model of the best validation.

    With `output`, the model folder is written there, snapshots on the way; `resume` goes on from
    the newest of them, and returns the finished model where training had ended. `encoder` is an
    object with `encode_images` and `encode_texts`, in place of the one that the settings name;
    where it is tuned, a copy of it is. `tensorboard` is a folder for the metrics. Under `torchrun`
    all processes train one model; the first writes it. Raises `DataError` for bad data, and
    `CheckpointError` for a snapshot of other settings.
    """
    expect(catalogue, Catalogue, "catalogue")
    config = config or Config()
    expect(config, Config, "config")
    if encoder is not None:
        config = config.model_copy(update={"encoder": OWN})
    folder = Path(output) if output is not None else None
    report = report if is_first() else silent
    if folder is not None:
        check_place(folder)
    with joined():
        finished = None
        if resume and folder is not None:
            finished = _finished(folder, config, catalogue, encoder)
        if folder is not None and agree(finished is not None):
            return finished or Model.load(folder, encoder=encoder)
        with one_goes_ahead():
            run = prepare(catalogue, config, cache, report, recipe, encoder)
        if agree(run.model.fingerprint) != run.model.fingerprint:
            raise CheckpointError("the processes differ", fix="give all the same data and --cache")
        split_weights(run)
        if folder is not None:
            _begin(run, folder, resume)
        with open_board(tensorboard if is_first() else None, run.step) as board:
            _train_steps(run, folder, report, board)
    return _finish(run, folder, encoder, report)


def _begin(run: Run, folder: Path, resume: bool) -> None:
    """Go on from the newest snapshot, or clear away what an earlier training left."""
    with disk_errors_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if resume:
        restore(run, folder)
    elif is_first():
        remove_snapshots(folder / "snapshots")
        (folder / "metrics.jsonl").unlink(missing_ok=True)


def _finish(
    run: Run,
    folder: Path | None,
    given: Any,  # noqa: ANN401
    report: Report,
) -> Model:
    """Go back to the best weights; the first process writes the model folder."""
    config = run.config
    if run.is_sharded:  # a whole encoder again
        run.model.encoder = find_encoder(config, given)
        begin_tuning(run.model.encoder, config)
    run.model.conditioner.load_state_dict(run.best)
    run.model.conditioner.cpu().eval()
    fill_tuned(run.model.encoder, config.tuning, run.best_encoder)
    run.model.forget_texts()
    fit_closed_forms(run, report)
    run.model.validation = run.best_score
    if folder is not None and is_first():
        run.model.save(folder)
        remove_snapshots(folder / "snapshots")
    return run.model


def _finished(
    folder: Path,
    config: Config,
    catalogue: Catalogue,
    encoder: Any,  # noqa: ANN401
) -> Model | None:
    """Return the model of an earlier run of the same settings and data, if there is a whole one."""
    if not (folder / MANIFEST).exists():
        return None
    try:
        model = Model.load(folder, encoder=encoder)
    except (CheckpointError, ConfigError, EncoderError):
        return None  # damaged or of another version: what is asked for is trained anew
    same = model.config == config and model.catalogue == catalogue.fingerprint()
    return model if same else None


def without_conditioning(config: Config) -> Config:
    """Return the settings of the twin that sees no relation text."""
    return config.model_copy(
        update={"model": config.model.model_copy(update={"conditioned": False})}
    )


def _train_steps(run: Run, folder: Path | None, report: Report, board: Board) -> None:
    settings, watch = run.config.training, Watch()
    while run.step < run.steps:
        waited = (run.step - run.best_step) // run.validate_every
        if run.step and waited >= settings.patience:
            report("train", run.steps, run.steps, f"stopped early at {run.step}")
            return
        taken = take_step(run)
        run.step += 1
        report("train", run.step, run.steps, watch.see(taken))
        is_due = run.step % run.validate_every == 0 or run.step == run.steps
        if is_due:
            row = watch.row(run, taken, validate(run))
            board(row)
            for text in row["warnings"]:
                report("warning", 1, 1, text)
            if folder is not None and is_first():
                write_metrics(folder, row)
        is_kept = settings.snapshot_every and run.step % settings.snapshot_every == 0
        if folder is not None and (is_due or is_kept):
            save_state(run, folder)
