"""What the service promises to those who use it, and to those who would break it."""

import base64
import io
import json
import re
import socket
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from relatum import Catalogue, Config, Item, Model, RelatumError, Store, train
from relatum.cli import main
from relatum.errors import StoreError
from relatum.serve import Limits, create_app, run, serve
from relatum.serve.app import PAGE
from relatum.serve.schemas import check_filter

TOKEN = {"authorization": "Bearer secret"}
SAME = "are of the same colour"


@pytest.fixture(scope="module")
def model(catalogue: Catalogue, settings: Callable[..., Config], cache: Path) -> Model:
    return train(catalogue, settings(split__test_items=0.2), cache=cache)


@pytest.fixture
def store(model: Model, catalogue: Catalogue, cache: Path, tmp_path: Path) -> Store:
    """A store of its own for each test that writes."""
    return Store.build(model, catalogue, tmp_path / "store", cache=cache)


@pytest.fixture(scope="module")
def kept(
    model: Model, catalogue: Catalogue, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    """A store that no test changes."""
    return Store.build(model, catalogue, tmp_path_factory.mktemp("kept") / "store", cache=cache)


@contextmanager
def client_of(store: Store, **options: object) -> Iterator[TestClient]:
    with TestClient(create_app(store, **cast(Any, options)), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def client(kept: Store) -> Iterator[TestClient]:
    with client_of(kept, token="secret", limits=Limits(body=200_000, pixels=1_000_000)) as client:
        yield client


def png(size: tuple[int, int] = (48, 48), colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def ids(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def problem(answer: httpx2.Response, status: int) -> dict[str, str]:
    """Return the error of an answer, which has the one shape and tells nothing of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    error = answer.json()["error"]
    assert error.keys() == {"kind", "message", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text and ".py" not in answer.text
    return error


# --- what it answers


@pytest.mark.parametrize(
    "query",
    [
        {"item": "i003", "relation": SAME, "k": 5},
        {"item": "i003", "k": 4, "offset": 3},
        {"text": "a red ball", "relation": {SAME: 1.0, "have the same shape": -0.5}},
        {"item": "i003", **dict.fromkeys(["text", "image", "relation", "where", "min_score"])},
        {"text": "a red ball", "where": "size >= 2 AND colour IN ('red', 'blue')"},
        {"item": "i004", "relation": "is smaller than", "exclude_linked": True},
        {"item": "i004", "relation": "are alike", "examples": [["i001", "i005"], ["i002", "i006"]]},
        {"item": "i004", "relation": SAME, "explain": True, "k": 3},
        {"text": "a red ball", "explain": True, "offset": 1000},
    ],
)
def test_a_search_answers_what_the_store_does(
    query: dict[str, Any], client: TestClient, kept: Store
) -> None:
    answer = client.post("/v1/search", json=query)
    hits = kept.search(**query)
    assert ids(answer) == [hit.id for hit in hits]
    for told, hit in zip(answer.json()["hits"], hits, strict=True):
        assert told["score"] == pytest.approx(hit.score, abs=1e-4)
        assert told["metadata"] == dict(hit.metadata)
        assert (told["explanation"] is None) == (hit.explanation is None)


def test_a_picture_may_come_in_json_or_in_a_form(client: TestClient) -> None:
    query = {"relation": SAME, "k": 5}
    image = base64.b64encode(png()).decode()
    plain = ids(client.post("/v1/search", json={**query, "image": image}))
    url = ids(client.post("/v1/search", json={**query, "image": f"data:image/png;base64,{image}"}))
    form = {"data": {"query": json.dumps(query)}, "files": {"image": ("my lamp.png", png())}}
    assert plain == url == ids(client.post("/v1/search", **form))
    both = client.post("/v1/search", json={**query, "image": image, "text": "a blue bar"})
    assert ids(both) != plain


def test_vectors_are_those_of_the_model(client: TestClient, model: Model) -> None:
    body = {"inputs": [{"text": "a red ball"}, {"text": "a blue bar"}], "relation": SAME}
    answer = client.post("/v1/embed", json=body).json()
    items = [Item("a", "a red ball"), Item("b", "a blue bar")]
    for row, expected in zip(answer["vectors"], model.embed(items, SAME), strict=True):
        assert row == pytest.approx(expected.tolist(), abs=1e-5)
    assert answer["model"] == model.fingerprint


def test_items_relations_and_columns_are_listed(client: TestClient, catalogue: Catalogue) -> None:
    first = client.get("/v1/items", params={"limit": 5}).json()
    second = client.get("/v1/items", params={"limit": 5, "offset": 5}).json()
    names = [item["id"] for item in first["items"] + second["items"]]
    assert names == [item.id for item in catalogue.items[:10]] and first["total"] == 48
    red = client.get("/v1/items", params={"where": "colour = 'red'"}).json()
    assert red["total"] == len(red["items"]) == 12
    one = client.get("/v1/items/i001").json()
    assert one["id"] == "i001" and one["has_image"] and one["metadata"]["colour"] == "red"
    picture = client.get("/v1/thumbnails/i001")
    assert picture.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(picture.content)).size == (48, 48)
    told = client.get("/v1/relations").json()
    assert {r["id"]: r["inverse"] for r in told["relations"]}["larger"] == "is smaller than"
    columns = {column["key"]: column for column in told["columns"]}
    assert columns["colour"]["values"][0] == {"value": "black", "count": 12}
    assert not columns["colour"]["is_list"] and columns["size"]["values"] == []
    assert told["about"] == {"colour": "colour"}
    body = {"source": "i001", "target": "i002"}
    ties = client.post("/v1/relations-between", json=body).json()["relations"]
    assert len(ties) == 4 and ties[0]["probability"] >= ties[-1]["probability"]


def test_a_large_store_offers_values_without_counts(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relatum.serve.desk.COUNTED", 47)
    with client_of(kept) as client:
        told = client.get("/v1/relations").json()
    assert told["columns"][0]["values"][0] == {"value": "black", "count": None}


def test_health_and_metrics_tell_how_it_is(client: TestClient, kept: Store) -> None:
    health = client.get("/health").json()
    assert health["status"] == "ok" and health["items"] == 48 and health["writable"]
    client.post("/v1/search", json={"item": "i001"})
    text = client.get("/metrics").text
    line = 'relatum_requests_total{method="POST",route="/v1/search",status="200"}'
    assert line in text and "relatum_batch_size_bucket" in text


def test_items_are_written_found_replaced_and_deleted(store: Store) -> None:
    with client_of(store, token="secret") as client:
        image = base64.b64encode(png(colour="green")).decode()
        facts = {"colour": "green", "size": 9}
        new = {"id": "neu/ön 1", "text": "a green box", "image": image, "metadata": facts}
        added = client.post("/v1/items", json={"items": [new]}, headers=TOKEN)
        assert added.status_code == 201 and added.json() == {"items": 1}
        assert client.get("/health").json()["items"] == 49
        path = "/v1/items/neu%2F%C3%B6n%201"
        assert client.get(path).json()["metadata"]["size"] == 9
        assert client.get(path.replace("items", "thumbnails")).status_code == 200
        query = {"text": "a green box", "where": "size = 9"}
        assert ids(client.post("/v1/search", json=query)) == ["neu/ön 1"]
        changed = client.put(path, json={"text": "a red bar"}, headers=TOKEN)
        assert changed.status_code == 200
        assert client.get(path).json()["text"] == "a red bar"
        assert client.get(path.replace("items", "thumbnails")).status_code == 204
        assert client.delete(path, headers=TOKEN).json() == {"items": 1}
        assert problem(client.get(path), 404)["kind"] == "not_found"
        assert problem(client.delete(path, headers=TOKEN), 404)["kind"] == "not_found"
    assert len(Store.open(store.path, store.model)) == 48


# --- whom it lets in

WRITES = [
    ("POST", "/v1/items", {"items": [{"id": "x", "text": "a box"}]}),
    ("PUT", "/v1/items/i001", {"text": "a box"}),
    ("DELETE", "/v1/items/i001", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_nothing_is_written_without_the_token(
    method: str, path: str, body: object, client: TestClient, kept: Store
) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
        answer = client.request(method, path, json=body, headers=headers)
        assert problem(answer, 401)["kind"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
    with client_of(kept) as closed:
        answer = closed.request(method, path, json=body, headers=TOKEN)
        assert problem(answer, 403)["kind"] == "read_only"
    assert len(kept) == 48 and kept.items(["i001"])[0].text != "a box"


def test_whoever_is_reached_from_outside_asks_for_the_token(kept: Store) -> None:
    with client_of(kept, token="secret", is_public=True) as client:
        for path in ("/v1/items", "/v1/relations", "/v1/thumbnails/i001", "/metrics"):
            problem(client.get(path), 401)
            assert client.get(path, headers=TOKEN).status_code == 200
        problem(client.post("/v1/search", json={"item": "i001"}), 401)
        assert client.get("/").status_code == client.get("/health").status_code == 200


def test_another_site_cannot_pose_as_this_machine(client: TestClient) -> None:
    for host in ("evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example:80"):
        problem(client.get("/v1/items", headers={"host": host}), 421)
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/v1/items", headers={"host": host}).status_code == 200


def test_an_open_door_needs_a_key(kept: Store) -> None:
    with pytest.raises(RelatumError, match="0.0.0.0: .*needs a token.*RELATUM_TOKEN"):
        serve(kept, host="0.0.0.0")


def test_a_taken_port_and_a_missing_extra_are_one_line_each(
    kept: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RelatumError, match=f"127.0.0.1:{port}: cannot listen: .*--port"):
            serve(kept, port=port)
    for name in [name for name in sys.modules if name.startswith("relatum.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.setattr(sys, "argv", ["relatum", "serve", str(kept.path)])
    with pytest.raises(SystemExit, match="2"):
        main()
    line = "relatum: serving needs the package fastapi; pip install 'relatum[serve]'\n"
    assert capsys.readouterr().err == line


# --- what it endures


def search(**body: object) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/v1/search", {"json": body}


def raw(content: bytes, kind: str = "application/json") -> tuple[str, str, dict[str, Any]]:
    return "POST", "/v1/search", {"content": content, "headers": {"content-type": kind}}


def picture(data: bytes) -> tuple[str, str, dict[str, Any]]:
    return search(image=base64.b64encode(data).decode())


def bomb(width: int, height: int) -> bytes:
    """A PNG whose head claims more than it holds."""
    data = bytearray(png((1, 1)))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HOSTILE: list[tuple[int, tuple[str, str, dict[str, Any]]]] = [
    (422, raw(b"{")),
    (422, raw(b"\xff\xfe")),
    (422, raw(b"[" * 50_000)),
    (422, raw(b'{"item": "i001", "k": NaN}')),
    (422, raw(b'{"text": "\\ud800"}')),
    (415, raw(b"item=i001", "application/x-www-form-urlencoded")),
    (415, raw(b"{}", "text/plain")),
    (400, raw(b"--x\r\n", "multipart/form-data; boundary=x")),
    (422, search(item="i001", examples=[["i001"]])),
    (400, search(item="i001", examples=[["i001", "i002"]], min_score=0.5)),
    (404, search(item="i001", examples=[["i001", "nobody"]])),
    (422, search()),
    (422, search(item="i001", text="both")),
    (422, search(item="i001", colour="red")),
    (422, search(item="i001", k=0)),
    (422, search(item="i001", offset=-1)),
    (422, search(item="i001", relation="x" * 501)),
    (422, search(item="i001", relation="")),
    (422, search(item="i001", relation={f"r{n}": 1 for n in range(17)})),
    (422, search(item="i001", relation={"r": 1e308})),
    (400, search(item="i001", relation="  ")),
    (422, search(item="i\0001")),
    (404, search(item="nobody")),
    (404, search(item="../../../etc/passwd")),
    (404, search(item="' OR 1=1 --")),
    (404, search(item="\u202e\u2067💥" * 9)),
    (400, search(item="i001", where="1=1; DROP TABLE items")),
    (400, search(item="i001", where="size = (SELECT 1)")),
    (400, search(item="i001", where="length(repeat('a', 2000000000)) > 1")),
    (400, search(item="i001", where="size <")),
    (400, search(item="i001", where="id = 'a' /* x */ OR 1=1 --")),
    (400, search(item="i001", where="(" * 900)),
    (422, search(item="i001", where="x" * 1001)),
    (400, picture(SVG)),
    (400, picture(b"")),
    (400, picture(png()[:60])),
    (400, picture(bomb(60_000, 60_000))),
    (400, picture(bomb(1001, 1000))),
    (422, search(image="not base64!")),
    (413, raw(b" " * 200_001)),
    (404, ("GET", "/v1/items/..%2f..%2fstore.json", {})),
    (404, ("GET", "/v1/thumbnails/..%2f..%2fmodel%2frelatum.json", {})),
    (404, ("GET", "/page/..%2f..%2fapp.py", {})),
    (404, ("GET", "/v1/items/%f0%9f%92%a5", {})),
    (422, ("GET", "/v1/items/a%00b", {})),
    (400, ("GET", "/v1/items?where=nothing%20%3D%201", {})),
    (422, ("GET", "/v1/items?limit=1000000", {})),
    (404, ("GET", "/docs", {})),
    (405, ("PATCH", "/v1/search", {"headers": TOKEN})),
    (405, ("TRACE", "/v1/search", {})),
]


@pytest.mark.parametrize(("status", "request_"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_wrong_is_named_and_nothing_breaks(
    status: int, request_: tuple[str, str, dict[str, Any]], client: TestClient, kept: Store
) -> None:
    method, path, rest = request_
    answer = client.request(method, path, **rest)
    assert problem(answer, status)["message"]
    assert str(kept.path) not in answer.text and "function-" not in answer.text
    assert len(kept) == 48


def test_a_filter_holds_columns_and_comparisons_only() -> None:
    columns = {"room", "width_cm", "tags", "größe"}
    for good in (
        "room = 'O''Hara' AND (width_cm < 8e1 OR NOT room IS NULL)",
        "room LIKE 'K%' AND width_cm BETWEEN -1.5 AND 20",
        "array_has(tags, 'a') AND größe IN (1, 2) AND `room` != 'x'",
    ):
        assert check_filter(good, columns) == good
    assert check_filter(None, columns) is None
    for bad in ("repeat('a', 9)", 'room = "x"', "room -- x", "room; x", "nothing = 1", "room = '"):
        with pytest.raises(StoreError):
            check_filter(bad, columns)


def test_a_bug_is_a_500_that_tells_nothing(
    kept: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret inside")

    with client_of(kept) as client:
        monkeypatch.setattr(kept, "items", broken)
        answer = client.get("/v1/items/i001", headers={"x-request-id": "mine-7"})
    error = problem(answer, 500)
    assert error["request_id"] == "mine-7" and "secret" not in answer.text
    assert "the secret inside" in caplog.text and "mine-7" in caplog.text


def test_an_answer_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    with run._listen("127.0.0.1", 0) as listener:
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_every_answer_carries_an_id_and_safe_headers(client: TestClient) -> None:
    for answer in (client.get("/"), client.get("/health"), client.get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    given = client.get("/health", headers={"x-request-id": "bad id\t<b>"})
    assert given.headers["x-request-id"] != "bad id\t<b>"
    assert "unsafe" not in client.get("/").headers["content-security-policy"]


def test_the_page_asks_no_other_machine() -> None:
    for name, data in PAGE.items():
        addresses = set(re.findall(rb"https?://[^\s\"')]+", data))
        assert addresses <= {b"http://www.w3.org/2000/svg"}, name
        assert b"<style" not in data and not re.search(rb"\son\w+=\"|\sstyle=\"", data), name


def test_the_description_has_examples_and_the_error_model(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    body = told["paths"]["/v1/search"]["post"]["requestBody"]["content"]
    assert body.keys() == {"application/json", "multipart/form-data"}
    assert body["application/json"]["schema"]["properties"]["relation"]["examples"]
    for path, methods in told["paths"].items():
        for method, route in methods.items():
            assert "4XX" in route["responses"], (method, path)
            writes = method in ("put", "delete") or (method, path) == ("post", "/v1/items")
            assert ("security" in route) == writes


def test_bodies_are_bounded_one_by_one_and_together(kept: Store) -> None:
    with client_of(kept, limits=Limits(body=1000, bodies=1500)) as client:

        def chunks() -> Iterator[bytes]:
            for _ in range(20):
                yield b" " * 100

        headers = {"content-type": "application/json"}
        problem(client.post("/v1/search", content=chunks(), headers=headers), 413)
    with client_of(kept, limits=Limits(body=1000, bodies=500)) as client:
        answer = client.post("/v1/search", content=b" " * 600, headers=headers)
        assert problem(answer, 503)["kind"] == "busy" and answer.headers["retry-after"]
        assert ids(client.post("/v1/search", json={"item": "i001"}))
