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
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, distributed, nn

from relatum.errors import RelatumError

PATIENCE = timedelta(hours=24)  # the others wait while the first process encodes a catalogue
T = TypeVar("T")
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
    """Return where to compute; `auto` is this process's graphics card where there is one.

    >>> find_device("cpu")
    device(type='cpu')
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RelatumError("no CUDA device found", where="training.device", fix="use auto or cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes for the length of the block; a lone process goes straight on."""
    if not _launched() or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(find_device("auto"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
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


def agree(value: T) -> T:
    """Return the first process's value."""
    box: list[Any] = [value]
    if size() > 1:
        distributed.broadcast_object_list(box)
    return box[0]


def check_alike(value: str, what: str) -> None:
    """Refuse to train one model on different things in different processes."""
    found: list[Any] = [value] * size()
    if size() > 1:
        distributed.all_gather_object(found, value)
    if len(set(found)) > 1:
        fix = "give all processes the same catalogue, settings and token cache (--cache)"
        raise RelatumError(f"the processes have different {what}: {', '.join(found)}", fix=fix)


def greatest(values: Sequence[int], device: torch.device) -> list[int]:
    """Return the largest of each value over all processes."""
    if size() == 1:
        return list(values)
    counts = torch.tensor(values, device=device)
    distributed.all_reduce(counts, distributed.ReduceOp.MAX)
    return counts.tolist()


def share(count: int) -> Int64[Tensor, " rows"]:
    """Return the rows of a pool that this process takes.

    All take equally many, as gathering wants; the last of them begin again at the first row.

    >>> share(3)
    tensor([0, 1, 2])
    """
    each = -(-count // size())
    return (torch.arange(each) + rank() * each) % count


def gather(rows: Float[Tensor, "share *dims"], count: int) -> Float[Tensor, "pool *dims"]:
    """Return the whole pool from the shares.

    Every process computes the whole loss from here on, so each knows the whole gradient of its own
    rows and none is sent: the gradients of what made the rows are parts, and `add_gradients` adds
    them up. Averaging, as DistributedDataParallel does, would be wrong by the number of processes.
    """
    return _Gather.apply(rows)[:count] if size() > 1 else rows  # pyright: ignore


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401 - torch's type is private
        shares = [torch.empty_like(rows) for _ in range(size())]
        distributed.all_gather(shares, rows.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        return gradients[0].chunk(size())[rank()]


@contextmanager
def sharing(count: int) -> Iterator[None]:
    """Say that rows in the block are this process's share of a pool of `count`."""
    token = _POOL.set(count)
    try:
        yield
    finally:
        _POOL.reset(token)


def draw_rows(like: Tensor) -> Float[Tensor, "rows *dims"]:
    """Return chance from 0 to 1 in a tensor's shape; a pool's rows get theirs whoever holds them.

    >>> draw_rows(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    count = _POOL.get() if size() > 1 else 0
    if not count:
        return torch.rand(like.shape, device=like.device)
    drawn = torch.rand(count, *like.shape[1:], device=like.device)
    return drawn[share(count).to(like.device)]


def add_gradients(parts: Sequence[nn.Parameter], wholes: Sequence[nn.Parameter]) -> None:
    """Add up the gradients of all processes, which then step alike.

    Those of `wholes`, used after gathering, are whole in each process: they are averaged.
    """
    if size() == 1:
        return
    weights = [*parts, *wholes]
    for weight in wholes:
        weight.grad = None if weight.grad is None else weight.grad / size()
    there = greatest([int(weight.grad is not None) for weight in weights], weights[0].device)
    used = [weight for weight, is_used in zip(weights, there, strict=True) if is_used]
    for kind in ("cpu", "cuda"):
        _add_flat([weight for weight in used if weight.device.type == kind])


def _add_flat(weights: Sequence[nn.Parameter]) -> None:
    """Send all gradients as one tensor."""
    if not weights:
        return
    found = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    flat = torch.cat([gradient.reshape(-1) for gradient in found])
    distributed.all_reduce(flat)
    for weight, whole in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
        weight.grad = whole.view_as(weight)
