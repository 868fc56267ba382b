"""Fetch a Debian package by name and version, and write a catalogue folder.

In: a package name, its version and a cache folder; or the rows of the four tables.
Out: the folder the package unpacks into; or `items`, `relations`, `groups` and `links` as `.jsonl`.
This file does not know what is inside any package.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

CACHE = Path(__file__).parent / "downloads"


def unpack(package: str, version: str, cache: Path = CACHE) -> Path:
    """Return the folder that `package` unpacks into, downloading it with apt the first time."""
    folder = cache / f"{package}_{version}"
    if folder.exists():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    subprocess.run(["apt-get", "download", f"{package}={version}"], cwd=part, check=True)
    (archive,) = part.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(part)], check=True)
    archive.unlink()
    part.rename(folder)
    return folder


def write_tables(folder: Path, **tables: Iterable[Mapping[str, object]]) -> None:
    """Write each table as `<name>.jsonl` in `folder`, one row a line, keys in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
