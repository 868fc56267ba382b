"""An item, and its picture as pixels.

In: an id, a text and/or a picture (a path or bytes), metadata.
Out: the item as a value, its content keys, its decoded picture.
This room does not know where items come from nor who encodes them.
"""

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from relatum.errors import DataError

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


@dataclass(frozen=True)
class Item:
    """A thing with a text, a picture or both.

    `image` is a path to a picture or the bytes of one. An item with neither text nor image is
    refused with `DataError`.
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
        if isinstance(self.image, str):
            object.__setattr__(self, "image", Path(self.image))
        if self.image is None and not (self.text or "").strip():
            raise DataError(
                f"item {self.id!r} has an empty text and no image", fix="give it one of the two"
            )


def text_key(text: str) -> str:
    """Name a text by its content: 32 hex digits.

    >>> text_key("lamp") == text_key("lamp"), text_key("lamp") == text_key("sofa")
    (True, False)
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


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

    Raises `DataError` for a file that is missing, truncated, not a picture, of another format
    than its name says, or larger than `MAX_PIXELS`.
    """
    data = image_bytes(item)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that are checked here
            picture = Image.open(io.BytesIO(data), formats=sorted(FORMATS))
        _check_header(item, picture)
        picture.load()
    except UnidentifiedImageError as error:
        kinds = ", ".join(sorted(FORMATS))
        raise _image_error(item, f"expected a picture ({kinds}), got {data[:12]!r}") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise _image_error(item, f"expected a whole picture, got: {reason}") from error
    return _on_white(picture)


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
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
