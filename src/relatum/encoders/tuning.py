"""Train encoders too: a tower as a whole, or low-rank adapters in its blocks.

In: an encoder and settings.
Out: towers made ready, their parameters with rates, and the tensors that training has changed.
LoRA (arXiv 2106.09685) is peft's, which comes with the extra `encoders`.
"""

import importlib.util
from collections.abc import Mapping

from torch import Tensor, nn
from transformers import PreTrainedModel

from relatum.config import Config, Tuning
from relatum.encoders.encoder import SIDES, Encoder
from relatum.errors import CheckpointError, ConfigError, EncoderError
from relatum.sharding import split, split_like, whole

MARK = ".lora_"


def check_tuning(encoder: Encoder, config: Config) -> None:
    """Refuse settings that the encoder does not allow, before anything is encoded.

    Raises `ConfigError` for a tower that is not known or that has no place for adapters, and
    `EncoderError` without peft.
    """
    for side in SIDES:
        tower, way = encoder.tower(side), config.tuning.way(side)
        if tower is None and way != "frozen":
            what = f"tuning.{side}={way}, but the encoder has no {side} tower of its own"
            raise ConfigError(what, fix=f"set tuning.{side}=frozen")
        if tower is None or way != "lora" or not list(tower.parameters()):
            continue
        if not _targets(tower):
            what = f"tuning.{side}=lora, but the {side} tower has no blocks with linear maps"
            raise ConfigError(what, fix=f"set tuning.{side}=frozen or tuning.{side}=full")
        if importlib.util.find_spec("peft") is None:
            what, fix = f"tuning.{side}=lora needs peft", "pip install 'relatum[encoders]'"
            raise EncoderError(what, fix=fix)


def begin_tuning(encoder: Encoder, config: Config) -> None:
    """Check, freeze what stays as it is, add adapters, and say what is to be recomputed."""
    check_tuning(encoder, config)
    for side in SIDES:
        tower, way = encoder.tower(side), config.tuning.way(side)
        if tower is None:
            continue
        tower.requires_grad_(way == "full")
        if way == "lora" and list(tower.parameters()):
            _add_adapters(tower, config)
        if way != "frozen" and config.training.checkpointing:
            _checkpoint(tower)


def split_towers(encoder: Encoder, config: Config) -> None:
    """Split the blocks of towers that are tuned among the processes; what is around them is not."""
    for side in SIDES:
        tower = encoder.tower(side)
        if tower is not None and config.tuning.way(side) != "frozen":
            split(tower.get_submodule(place) for place in _blocks(tower))


def _targets(tower: nn.Module) -> list[str]:
    """Return the names of all linear maps of the blocks."""
    places = tuple(f"{place}." for place in _blocks(tower))
    parts = {name: part for name, part in tower.named_modules() if name.startswith(places)}
    return [name for name, part in parts.items() if isinstance(part, nn.Linear)]


def _add_adapters(tower: nn.Module, config: Config) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    rank, alpha = config.lora.rank, config.lora.alpha
    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules=_targets(tower))
    inject_adapter_in_model(settings, tower)


def _blocks(tower: nn.Module) -> list[str]:
    """Return the names in the longest list of modules of a tower, from the input on."""
    lists = {name: len(p) for name, p in tower.named_modules() if isinstance(p, nn.ModuleList)}
    name = max(lists, key=lambda name: lists[name], default="")
    return [f"{name}.{index}" for index in range(lists.get(name, 0))]


def _checkpoint(tower: nn.Module) -> None:
    """Have blocks recomputed in the backward pass; dropout stays off, as elsewhere in tuning."""
    for part in tower.modules():
        if isinstance(part, PreTrainedModel) and part.supports_gradient_checkpointing:
            enable = getattr(part, "activation_checkpointing_enable", None)  # in newer ones
            (enable or part.gradient_checkpointing_enable)()
    for part in tower.modules():
        if getattr(part, "gradient_checkpointing", False):
            part.training = True


def tuned_groups(encoder: Encoder, config: Config) -> list[dict]:
    """Return the parameters that are trained; each block nearer the input has a smaller rate.

    With `training.sharded` blocks have groups of their own, as one step takes one kind of tensors.
    """
    rates: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for side in SIDES:
        tower = encoder.tower(side)
        if tower is None or config.tuning.way(side) == "frozen":
            continue
        places = _blocks(tower)
        above = len(places) + 1 if places else 0  # what comes before the blocks
        for name, weight in tower.named_parameters():
            here = [k for k, place in enumerate(places) if name.startswith(f"{place}.")]
            above = len(places) - here[0] if here else above if above > len(places) else 0
            if weight.requires_grad:
                rate = config.training.encoder_rate * config.training.layer_decay**above
                rates.setdefault((rate, bool(here) and config.training.sharded), []).append(weight)
    return [{"params": weights, "lr": rate} for (rate, _), weights in rates.items()]


def tuned_tensors(encoder: Encoder, tuning: Tuning, *ways: str) -> dict[str, Tensor]:
    """Return what training changes, by side and name; with `ways`, of the towers tuned so.

    Where towers are split among processes, all must ask.
    """
    return {name: whole(tensor) for name, tensor in _tuned(encoder, tuning, *ways).items()}


def _tuned(encoder: Encoder, tuning: Tuning, *ways: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for side in SIDES:
        tower, way = encoder.tower(side), tuning.way(side)
        if tower is not None and way in (ways or ("full", "lora")):
            for name, tensor in tower.state_dict().items():
                if way == "full" or MARK in name:
                    found[f"{side}.{name}"] = tensor.detach()
    return found


def fill_tuned(encoder: Encoder, tuning: Tuning, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `tuned_tensors` returned; `CheckpointError` where it does not fit."""
    ours = _tuned(encoder, tuning)
    sizes = [{name: t.shape for name, t in some.items()} for some in (ours, tensors)]
    if sizes[0] != sizes[1]:
        wrong = sorted({name for name, _ in sizes[0].items() ^ sizes[1].items()})
        what = f"the tuned weights do not fit the encoder: {', '.join(wrong[:3])}"
        raise CheckpointError(what, fix="train the model again")
    for name, tensor in ours.items():
        tensor.copy_(split_like(tensors[name], tensor))
