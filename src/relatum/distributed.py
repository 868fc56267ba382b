"""Many processes that train one model: who takes which rows, and how they come together again.

In: RANK, WORLD_SIZE and the other variables that `torchrun` sets; without them, one process.
Out: shares of rows, gathered tensors with their gradients, added gradients, agreed values.
This room knows tensors only: no items, no losses, no files.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, distributed, nn

PATIENCE = timedelta(hours=24)  # the others wait while the first process encodes a catalogue
_POOL: ContextVar[int] = ContextVar("rows of the pool that is shared out", default=0)


def is_first() -> bool:
    """Return whether this process writes and reports."""
    return not _launched() or os.environ["RANK"] == "0"


def size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return which of them this one is."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def find_device(name: str) -> torch.device:
    """Return where to compute; `auto` is this process's graphics card where each has one."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of this machine
    if name == "cpu" or not torch.cuda.is_available() or beside > torch.cuda.device_count():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes for the length of the block; a lone process goes straight on."""
    if not _launched() or distributed.is_initialized():
        yield
        return
    backend = "gloo"
    if find_device("auto").type == "cuda":
        torch.cuda.set_device(find_device("auto"))
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _launched() -> bool:
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


@contextmanager
def one_goes_ahead() -> Iterator[None]:
    """Let one process of each machine through the block first: it fills the cache for the rest."""
    ahead = os.environ.get("LOCAL_RANK", "0") == "0"
    if size() > 1 and not ahead:
        distributed.barrier()
    yield
    if size() > 1 and ahead:
        distributed.barrier()


def agree(value: Any) -> Any:  # noqa: ANN401 - what it is given
    """Return the first process's value."""
    box: list[Any] = [value]
    if size() > 1:
        distributed.broadcast_object_list(box)
    return box[0]


def share(count: int) -> Int64[Tensor, " rows"]:
    """Return the rows that this process takes: equally many each, the last begin again at 0.

    >>> share(3)
    tensor([0, 1, 2])
    """
    each = -(-count // size())
    return (torch.arange(each) + rank() * each) % count


def gather(
    rows: Float[Tensor, "share *dims"], count: int, *, split: bool = False
) -> Float[Tensor, "pool *dims"]:
    """Return the whole pool from the shares.

    Every process computes the whole loss, so each knows the whole gradient of its own rows. What
    made them gets a part from each, which `add_gradients` adds up; to average these, as
    DistributedDataParallel does, would be wrong by the number of processes. With `split`, each
    process uses the pool for a part of what `add_up` adds, so the gradients are added here.
    """
    return _Gather.apply(rows, split)[:count] if size() > 1 else rows  # pyright: ignore


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, split: bool) -> Tensor:  # noqa: ANN401, FBT001 - torch's
        ctx.split = split
        shares = [torch.empty_like(rows) for _ in range(size())]
        distributed.all_gather(shares, rows.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        whole = gradients[0].clone()
        if ctx.split:
            distributed.all_reduce(whole)
        return whole.chunk(size())[rank()], None


def add_up(numbers: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
    """Return the sum over all processes; as with `gather`, each knows the whole gradient."""
    return _AddUp.apply(numbers) if size() > 1 else numbers  # pyright: ignore


class _AddUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, numbers: Tensor) -> Tensor:  # noqa: ANN401 - torch's type is private
        numbers = numbers.clone()
        distributed.all_reduce(numbers)
        return numbers

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        return gradients[0]


def share_pool(count: int) -> None:
    """Say that the rows that come are this process's share of a pool of `count`."""
    _POOL.set(count)


def draw_rows(like: Tensor) -> Float[Tensor, "rows *dims"]:
    """Return numbers from 0 to 1 in a tensor's shape; a pool's row gets its own whoever has it."""
    count = _POOL.get() if size() > 1 else 0
    drawn = torch.rand(count or len(like), *like.shape[1:], device=like.device)
    return drawn[share(count)] if count else drawn


def add_gradients(parts: Sequence[nn.Parameter], wholes: Sequence[nn.Parameter]) -> None:
    """Add up the gradients of all processes, which then step alike.

    Those of `wholes`, used after gathering, are whole in each process: they are averaged.
    """
    if size() == 1:
        return
    weights = [*parts, *wholes]
    for weight in wholes:
        weight.grad = None if weight.grad is None else weight.grad / size()
    there = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32)
    there = there.to(weights[-1].device)
    distributed.all_reduce(there, distributed.ReduceOp.MAX)
    for index in there.nonzero().flatten().tolist():
        weight = weights[index]
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        distributed.all_reduce(weight.grad)
