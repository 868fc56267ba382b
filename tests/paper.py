"""A graphics card of paper: tensors that say they are elsewhere and are not.

In: modules that are moved to `CARD` inside `paper_card()`.
Out: the same numbers as on the processors, and the complaints of a real card: what stays there is
not read by numpy, and what is there does not meet what is not.

Torch without CUDA knows no device but the processor on which numbers could lie, so that of tensors
without numbers stands in for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CARD = torch.device("meta")


class Paper(Tensor):
    """A tensor on the card; `numbers` is where it really is."""

    @staticmethod
    def __new__(cls: type, numbers: Tensor) -> Tensor:
        layout = {"strides": numbers.stride(), "storage_offset": numbers.storage_offset()}
        return Tensor._make_wrapper_subclass(  # pyright: ignore
            cls, numbers.size(), dtype=numbers.dtype, device=CARD, **layout
        )

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    @classmethod
    def __torch_dispatch__(
        cls: type, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        return _compute(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        return _compute(func, args, kwargs or {})


def _compute(func: Callable, args: tuple, kwargs: dict) -> object:
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    here = [one for one in tensors if not isinstance(one, Paper)]
    is_there = len(here) < len(tensors)
    if is_there and any(one.ndim for one in here) and not _may_mix(str(func), args):
        raise RuntimeError(f"{func}: some tensors are on the card, others are not")
    device = kwargs.get("device")
    stays = is_there if device is None else torch.device(device).type == CARD.type
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = func(*tree_map(_numbers, args), **tree_map(_numbers, kwargs))
    name = str(func).split(".")[1]
    if name.endswith("_") and not name.startswith("_"):
        return args[0]
    return tree_map(lambda one: Paper(one) if stays and isinstance(one, Tensor) else one, found)


def _may_mix(name: str, args: tuple) -> bool:
    """Return whether a real card would take these: a copy, and what is there by rows from here."""
    if name.startswith("aten.copy_."):
        return True
    is_put = name.startswith("aten.index_put")
    values = is_put and args[2]
    if is_put and isinstance(values, Tensor) and values.ndim and not isinstance(values, Paper):
        return False
    return isinstance(args[0], Paper) and (is_put or name.startswith("aten.index."))


def _numbers(value: object) -> object:
    return value.numbers if isinstance(value, Paper) else value


@contextmanager
def paper_card() -> Iterator[None]:
    """Have `CARD` for a while, in this thread."""
    make = torch.tensor

    def made(
        data: object, *, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> Tensor:
        return make(data, dtype=dtype).to(device or "cpu")

    torch.tensor = made
    try:
        with _Mode():
            yield
    finally:
        torch.tensor = make
