"""Which pictures look the same, and which texts differ in numbers, sizes and colours only.

In: pictures, texts.
Out: how a picture looks in bytes, close pairs of looks, a text's key without its variants.
This file does not know of catalogues.
"""

import re
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageChops
from scipy import sparse
from scipy.sparse.csgraph import connected_components

CLOSE = 6  # of 128 bits; up to 7, no close pair escapes the bands
ALIKE = 8.0  # grey levels by which two looks differ on average, at most
REACH = 20  # neighbours in a band's order that each look is compared with
CONTRAST = 2  # grey levels by which a step counts
PLAIN = 8  # steps at least: a picture with fewer is too plain to tell
HASH = 16  # bytes
BLANK = np.zeros(HASH + 192, dtype=np.uint8)  # how no picture looks
COLOURS = frozenset(
    "beige black blue bronze brown charcoal clear cream cyan gold golden gray green grey indigo "
    "ivory khaki lavender lime magenta maroon navy olive orange peach pink purple red rose silver "
    "tan teal turquoise violet white yellow dark light pale".split()
)
SIZES = frozenset("xxs xs s m l xl xxl xxxl small medium large mini tiny big huge".split())
UNITS = frozenset("mm cm m km in inch inches ft feet yd g kg mg lb lbs oz ml cl l gal w v".split())


def picture_look(picture: Image.Image) -> UInt8[np.ndarray, " look"]:
    """Return how a picture looks: 16 bytes of difference hash, then 8 x 8 colours.

    The picture is cropped to what stands on its background first. Each bit of the hash (dHash) says
    whether a pixel, shrunk to 9 x 9, is darker than the next to the right, or below. The hash is
    zero where there are too few such steps to tell.

    >>> picture_look(Image.new("RGB", (48, 48), "white"))[:16].any()
    np.False_
    """
    picture = _cropped(picture.convert("RGB"))
    grey = np.asarray(picture.convert("L").resize((9, 9), Image.Resampling.BOX), dtype=np.int16)
    steps = np.stack([grey[:8, 1:] - grey[:8, :8], grey[1:, :8] - grey[:8, :8]]) > CONTRAST
    colours = np.asarray(picture.resize((8, 8), Image.Resampling.BOX)).ravel()
    return np.concatenate([np.packbits(steps & (steps.sum() >= PLAIN)), colours])


def _cropped(picture: Image.Image) -> Image.Image:
    """Cut off a border of the corner's colour."""
    background = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    box = ImageChops.difference(picture, background).convert("L").point(_steps).getbbox()
    return picture.crop(box) if box else picture


def _steps(level: int) -> int:
    return 255 * (level > 8)


def close_pairs(
    looks: UInt8[np.ndarray, "pictures look"], distance: int = CLOSE
) -> Int[np.ndarray, "pairs 2"]:
    """Return the pairs of rows whose hashes differ in at most `distance` bits, colours alike.

    Hashes are compared where one of eight bands of 16 bits is equal, so the time is linear. Rows
    whose hash is zero are never close.
    """
    told = np.flatnonzero(looks[:, :HASH].any(1))
    bands = np.ascontiguousarray(looks[told, :HASH]).view(np.uint16)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for band in range(bands.shape[1]):
        order = np.lexsort(np.roll(bands, -band, axis=1).T[::-1])  # by this band, then the next
        for step in range(1, min(REACH, len(order) - 1) + 1):
            one, other = order[:-step], order[step:]
            same = bands[one, band] == bands[other, band]
            one, other = one[same], other[same]
            near = np.bitwise_count(bands[one] ^ bands[other]).sum(1) <= distance
            found.append(np.stack([told[one[near]], told[other[near]]], 1))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    colours = looks[:, HASH:].astype(np.int16)
    return pairs[np.abs(colours[pairs[:, 0]] - colours[pairs[:, 1]]).mean(1) <= ALIKE]


def variant_key(text: str) -> str:
    """Return a text without numbers, sizes, units and colours, for variants of one product.

    >>> variant_key("Shirt, Red, 12 cm (XL)"), variant_key("shirt blue 3cm L")
    ('shirt', 'shirt')
    """
    words = re.findall(r"[^\W\d_]+", text.lower())
    return " ".join(word for word in words if word not in COLOURS | SIZES | UNITS)


def same_key(keys: Sequence[Hashable]) -> list[list[int]]:
    """Return the rows that share a key, two or more; None and empty keys are shared by nobody.

    >>> same_key(["a", "b", "a", None, None])
    [[0, 2]]
    """
    rows: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        if key:
            rows.setdefault(key, []).append(row)
    return [some for some in rows.values() if len(some) > 1]


def joined(pairs: Int[np.ndarray, "pairs 2"], count: int) -> list[list[int]]:
    """Return the rows that pairs join, directly or through others.

    >>> joined(np.array([[0, 2], [2, 3]]), 5)
    [[0, 2, 3]]
    """
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = sparse.coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = connected_components(graph.tocsr(), directed=False)[1]
    return same_key([int(label) + 1 for label in labels])
