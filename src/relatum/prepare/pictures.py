"""Pictures from paths, bytes and addresses, checked and kept once each.

In: what a source says of a picture.
Out: a file in the catalogue, named by its content, or `Unusable` with what is wrong.
This file does not know which item a picture is for.
"""

import hashlib
import http.client
import io
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

from PIL import Image

from relatum.disk import disk_errors_named
from relatum.errors import DataError
from relatum.items import Item, image_key, read_image
from relatum.prepare.clean import Unusable

BYTES_LIMIT = 30_000_000  # of one picture, still encoded
ATTEMPTS = 5
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
TIMEOUT = 15.0  # seconds without a byte
DEADLINE = 60.0  # seconds for one picture
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may change
FIX = "replace the picture, or leave it out with --skip-bad"
LATER = "run the same command again later, or leave it out with --skip-bad"
SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)


class Pictures:
    """Keeps pictures in `folder`; downloads politely, and once: `cache` holds what came."""

    def __init__(self, folder: Path, *, root: Path, cache: Path, rate: float) -> None:
        """`root` is where paths begin and what they may not leave; `rate` is requests/s a host."""
        self.folder, self.root, self.cache, self.rate = folder, root.resolve(), cache, rate
        self.lock = threading.Lock()
        self.free: dict[str, float] = {}
        self.opener = urllib.request.OpenerDirector()
        for handler in (  # no file, ftp or data addresses, whatever a redirect says
            urllib.request.ProxyHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self.opener.add_handler(handler)

    def keep(self, source: str | bytes) -> str:
        """Check a picture, keep it, and return its path in the catalogue."""
        if isinstance(source, str) and source.startswith("//"):
            source = f"https:{source}"
        if isinstance(source, bytes):
            return self._store(source)
        if not SCHEME.match(source):
            return self._store(self._read(source))
        if not re.match("https?://", source, re.IGNORECASE):
            raise Unusable(f"the picture {source[:60]!r} is not at an http or https address", FIX)
        cached = self.cache / hashlib.blake2b(source.encode(errors="replace")).hexdigest()[:32]
        if cached.is_file():
            return self._store(cached.read_bytes())
        data = self._download(source)
        name = self._store(data)
        _write(cached, data)
        return name

    def _read(self, name: str) -> bytes:
        try:
            path = (self.root / name).resolve()
            if not path.is_relative_to(self.root):
                fix = "copy it there, or say where pictures are: --pictures FOLDER"
                raise Unusable(f"the picture {name[:80]!r} lies outside {self.root.name}", fix)
            if path.stat().st_size > BYTES_LIMIT:
                raise Unusable(f"the picture {name[:80]!r} is over 30 MB", FIX)
            return path.read_bytes()
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise Unusable(f"the picture {name[:80]!r} cannot be read: {reason}", FIX) from error

    def _store(self, data: bytes) -> str:
        if data[:200].lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise Unusable("expected a picture, got an HTML page", FIX)
        item = Item("", image=data)
        try:
            read_image(item)
        except DataError as error:
            raise Unusable(error.what.removeprefix("item '': "), FIX) from error
        with Image.open(io.BytesIO(data)) as picture:
            suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(picture.format or "", "")
            suffix = suffix or str(picture.format).lower()
        key = image_key(item)
        path = self.folder / key[:2] / f"{key}.{suffix}"
        if not path.exists():
            _write(path, data)
        return path.relative_to(self.folder.parent).as_posix()

    def _download(self, url: str) -> bytes:
        host = urllib.parse.urlsplit(url).netloc if "[" not in url else url
        reason = ""
        for attempt in range(ATTEMPTS):
            self._wait(host)
            pause = PAUSE * 2**attempt
            try:
                return self._get(url)
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"{error.code} {' '.join(str(error.reason).split())[:120]}"
                if error.code not in PASSING:
                    raise Unusable(f"{url[:200]}: {reason}", FIX) from error
                asked = error.headers.get("Retry-After", "")
                pause = max(pause, float(asked)) if asked.isdigit() else pause
            except (ValueError, http.client.InvalidURL) as error:
                raise Unusable(f"{url[:200]!r} is no address: {error}", FIX) from error
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", None) or error) or type(error).__name__
                if "unknown url type" in reason:
                    raise Unusable(
                        f"{url[:200]}: leads to no http or https address", FIX
                    ) from error
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(pause, LONGEST_PAUSE))
        raise Unusable(f"{url[:200]}: {reason}, {ATTEMPTS} times", LATER)

    def _wait(self, host: str) -> None:
        """Wait for this host's turn: `rate` requests a second."""
        with self.lock:
            turn = max(time.monotonic(), self.free.get(host, 0.0))
            self.free[host] = turn + 1 / self.rate
        time.sleep(max(0.0, turn - time.monotonic()))

    def _get(self, url: str) -> bytes:
        quoted = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
        request = urllib.request.Request(quoted, headers={"User-Agent": "relatum"})
        end = time.monotonic() + DEADLINE
        data = bytearray()
        with self.opener.open(request, timeout=TIMEOUT) as answer:
            expected = answer.headers.get("Content-Length", "")
            while chunk := answer.read1(65_536):
                data += chunk
                if len(data) > BYTES_LIMIT:
                    raise Unusable(f"{url[:200]}: over 30 MB", FIX)
                if time.monotonic() > end:
                    raise Unusable(f"{url[:200]}: not here after {DEADLINE:.0f} s", LATER)
        if expected.isdigit() and len(data) < int(expected):
            raise ConnectionError(f"{len(data)} of {expected} bytes came")
        return bytes(data)


def state(root: Path, source: str, *, again: bool = False) -> list[int] | None:
    """Return what changes when a picture does: of a file its size and time, None without one.

    Nobody knows of an address; with `again` it is taken for changed.
    """
    if SCHEME.match(source) or source.startswith("//"):
        return [1] if again else None
    try:
        facts = (root / source).stat()
    except (OSError, ValueError):
        return None
    return [facts.st_size, facts.st_mtime_ns]


def _write(path: Path, data: bytes) -> None:
    with disk_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        part.write_bytes(data)
        part.replace(path)
