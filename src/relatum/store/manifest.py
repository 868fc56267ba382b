"""Where a store is, and what it says of itself.

In: a folder, or a URI of object storage that LanceDB can use.
Out: its small files, each there whole or not at all; a `StoreError` for what is no store.
This file does not know of tables.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import fs

from relatum.disk import write_file
from relatum.errors import StoreError

FORMAT = 7
MANIFEST = "store.json"
BUILDING = "building.json"  # names the table of a build that has not ended
AGAIN = "build the store again with relatum index"


class Place:
    """A folder or a bucket's prefix. `uri` is what LanceDB connects to."""

    def __init__(self, path: str | Path) -> None:
        """Take a path, or a URI such as s3://bucket/store."""
        self.is_local = isinstance(path, Path) or "://" not in path
        self.path: Path | str = Path(path).resolve() if self.is_local else str(path).rstrip("/")
        self.uri = str(self.path)
        where = Path(self.path).as_uri() if self.is_local else self.uri
        try:
            self.files, self._root = fs.FileSystem.from_uri(where)
        except (ValueError, OSError) as error:
            what = f"cannot use this place: {' '.join(str(error).split())}"
            raise StoreError(what, where=self.uri, fix="name a folder, s3:// or gs://") from error

    def at(self, name: str) -> str:
        """Return where a file or a folder is in `files`."""
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is none."""
        try:
            with self.files.open_input_stream(self.at(name)) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        """Put a file in one step."""
        if self.is_local:
            write_file(Path(self.path) / name, data)
            return
        self.files.create_dir(self._root, recursive=True)
        with self.files.open_output_stream(self.at(name)) as file:
            file.write(data)

    def names(self) -> list[str]:
        """List what is here, not in its folders."""
        found = self.files.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return [entry.base_name for entry in found]

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it is there."""
        kind = self.files.get_file_info(self.at(name)).type
        if kind == fs.FileType.Directory:
            self.files.delete_dir(self.at(name))
        elif kind == fs.FileType.File:
            self.files.delete_file(self.at(name))


@dataclass(frozen=True)
class Manifest:
    """The one file that says which table is the store; it is replaced in one step."""

    fingerprint: str
    catalogue: str
    table: str
    calibration: dict[str, Any]
    about: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)  # texts that the catalogue tells links under
    groups: dict[str, list[str]] = field(default_factory=dict)  # by text: its relation's, tab, id

    @classmethod
    def read(cls, place: Place) -> "Manifest":
        """Read the manifest; `StoreError` where there is none that this version can use."""
        data = place.read(MANIFEST)
        if data is None:
            is_begun = place.read(BUILDING) is not None
            what = "its build has not ended" if is_begun else "it has no store.json"
            fix = "the same relatum index goes on" if is_begun else "name what relatum index wrote"
            raise StoreError(f"this is not a store: {what}", where=place.uri, fix=fix)
        where = f"{place.uri}/{MANIFEST}"
        try:
            facts = json.loads(data)
            found = facts.pop("format")
            if found == FORMAT:
                return cls(**facts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError("the manifest is damaged", where=where, fix=AGAIN) from error
        raise StoreError(f"store format {found}, expected {FORMAT}", where=where, fix=AGAIN)

    def write(self, place: Place) -> None:
        """Write the manifest: from then on the store is what it says."""
        facts = {"format": FORMAT, **vars(self)}
        place.write(MANIFEST, json.dumps(facts, indent=1, ensure_ascii=False).encode())
