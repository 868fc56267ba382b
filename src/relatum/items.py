"""An item, and its picture as pixels.

In: an id, a text and/or a picture (a path or bytes), metadata.
Out: the item as a value, its content keys, its decoded picture.
This room does not know where items come from nor who encodes them.
"""

import hashlib
import io
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from relatum.errors import DataError, expect

MAX_PIXELS = 64_000_000  # a decoded picture of 192 MB; larger ones are refused before decoding
FORMATS = {"PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"}
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
TURN = Image.Transpose
TURNS = {  # by EXIF's orientation
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_270,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_90,
}


@dataclass(frozen=True)
class Item:
    """A thing with a text, a picture or both.

    `image` is a path to a picture or the bytes of one. An item with neither text nor image is
    refused with `DataError`. Half a surrogate pair in the id or the text, which UTF-8 cannot hold,
    becomes a question mark.
    """

    id: str
    text: str | None = None
    image: Path | str | bytes | None = None  # a str is made a Path
    metadata: Mapping[str, object] = field(
        default_factory=dict,
        hash=False,  # it may hold lists
    )

    def __post_init__(self) -> None:
        """Refuse an item that has nothing to encode."""
        object.__setattr__(self, "id", clean(self.id))
        object.__setattr__(self, "text", clean(self.text))
        if isinstance(self.image, str):
            object.__setattr__(self, "image", Path(self.image))
        if self.image is None and not (self.text or "").strip():
            raise DataError(
                f"item {self.id!r} has an empty text and no image", fix="give it one of the two"
            )


def several(items: "Item | Sequence[Item]") -> "Sequence[Item]":
    """Take one item for a list of it; `TypeError` for what are no items."""
    if isinstance(items, Item):
        return [items]
    try:
        items = items if isinstance(items, Sequence) else list(items)
    except TypeError as error:
        raise TypeError(f"items: expected a list, got {type(items).__name__}") from error
    for item in items:
        expect(item, Item, "items")
    return items


def clean(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    r"""Replace what UTF-8 cannot hold: half a surrogate pair, as JSON may bring one.

    >>> clean(["lamp", "\ud83d", 3])
    ['lamp', '?', 3]
    """
    if isinstance(value, list | tuple):
        return [clean(one) for one in value]
    if isinstance(value, dict):
        return {clean(key): clean(one) for key, one in value.items()}
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def text_key(text: str) -> str:
    """Name a text by its content: 32 hex digits.

    >>> text_key("lamp") == text_key("lamp"), text_key("lamp") == text_key("sofa")
    (True, False)
    """
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def image_key(item: Item) -> str:
    """Name an item's picture by its bytes: 32 hex digits."""
    return hashlib.blake2b(image_bytes(item), digest_size=16).hexdigest()


def image_bytes(item: Item) -> bytes:
    """Return the bytes of an item's picture, still encoded; `DataError` if it cannot be read."""
    if isinstance(item.image, bytes):
        return item.image
    if item.image is None:
        raise ValueError(f"item {item.id!r} has no image")
    try:
        return Path(item.image).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(
            f"item {item.id!r}: the image cannot be read: {reason}",
            where=item.image,
            fix="correct the path, or leave the item out with --skip-bad",
        ) from error


def read_image(item: Item) -> Image.Image:
    """Decode an item's picture to RGB, transparency laid on white.

    A photo is turned as its camera says; 16 bits a colour become 8. Raises `DataError` for a file
    that is missing, truncated, not a picture, of another format than its name says, of numbers with
    fractions, or larger than `MAX_PIXELS`.
    """
    data = image_bytes(item)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that are checked here
            picture = Image.open(io.BytesIO(data), formats=sorted(FORMATS))
            _check_header(item, picture)
            picture.load()
            return plain(picture)
    except UnidentifiedImageError as error:
        kinds = ", ".join(sorted(FORMATS))
        raise _image_error(item, f"expected a picture ({kinds}), got {data[:12]!r}") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise _image_error(item, f"expected a whole picture, got: {reason}") from error


def thumbnail(item: Item, side: int, *, quality: int = 80) -> bytes | None:
    """Return an item's picture as WebP of at most `side` pixels a side; None where it has none.

    Raises `DataError` for a picture that cannot be read.
    """
    if item.image is None:
        return None
    picture, file = read_image(item), io.BytesIO()
    picture.thumbnail((side, side))
    picture.save(file, "WEBP", quality=quality)
    return file.getvalue()


def plain(picture: Image.Image) -> Image.Image:
    """Return a decoded picture as RGB: turned as its camera says, of 8 bits, laid on white.

    Raises `ValueError` for colours that are numbers with fractions.
    """
    if picture.mode == "F":
        raise ValueError("colours that are numbers with fractions, not of 8 or 16 bits")
    return _on_white(_upright(picture))


def _upright(picture: Image.Image) -> Image.Image:
    try:
        told = picture.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error):
        return picture  # a camera's notes may be damaged where its picture is whole
    return picture.transpose(TURNS[told]) if told in TURNS else picture


def _check_header(item: Item, picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _image_error(
            item, f"{width}x{height} pixels, expected at most {MAX_PIXELS // 1_000_000} million"
        )
    named = SUFFIXES.get(item.image.suffix.lower()) if isinstance(item.image, Path) else None
    if named is not None and picture.format != named:
        raise _image_error(item, f"the name says {named}, the file holds {picture.format}")


def _image_error(item: Item, what: str) -> DataError:
    where = item.image if isinstance(item.image, Path) else ""
    return DataError(
        f"item {item.id!r}: {what}",
        where=where,
        fix="replace the picture, or leave the item out with --skip-bad",
    )


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # more than 8 bits, which Pillow would cut off at 255
        values = np.asarray(picture.convert("I"))
        is_wide = picture.mode != "I" or values.max(initial=0) > 255
        values = (values >> 8 if is_wide else values).clip(0, 255).astype(np.uint8)
        return Image.fromarray(values).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
