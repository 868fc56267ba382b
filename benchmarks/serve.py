"""Measure the service: many clients against one, a load, writes, random requests, kills.

Run: python benchmarks/serve.py STORE [throughput] [load] [writes] [fuzz] [kills]
It copies the store, serves the copy as a program of its own on loopback, and prints a table.
"""

import argparse
import asyncio
import json
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from relatum.items import Item
from relatum.store import Store

TOKEN = {"authorization": "Bearer secret"}
PARTS = ("throughput", "load", "writes", "fuzz", "kills")
HEAD = (
    b"POST /v1/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n"
)
WORDS = ["give light", "belong in the same room", "would look odd in a garden", None]


def main() -> None:
    """Serve a copy of the store and run what was asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("parts", nargs="*", default=[*PARTS])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60, help="of the load")
    parser.add_argument("--requests", type=int, default=10_000, help="of the fuzzing")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(shutil.copytree(chosen.store, Path(folder) / "store"))
        if "kills" in chosen.parts:
            kills(Path(shutil.copytree(chosen.store, Path(folder) / "killed")), store, chosen.kills)
        with served(store) as (_, address):
            if "throughput" in chosen.parts:
                asyncio.run(throughput(address))
            if "load" in chosen.parts:
                asyncio.run(load(address, chosen.seconds))
            if "writes" in chosen.parts:
                asyncio.run(writes(address))
            if "fuzz" in chosen.parts:
                fuzz(address, chosen.requests)


@contextmanager
def served(store: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run `relatum serve`; give the process and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "relatum.cli", "serve", str(store), "--port", str(port), "--token", "secret"]
    server = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx2.get(f"{address}/health")
                break
            except httpx2.TransportError:
                time.sleep(0.2)
        yield server, address
    finally:
        server.terminate()
        server.wait()


async def drive(
    address: str, clients: int, seconds: float, body: Callable[[int], dict[str, object]]
) -> tuple[list[float], int]:
    """Search with some clients at once; return the seconds of each answer, and how many failed.

    The clients are bare sockets: an HTTP library would take more of the two cores than the service.
    """
    spent: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    host, port = address.removeprefix("http://").split(":")

    async def one(number: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < end:
            data = json.dumps(body(number)).encode()
            start = time.perf_counter()
            writer.write(HEAD % len(data) + data)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
            spent.append(time.perf_counter() - start)
            failed += not head.startswith(b"HTTP/1.1 200")
            number += clients
        writer.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return spent, failed


async def throughput(address: str) -> None:
    """Compare sixteen clients with one, for texts, and for items of the store."""
    ids = await item_ids(address)
    kinds: dict[str, Callable[[int], dict[str, object]]] = {
        "text": lambda n: {"text": f"thing number {n} for a room", "relation": WORDS[n % 4]},
        "item": lambda n: {"item": ids[n * 7 % len(ids)], "relation": WORDS[n % 4]},
    }
    print(f"{'source':8}{'1 client /s':>14}{'16 clients /s':>16}{'ratio':>8}")
    for name, body in kinds.items():
        await drive(address, 4, 3, body)
        one, _ = await drive(address, 1, 15, body)
        many, failed = await drive(address, 16, 15, body)
        ratio = len(many) / len(one)
        print(f"{name:8}{len(one) / 15:14.1f}{len(many) / 15:16.1f}{ratio:8.2f}  failed {failed}")


async def load(address: str, seconds: float) -> None:
    """Count failed requests under a long load."""
    ids = await item_ids(address)
    spent, failed = await drive(
        address, 16, seconds, lambda n: {"item": ids[n % len(ids)], "relation": WORDS[n % 4]}
    )
    print(f"load: 16 clients, {seconds:g} s, {len(spent)} requests, {failed} failed, {ms(spent)}")


async def writes(address: str) -> None:
    """Compare the latency of searches without and beside writes, four a second."""
    ids = await item_ids(address)

    def body(number: int) -> dict[str, object]:
        return {"item": ids[number % len(ids)], "relation": WORDS[number % 4]}

    await drive(address, 2, 3, body)
    quiet, _ = await drive(address, 2, 20, body)
    writer = asyncio.create_task(write(address))
    busy, failed = await drive(address, 2, 20, body)
    written = await stop(writer)
    ratio = statistics.median(busy) / statistics.median(quiet)
    print(f"quiet: {ms(quiet)}\nbeside {written} writes: {ms(busy)}, {failed} failed")
    print(f"median beside writes : quiet  {ratio:.2f}")


async def write(address: str) -> int:
    """Add or replace an item four times a second until cancelled; return how many."""
    done = 0
    try:
        async with httpx2.AsyncClient(base_url=address, headers=TOKEN, timeout=60) as client:
            while True:
                items = [{"id": f"bench-{done % 50}", "text": f"a lamp, number {done}"}]
                answer = await client.post("/v1/items", json={"items": items})
                answer.raise_for_status()
                done += 1
                await asyncio.sleep(0.25)
    except asyncio.CancelledError:
        return done


async def stop(task: asyncio.Task[int]) -> int:
    """Cancel a task that returns when it is cancelled."""
    task.cancel()
    waiting: Awaitable[int] = task
    return await waiting


async def item_ids(address: str) -> list[str]:
    """Return ids of the store."""
    async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
        found = (await client.get("/v1/items", params={"limit": 200})).json()
    return [item["id"] for item in found["items"]]


def fuzz(address: str, requests: int) -> None:
    """Send requests made from the description; every answer must fit it, and none be a 5xx."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    sent: dict[int, int] = {}

    @seed(1)
    @settings(
        max_examples=requests,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema.as_strategy())
    def run(case: schemathesis.Case) -> None:
        answer = case.call(headers=TOKEN)
        sent[answer.status_code] = sent.get(answer.status_code, 0) + 1
        # No schema says what a store can answer, and the token is in every request: its lack is
        # tried by the tests.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance, ignored_auth])

    run()
    print(f"fuzz: {sum(sent.values())} requests, by status {dict(sorted(sent.items()))}")


