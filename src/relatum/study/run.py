"""Run a study: every variant with every seed, in several processes, each cell kept on disk.

In: the kind of study, a catalogue, how many seeds.
Out: a folder with one file a cell, and the table, the numbers and a plot made from them.
This file does not know what a variant is nor how it is judged.
"""

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from relatum.catalogue import Catalogue
from relatum.config import Config
from relatum.disk import write_file
from relatum.errors import DataError
from relatum.progress import Report, silent
from relatum.rivals import Rival
from relatum.rivals.rivals import changed
from relatum.study.measure import Cell, run_cell
from relatum.study.table import Table, tabulate
from relatum.study.variants import Kind, folds, variants


@dataclass(frozen=True)
class _Job:
    catalogue: str
    rival: Rival
    seed: int
    fold: int
    settings: Mapping[str, object]
    section: str
    cache: Path | None
    trained_on: str | None
    path: Path


def study(
    kind: Kind,
    catalogue: str,
    output: str | Path,
    *,
    seeds: int = 5,
    jobs: int = 2,
    settings: Mapping[str, object] | None = None,
    cache: Path | None = None,
    trained_on: str | None = None,
    cells: Path | None = None,
    report: Report = silent,
) -> Table:
    """Run a study and write `study.json`, `study.md` and `study.svg` into `output`.

    `catalogue` is a folder or a built-in name; `settings` change the defaults for all variants;
    `trained_on` is the catalogue to train on, for the study of a new domain. Cells that an earlier
    run left in `cells`, a folder that studies may share (by default `output`/cells), are not run
    again. Raises `DataError` where nothing can be asked.
    """
    if (kind == "domain") != (trained_on is not None):
        raise ValueError("expected trained_on for the study of a new domain, and for no other")
    output = Path(output)
    cells = cells or output / "cells"
    loaded = Catalogue.load(catalogue)
    section = kind if kind in ("unseen", "groups") else "seen"
    facts = [loaded.fingerprint(), *([trained_on] if trained_on else []), section]
    todo: list[_Job] = []
    for fold, held in enumerate(folds(kind, loaded)):
        for seed in range(seeds):
            for rival in variants(kind):
                changes = {**(settings or {}), **held}
                path = cells / f"{_key(facts, rival, seed, changes)}.json"
                todo.append(
                    _Job(catalogue, rival, seed, fold, changes, section, cache, trained_on, path)
                )
    _run([job for job in todo if not job.path.exists()], jobs, report)
    done = [Cell(**values) for job in todo for values in json.loads(job.path.read_text())]
    table = tabulate(kind, loaded.name, done)
    if not table.rows:
        raise DataError("none of the test items can be asked about", where=catalogue)
    table.save(output)
    return table


def _key(facts: Sequence[str], rival: Rival, seed: int, settings: Mapping[str, object]) -> str:
    """Name a cell by everything that it depends on but the code."""
    config = changed(Config(seed=seed), {**settings, **rival.settings})
    values = [facts[0], rival.name, *facts[1:], config.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _run(todo: Sequence[_Job], jobs: int, report: Report) -> None:
    """Run the jobs, each on one thread; a cell is written when it is whole."""
    with ProcessPoolExecutor(
        max(1, min(jobs, len(todo))),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
    ) as pool:
        running = [pool.submit(_work, job) for job in todo]
        for done, future in enumerate(as_completed(running), 1):
            report("study", done, len(todo), future.result())


def _begin() -> None:
    """Keep to one core, and end when the process that asked is gone."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: _Job) -> str:
    catalogue = Catalogue.load(job.catalogue)
    cells = run_cell(
        catalogue,
        job.rival,
        job.seed,
        job.fold,
        job.settings,
        job.section,
        job.cache,
        Catalogue.load(job.trained_on) if job.trained_on else None,
    )
    write_file(job.path, json.dumps([asdict(cell) for cell in cells]).encode())
    return f"{job.rival.name}, seed {job.seed}"
