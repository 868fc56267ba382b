"""Encode items once: what the cache has is read, what it lacks is encoded and kept.

In: items, an encoder, a reduction, the cache folder.
Out: `Tokens` in the items' order, in main memory, wherever the encoder is.
This file does not know of relations or models.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from relatum.batch import Part, Tokens
from relatum.config import TokensConfig
from relatum.disk import cache_folder, write_file
from relatum.encoders.cache import CachedTokens, TokenCache, open_cache
from relatum.encoders.encoder import SIDES, Encoder, Raw, Side
from relatum.encoders.joined import Joined, Table
from relatum.encoders.reduction import Reduction, pool_grid, pool_words
from relatum.items import Item, clean, image_key, read_image, text_key
from relatum.progress import Report, silent

BATCH = 32
SHARD = 256
SAMPLE = 512
T = TypeVar("T")
R = TypeVar("R")
_BLANKS: WeakKeyDictionary[Encoder, tuple[Raw, Raw]] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Modality:
    """How one modality is keyed, encoded, pooled and reduced."""

    name: str
    key: Callable[[Item], str]
    size: Callable[[Item], int]
    load: Callable[[Item], Any]
    encode: Callable[[Sequence[Any]], Raw]
    pool: Callable[[Raw], Raw]
    reduce: Callable[[Raw], Part]


@torch.no_grad()
def encode_items(
    items: Sequence[Item],
    encoder: Encoder,
    reduction: Reduction,
    *,
    cache: Path | None = None,
    report: Report = silent,
) -> Tokens:
    """Return the tokens of items in their order; new ones are kept in the cache.

    Raises `DataError` for a picture that cannot be decoded.
    """
    return cache_items(items, encoder, reduction, cache=cache, report=report)[:]


@torch.no_grad()
def cache_items(
    items: Sequence[Item],
    encoder: Encoder,
    reduction: Reduction,
    *,
    lean: bool = False,
    cache: Path | None = None,
    report: Report = silent,
) -> CachedTokens:
    """Encode what the cache lacks; return a view of all, a lean one without their tokens."""
    root = (cache or cache_folder()) / "tokens" / f"{encoder.fingerprint()}-{reduction.fingerprint}"
    parts = []
    for modality, blank in _modalities(encoder, reduction):
        having, here = _those_with(items, modality)
        store = open_cache(root / modality.name)
        keys = [modality.key(item) for item in having]
        _encode_missing(store, dict(zip(keys, having, strict=True)), modality, report)
        places = np.full((len(items), 2), -1, np.int32)
        places[here.numpy()] = store.find(keys)
        parts.append(store.view(places, blank, lean=lean))
    return CachedTokens(image=parts[0], text=parts[1])


def forward_items(items: Sequence[Item], encoder: Encoder, reduction: Reduction) -> Tokens:
    """Encode new items without the cache and without what was computed before."""
    return Tokens(*(forward_part(items, encoder, reduction, side) for side in SIDES)).cpu()


def forward_part(items: Sequence[Item], encoder: Encoder, reduction: Reduction, side: Side) -> Part:
    """Encode one side of a batch, differentiably, where the encoder is: the path of tuning."""
    modality, blank = _modalities(encoder, reduction, looked_up=False)[SIDES.index(side)]
    having, here = _those_with(items, modality)
    loaded = list(_loaders().map(modality.load, having))
    part = modality.reduce(modality.encode(loaded)) if having else None
    return _with_gaps(part, blank, here)


@torch.no_grad()
def encode_texts(texts: Sequence[str], encoder: Encoder, reduction: Reduction) -> Part:
    """Encode relation texts as item texts are encoded, but keep nothing on disk."""
    batches = _batches(clean([*texts]), BATCH)
    parts = [reduction.text_part(encoder.encode_texts(part)) for part in batches]
    return Part.join([part.float() for part in parts]).cpu()


@torch.no_grad()
def find_reduction(
    train: Sequence[Item],
    held_out: Sequence[Item],
    encoder: Encoder,
    config: TokensConfig,
    *,
    cache: Path | None = None,
    report: Report = silent,
) -> Reduction:
    """Return a reduction fitted on training items only.

    One in the cache serves again if it was fitted on no item that is held out now and on at least
    90 % of the sample that would be taken now: so a changed item does not have all others encoded
    again.
    """
    root = cache or cache_folder()
    sample = sorted(train, key=lambda item: hashlib.sha256(item.id.encode()).hexdigest())[:SAMPLE]
    settings = f"{encoder.fingerprint()}-{config.hidden}-{config.image_side}-{config.text_tokens}"
    folder = root / "reductions" / settings
    now = _item_keys(sample)
    reduction = _fitting_reduction(folder, now, _item_keys(held_out), config)
    return reduction or _fit(sample, now, folder, encoder, config, root, report)


def _fit(
    sample: Sequence[Item],
    keys: set[str],
    folder: Path,
    encoder: Encoder,
    config: TokensConfig,
    root: Path,
    report: Report,
) -> Reduction:
    """Encode the sample, fit, and keep both the reduction and the reduced sample."""
    unfitted = Reduction.unfitted(*_blanks(encoder), config)
    raws: dict[str, tuple[list[Item], Raw]] = {}
    for modality, _ in _modalities(encoder, unfitted):
        having = sorted((item for item in sample if modality.size(item)), key=modality.size)
        if having:
            raws[modality.name] = (having, _raw_of(having, modality, report))
    found = {name: raw for name, (_, raw) in raws.items()}
    reduction = unfitted.fitted(found.get("images"), found.get("texts"), config)
    tokens = root / "tokens" / f"{encoder.fingerprint()}-{reduction.fingerprint}"
    for modality, _ in _modalities(encoder, reduction):
        if modality.name in raws:
            items, raw = raws[modality.name]
            store = open_cache(tokens / modality.name)
            names = [modality.key(item) for item in items]
            rows = [names.index(name) for name in store.missing(names)]
            if rows:
                store.write([names[row] for row in rows], modality.reduce(raw)[torch.tensor(rows)])
    data = save(reduction.tensors(), metadata={"keys": json.dumps(sorted(keys))})
    write_file(folder / f"{reduction.fingerprint}.safetensors", data)
    return reduction


def _raw_of(items: Sequence[Item], modality: _Modality, report: Report) -> Raw:
    """Encode and pool a sample; only the pooled tokens are held in memory, in half precision."""
    raws: list[Part] = []
    done = 0
    for batch in _loaded(_batches(items, BATCH), modality.load):
        raw = modality.pool(modality.encode(batch))
        raws.append(Part(raw.tokens.half(), raw.mask, raw.pooled).cpu())
        done += len(batch)
        report(f"encode {modality.name}, sample", done, len(items), "")
    joined = Part.join(raws)
    return Raw(joined.tokens.float(), joined.mask, joined.pooled)


def _fitting_reduction(
    folder: Path, now: set[str], held_out: set[str], config: TokensConfig
) -> Reduction | None:
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                fitted = set(json.loads(file.metadata()["keys"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, KeyError, TypeError):
            path.unlink()  # damaged: it is fitted again
            continue
        if not fitted & held_out and len(fitted & now) >= 0.9 * len(now):
            return Reduction.from_tensors(tensors, config.image_side, config.text_tokens)
    return None


def _item_keys(items: Sequence[Item]) -> set[str]:
    texts = {text_key(item.text) for item in items if item.text}
    return texts | {image_key(item) for item in items if item.image is not None}


def _encode_missing(
    store: TokenCache, items: dict[str, Item], modality: _Modality, report: Report
) -> None:
    missing = sorted(store.missing(list(items)), key=lambda key: modality.size(items[key]))
    parts: list[Part] = []
    done = begun = 0
    wanted = _batches([items[key] for key in missing], BATCH)
    for batch in _loaded(wanted, modality.load):
        parts.append(modality.reduce(modality.encode(batch)).cpu())
        done += len(batch)
        report(f"encode {modality.name}", done, len(missing), "")
        if done - begun >= SHARD or done == len(missing):
            store.write(missing[begun:done], Part.join(parts))
            parts, begun = [], done


def _those_with(items: Sequence[Item], modality: _Modality) -> tuple[list[Item], Tensor]:
    """Return the items that have a modality, and a mask of where they stand."""
    here = [bool(modality.size(item)) for item in items]
    having = [item for item, has in zip(items, here, strict=True) if has]
    return having, torch.tensor(here, dtype=torch.bool)


def _with_gaps(part: Part | None, blank: Part, here: Tensor) -> Part:
    """Spread a part over all items; those without the modality get an empty mask."""
    source = blank if part is None else part
    if part is None or not here.all():
        source = Part(*(t.new_zeros(len(here), *t.shape[1:]) for t in vars(source).values()))
        if part is not None:
            source.tokens[here], source.mask[here] = part.tokens, part.mask
            source.pooled[here] = part.pooled
    return source


def _blanks(encoder: Encoder) -> tuple[Raw, Raw]:
    """Encode a white picture and "a" once for each encoder: only their shapes matter."""
    if encoder not in _BLANKS:
        tables = encoder.tables if isinstance(encoder, Joined) else {}
        with torch.no_grad():
            picture = tables["image"].raw if "image" in tables else None
            picture = picture or encoder.encode_images([Image.new("RGB", (32, 32), "white")])
            _BLANKS[encoder] = picture, encoder.encode_texts(["a"])
    return _BLANKS[encoder]


def takes_pictures(encoder: Encoder) -> bool:
    """Return whether pictures count: a text encoder gives them empty masks."""
    return bool(_blanks(encoder)[0].mask.any())


def blank_tokens(encoder: Encoder, reduction: Reduction) -> Tokens:
    """Return the tokens of a white picture and of "a": their shapes say what the model takes."""
    picture, text = _blanks(encoder)
    return Tokens(reduction.image_part(picture), reduction.text_part(text)).cpu()


def _modalities(
    encoder: Encoder, reduction: Reduction, *, looked_up: bool = True
) -> list[tuple[_Modality, Part]]:
    blank = blank_tokens(encoder, reduction)
    sees = takes_pictures(encoder)
    fit = getattr(encoder, "fit", lambda picture: picture)  # what an encoder does ahead, if any
    images = _Modality(
        name="images",
        key=image_key,
        size=lambda item: int(sees and item.image is not None),
        load=lambda item: fit(read_image(item)),
        encode=encoder.encode_images,
        pool=lambda raw: pool_grid(raw, reduction.image_side),
        reduce=reduction.image_part,
    )
    texts = _Modality(
        name="texts",
        key=lambda item: text_key(item.text or ""),
        size=lambda item: len((item.text or "").strip()),
        load=lambda item: item.text or "",
        encode=encoder.encode_texts,
        pool=lambda raw: pool_words(raw, reduction.text_tokens),
        reduce=reduction.text_part,
    )
    if looked_up and isinstance(encoder, Joined):
        images = _looked_up(images, encoder.tables.get("image"))
        texts = _looked_up(texts, encoder.tables.get("text"))
    return [(images, blank.image), (texts, blank.text)]


def _looked_up(modality: _Modality, table: Table | None) -> _Modality:
    """Take a modality from a table, where there is one, by the items' ids."""
    if table is None:
        return modality
    return replace(
        modality,
        key=lambda item: text_key(item.id),
        size=lambda item: modality.size(item) or int(item.id in table.rows),
        load=lambda item: item,
        encode=table.find,
    )


def _batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


@cache
def _loaders() -> ThreadPoolExecutor:
    """Return the threads that decode and scale pictures: Pillow lets others go on meanwhile."""
    return ThreadPoolExecutor(max(2, torch.get_num_threads()))


def _loaded(batches: Iterable[Sequence[T]], load: Callable[[T], R]) -> Iterator[list[R]]:
    """Yield batches loaded, the next one while one is worked on."""
    due: Iterator[R] = iter(())
    for number, batch in enumerate(batches):
        coming = _loaders().map(load, batch)
        if number:
            yield list(due)
        due = coming
    if rest := list(due):
        yield rest
