"""Threads beside torch's own.

In: how many.
Out: an executor whose operations on tensors take no other threads.
This room does not know what they work on.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch


def lone_threads(count: int = 1) -> ThreadPoolExecutor:
    """Return threads whose operations on tensors take no other threads.

    A second team of OpenMP threads has both teams fall asleep between operations, and waking them
    tripled the time of a training step on two cores.
    """
    threads, started = torch.get_num_threads(), Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first question sets its default
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(count, initializer=begin)
    for _ in range(count):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(threads)  # that of MKL is not each thread's own
    return pool
