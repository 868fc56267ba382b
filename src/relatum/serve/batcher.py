"""Answer together what was asked meanwhile.

In: questions from many requests, one at a time.
Out: their answers, found by one call for all that wait: the busier the service, the larger the
call. One who asks alone waits for nobody, but once after others. This file does not know what is
asked.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from relatum.errors import RelatumError

PAUSE = 0.005  # seconds that a call waits for as many questions as the last one had

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class BusyError(Exception):
    """Too many questions wait already."""


class Batcher(Generic[Question, Answer]):
    """One thread that answers whatever waits, at most `most` questions in a call.

    `answer` returns an answer or an error for each question. Past `waiting` questions, `ask`
    raises `BusyError`, so that memory stays bounded.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Sequence[Answer | RelatumError]],
        *,
        most: int = 32,
        waiting: int = 512,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Start nothing yet: the first question starts the thread; `seen` is told batch sizes."""
        self._answer = answer
        self._most = most
        self._limit = waiting
        self._seen = seen
        self._waiting: deque[tuple[Question, asyncio.Future[Answer]]] = deque()
        self._thread = ThreadPoolExecutor(1)
        self._running: asyncio.Task[None] | None = None
        self._expected = 1
        self._enough = asyncio.Event()

    async def ask(self, question: Question) -> Answer:
        """Return the answer to one question, or raise its error."""
        if len(self._waiting) >= self._limit:
            raise BusyError
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if len(self._waiting) >= self._expected:
            self._enough.set()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Answer what waits, then stop the thread."""
        if self._running is not None:
            await self._running
        self._thread.shutdown()

    async def _run(self) -> None:
        loop, self._enough = asyncio.get_running_loop(), asyncio.Event()
        while self._waiting:
            await self._companions()
            count = min(len(self._waiting), self._most)
            batch = [self._waiting.popleft() for _ in range(count)]
            batch = [(question, future) for question, future in batch if not future.done()]
            if not batch:
                continue
            self._seen(len(batch))
            self._expected = len(batch)
            questions = [question for question, _ in batch]
            try:
                answers = await loop.run_in_executor(self._thread, self._answer, questions)
            except Exception as error:  # a bug: every request of the batch must hear of it
                for _, future in batch:
                    _settle(future, error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                _settle(future, answer)

    async def _companions(self) -> None:
        """Wait for those who were answered together to ask again: else the first goes alone."""
        if len(self._waiting) < self._expected:
            self._enough.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), PAUSE)


def _settle(future: asyncio.Future, answer: object) -> None:
    if future.done():  # its request was cancelled meanwhile
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def each(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Answer calls one after the other; what the user can fix becomes the answer.

    >>> each([lambda: 1, lambda: 2])
    [1, 2]
    """
    answers: list[object] = []
    for call in calls:
        try:
            answers.append(call())
        except RelatumError as error:
            answers.append(error)
    return answers
