"""Photos that a program holds as objects: PIL images, and files that are open for reading."""

import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from halnet.errors import ImageError

ACCEPTED = (
    "a path, the bytes of an image file, a binary file object, a PIL image or an H x W x 3 uint8 "
    "RGB array"
)
DEEP_MODES = (
    "I",
    "F",
)  # starts of the names of PIL modes of more than 8 bits, without a fixed range


class BinaryFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, from the present position."""
        ...


class PilImage(Protocol):
    """The part of `PIL.Image.Image` that tells it from other types. PIL need not be installed."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    def convert(self, mode: str) -> Any:
        """Return the image in another mode."""
        ...


def read_object(
    source: object, limit: int, check_size: Callable[[int, int], None]
) -> bytes | NDArray[np.uint8]:
    """Return the content of a file object, or a PIL image as upright H x W x 3 uint8 RGB.

    A file is read from its present position, and can have `limit` bytes. The width and height of a
    PIL image are given to `check_size` before it is decoded. It is upright if its EXIF orientation
    says how.

    Raises ImageError for any other object, and for one that cannot be read.
    """
    # PIL is not imported here: a program that has a PIL image has done so.
    pil: Any = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(source, pil.Image):
        check_size(*source.size)
        return _to_rgb(source)
    if hasattr(source, "read"):
        return _read_file(source, limit)
    raise ImageError(
        f"photo: expected {ACCEPTED}, found {type(source).__name__}; for several photos, give a "
        "list of these"
    )


def _to_rgb(image: Any) -> NDArray[np.uint8]:
    from PIL import ImageOps

    if image.mode.startswith(DEEP_MODES):
        raise ImageError(
            f"PIL image: expected a mode of 8 bits, such as RGB or L, found {image.mode}; convert "
            "it first"
        )
    try:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError) as error:  # it decodes now what was opened before
        raise ImageError(f"PIL image: cannot be decoded: {error}") from error


def _read_file(file: Any, limit: int) -> bytes:
    name = getattr(file, "name", type(file).__name__)
    try:
        data = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: the file is closed
        raise ImageError(f"{name}: the file object cannot be read: {error}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ImageError(
            f"{name}: expected a binary file object, found one that reads "
            f"{type(data).__name__}; open the file with the mode rb"
        )
    if len(data) > limit:
        raise ImageError(
            f"{name}: more bytes than the {limit:,} allowed; make the photo smaller first"
        )
    if not data:
        raise ImageError(f"{name}: the file object is at its end; go to the start with seek(0)")
    return bytes(data)
