"""Write a model as ONNX, check that it gives the same vectors, measure what int8 costs.

In: a model, a folder, items to measure on.
Out: text, image, conditioner and null as .onnx, `relatum-onnx.json`, the tokenizer, a runtime.
"""

import io
import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from relatum.batch import Part, Tokens
from relatum.conditioner import Conditioner
from relatum.disk import write_file
from relatum.encoders import Dual, Encoder, Starter, forward_items
from relatum.encoders.encoder import device_of
from relatum.encoders.starter import MAX_WORD_PIECES, SIDE
from relatum.errors import RelatumError
from relatum.export.hub import export_folder
from relatum.items import Item, read_image
from relatum.model import Model

try:
    import onnxscript  # noqa: F401 - torch needs it
    from onnxruntime.quantization import quantize_dynamic

    from relatum.export.runtime import OnnxModel
except ModuleNotFoundError as error:
    fix = "pip install 'relatum[export]'"
    raise RelatumError(f"an ONNX export needs the package {error.name}", fix=fix) from error

TOLERANCE = 1e-4


def export_onnx(
    model: Model, folder: str | Path, *, int8: bool = False, items: Sequence[Item] = ()
) -> tuple[float, list[list[str]]]:
    """Return the largest difference from the model's vectors, and the table of what int8 costs.

    `RelatumError` where the difference is above 1e-4; then there is no folder.
    """
    some = list(items) or _examples(model)
    with export_folder(Path(folder), model) as part, _on_processors(model):
        _write_graphs(model, part)
        shutil.copyfile(Path(__file__).with_name("runtime.py"), part / "runtime.py")
        difference = _difference(model, part, some)
        if difference > TOLERANCE:
            what = f"vectors differ by {difference:.1e}, at most {TOLERANCE:.0e} is allowed"
            raise RelatumError(what, where=folder, fix="this encoder cannot be exported")
        return difference, _quantised(part, some) if int8 else []


@contextmanager
def _on_processors(model: Model) -> Iterator[None]:
    """Have it there for a while: a card rounds more than an export may differ by."""
    parts = [part for part in (model.encoder, model.conditioner) if isinstance(part, nn.Module)]
    devices = [device_of(part) for part in parts]
    try:
        for part in parts:
            part.cpu()
        yield
    finally:
        for part, device in zip(parts, devices, strict=True):
            part.to(device)


class _Graph(nn.Module):
    """A function of tensors, with the module that has its weights."""

    def __init__(self, module: nn.Module, compute: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.compute = module, compute

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.compute(*tensors)


def _write_graphs(model: Model, folder: Path) -> None:
    head, encoder = model.conditioner, model.encoder
    if not isinstance(head, Conditioner) or model.config.model.beta < 1:
        what = "expected a model of pooled vectors, got one that attends to tokens"
        raise RelatumError(what, fix="train with --set model.beta=1")

    def condition(*given: Tensor) -> tuple[Tensor, ...]:
        image, text = _part(*given[:2]), _part(*given[2:4])
        told = [_part(one, torch.ones(1, dtype=torch.bool)) for one in given[4:]]
        found = head(Tokens(image, text), told[0] if told else None)
        return found.image, found.text, found.both

    text, image, facts = _towers(encoder)
    assert isinstance(encoder, Starter | Dual)
    side, count = facts["image"].pop("side"), facts["text"]["padding"]["length"]
    words = {
        name: (torch.ones(2, count or 9).long(), 1 if count else 2) for name in ("ids", "mask")
    }
    _write(_Graph(encoder, text), words, folder / "text.onnx")
    pixels = {"pixels": (torch.randn(2, 3, side, side), 1)}
    _write(_Graph(encoder, image), pixels, folder / "image.onnx")
    pooled: dict[str, tuple[Tensor, int]] = {}
    for name, tower in (("image", head.image), ("text", head.text)):
        facts[name]["dim"] = tower.whole.in_features
        pooled[name] = torch.randn(3, tower.whole.in_features), 1
        pooled[f"{name}_present"] = torch.tensor([True, True, False]), 1
    _write(_Graph(head, condition), pooled, folder / "null.onnx")
    pooled["relation"] = torch.randn(1, head.null.shape[1]), 0
    _write(_Graph(head, condition), pooled, folder / "conditioner.onnx")
    facts |= {"model": model.fingerprint, "relations": [one.text for one in model.relations]}
    write_file(folder / "relatum-onnx.json", json.dumps(facts, indent=1).encode())
    encoder.tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))  # pyright: ignore


def _part(pooled: Tensor, present: Tensor) -> Part:
    return Part(pooled[:, None, :1], present[:, None], pooled)


