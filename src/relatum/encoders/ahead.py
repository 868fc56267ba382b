"""Load the next batches while one is being worked on.

In: batches of anything, and how one thing is loaded.
Out: the batches, loaded, in their order.
This file does not know what is loaded; decoding and scaling pictures run beside the encoder, as
Pillow lets other threads go on.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
THREADS = 2
AHEAD = 1  # batches that are loaded, or being loaded, beside the one that is worked on


def loaded_ahead(
    batches: Iterable[Sequence[T]], load: Callable[[T], R], *, ahead: int = AHEAD
) -> Iterator[list[R]]:
    """Yield each batch loaded; an error of `load` is raised where its batch is due.

    >>> list(loaded_ahead([[1, 2], [3]], str))
    [['1', '2'], ['3']]
    """
    pool = ThreadPoolExecutor(THREADS)
    waiting: deque[list[Future[R]]] = deque()
    try:
        for batch in batches:
            waiting.append([pool.submit(load, one) for one in batch])
            if len(waiting) > ahead:
                yield [found.result() for found in waiting.popleft()]
        while waiting:
            yield [found.result() for found in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)
