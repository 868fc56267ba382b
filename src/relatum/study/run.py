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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from relatum.catalogue import Catalogue
from relatum.config import Config
from relatum.disk import write_file
from relatum.errors import ConfigError, DataError
from relatum.progress import Report, silent
from relatum.rivals import Rival
from relatum.rivals.rivals import changed
from relatum.study.measure import Cell, run_cell
from relatum.study.table import Table, tabulate
from relatum.study.variants import Kind, folds, variants
from relatum.study.write import save


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
    cells: Path
    key: tuple[str, ...]  # what the cell depends on besides

    @property
    def path(self) -> Path:
        """Name the cell by everything that it depends on but the code."""
        config = changed(Config(seed=self.seed), {**self.settings, **self.rival.settings})
        values = [self.key[0], self.rival.name, *self.key[1:], config.model_dump(mode="json")]
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return self.cells / f"{digest[:16]}.json"

    def read(self) -> list[Cell]:
        """Return what is on disk."""
        return [Cell(**values) for values in json.loads(self.path.read_text())]

    def at(self, rate: float | None) -> "_Job":
        """Take the learning rate as given; None: as it is."""
        if rate is None or not self.rival.is_tuned:
            return self
        settings = {**self.settings, "training.learning_rate": rate}
        return replace(self, settings=settings, rival=replace(self.rival, is_tuned=False))


def study(
    kind: Kind,
    catalogue: str,
    output: str | Path,
    *,
    seeds: int = 5,
    jobs: int = 2,
    only: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    cache: Path | None = None,
    trained_on: str | None = None,
    cells: Path | None = None,
    report: Report = silent,
) -> Table:
    """Run a study and write `study.json`, `study.md` and `study.svg` into `output`.

    `catalogue` is a folder or a built-in name; `only` names the variants that the first of them,
    with which all are compared, stands beside (none: all there are); `settings` change the defaults
    for all variants; `trained_on` is the catalogue to train on, for the study of a new domain. A
    rival's learning rate is chosen on the validation items of the first seed. Cells that an earlier
    run left in `cells`, a folder that studies may share (by default `output`/cells), are not run
    again. Raises `ConfigError` for a name that no variant has, and `DataError` where nothing can be
    asked.
    """
    if (kind == "domain") != (trained_on is not None):
        what = f"the study {kind!r} with {trained_on!r} as the catalogue to train on"
        raise ConfigError(what, fix="name it (--trained-on) for the study 'domain' alone")
    compared = _chosen(kind, only)
    output = Path(output)
    loaded = Catalogue.load(catalogue)
    section = kind if kind in ("unseen", "groups") else "seen"
    key = loaded.fingerprint(), *([trained_on] if trained_on else []), section
    todo = [
        _Job(catalogue, rival, seed, fold, {**(settings or {}), **held}, section, cache, *rest)
        for rest in [(trained_on, cells or output / "cells", key)]
        for fold, held in enumerate(folds(kind, loaded))
        for seed in range(seeds)
        for rival in compared
    ]
    first = [job for job in todo if job.seed == job.fold == 0]
    _run(first, jobs, report)
    rates = {job.rival.name: job.read()[0].rate for job in first}
    todo = [job if job.seed == job.fold == 0 else job.at(rates[job.rival.name]) for job in todo]
    _run(todo, jobs, report)
    done = [cell for job in todo for cell in job.read()]
    table = tabulate(kind, loaded.name, done)
    if not table.rows:
        raise DataError("none of the test items can be asked about", where=catalogue)
    save(table, output)
    return table


def _chosen(kind: Kind, only: Sequence[str]) -> list[Rival]:
    first, *others = variants(kind)
    names = [rival.name for rival in others]
    unknown = [name for name in only if name not in (first.name, *names)]
    if unknown:
        what = f"unknown method {unknown[0]!r} of the study {kind!r}"
        raise ConfigError(what, fix=f"expected some of: {'; '.join(names)}")
    return [first, *(rival for rival in others if rival.name in only or not only)]


def _run(todo: Sequence[_Job], jobs: int, report: Report) -> None:
    """Run those that are not on disk, each on one thread; a cell is written when it is whole."""
    todo = [job for job in todo if not job.path.exists()]
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
