"""What the benchmarks share: time a piece of work, and print the spread of what was measured."""

import statistics
import time
from collections.abc import Callable, Sequence


def spread(values: Sequence[float]) -> str:
    """Return min / median / max.

    >>> spread([3.0, 1.0, 2.0])
    '1 / 2 / 3'
    """
    return f"{min(values):.4g} / {statistics.median(values):.4g} / {max(values):.4g}"


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def worked(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that `work` takes, in all threads together."""
    begun = time.process_time()
    work()
    return time.process_time() - begun