def _towers(encoder: Encoder) -> tuple[Callable[..., Tensor], Callable[..., Tensor], dict]:
    """Return both towers up to the pooled vector, and how their inputs are prepared."""
    if isinstance(encoder, Starter):

        def text(ids: Tensor, mask: Tensor) -> Tensor:
            states = encoder.text_tower(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(-1).to(states.dtype)
            return (states * weight).sum(1) / weight.sum(1)

        def image(pixels: Tensor) -> Tensor:
            return encoder.image_tower.extract_features(pixels).flatten(2).mean(2)  # pyright: ignore

        longest, length = MAX_WORD_PIECES, None
        how = {"square": SIDE, "side": SIDE, "image_mean": [127.0] * 3, "image_std": [128.0] * 3}
    elif isinstance(encoder, Dual):

        def text(ids: Tensor, mask: Tensor) -> Tensor:
            attends_to_padding = "siglip" in encoder.model.config.model_type
            kept = {} if attends_to_padding else {"attention_mask": mask}
            return encoder.model.get_text_features(input_ids=ids, **kept)["pooler_output"]

        def image(pixels: Tensor) -> Tensor:
            return encoder.model.get_image_features(pixel_values=pixels)["pooler_output"]

        longest = length = encoder.longest
        how = json.loads(encoder.processor.to_json_string())
        how["side"] = encoder.model.config.vision_config.image_size
    else:
        raise RelatumError(
            f"cannot export a {type(encoder).__name__}: it is neither starter nor CLIP"
        )
    words = encoder.tokenizer
    padding = {"length": length, "pad_id": words.pad_token_id, "pad_token": words.pad_token}
    return text, image, {"text": {"longest": longest, "padding": padding}, "image": how}


def _write(graph: _Graph, inputs: Mapping[str, tuple[Tensor, int]], path: Path) -> None:
    """Write a graph; each input comes with how many of its first axes may have any size."""
    free = torch.export.Dim.DYNAMIC
    shapes = tuple(dict.fromkeys(range(axes), free) for _, axes in inputs.values())
    given = tuple(example for example, _ in inputs.values())
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about itself
        options: dict[str, Any] = {"dynamo": True, "verbose": False, "external_data": False}
        options |= {"input_names": list(inputs), "dynamic_shapes": (shapes,)}
        torch.onnx.export(graph.eval(), given, str(path), **options)


def _examples(model: Model) -> list[Item]:
    """Make texts, pictures of noise, and both."""
    texts = ["a", "a red ball", "a big blue box " * 99, *(one.text for one in model.relations)]
    some = [Item("", text) for text in texts]
    for size in ((64, 48), (300, 200), (90, 400)):
        noise, file = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8), io.BytesIO()
        Image.fromarray(noise).save(file, "PNG")
        some += [Item("", None, file.getvalue()), Item("", "a green lamp", file.getvalue())]
    return some


@torch.no_grad()
def _difference(model: Model, folder: Path, items: Sequence[Item]) -> float:
    served, found = OnnxModel.load(folder), [0.0]
    tokens = forward_items(items, model.encoder, model.reduction)
    given = [{"text": item.text, "image": item.image} for item in items]
    known = [relation.text for relation in model.relations[:1]]
    for text in (None, *known, "would look odd in a garden", "both look odd there"):
        ours = model.condition(tokens, text).both.numpy()
        found.append(float(np.abs(served.embed(given, text) - ours).max()))
    return max(found)


def _quantised(folder: Path, items: Sequence[Item]) -> list[list[str]]:
    """Quantise matrix products, channel by channel; convolutions become slower and wrong."""
    rows = [["tower", "as", "MB", "ms an item", "cosine with fp32", "the least"]]
    texts = [item.text for item in items if (item.text or "").strip()]
    pictures = [read_image(item) for item in items if item.image is not None]
    for tower in ("text", "image"):
        whole, small = folder / f"{tower}.onnx", folder / f"{tower}.int8.onnx"
        quantize_dynamic(whole, small, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True)
    for tower, given in (("text", texts), ("image", pictures)):
        first = None
        for kind, end in (("fp32", ".onnx"), ("int8", ".int8.onnx")) if given else ():
            encode = getattr(OnnxModel.load(folder, int8=kind == "int8"), f"{tower}s")
            encode(given[:2])  # the first call warms up
            start = time.perf_counter()
            pooled = encode(given)
            spent = 1e3 * (time.perf_counter() - start) / len(given)
            pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
            first = pooled if first is None else first
            near = (first * pooled).sum(1)
            numbers = (folder / (tower + end)).stat().st_size / 1e6, spent, near.mean(), near.min()
            rows.append([tower, kind, *(f"{number:.4g}" for number in numbers)])
    return rows
