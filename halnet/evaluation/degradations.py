"""Degradations of crops: what cameras, scanners and messengers do to photos of faces.

Each function takes an H x W x 3 uint8 RGB crop, a strength from 0 to 1, and a random generator. It
returns a new crop of the same shape and type. Strength 0 changes a crop little or not at all, and
at strength 1 the face is just visible. The sizes below are in pixels of the prepared crop, which is
256 pixels wide, or of its inner 224 pixels. The training draws strengths at random, and
`STRENGTHS` has three fixed ones for comparisons.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.photos.images import Image

Degradation = Callable[[Image, float, np.random.Generator], Image]

STRENGTHS: Mapping[str, float] = MappingProxyType({"weak": 0.25, "middle": 0.5, "strong": 1.0})

# The values at strength 1, unless a comment states something else.
NOISE = 40.0  # standard deviation of noise, in pixel values from 0 to 255
GRAIN = 35.0  # standard deviation of grain, in pixel values from 0 to 255
GRAIN_WIDTH = 1.2  # pixels, at each strength: standard deviation of the blur that widens the grain
BLUR = 5.0  # pixels: standard deviation of the Gaussian
SHARPEN = 3.0  # weight of the difference between the crop and its blurred copy
SHARPEN_WIDTH = 1.5  # pixels, at each strength: standard deviation of the blur of that copy
SMALLEST = 0.14  # width of the shrunk crop, as a share of the width of the crop
JPEG_QUALITY = (90, 5)  # at strength 0 and at strength 1
CAST = 0.45  # largest difference of the factor of a channel from 1
TONES = 0.6  # logarithm of the exponent of the tone curve
HALFTONE_PERIOD = (3.0, 6.0)  # pixels between the dots, at strength 0 and at strength 1
HALFTONE = 44.0  # difference of a dot from the mean, in pixel values from 0 to 255


def add_noise(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Add independent Gaussian noise to each value, as a sensor does in the dark."""
    noise = rng.standard_normal(crop.shape, np.float32)
    return _to_uint8(crop + np.float32(NOISE * strength) * noise)


def add_grain(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Add gray noise that is wider than a pixel, as film and scanners do."""
    grain = rng.standard_normal(crop.shape[:2], np.float32)
    grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), GRAIN_WIDTH), np.float32)
    grain *= np.float32(GRAIN * strength / max(float(grain.std()), 1e-6))
    return _to_uint8(crop + grain[..., None])


def blur(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Blur the crop, as a lens that is out of focus does."""
    width = BLUR * strength
    if width < 0.1:  # OpenCV does not accept a width of 0
        return crop.copy()
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), width), np.uint8)


def sharpen(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Sharpen the crop by an unsharp mask, as scanners and phones do."""
    soft = cv2.GaussianBlur(crop, (0, 0), SHARPEN_WIDTH)
    weight = SHARPEN * strength
    return np.asarray(cv2.addWeighted(crop, 1 + weight, soft, -weight, 0), np.uint8)


def lower_resolution(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Shrink and enlarge the crop, which makes it like a small face in a large photo."""
    height, width = crop.shape[:2]
    scale = SMALLEST**strength
    small = (max(4, round(width * scale)), max(4, round(height * scale)))
    shrunk = cv2.resize(crop, small, interpolation=cv2.INTER_AREA)
    method = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=method), np.uint8)


def compress(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Encode the crop as JPEG and decode it, as messengers do."""
    first, last = JPEG_QUALITY
    quality = round(first + (last - first) * strength**0.5)
    bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def remove_colour(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Move colours towards gray, as old photos do. At strength 1, the crop is gray."""
    gray = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(crop, 1 - strength, gray, strength, 0), np.uint8)


def tint(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Multiply each channel by its own factor, as a wrong white balance and sepia do."""
    factors = 1 + CAST * strength * rng.uniform(-1, 1, 3)
    return np.asarray(cv2.transform(crop, np.diag(factors)), np.uint8)


def change_tones(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Make tones darker or brighter by a power, as a wrong exposure and faded prints do."""
    exponent = np.exp(TONES * strength * rng.choice([-1.0, 1.0]))
    table = (255 * (np.arange(256) / 255) ** exponent).round().astype(np.uint8)
    return np.asarray(cv2.LUT(crop, table), np.uint8)


def halftone(crop: Image, strength: float, rng: np.random.Generator) -> Image:
    """Add dots on a rotated grid, as in the print of newspapers and some albums."""
    height, width = crop.shape[:2]
    first, last = HALFTONE_PERIOD
    frequency = 2 * np.pi / (first + (last - first) * strength)
    angle = float(rng.uniform(0, np.pi / 2))
    screen = _wave(height, width, frequency * np.cos(angle), frequency * np.sin(angle))
    screen += _wave(height, width, -frequency * np.sin(angle), frequency * np.cos(angle))
    return _to_uint8(crop + np.float32(HALFTONE * strength / 2) * screen[..., None])


DEGRADATIONS: Mapping[str, Degradation] = MappingProxyType(
    {
        "noise": add_noise,
        "grain": add_grain,
        "blur": blur,
        "sharpening": sharpen,
        "resolution": lower_resolution,
        "jpeg": compress,
        "gray": remove_colour,
        "tint": tint,
        "tones": change_tones,
        "halftone": halftone,
    }
)


def _wave(height: int, width: int, x_step: float, y_step: float) -> NDArray[np.float32]:
    """Return cos(x_step * x + y_step * y) for the pixels (x, y), H x W.

    The sum of two angles is computed from products of sines and cosines of single rows and columns,
    which takes less time than a cosine for each pixel.
    """
    x = (x_step * np.arange(width)).astype(np.float32)
    y = (y_step * np.arange(height)).astype(np.float32)[:, None]
    return np.asarray(np.cos(y) * np.cos(x) - np.sin(y) * np.sin(x), np.float32)


def _to_uint8(values: NDArray[np.float32]) -> Image:
    """Return values rounded to whole numbers from 0 to 255."""
    return np.asarray(cv2.convertScaleAbs(np.clip(values, 0, 255)), np.uint8)