def kills(killed: Path, whole: Path, times: int) -> None:
    """Kill the service in the middle of writes, again and again; compare with a store left alone.

    The other store gets the same items in one call: the searches of both must agree.
    """
    chance, acknowledged = random.Random(0), []
    for _ in range(times):
        with served(killed) as (server, address):
            wait = chance.uniform(0.05, 1.0)
            threading.Timer(wait, server.kill).start()
            acknowledged += write_until_killed(address, len(acknowledged))
    store = Store.open(killed)
    found = {item.id: item for item in store.browse(k=100_000) if item.id.startswith("kill-")}
    lost = set(acknowledged) - set(found)
    whole_store = Store.open(whole)
    whole_store.add([Item(name, item.text) for name, item in found.items()])
    ids = [item.id for item in store.browse(k=20)] + acknowledged[:20]
    different = 0
    for name in ids:
        for relation in WORDS:
            first, second = (
                {hit.id: hit.score for hit in one.search(item=name, relation=relation)}
                for one in (store, whole_store)
            )
            different += not agree(first, second)
    whole_store.delete(list(found))
    print(
        f"kills: {times}, {len(acknowledged)} writes acknowledged, {len(lost)} lost, "
        f"{len(found) - len(acknowledged)} there that were not acknowledged; "
        f"{different} of {len(ids) * len(WORDS)} searches differ from those of a store left alone"
    )


def agree(one: dict[str, float], other: dict[str, float]) -> bool:
    """Tell whether two searches found the same, but for ties at the end of the page.

    >>> agree({"a": 0.9, "b": 0.5}, {"a": 0.9, "c": 0.5})
    True
    >>> agree({"a": 0.9, "b": 0.5}, {"c": 0.7, "b": 0.5})
    False
    """
    last = max(min(one.values()), min(other.values())) + 1e-4
    sure = [{id for id, score in some.items() if score > last} for some in (one, other)]
    return sure[0] <= other.keys() and sure[1] <= one.keys()


def write_until_killed(address: str, first: int) -> list[str]:
    """Add items one after the other; return the ids of those that were acknowledged."""
    names: list[str] = []
    with httpx2.Client(base_url=address, headers=TOKEN, timeout=60) as client:
        while True:
            name = f"kill-{first + len(names)}"
            item = {"id": name, "text": f"a chair, number {first + len(names)}"}
            try:
                client.post("/v1/items", json={"items": [item]}).raise_for_status()
            except httpx2.TransportError:
                return names
            names.append(name)


def ms(spent: list[float]) -> str:
    """Return median and 95th percentile in milliseconds.

    >>> ms([0.001, 0.002, 0.003])
    'median 2.0 ms, p95 3.0 ms'
    """
    ordered = sorted(spent)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"median {statistics.median(ordered) * 1000:.1f} ms, p95 {last * 1000:.1f} ms"


if __name__ == "__main__":
    main()
