"""Prints the ages of the faces in a photo, with NumPy alone, by docs/specification.md.

Usage: plain_way.py MODEL YUNET PHOTO

MODEL is an .onnx file that `halnet export` wrote, and YUNET the file of the face detector. The
program uses neither halnet nor OpenCV. Pillow decodes the photo, ONNX Runtime computes the two
networks, and the package onnx frees the sizes of YuNet. The numbers in parentheses are those of the
sections of the page. This is a program to read and to test a port with: it is slow.
"""

import io
import json
import math
import sys
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnxruntime
from PIL import Image

TEMPLATE = np.array([[84, 96], [140, 96], [112, 128], [89, 161], [135, 161]], float)
CROP = 224
SIDE = 640
STRIDES = (8, 16, 32)
OUTPUTS = [f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in STRIDES]


@dataclass(frozen=True)
class Face:
    """A face. All places are in pixels."""

    box: tuple  # x, y, width, height
    landmarks: np.ndarray  # 5 x 2
    score: float

    def scaled(self, across, down):
        """Return the face in a picture that is so many times as wide and as high."""
        x, y, width, height = self.box
        box = (x * across, y * down, width * across, height * down)
        return replace(self, box=box, landmarks=single(self.landmarks * (across, down)))


def single(values):
    """Return values that were rounded to 32-bit floating point, as 64-bit floating point."""
    return np.asarray(values, np.float32).astype(float)


# (1) Decoding


class Photo:
    """A photo file."""

    def __init__(self, data):
        self._data = data
        picture = Image.open(io.BytesIO(data))
        self.sides = picture.size
        self.scales = [1]
        if picture.format in ("JPEG", "MPO"):
            self.scales = [s for s in (1, 2, 4, 8) if not any(side % s for side in self.sides)]

    def decode(self, scale):
        """Return upright H x W x 3 uint8 RGB pixels, with 1 / scale of the width and height."""
        picture = Image.open(io.BytesIO(self._data))
        if scale > 1:
            picture.draft("RGB", [side // scale for side in self.sides])
        image = np.asarray(picture.convert("RGB"))
        orientation = picture.getexif().get(0x0112, 1)
        if orientation in (5, 6, 7, 8):
            image = image.transpose(1, 0, 2)
        if orientation in (3, 4, 7, 8):
            image = image[::-1]
        if orientation in (2, 3, 6, 7):
            image = image[:, ::-1]
        return image

    def largest_scale(self, limit):
        """Return the largest scale that is not above the limit."""
        return max(scale for scale in self.scales if scale <= max(limit, 1))


# (2) Two ways to resample


def area_resize(image, width, height):
    """Return H x W x 3 pixels made smaller: each new pixel is the mean of the area under it."""
    down, across = area_weights(image.shape[0], height), area_weights(image.shape[1], width)
    mean = np.tensordot(across, np.tensordot(down, image.astype(float), (1, 0)), (1, 1))
    return np.rint(mean).astype(np.uint8).transpose(1, 0, 2)


def area_weights(old, new):
    """Return new x old weights: the share that each old pixel has of each new one."""
    ends = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    low = np.maximum(ends[:-1, None], pixels)
    high = np.minimum(ends[1:, None], pixels + 1)
    return np.maximum(high - low, 0) * (new / old)


def warp(image, matrix, size):
    """Return size x size x 3 pixels; `matrix` maps places of the image to places of the result."""
    height, width = image.shape[:2]
    inverse = invert(matrix)
    v, u = np.mgrid[:size, :size]
    x = inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]
    y = inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]
    left, top = np.floor(x), np.floor(y)
    result = np.zeros((size, size, 3))
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = (down * across * inside)[..., None]
            at = np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)
            result += weight * image[at]
    return np.rint(result).astype(np.uint8)


