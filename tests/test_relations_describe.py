"""Descriptions come from any endpoint, within a budget, once; without one everything works."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relatum import RelatumError
from relatum.catalogue import Catalogue
from relatum.cli import app
from relatum.relations import Plan, Writer, mine
from relatum.relations.describe import KEY, Description, describe
from relatum.relations.plan import Column, Together
from test_relations import write_shop

GOOD = (
    '```json\n{"text": "are used for infant feeding.", "paraphrases": ["feed infants", "", 7]}\n```'
)


class Endpoint(ThreadingHTTPServer):
    """Answers with the statuses that a test lists, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.answer = GOOD
        self.asked: list[dict] = []
        self.keys: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Endpoint)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.asked.append(json.loads(body))
        server.keys.append(self.headers["Authorization"])
        status = server.statuses.pop(0) if server.statuses else 200
        message = {"choices": [{"message": {"content": server.answer}}]}
        data = json.dumps({**message, "usage": {"total_tokens": 100}}).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *parts: object) -> None:
        del format, parts


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def writer(
    endpoint: Endpoint, cache: Path, calls: int = 200, tokens: int = 200_000
) -> tuple[Writer, list[float]]:
    waited: list[float] = []
    return Writer(endpoint.url, "tiny", cache, calls, tokens, wait=waited.append), waited


def test_an_answer_is_asked_for_once(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "secret-key")
    asked = describe("are bought together", "milk", ["baby milk"] * 50)
    for _ in range(2):
        one, _ = writer(endpoint, tmp_path)
        assert one.write(asked) == Description("are used for infant feeding", ("feed infants",))
    assert len(endpoint.asked) == 1 and endpoint.keys == ["Bearer secret-key"]
    assert endpoint.asked[0]["messages"][0]["content"].count("baby milk") == 8
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"infant" in kept and b"secret" not in kept


def test_a_busy_endpoint_is_asked_again_with_growing_waits(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.statuses = [429, 503, 500]
    one, waited = writer(endpoint, tmp_path)
    assert one.write("x") is not None
    assert waited == [1.0, 2.0, 4.0] and one.made == 4


@pytest.mark.parametrize(
    ("statuses", "words"), [([401], "401"), ([302], "302"), ([500] * 9, "500")]
)
def test_an_endpoint_that_refuses_is_one_line(
    endpoint: Endpoint, tmp_path: Path, statuses: list[int], words: str
) -> None:
    endpoint.statuses = list(statuses)
    one, _ = writer(endpoint, tmp_path)
    with pytest.raises(RelatumError, match=rf"it answered {words}; check --llm-url") as caught:
        one.write("x")
    assert "\n" not in str(caught.value) and len(endpoint.asked) == min(len(statuses), 5)


def test_an_answer_of_another_form_is_not_used(
    endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.answer = "I am not sure."
    one, _ = writer(endpoint, tmp_path)
    assert one.write("x") is None and "I am not sure" in caplog.text
    assert not list(tmp_path.iterdir())
    with pytest.raises(RelatumError, match="expected an http address"):
        Writer("file:///etc/passwd", "tiny", tmp_path)


def test_the_budget_holds(endpoint: Endpoint, tmp_path: Path) -> None:
    one, _ = writer(endpoint, tmp_path, calls=2)
    answers = [one.write(f"prompt {number}") for number in range(4)]
    assert [answer is not None for answer in answers] == [True, True, False, False]
    assert one.refused == 2 and len(endpoint.asked) == 2
    two, _ = writer(endpoint, tmp_path, tokens=150)
    assert [two.write(f"other {number}") is not None for number in range(3)] == [True, True, False]


def test_mining_with_an_endpoint_and_without(endpoint: Endpoint, tmp_path: Path) -> None:
    write_shop(tmp_path / "shop")
    plan = Plan(relations=(Column(column="brand"), Together(shape="groups")), resamples=1)
    one, _ = writer(endpoint, tmp_path / "cache", calls=5)
    found = mine(tmp_path / "shop", plan, writer=one)
    catalogue = Catalogue.load(tmp_path / "shop")
    texts = [group.text for group in catalogue.groups if group.relation == "baskets-purpose"]
    assert texts == ["both are used for infant feeding"] * 4
    assert catalogue.relations[0].paraphrases == ("feed infants",)
    assert found.notes == ["1 texts were left as they are: the budget was spent"]
    one, _ = writer(endpoint, tmp_path / "cache")
    plan = Plan(relations=(Together(shape="relations"),), resamples=0)
    mine(tmp_path / "shop", plan, writer=one)
    texts = [relation.text for relation in Catalogue.load(tmp_path / "shop").relations]
    assert texts == ["are used for infant feeding"] * 4


def test_a_dry_run_prints_the_prompts_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELATUM_CACHE", str(tmp_path / "cache"))
    write_shop(tmp_path / "shop", baskets=400)
    before = sorted(path.name for path in (tmp_path / "shop").rglob("*"))
    done = CliRunner().invoke(app, ["mine", str(tmp_path / "shop"), "--dry-run"])
    assert done.exit_code == 0 and done.output.count("Answer with JSON only") >= 5
    assert sorted(path.name for path in (tmp_path / "shop").rglob("*")) == before
    assert not (tmp_path / "cache").exists()
