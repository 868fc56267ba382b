"""A study runs every variant, keeps its cells, and counts paired differences."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from conftest import Settings, as_changes
from relatum.catalogue import Catalogue
from relatum.cli import app
from relatum.errors import ConfigError, DataError
from relatum.rivals.rivals import RATES
from relatum.study import study
from relatum.study.measure import KEPT, Cell
from relatum.study.table import tabulate
from relatum.study.variants import KINDS, folds, variants
from relatum.study.write import save


def cell(method: str, seed: int, hits: list[float], *, is_blind: bool = False) -> Cell:
    answers = {metric: {"one": hits, "two": hits[::-1]} for metric in KEPT}
    return Cell(method, seed, 0, "both", answers, {"type top-1": 0.5}, is_blind=is_blind)


def test_a_table_pairs_queries_and_counts_over_seeds() -> None:
    cells = [
        cell("relatum", 0, [1.0, 1.0]),
        cell("relatum", 1, [1.0, 0.0]),
        cell("other", 0, [0.0, 1.0], is_blind=True),
        cell("other", 1, [0.0, 0.0], is_blind=True),
        cell("frozen text", 0, [0.0, 0.0], is_blind=True),
        cell("frozen text", 1, [0.0, 0.0], is_blind=True),
    ]
    table = tabulate("rivals", "tiny", cells)
    relatum, other, _ = table.rows
    assert relatum.numbers["hit@5"].mean == 0.75 and other.numbers["hit@5"].mean == 0.25
    assert relatum.numbers["hit@5"].deviation == pytest.approx(np.std([1.0, 0.5], ddof=1))
    behind = other.behind["hit@5"]
    assert behind.mean == 0.5 and behind.low <= 0.5 <= behind.high and behind.ratio == 2.0
    frozen, blind = table.best
    assert frozen.behind["hit@5"].mean == 0.75 and blind.behind["hit@5"].mean == 0.5
    text = table.to_markdown()
    assert "| relatum | 2 | 75.0 ± 35.4 |" in text and "+50.0 [" in text


@pytest.mark.parametrize(
    ("kind", "names", "axis"),
    [
        ("rivals", ["relatum", "other"], None),
        ("beta", ["beta 1.0", "beta 0.25"], "β"),
        (
            "curve",
            ["a, 100% of links", "b, 100% of links", "a, 5% of links", "b, 5% of links"],
            "5",
        ),
    ],
)
def test_the_table_and_plot_are_written(
    kind: str, names: list[str], axis: str | None, tmp_path: Path
) -> None:
    save(tabulate(kind, "tiny", [cell(name, 0, [1.0]) for name in names]), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"study.json", "study.md", "study.svg"}
    plot = (tmp_path / "study.svg").read_text()
    assert plot.startswith("<svg")
    assert axis is None or f"<!-- {axis} -->" in plot


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_comes_first_and_names_are_unique(kind: str) -> None:
    names = [one.name for one in variants(kind)]  # type: ignore[arg-type]
    assert len(set(names)) == len(names) > 1
    assert names[0].startswith(("relatum", "beta"))


def test_every_relation_is_held_out_once() -> None:
    catalogue = Catalogue.load("furniture")
    held: list[str] = []
    for settings in folds("unseen", catalogue):
        pair = settings["split.held_out_relations"]
        assert isinstance(pair, tuple) and 1 <= len(pair) <= 2
        held += pair
    assert sorted(held) == sorted(relation.id for relation in catalogue.relations)


def test_a_study_runs_once_and_then_from_its_cells(
    folder: Path, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    changes = as_changes(settings(training__steps=2, split__test_items=0.6))
    names = ["relatum", "CLIP, linked pairs"]
    seen: list[str] = []

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        seen.append(note)

    def run() -> str:
        return study(
            "rivals", str(folder), tmp_path, seeds=2, jobs=1, only=names[1:], settings=changes,
            cache=cache, report=report,
        ).to_markdown()  # fmt: skip

    first = run()
    assert seen == [f"{name}, seed {seed}" for seed in (0, 1) for name in names]
    assert "frozen, relation appended" in first and "| CLIP, linked pairs | 2 |" in first
    assert run() == first and len(seen) == 4
    cells = [json.loads(path.read_text())[0] for path in (tmp_path / "cells").iterdir()]
    rates = {cell["rate"] for cell in cells if cell["method"] == "CLIP, linked pairs"}
    assert len(rates) == 1 and rates < {*RATES}  # chosen with the first seed, kept with the second


def test_what_a_study_does_not_know_is_said_before_anything_is_trained(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="unknown method 'gait'.*gate"):
        study("rivals", str(folder), tmp_path, only=["gait"])
    with pytest.raises(ConfigError, match="name it .--trained-on. for the study 'domain'"):
        study("domain", str(folder), tmp_path)
    with pytest.raises(ConfigError, match="name it .--trained-on. for the study 'domain'"):
        study("rivals", str(folder), tmp_path, trained_on="survival")
    assert not list(tmp_path.iterdir())


def test_a_catalogue_without_questions_is_said(
    folder: Path, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    changes = as_changes(settings(training__steps=1, split__test_items=0.02))
    with pytest.raises(DataError, match="none of the test items can be asked about"):
        study("rivals", str(folder), tmp_path, seeds=1, jobs=1, only=["gate"], settings=changes,
              cache=cache)  # fmt: skip


def test_the_command_hands_on_what_it_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, object] = {}

    def stop(*_: object, **options: object) -> None:
        told.update(options)
        raise ConfigError("stopped")

    monkeypatch.setattr("relatum.study.study", stop)
    words = ["study", "domain", str(folder), "-o", str(tmp_path), "--trained-on", "survival"]
    result = CliRunner().invoke(app, [*words, "--method", "gate", "--seeds", "2"])
    assert result.exit_code and told["trained_on"] == "survival"
    assert told["only"] == ["gate"] and told["seeds"] == 2
