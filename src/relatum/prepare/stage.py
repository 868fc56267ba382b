"""Where unfinished work stands, so that a killed run goes on where it was.

In: records, in the same order each time.
Out: a folder of finished chunks beside the place of the catalogue. A chunk is there when its last
file is; ids that were seen are on disk too, so that memory does not grow with the catalogue.
This file does not know what the records mean.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from relatum.disk import disk_errors_named, new_folder, restore_folder, write_file
from relatum.errors import RelatumError
from relatum.prepare.sources import Record

REFUSED = "refused.json"  # pictures, and in which state they were
Problem = dict[str, str]
T = TypeVar("T")


class Stage:
    """Chunks of work; `ready` is the catalogue as far as it has come."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.ready = folder, folder / name
        self.parts = folder / "parts"
        self.seen = sqlite3.connect(folder / "ids.sqlite", isolation_level=None, timeout=1)
        for line in (
            "PRAGMA locking_mode=EXCLUSIVE",
            "PRAGMA synchronous=OFF",
            "PRAGMA cache_size=-65536",  # kB
            "BEGIN EXCLUSIVE",
            "CREATE TABLE IF NOT EXISTS ids (id TEXT PRIMARY KEY, place TEXT, chunk TEXT)"
            " WITHOUT ROWID",
        ):
            self.seen.execute(line)
        next_chunk = f"items-{self._done('items'):06}"  # a killed run may have claimed for it
        self.seen.execute("DELETE FROM ids WHERE chunk >= ?", (next_chunk,))

    def chunks(
        self, name: str, records: Iterator[T], size: int
    ) -> Iterator[tuple[str, Iterator[T]]]:
        """Yield (name, records) of the chunks that are still to be done, then mark the end.

        Each chunk has to be read to its end before the next one is asked for.
        """
        end = self.parts / f"{name}.end"
        if end.exists():
            return
        number = self._done(name)
        rest = islice(records, number * size, None)
        for first in rest:
            yield f"{name}-{number:06}", chain((first,), islice(rest, size - 1))
            number += 1
        end.touch()

    def _done(self, name: str) -> int:
        return len(list(self.parts.glob(f"{name}-*.parquet")))

    def claim(self, name: str, place: str, chunk: str) -> str | None:
        """Take an id; if it is taken, return the place where it came first."""
        row = (name, place, chunk)
        if self.seen.execute("INSERT OR IGNORE INTO ids VALUES (?, ?, ?)", row).rowcount:
            return None
        return self.seen.execute("SELECT place FROM ids WHERE id = ?", (name,)).fetchone()[0]

    def commit(self) -> None:
        """Keep the ids that were claimed."""
        self.seen.execute("COMMIT")
        self.seen.execute("BEGIN EXCLUSIVE")

    def write_problems(self, name: str, problems: list[Problem]) -> None:
        """Write the problems of a chunk, to be gathered at the end."""
        lines = "".join(json.dumps(one, ensure_ascii=True) + "\n" for one in problems)
        part = self.parts / f"{name}.problems.writing"
        part.write_text(lines, encoding="utf-8")
        part.replace(part.with_suffix(".jsonl"))

    def note_refused(self, state: Callable[[str], object]) -> None:
        """Keep the state of the pictures that are refused."""
        lines = (self.ready / "problems.jsonl").read_text(encoding="utf-8").splitlines()
        names = [name for line in lines if (name := json.loads(line).get("picture"))]
        states = [(name, state(name)) for name in names]
        write_file(self.folder / REFUSED, json.dumps(states).encode())

    def gather_problems(self) -> tuple[dict[str, int], Problem | None]:
        """Join the problems in `problems.jsonl`; return how many of each sort, and the first."""
        counts: dict[str, int] = {}
        first: Problem | None = None
        with (self.ready / "problems.jsonl").open("w", encoding="utf-8") as joined:
            for path in sorted(self.parts.glob("*.problems.jsonl"), key=_items_first):
                for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                    problem = json.loads(line)
                    first = first or problem
                    counts[problem["left_out"]] = counts.get(problem["left_out"], 0) + 1
                    joined.write(line)
        return counts, first


def _items_first(path: Path) -> tuple[bool, str]:
    return not path.name.startswith("items"), path.name


@contextmanager
def open_stage(
    output: Path, job: dict[str, object], state: Callable[[str], object] = lambda _: None
) -> Iterator[Stage]:
    """Give the stage of `output`: the one that an equal job left, or a new one.

    A new one too if the `state` of a picture that the old one refused is another now.
    """
    output = output.absolute()
    folder = output.with_name(f".{output.name}.preparing")
    asked = json.dumps(job, sort_keys=True).encode()
    with disk_errors_named(folder):
        restore_folder(output)
        note = folder / "job.json"
        is_same = note.is_file() and note.read_bytes() == asked and (folder / output.name).is_dir()
        refused = folder / REFUSED
        if is_same and refused.is_file():
            is_same = all(state(name) == old for name, old in json.loads(refused.read_bytes()))
        if not is_same:
            shutil.rmtree(folder, ignore_errors=True)
            for name in (output.name, "parts"):
                (folder / name).mkdir(parents=True)
            write_file(note, asked)
        for left in (folder / output.name).rglob(".*.part"):  # of pictures, by a killed run
            left.unlink()
        try:
            stage = Stage(folder, output.name)
        except sqlite3.OperationalError as error:
            what = "another prepare works on the same catalogue"
            raise RelatumError(what, where=output, fix="wait for it, or stop it") from error
        try:
            yield stage
        finally:
            stage.seen.close()


def finish(stage: Stage, output: Path) -> None:
    """Put the catalogue in its place in one step, and remove the stage."""
    stage.seen.close()
    with new_folder(output) as part:
        os.rename(stage.ready, part)  # takes the place of an empty folder
    shutil.rmtree(stage.folder)


def outcome(
    record: Record, what: str, fix: str, *, about: str = "", left_out: str, picture: str = ""
) -> Problem:
    """Say what is wrong with a record, and whether the row, its image or a value is left out."""
    keys = ("what", "where", "id", "fix", "left_out")
    found: Problem = dict(zip(keys, (what, record.where, about, fix, left_out), strict=True))
    return {**found, "picture": picture} if picture else found
