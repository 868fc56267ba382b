"""Weights that are split among processes, for towers that are larger than one card: torch's FSDP2.

In: blocks of a tower, tensors that may be split.
Out: blocks of which each process holds a share: of weights, gradients and the optimiser's state.
This room knows tensors only. What is split is whole again in every process only while it is used;
`whole` and `clip` must be called by all processes at once.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


def split(blocks: Iterable[nn.Module]) -> None:
    """Split the weights of each block among the processes; gradients are added, not averaged."""
    meshes: dict[str, DeviceMesh] = {}
    for block in blocks:
        kind = next(block.parameters()).device.type
        meshes[kind] = meshes.get(kind) or init_device_mesh(kind, (distributed.get_world_size(),))
        fully_shard(block, mesh=meshes[kind])
        assert isinstance(block, FSDPModule)
        block.set_gradient_divide_factor(1.0)
        block.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def is_split(tensor: Tensor) -> bool:
    """Tell whether this process holds but a share."""
    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor, without its history; one that is split comes to the processor."""
    if isinstance(tensor, DTensor):
        return tensor.full_tensor().detach().cpu()
    return tensor.detach()


def split_like(values: Tensor, like: Tensor) -> Tensor:
    """Return this process's share of values that all processes have, where `like` is split."""
    if not isinstance(like, DTensor) or values.shape != like.shape:
        return values
    where = like.device_mesh, like.placements
    return distribute_tensor(values.to(like.device), *where, src_data_rank=None)


def clip(parameters: Sequence[nn.Parameter], most: float) -> float:
    """Scale the gradients to a norm of `most` at most; return their norm before that."""
    kinds = [[p for p in parameters if is_split(p) is kind] for kind in (False, True)]
    gradients = [[p.grad for p in some if p.grad is not None] for some in kinds]
    norms = [whole(get_total_norm(some)) for some in gradients if some]
    norm = torch.stack([one.cpu() for one in norms]).norm() if norms else torch.zeros(())
    for some in kinds:
        clip_grads_with_norm_(some, most, norm)
    return float(norm)
