"""YuNet's output: from the numbers of the network to boxes and landmarks in pixels."""

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.faces.yunet_engines import STRIDES, Blob, Heads

SIZE_STEP = 32  # pixels: width and height of what YuNet gets are multiples of this
# Pixels. With a side of 32 pixels, OpenCV before 5 leaves results of YuNet at what was in the
# memory before, and so invents faces.
MIN_SIDE = 64
SCORE_THRESHOLD = 0.6  # confidence, 0 to 1: YuNet drops faces below it
HUGE = 1e6  # pixels: no place of a face in a small photo
NMS_THRESHOLD = 0.3  # overlap (IoU) above which YuNet takes two boxes for one face

Rows = NDArray[np.float32]  # N x 15: x, y, width, height, five times (x, y), score


def to_blob(photo: NDArray[np.uint8]) -> Blob:
    """Return an H x W x 3 uint8 RGB photo as YuNet gets it, filled up with black."""
    down, across = (max(MIN_SIDE - side, -side % SIZE_STEP) for side in photo.shape[:2])
    if down or across:
        photo = np.asarray(
            cv2.copyMakeBorder(photo, 0, down, 0, across, cv2.BORDER_CONSTANT), np.uint8
        )
    return np.asarray(cv2.dnn.blobFromImage(photo, swapRB=True), np.float32)


def find_rows(heads: Heads, width: int) -> Rows:
    """Return what YuNet finds in a blob that is `width` pixels wide, the highest score first.

    The steps are those of `cv2.FaceDetectorYN`: the score is the geometric mean of the two
    confidences of a place, and of boxes that overlap, the one with the highest score is kept.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [_decode(heads, stride, width // stride) for stride in STRIDES]
    rows: Rows = np.concatenate(parts)
    rows = rows[np.abs(rows).max(axis=1, initial=0) < HUGE]  # which NaN is not either
    if len(rows) < 2:
        return rows
    boxes = rows[:, :4].astype(np.int32)  # OpenCV compares boxes of whole pixels
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 14].tolist(), SCORE_THRESHOLD, NMS_THRESHOLD)
    rows = rows[np.asarray(kept, np.intp).ravel()]
    return rows


def _decode(heads: Heads, stride: int, columns: int) -> Rows:
    """Return the faces that one group of outputs finds, N x 15."""
    scores = np.sqrt(
        np.clip(heads[f"cls_{stride}"][0, :, 0], 0, 1)
        * np.clip(heads[f"obj_{stride}"][0, :, 0], 0, 1)
    )
    (places,) = np.nonzero(scores >= SCORE_THRESHOLD)
    corner = np.column_stack([places % columns, places // columns]).astype(np.float32)
    box = heads[f"bbox_{stride}"][0, places]
    size = np.exp(box[:, 2:]) * stride
    start = (corner + box[:, :2]) * stride - size / 2
    points = (heads[f"kps_{stride}"][0, places].reshape(-1, 5, 2) + corner[:, None]) * stride
    parts = [start, size, points.reshape(-1, 10), scores[places, None]]
    return np.concatenate(parts, axis=1).astype(np.float32)
