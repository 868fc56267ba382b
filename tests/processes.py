"""Start work in processes of its own, several that meet on loopback, or one to be killed."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

FORKS = multiprocessing.get_context("forkserver")  # a fresh fork takes milliseconds, not seconds
FORKS.set_forkserver_preload(["relatum", "processes"])
LIMIT = 90.0  # seconds after which work is given up


def start(work: Callable[..., None], *values: object) -> BaseProcess:
    """Start `work(*values)` in a process of its own."""
    process = FORKS.Process(target=_alone, args=(work, values), daemon=True)
    process.start()
    return process


def _alone(work: Callable[..., None], values: tuple) -> None:
    import torch

    torch.set_num_threads(1)
    work(*values)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def together(count: int, work: Callable[..., None], *values: object) -> None:
    """Run `work(*values)` in processes that find each other as torchrun's do; kill what is left."""
    port = free_port()
    processes = [start(_among, rank, count, port, work, values) for rank in range(count)]
    try:
        end = time.monotonic() + LIMIT
        while any(one.exitcode is None for one in processes) and time.monotonic() < end:
            time.sleep(0.02)
            if any(one.exitcode for one in processes):
                break
        assert [one.exitcode for one in processes] == [0] * count
    finally:
        for one in processes:
            one.kill()
            one.join()


def _among(rank: int, count: int, port: int, work: Callable[..., None], values: tuple) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    work(*values)
