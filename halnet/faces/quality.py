"""Quality: the numbers of one face that say how well its age can be judged.

They are computed with numpy and OpenCV from what a prediction has anyway: the crop, the five
landmarks, the size of the photo and the score of the detector.
"""

import math
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.errors import ConfigError, ImageError
from halnet.faces.alignment import CROP_SIZE, TEMPLATE, Landmarks, Matrix, similarity
from halnet.photos.images import Image

Floats = NDArray[np.float64]

INNER = slice(CROP_SIZE // 4, 3 * CROP_SIZE // 4)  # columns of the crop: both eyes and the mouth
INNER_ROWS = slice(72, 184)  # rows of the crop: from the brows to below the mouth
# The face in the crop, from the forehead to the chin: x and y of the first pixel, and of the one
# after the last. Around it, many photos end.
FACE = ((44, 56), (180, 208))
_LEAST_ENERGY = 0.01  # squared pixel values: an area without any detail has less

# How far each landmark lies behind the plane of the eyes, in pixels of the crop, where the eyes are
# 56 pixels apart. The eyes of adults are about 63 mm apart, so that a pixel is 1.1 mm. The face
# model that is widely used with OpenCV's solvePnP (Mallick, LearnOpenCV 2016) has the nose tip 30 %
# of the distance of the outer corners of the eyes before them, which is 25 to 30 pixels, and 28 %
# before the corners of the mouth, which is 23 to 26 pixels.
DEPTHS = (0.0, 0.0, -30.0, -6.0, -6.0)
# Degrees: the median over validation photos of a pitch that is measured with the template. YuNet
# places the nose tip lower than the template does. `Quality.pitch` is the difference from it.
TYPICAL_PITCH = -7.6


def _make_model() -> Floats:
    """Return the five centred places of a typical face in space, 5 x 3: x, y and depth."""
    places = np.column_stack([TEMPLATE, np.array(DEPTHS)])
    return np.asarray(places - places.mean(axis=0))


_MODEL = _make_model()
_SOLVE: Floats = _MODEL @ np.linalg.inv(_MODEL.T @ _MODEL)  # 5 x 3: gives the least squares


@dataclass(frozen=True)
class Quality:
    """How well one face can be judged, as numbers."""

    eye_distance: float  # pixels of the photo between the two eyes
    sharpness: float  # of the inner face, 0 or more; blurred faces have low values
    brightness: float  # mean luma of the inner face, 0 to 255
    yaw: float  # degrees, 0 for a frontal face: above 0, it looks to the right of the picture
    pitch: float  # degrees, 0 for a typical frontal face: above 0, it looks up
    inside: float  # share of the face that is inside the photo, 0 to 1
    score: float  # confidence of the detector, 0 to 1

    def to_dict(self) -> dict[str, float]:
        """Return the numbers for JSON by their names, rounded to four digits after the point."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def measure_quality(
    crop: Image, landmarks: Landmarks, size: tuple[int, int], score: float
) -> Quality:
    """Return the numbers of one face.

    `crop` is the aligned face, 224 x 224 x 3 uint8 RGB. `landmarks` is 5 x 2, x and y in pixels of
    the photo, in the order of the template. `size` is the width and the height of the photo in
    pixels. `score` is the confidence of the detector, 0 to 1.

    Raises ImageError if the crop has another shape or type, and ConfigError if the landmarks are
    not 5 x 2 finite numbers with two different eyes, or if the size is not above 0.
    """
    if crop.shape != (CROP_SIZE, CROP_SIZE, 3) or crop.dtype != np.uint8:
        raise ImageError(
            f"crop of a face: expected {CROP_SIZE} x {CROP_SIZE} x 3 uint8, found "
            f"{' x '.join(map(str, crop.shape))} {crop.dtype}; make it with "
            "halnet.faces.alignment.align"
        )
    places = np.asarray(landmarks, np.float64)
    if places.shape != (5, 2) or not np.isfinite(places).all() or (places[0] == places[1]).all():
        raise ConfigError(
            "landmarks of a face: expected 5 x 2 finite numbers with two different eyes, found "
            f"{places.tolist()}; give the landmarks of the detector"
        )
    if min(size) <= 0:
        raise ConfigError(
            f"size of a photo: expected a width and a height above 0 pixels, found {size}; give "
            "the size of the photo that the landmarks belong to"
        )
    luma = np.asarray(cv2.cvtColor(crop[INNER_ROWS, INNER], cv2.COLOR_RGB2GRAY), np.uint8)
    matrix = similarity(places, TEMPLATE)
    yaw, pitch = measure_pose(places @ matrix[:, :2].T + matrix[:, 2])
    return Quality(
        eye_distance=math.dist(places[0].tolist(), places[1].tolist()),
        sharpness=measure_sharpness(luma),
        brightness=float(luma.mean()),
        yaw=yaw,
        pitch=pitch - TYPICAL_PITCH,
        inside=measure_inside(matrix, size),
        score=float(score),
    )


def measure_sharpness(luma: NDArray[np.uint8]) -> float:
    """Return the energy of the detail at a quarter of the resolution, divided by that at an eighth.

    `luma` is H x W uint8, of the inner face. The energy is the variance of the Laplacian, which is
    a usual measure of focus [Pech-Pacheco et al., ICPR 2000]. By itself, it also depends on the
    light and on wrinkles, and so on the age; in the ratio, both energies do so alike. At a quarter
    of the resolution, the noise of a camera and the blocks of a JPEG file hardly count. At the full
    one, they make a blurred photo look sharp. An even area has 0.
    """
    quarter = _halve(_halve(luma.astype(np.float32)))
    fine, coarse = (_energy(part) for part in (quarter, _halve(quarter)))
    return fine / (coarse + _LEAST_ENERGY)


def _halve(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    halved = cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(halved, np.float32)


def _energy(luma: NDArray[np.float32]) -> float:
    return float(cv2.Laplacian(luma, cv2.CV_32F).var())


def measure_pose(landmarks: Floats) -> tuple[float, float]:
    """Return the yaw and the pitch of a face in degrees.

    `landmarks` is 5 x 2, x and y in pixels of any picture in which the face is upright. A yaw above
    0 means that the face looks to the right side of the picture, and a pitch above 0 that it looks
    up. A face is between -90 and 90 degrees in both.

    A camera that is far away shows the places X of a rigid face at s R X + t, where R is the first
    two rows of a rotation (weak perspective). The 2 x 3 matrix s R is the one with the least
    squares, and the nearest matrix with orthogonal rows of equal length gives R. The noses of faces
    differ in length. The pitch of one face can therefore be wrong by several degrees.
    """
    centred = landmarks - landmarks.mean(axis=0)
    left, _, right = np.linalg.svd(centred.T @ _SOLVE, full_matrices=False)
    (a, b, c), (d, e, f) = (left @ right).tolist()
    # Where the face looks: opposite to the third column of the rotation, whose last row is the
    # cross product of the other two. Depth grows away from the camera.
    across, down, away = -c, -f, -(a * e - b * d)
    yaw = math.degrees(math.atan2(across, -away))
    return yaw, math.degrees(math.atan2(-down, math.hypot(across, away)))


def measure_inside(matrix: Matrix, size: tuple[int, int]) -> float:
    """Return the share of the area of the face that is inside the photo, 0 to 1.

    The face is the part of the crop in FACE. `matrix` is 2 x 3, from pixels of the photo to those
    of the crop (see `similarity`). `size` is the width and the height of the photo in pixels.
    """
    photo = _corners((0, 0), size) @ matrix[:, :2].T + matrix[:, 2]
    face = _corners(*FACE)
    area, _ = cv2.intersectConvexConvex(photo.astype(np.float32), face.astype(np.float32))
    return min(1.0, float(area) / cv2.contourArea(face.astype(np.float32)))


def _corners(first: tuple[int, int], end: tuple[int, int]) -> Floats:
    """Return the outer corners of the pixels from `first` to before `end`, 4 x 2: x and y."""
    (left, top), (right, bottom) = first, end
    places = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return np.array(places, np.float64) - 0.5  # the centre of the first pixel is (0, 0)
