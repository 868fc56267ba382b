"""A run that is killed goes on and gives the same bytes; the command line says what it did."""

import importlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from relatum.catalogue import Catalogue
from relatum.errors import DataError, RelatumError
from relatum.prepare import Settings, prepare
from relatum.prepare.stage import open_stage
from test_cli import run
from test_prepare_kinds import lines, picture

room = importlib.import_module("relatum.prepare.prepare")
QUICK = Settings(with_relations=False)


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Products with pictures, related products, reviews; some rows are bad."""
    folder = tmp_path / "source"
    folder.mkdir()
    for k, colour in enumerate(("red", "green", "blue")):
        (folder / f"{k}.png").write_bytes(picture(colour))
    (folder / "3.png").write_bytes(b"<html>")
    rows = [
        {
            "asin": f"B{k % 55}" if k % 11 else None,
            "title": f"Lamp {k}",
            "brand": "by Acme" if k % 2 else "Zeta",
            "price": "$5" if k % 7 else "?",
            "also_buy": [f"B{k + 1}", "B3"],
            "imageURLHighRes": [f"{k % 4}.png"],
        }
        for k in range(60)
    ]
    lines(folder / "meta_x.json.gz", rows)
    reviews = [{"reviewerID": f"A{k % 5}", "asin": f"B{k}", "unixReviewTime": k} for k in range(60)]
    lines(folder / "x.json.gz", [*reviews, {"reviewerID": None}])
    return folder


class Stopped(BaseException):
    """Ends a run as a kill does: nothing is tidied up."""


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ITEMS", 7)
    monkeypatch.setattr(room, "BASKETS", 13)


def test_a_run_stopped_anywhere_goes_on_to_the_same_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_chunks: None
) -> None:
    """Stop at every replacement of a file in turn, until a run comes through."""
    whole = tmp_path / "whole"
    prepare("amazon-2018", source, whole, settings=QUICK, skip_bad=True)
    expected = contents(whole)
    assert len(expected) == 8
    left, replace_file = 0, Path.replace

    def stop(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left == 0:
            raise Stopped
        if left == -1 and target.suffix == ".parquet":
            replace_file(path, target)
            raise Stopped  # the file is there, and nothing after it
        return replace_file(path, target)

    for first in (1, 2, 3, 5, 8, 13, 21, 34, 55):
        output = tmp_path / f"stopped{first}"
        for stops in range(4):
            left = first + stops
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", stop)
                try:
                    prepare("amazon-2018", source, output, settings=QUICK, skip_bad=True)
                except Stopped:
                    continue
                break
        prepare("amazon-2018", source, output, settings=QUICK, skip_bad=True)
        assert contents(output) == expected
        assert not list(tmp_path.glob(".*"))


def test_a_killed_program_goes_on_to_the_same_bytes(
    source: Path, tmp_path: Path, small_chunks: None
) -> None:
    """Kill the program itself (SIGKILL) in the middle of its chunks."""
    whole, output = tmp_path / "whole", tmp_path / "killed"
    prepare("amazon-2018", source, whole, settings=QUICK, skip_bad=True)
    code = (
        "import importlib, sys, time; from pathlib import Path\n"
        "room = importlib.import_module('relatum.prepare.prepare')\n"
        "room.ITEMS, room.BASKETS, write = 7, 13, room.write_table\n"
        "room.write_table = lambda *rows: (write(*rows), time.sleep(0.3))\n"
        "room.prepare('amazon-2018', *map(Path, sys.argv[1:]), skip_bad=True,"
        " settings=room.Settings(with_relations=False))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(source), str(output)])
    parts, until = tmp_path / ".killed.preparing/parts", time.monotonic() + 300
    while len(list(parts.glob("*.parquet"))) < 7 and time.monotonic() < until:
        time.sleep(0.01)
    assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert parts.exists() and not output.exists()
    prepare("amazon-2018", source, output, settings=QUICK, skip_bad=True)
    assert contents(output) == contents(whole)


def test_what_was_done_is_not_done_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_chunks: None
) -> None:
    """A refused source goes on with --skip-bad from where it was."""
    output = tmp_path / "c"
    with pytest.raises(DataError, match="with --skip-bad the work goes on") as error:
        prepare("amazon-2018", source, output, settings=QUICK)
    told = Path(str(error.value).split("more: ")[1].split(")")[0])
    assert len(told.read_text().splitlines()) > 5
    monkeypatch.setattr(room.Pictures, "keep", None)  # calling it would fail
    found = prepare("amazon-2018", source, output, settings=QUICK, skip_bad=True)
    assert found.items == len(pq.read_table(output / "items.parquet")) > 40


def test_a_folder_of_pictures_that_is_not_there_is_named_once(source: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, pictures=tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere: expected a folder of pictures, found none"):
        prepare("amazon-2018", source, tmp_path / "out", settings=settings, skip_bad=True)


def test_another_source_or_column_begins_anew(tmp_path: Path) -> None:
    source, output = tmp_path / "x.jsonl", tmp_path / "c"
    lines(source, [{"id": 1, "text": "a", "name": "b"}, {"id": None}])
    with pytest.raises(DataError):
        prepare("table", source, output, settings=QUICK)
    settings = Settings(columns={"text": ("name",)}, with_relations=False)
    with pytest.raises(DataError):
        prepare("table", source, output, settings=settings)
    prepare("table", source, output, settings=settings, skip_bad=True)
    assert pq.read_table(output / "items.parquet").to_pylist()[0]["text"] == "b"
    lines(source, [{"id": 1, "text": "c"}])
    prepare("table", source, output, settings=QUICK)
    assert pq.read_table(output / "items.parquet").to_pylist()[0]["text"] == "c"


def test_an_old_catalogue_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    source, output = tmp_path / "x.jsonl", tmp_path / "c"
    lines(source, [{"id": 1, "text": "a"}])
    prepare("table", source, output, settings=QUICK)
    before = contents(output)
    lines(source, [{"id": 1, "text": "a"}, {"id": 1, "text": "b"}])
    with pytest.raises(DataError, match="duplicate id '1', first at x.jsonl:1"):
        prepare("table", source, output, settings=QUICK)
    assert contents(output) == before


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    lines(tmp_path / "x.jsonl", [{"id": 1, "text": "a"}])
    with pytest.raises(DataError, match="lies inside the source"):
        prepare("table", tmp_path, tmp_path / "c", settings=QUICK)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear")
    with pytest.raises(DataError, match="did not write"):
        prepare("table", tmp_path / "x.jsonl", tmp_path / "home", settings=QUICK)
    assert (tmp_path / "home/letter.txt").read_text() == "dear"


def test_two_runs_on_one_catalogue_do_not_mix(tmp_path: Path) -> None:
    source, output = tmp_path / "x.jsonl", tmp_path / "c"
    lines(source, [{"id": 1, "text": "a"}])
    with open_stage(output, {}) as stage:
        (stage.folder / "job.json").write_bytes(b"{}")
        other = sqlite3.connect(stage.folder / "ids.sqlite", timeout=0.1)
        with pytest.raises(sqlite3.OperationalError):
            other.execute("BEGIN EXCLUSIVE")
        other.close()
        with pytest.raises(RelatumError, match="another prepare works"), open_stage(output, {}):
            pass


def test_the_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "c"
    words = ["prepare", "amazon-2018", source, "-o", output]
    code, _, err = run(capsys, *words)
    line = err.strip().splitlines()[-1]
    assert code == 2 and "--skip-bad" in line and "meta_x.json.gz:1" in line
    code, out, _ = run(capsys, *words, "--skip-bad", "--json")
    found = json.loads(out)
    assert code == 0 and found["items"] > 40 and found["left_out"]["row"] > 5
    assert found == json.loads((output / "prepare.json").read_text())
    code, out, _ = run(capsys, *words, "--skip-bad")
    assert code == 0 and "items" in out and "see problems.jsonl" in out
    catalogue = Catalogue.load(output)
    assert "brand" in {relation.id for relation in catalogue.relations}
    assert {group.id for group in catalogue.groups} >= {"acme"} or catalogue.groups


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["prepare", "excel", "x", "-o", "c"], "KIND: expected one of table, folder"),
        (["prepare", "table", "nowhere.csv", "-o", "c"], "no such file or folder"),
        (
            ["prepare", "table", "x", "-o", "c", "--column", "txt=a"],
            "expected ours=theirs",
        ),
        (
            ["prepare", "table", "x", "-o", "c", "--column", "text="],
            "expected ours=theirs",
        ),
        (["prepare", "table", "x", "-o", "c", "--rate", "0"], "--rate: expected"),
        (["prepare", "table", "x", "-o", "c", "--baskets", "no.csv"], "no such file or folder"),
        (["prepare", "table", "x", "-o", "/dev/null/c"], "a file stands where a folder is needed"),
        (["prepare", "table", "x", "-o", "c", "--relations", "no.toml"], "cannot read the plan"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2 and expected in err and not out and not list(tmp_path.iterdir())


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def test_chunks_that_are_whole_are_not_given_again(tmp_path: Path) -> None:
    with open_stage(tmp_path / "c", {"a": 1}) as stage:
        given = [name for name, chunk in stage.chunks("x", numbers(5), 2) if list(chunk)]
        assert given == ["x-000000", "x-000001", "x-000002"]
        assert not list(stage.chunks("x", numbers(5), 2))
    with open_stage(tmp_path / "c", {"a": 1}) as stage:
        (stage.parts / "y-000000.parquet").touch()
        assert [list(chunk) for _, chunk in stage.chunks("y", numbers(5), 2)] == [[2, 3], [4]]
