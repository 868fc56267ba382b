"""Pictures at addresses: fetched politely, tried again, checked, kept once."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from relatum.errors import DataError
from relatum.prepare import Settings, pictures, prepare
from relatum.prepare.clean import Unusable
from relatum.prepare.pictures import Pictures
from test_prepare_kinds import lines, picture


class Shop(BaseHTTPRequestHandler):
    """Serves good and bad pictures and counts who asks for what."""

    asked: Counter[str] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        name, _, query = self.path.strip("/").partition("?")
        if name in ("429", "500", "503") and self.asked[self.path] < 3:
            return self.answer(int(name), b"later", {"Retry-After": "0"})
        if name in ("404", "403", "502"):
            return self.answer(int(name), b"<html>no</html>")
        if name == "loop":
            return self.answer(302, b"", {"Location": "/loop"})
        if name == "away":
            return self.answer(302, b"", {"Location": query})
        if name == "html":
            return self.answer(200, b"<!DOCTYPE html><p>Not found</p>")
        if name == "broken":
            return self.answer(200, picture()[:90])
        if name == "large":
            return self.answer(200, bytes(3_000))
        if name == "slow":
            return self.drip()
        if name == "short" and self.asked[self.path] < 3:
            return self.answer(200, picture()[:60], {"Content-Length": str(len(picture()))})
        return self.answer(200, picture("blue"))

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass  # the other side has gone, as it should

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Shop.asked.clear()
    monkeypatch.setattr(pictures, "PAUSE", 0.001)
    monkeypatch.setattr(pictures, "DEADLINE", 0.2)
    monkeypatch.setattr(pictures, "BYTES_LIMIT", 2_000)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def keeper(tmp_path: Path) -> Pictures:
    cache = tmp_path / "cache"
    return Pictures(tmp_path / "images", root=tmp_path, cache=cache, rate=1e4)


@pytest.mark.parametrize("name", ["good.png", "429", "500", "503", "short"])
def test_a_picture_comes_at_last(shop: str, keeper: Pictures, name: str) -> None:
    kept = keeper.folder.parent / keeper.keep(f"{shop}/{name}")
    assert kept.read_bytes() == picture("blue")
    assert Shop.asked[f"/{name}"] == (1 if name == "good.png" else 3)


@pytest.mark.parametrize(
    ("name", "expected", "times"),
    [
        ("404", "404 Not Found", 1),
        ("403", "403 Forbidden", 1),
        ("502", "502 Bad Gateway, 5 times", 5),
        ("loop", "infinite loop", 5),
        ("away?file:///etc/passwd", "is not allowed", 1),
        ("away?ftp://127.0.0.1/x.png", "no http or https address", 1),
        ("html", "got an HTML page", 1),
        ("broken", "expected a whole picture", 1),
        ("large", "over 30 MB", 1),
        ("slow", "not here after", 1),
    ],
)
def test_a_picture_that_cannot_come_is_named(
    shop: str, keeper: Pictures, name: str, expected: str, times: int
) -> None:
    with pytest.raises(Unusable) as error:
        keeper.keep(f"{shop}/{name}")
    assert expected in error.value.what and Shop.asked[f"/{name}"] == times
    assert not list(keeper.folder.rglob("*.png")) and not list(keeper.cache.rglob("*"))


def test_a_server_that_is_not_there_is_named(shop: str, keeper: Pictures) -> None:
    with pytest.raises(Unusable, match="refused, 5 times"):
        keeper.keep("http://127.0.0.1:9/x.png")


def test_a_redirect_to_a_picture_is_followed(shop: str, keeper: Pictures) -> None:
    assert keeper.keep(f"{shop}/away?{shop}/good.png").endswith(".png")


def test_an_address_is_asked_once_and_equal_pictures_are_kept_once(
    shop: str, keeper: Pictures
) -> None:
    kept = {keeper.keep(f"{shop}/{name}") for name in ("a.png", "b.png", "a.png")}
    assert len(kept) == 1 and Shop.asked == {"/a.png": 1, "/b.png": 1}


def test_spaces_and_other_letters_in_an_address_are_quoted(shop: str, keeper: Pictures) -> None:
    keeper.keep(f"{shop}/Größe 1%20x.png?a=b")
    assert list(Shop.asked) == ["/Gr%C3%B6%C3%9Fe%201%20x.png?a=b"]


def test_a_host_is_asked_at_its_rate_and_no_faster(shop: str, keeper: Pictures) -> None:
    keeper.rate = 50.0
    begun = time.monotonic()
    for number in range(6):
        keeper.keep(f"{shop}/{number}.png")
    assert time.monotonic() - begun >= 5 / 50


def test_a_catalogue_from_addresses(shop: str, tmp_path: Path) -> None:
    rows = [
        {"asin": "B1", "title": "a", "imageURLHighRes": [f"{shop}/good.png"]},
        {"asin": "B2", "title": "b", "imageURLHighRes": [f"{shop}/html"]},
        {"asin": "B3", "title": "", "imageURL": [f"{shop}/404"]},
    ]
    lines(tmp_path / "meta_x.json.gz", rows)
    settings = Settings(cache=tmp_path / "cache", rate=1e4, with_relations=False)
    source, output = tmp_path / "meta_x.json.gz", tmp_path / "c"
    found = prepare("amazon-2018", source, output, settings=settings, skip_bad=True)
    assert found.left_out == {"image": 1, "row": 1} and found.pictures == 1
    items = pq.read_table(output / "items.parquet").to_pylist()
    assert [(item["id"], bool(item["image"])) for item in items] == [("B1", True), ("B2", False)]
    prepare("amazon-2018", source, output, settings=settings, skip_bad=True)
    assert Shop.asked["/good.png"] == 1
    texts = Settings(cache=tmp_path / "cache", with_pictures=False, with_relations=False)
    found = prepare("amazon-2018", source, tmp_path / "d", settings=texts, skip_bad=True)
    assert found.pictures == 0 and found.left_out == {"row": 1}


def test_a_picture_that_was_mended_is_looked_at_again(tmp_path: Path) -> None:
    source, output = tmp_path / "raw" / "t.csv", tmp_path / "c"
    source.parent.mkdir()
    source.write_text("id,title,image\na,x,a.png\nb,y,b.png\n")
    settings = Settings({"text": ("title",), "image": ("image",)}, with_relations=False)
    (source.parent / "a.png").write_bytes(picture())
    for broken in (None, picture()[:60]):  # missing, then cut short
        if broken:
            (source.parent / "b.png").write_bytes(broken)
        what = "expected a whole picture" if broken else "no such file"
        with pytest.raises(DataError, match=what):
            prepare("table", source, output, settings=settings)
    (source.parent / "b.png").write_bytes(picture("blue"))
    assert prepare("table", source, output, settings=settings).pictures == 2


def test_an_address_that_failed_is_asked_again_unless_bad_ones_are_left_out(
    shop: str, tmp_path: Path
) -> None:
    source, output = tmp_path / "t.csv", tmp_path / "c"
    source.write_text(f"id,title,image\na,x,{shop}/404\nb,y,{shop}/good.png\n")
    columns = {"text": ("title",), "image": ("image",)}
    settings = Settings(columns, cache=tmp_path / "cache", rate=1e4, with_relations=False)
    for times in (1, 2):
        with pytest.raises(DataError, match="404"):
            prepare("table", source, output, settings=settings)
        assert (Shop.asked["/404"], Shop.asked["/good.png"]) == (times, 1)
    prepare("table", source, output, settings=settings, skip_bad=True)
    assert Shop.asked["/404"] == 2