def invert(matrix):
    """Return the 2 x 3 matrix of the opposite direction."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


# (3) YuNet


class YuNet:
    """The face detector."""

    def __init__(self, data):
        model = onnx.load_from_string(data)
        for value in (*model.graph.input, *model.graph.output):
            for place, size in enumerate(value.type.tensor_type.shape.dim):
                if (value.name, place) in (("input", 2), ("input", 3)) or size.dim_value > 100:
                    size.dim_param = f"{value.name}_{place}"
        del model.graph.value_info[:]
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def compute(self, picture):
        """Return the 12 outputs by name, for a picture of at most 640 x 640 pixels."""
        height, width = (max(64, -(-side // 32) * 32) for side in picture.shape[:2])
        blob = np.zeros((1, 3, height, width), np.float32)
        blob[0, :, : picture.shape[0], : picture.shape[1]] = picture[:, :, ::-1].transpose(2, 0, 1)
        return dict(zip(OUTPUTS, self._session.run(OUTPUTS, {"input": blob}), strict=True))

    def find(self, picture):
        """Return the faces of a picture, the largest box first."""
        width = max(64, -(-picture.shape[1] // 32) * 32)
        found = suppress(read_outputs(self.compute(picture), width))
        found = [face for face in found if is_face(face, picture)]
        return sorted(found, key=lambda face: -face.box[2] * face.box[3])


def read_outputs(outputs, width):
    """Return the faces that the outputs state, for a padded picture of this width."""
    faces = []
    for stride in STRIDES:
        cls, obj, bbox, kps = (outputs[f"{n}_{stride}"][0] for n in ("cls", "obj", "bbox", "kps"))
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        for index in np.flatnonzero(scores >= np.float32(0.6)):
            place = np.array([index % (width // stride), index // (width // stride)], np.float32)
            size = np.exp(bbox[index, 2:]) * stride
            start = (place + bbox[index, :2]) * stride - size / 2
            points = (kps[index].reshape(5, 2) + place) * stride
            values = np.concatenate([start, size, points.ravel(), scores[index, None]])
            if np.abs(values).max() < 1e6:
                faces.append(Face((*map(float, start), *map(float, size)), single(points),
                                  float(scores[index])))  # fmt: skip
    return faces


def suppress(faces):
    """Return the faces that overlap with no face of a higher score."""
    kept = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(overlap(face.box, other.box) <= 0.3 for other in kept):
            kept.append(face)
    return kept


def overlap(first, second):
    """Return the intersection over union of two boxes, in whole pixels."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = (map(int, box) for box in (first, second))
    across = min(ax + aw, bx + bw) - max(ax, bx)
    down = min(ay + ah, by + bh) - max(ay, by)
    shared = max(across, 0) * max(down, 0)
    total = aw * ah + bw * bh
    return shared / (total - shared) if total else 1.0


def is_face(face, picture):
    """Return whether a picture of this size can show the face."""
    (x, y, width, height), points = face.box, face.landmarks
    across = min(x + width, picture.shape[1]) - max(x, 0)
    down = min(y + height, picture.shape[0]) - max(y, 0)
    if min(width, height, across, down) <= 0 or across * down < 0.5 * width * height:
        return False
    if (points == points[0]).all():
        return False
    places = points / (picture.shape[1], picture.shape[0])
    middle, outside = places.mean(axis=0), np.maximum(-places, places - 1).max()
    return bool(((middle >= 0) & (middle <= 1)).all() and outside <= 1)


# (4) Faces that are turned


def find_upright(yunet, picture):
    """Return the faces of a picture of at most 640 x 640 pixels, whichever way up they are."""
    faces = yunet.find(picture)
    if faces:
        top = max(faces, key=lambda face: face.score)
        quarters = 0
        if not is_upright(yunet, picture, top):
            best = look_around(yunet, picture, top)
            faces[faces.index(top)] = best
            quarters = round(roll(best.landmarks) / 90) % 4
    else:
        scores = {
            n: max((face.score for face in yunet.find(np.rot90(picture, n))), default=0)
            for n in (1, 2, 3)
        }
        quarters = max(scores, key=lambda n: scores[n]) if any(scores.values()) else 0
    if quarters:
        turned = np.rot90(picture, quarters)
        found = [look_around(yunet, turned, face) for face in yunet.find(turned)]
        if found:
            right, bottom = picture.shape[1] - 1, picture.shape[0] - 1
            matrix = {
                1: [[0, 1, 0], [-1, 0, right]],
                2: [[-1, 0, right], [0, -1, bottom]],
                3: [[0, -1, bottom], [1, 0, 0]],
            }[quarters]
            return [move_back(face, np.array(matrix, float)) for face in found]
    return [straighten(yunet, picture, f) if is_turned(f) else f for f in faces]


def is_turned(face):
    """Return whether a face is turned by more than 25 degrees."""
    return abs(roll(face.landmarks)) > 25


