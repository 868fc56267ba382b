"""Run tasks on Ray: a cluster by its address, or processes on this machine.

In: tasks, and the function that makes a shard of one. Out: outcomes as they come; a task whose
worker dies is tried three times more. This file does not know what a task does.
"""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from relatum.bulk.embed import Make, Outcome, Task
from relatum.errors import RelatumError

RETRIES = 3
ALONE: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
ALONE |= {"object_store_memory": 100 * 2**20, "_system_config": {"worker_niceness": 0}}  # bytes


def on_ray(
    make: Make, tasks: Iterable[Task], *, workers: int | None = None, address: str | None = None
) -> Iterator[Outcome]:
    """Make shards in several processes at once, as many as there are cores unless told."""
    try:
        import ray
        from ray.exceptions import NodeDiedError, WorkerCrashedError
    except ModuleNotFoundError as error:
        raise RelatumError("ray is missing", fix="pip install 'relatum[scale]'") from error
    if not ray.is_initialized():
        where: dict[str, Any] = {"address": address} if address else {"num_cpus": workers, **ALONE}
        try:
            ray.init(log_to_driver=False, **where)
        except ConnectionError as error:
            raise RelatumError("no Ray cluster there", where=str(address)) from error
    queue, most = iter(tasks), workers or int(ray.cluster_resources().get("CPU", 1))
    start: Any = ray.remote(max_retries=0)(make).remote
    running = {start(task): (task, 0) for task in islice(queue, most)}
    while running:
        ready = ray.wait(list(running), num_returns=1)[0][0]
        task, deaths = running.pop(ready)
        try:
            yield ray.get(ready)
        except (WorkerCrashedError, NodeDiedError):
            logging.warning("shard %d: its worker died, time %d", task.number, deaths + 1)
            if deaths < RETRIES:
                running[start(task)] = task, deaths + 1
                continue
            yield Outcome(task.number, 0, refused=[f"its worker died {deaths + 1} times"])
        running |= {start(task): (task, 0) for task in islice(queue, 1)}
