"""Measure the service: sixteen clients against one, a long load, searches beside writes, fuzzing.

Run: python benchmarks/serve.py STORE [throughput] [load] [writes] [fuzz]
It copies the store, serves the copy as a program of its own on loopback, and prints a table.
"""

import argparse
import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

TOKEN = {"authorization": "Bearer secret"}
HEAD = (
    b"POST /v1/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n"
)
WORDS = ["give light", "belong in the same room", "would look odd in a garden", None]


def main() -> None:
    """Serve a copy of the store and run what was asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("parts", nargs="*", default=["throughput", "load", "writes", "fuzz"])
    parser.add_argument("--seconds", type=float, default=60, help="of the load")
    parser.add_argument("--requests", type=int, default=10_000, help="of the fuzzing")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(shutil.copytree(chosen.store, Path(folder) / "store"))
        with served(store) as address:
            if "throughput" in chosen.parts:
                asyncio.run(throughput(address))
            if "load" in chosen.parts:
                asyncio.run(load(address, chosen.seconds))
            if "writes" in chosen.parts:
                asyncio.run(writes(address))
            if "fuzz" in chosen.parts:
                fuzz(address, chosen.requests)


@contextmanager
def served(store: Path) -> Iterator[str]:
    """Run `relatum serve`; give its address."""
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
        yield address
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
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    run()
    print(f"fuzz: {sum(sent.values())} requests, by status {dict(sorted(sent.items()))}")


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