def roll(landmarks):
    """Return by how many degrees a face is turned clockwise."""
    centred = TEMPLATE - TEMPLATE.mean(axis=0)
    cosine = (centred * landmarks).sum()
    sine = (centred[:, 0] * landmarks[:, 1] - centred[:, 1] * landmarks[:, 0]).sum()
    return math.degrees(math.atan2(sine, cosine))


def is_upright(yunet, picture, face):
    """Return whether a face that seems to be upright is believed."""
    if abs(roll(face.landmarks)) > 45:
        return False
    if face.score >= 0.915:
        return True
    seen = look_at(yunet, picture, face, [0]).get(0)
    return bool(seen and seen.score >= 0.89 and not (is_turned(seen) or is_turned(face)))


def look_around(yunet, picture, face):
    """Return a face with the landmarks of the best of 12 looks."""
    seen = look_at(yunet, picture, face, range(0, 360, 30))
    if not seen:
        return face
    angle = max(seen, key=lambda angle: seen[angle].score)
    if angle == 0 and not (is_turned(face) or is_turned(seen[0])):
        return face
    return straighten(yunet, picture, seen[angle])


def straighten(yunet, picture, face):
    """Return a face with the landmarks of a look in which it is upright."""
    angle = roll(face.landmarks)
    return look_at(yunet, picture, face, [angle]).get(angle, face)


