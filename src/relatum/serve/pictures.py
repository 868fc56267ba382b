"""Pictures that strangers send: checked before they are decoded, small afterwards.

In: bytes that claim to be a picture. Out: a PNG that the store may read.
This file does not know of requests.
"""

import io
import threading
import warnings

from PIL import Image, UnidentifiedImageError

from relatum.errors import DataError
from relatum.items import Item, read_image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # none that holds scripts or names other files
LARGEST = 1024  # pixels a side that are kept: encoders look at fewer
_decoding = threading.Semaphore(2)  # decoded pictures in memory at once


def safe_picture(data: bytes, most_pixels: int) -> bytes:
    """Return a picture as a PNG of at most 1024 pixels a side, without anything else it held.

    Raises `DataError` for what is no whole picture, of another format, or too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that are checked here
            width, height = Image.open(io.BytesIO(data), formats=FORMATS).size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError("the picture is none of " + ", ".join(FORMATS)) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"the picture has more than {most_pixels} pixels") from error
    if width * height > most_pixels:
        raise DataError(f"the picture has {width}x{height} pixels, expected at most {most_pixels}")
    with _decoding:
        picture = read_image(Item("upload", image=data))
        picture.thumbnail((LARGEST, LARGEST))
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