def look_at(yunet, picture, face, angles):
    """Return the face that each look shows, by its angle, in pixels of the picture."""
    looks, sheet = (
        {},
        np.zeros((128 * -(-len(angles) // 4), 128 * min(len(angles), 4), 3), np.uint8),
    )
    x, y, width, height = face.box
    scale = 128 / (2.6 * max(width, height))
    for index, angle in enumerate(angles):
        left, top = 128 * (index % 4), 128 * (index // 4)
        a = scale * math.cos(math.radians(angle))
        b = scale * math.sin(math.radians(angle))
        turn = np.array([[a, b], [-b, a]])
        shift = 64 - turn @ (x + width / 2, y + height / 2)
        sheet[top : top + 128, left : left + 128] = warp(
            picture, np.column_stack([turn, shift]), 128
        )
        looks[angle] = left, top, np.column_stack([turn, shift + np.array([left, top])])
    found = sorted(yunet.find(sheet), key=lambda other: -other.score)
    seen = {}
    for angle, (left, top, matrix) in looks.items():
        for other in found:
            x, y, width, height = other.box
            aside = max(abs(x + width / 2 - left - 64), abs(y + height / 2 - top - 64))
            if aside < 32 and abs(roll(other.landmarks)) < 45:
                seen[angle] = move_back(other, matrix)
                break
    return seen


def move_back(face, matrix):
    """Return a face in pixels of the picture that `matrix` maps to where the face was found."""
    back = invert(matrix)
    x, y, width, height = face.box
    centre = back[:, :2] @ (x + width / 2, y + height / 2) + back[:, 2]
    size = np.array([width, height]) * math.hypot(back[0, 0], back[1, 0])
    if abs(back[1, 0]) > abs(back[0, 0]):
        size = size[::-1]
    return Face(
        (*(centre - size / 2), *size), single(face.landmarks @ back[:, :2].T + back[:, 2]),
        face.score,
    )  # fmt: skip


# (3, 4) From a photo to its faces


def detect(yunet, photo):
    """Return the faces in pixels of the whole upright photo, the largest first."""
    scale = photo.largest_scale(max(photo.sides) / SIDE)
    decoded = photo.decode(scale)
    small = shrink(decoded)
    faces = find_upright(yunet, small)
    across, down = np.divide(decoded.shape[1::-1], small.shape[1::-1])
    faces = [face.scaled(across, down) for face in faces]
    faces = [face.scaled(scale, scale) for face in faces if is_face(face, decoded)]
    return sorted(faces, key=lambda face: -face.box[2] * face.box[3])


def shrink(picture):
    """Return a picture whose longer side has at most 640 pixels."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    if scale >= 1:
        return picture
    return area_resize(picture, max(1, round(width * scale)), max(1, round(height * scale)))


# (5) Alignment


def similarity(landmarks):
    """Return the 2 x 3 matrix from the photo to the crop."""
    p, q = landmarks @ (1, 1j), TEMPLATE @ (1, 1j)
    centred = p - p.mean()
    a = (centred.conj() * (q - q.mean())).sum() / (abs(centred) ** 2).sum()
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def cut_crops(photo, landmarks):
    """Return N x 224 x 224 x 3 uint8 RGB crops for N x 5 x 2 landmarks of the whole photo."""
    scale = photo.largest_scale(min(1 / size(similarity(points)) for points in landmarks))
    decoded = photo.decode(scale)
    return np.stack([align(decoded, single((points + 0.5) / scale - 0.5)) for points in landmarks])


def size(matrix):
    """Return how many pixels of the crop a pixel of the photo is wide."""
    return math.hypot(matrix[0, 0], matrix[1, 0])


def align(picture, landmarks):
    """Return the 224 x 224 x 3 uint8 RGB crop of one face."""
    matrix = similarity(landmarks)
    times = int(1 / size(matrix))
    if times >= 2:
        height, width = picture.shape[:2]
        picture = area_resize(picture, max(1, width // times), max(1, height // times))
        scale = np.array([width / picture.shape[1], height / picture.shape[0]])
        shift = matrix[:, 2] + matrix[:, :2] @ (0.5 * scale - 0.5)
        matrix = np.column_stack([matrix[:, :2] * scale, shift])
    return warp(picture, matrix, CROP)


# (6) The model


class Model:
    """A model file and its calibration."""

    def __init__(self, data):
        self._session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        properties = self._session.get_modelmeta().custom_metadata_map
        self.fingerprint = properties["halnet.input_fingerprint"]
        self.calibration = json.loads(properties["halnet.calibration"])

    def run(self, crops):
        """Return the ages (N), the deviations (N) and the probabilities (N x 101)."""
        names = ["age", "stddev", "probabilities"]
        return self._session.run(names, {"image": crops})


# (7) Calibration


def interval(calibration, age, stddev, level):
    """Return the lowest and the highest age of the interval, in years."""
    quantile = calibration["quantiles"][math.ceil(round(100 * level, 6)) - 1]
    scale = max(float(stddev), 0.001)
    if calibration.get("scale"):
        x = min(max(float(age), 5), 90) / 50 - 1
        scale = math.exp(np.dot(calibration["scale"], [math.log(scale), x, x**2, x**3]))
    factors = calibration.get("age_factors")
    if not factors:
        ends = [age - quantile * scale, age + quantile * scale]
    else:
        grid = np.arange(1001) / 10
        allowed = quantile * scale * np.interp(grid, 5 + 10 * np.arange(len(factors)), factors)
        margin = allowed - abs(grid - age)
        ends = [first_allowed(margin, grid, age), first_allowed(margin[::-1], grid[::-1], age)]
    return tuple(min(max(float(end), 0.0), 100.0) for end in ends)


def first_allowed(margin, grid, age):
    """Return the first age whose margin is not negative, interpolated."""
    if not (margin >= 0).any():
        return age
    index = int(np.argmax(margin >= 0))
    if index == 0:
        return grid[0]
    high, low = margin[index], margin[index - 1]
    share = high / max(high - low, 1e-12)
    return grid[index] + share * (grid[index - 1] - grid[index])


def probability_at_least(calibration, probabilities, years):
    """Return the probability that the age is `years` or more."""
    logits = np.log(np.maximum(probabilities.astype(float), 1e-12)) / calibration["temperature"]
    weights = np.exp(logits - logits.max())
    return float(weights[years:].sum() / weights.sum())


def main():
    """Print a line for each face."""
    model, yunet, photo = (open(path, "rb").read() for path in sys.argv[1:])  # noqa: SIM115
    opened, model = Photo(photo), Model(model)
    faces = detect(YuNet(yunet), opened)
    if not faces:
        return
    ages, deviations, probabilities = model.run(
        cut_crops(opened, [face.landmarks for face in faces])
    )
    for face, age, deviation, row in zip(faces, ages, deviations, probabilities, strict=True):
        low, high = interval(model.calibration, age, deviation, 0.9)
        adult = probability_at_least(model.calibration, row, 18)
        x, y, width, height = (round(value, 1) for value in face.box)
        print(f"{age:.2f} ({low:.2f} to {high:.2f}), 18 or older: {adult:.4f}, "
              f"box {x} {y} {width} {height}")  # fmt: skip


if __name__ == "__main__":
    main()
