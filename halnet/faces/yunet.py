"""YuNet: the face detector [Wu et al., Machine Intelligence Research 2023].

It finds boxes and five landmarks. HAL-Net uses the release 2023-03 of OpenCV Zoo, computed by the
fastest library that is installed (see `halnet.faces.yunet_engines`).
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from halnet.errors import DetectorError
from halnet.faces.detected import (
    DETECTION_SIDE,
    DetectedFace,
    check_min_face,
    largest_first,
    shrink,
)
from halnet.faces.yunet_engines import open_engine
from halnet.faces.yunet_file import yunet_path
from halnet.faces.yunet_output import Rows, find_rows, to_blob
from halnet.forking import Forkable
from halnet.photos.images import Image


class FaceDetector(Forkable):
    """YuNet, which finds all faces of a photo. Several threads may share one detector.

    It is loaded again in a process that was forked, or where it is unpickled.

    `model` is the path of a YuNet file; without it, see `yunet_path`. Faces with a box narrower
    than `min_face`, in pixels of the photo, are left out (see `largest_first`). `engine` is the
    library that computes YuNet, onnxruntime, openvino or opencv; "auto" stands for the first of
    these that is installed. `threads` is the number of its threads; None: one for each core.

    Raises ConfigError if `min_face`, `engine` or `threads` is wrong, RuntimeUnavailableError if the
    library is missing, and DetectorError if there is no valid YuNet file and none can be
    downloaded.
    """

    detection_side = DETECTION_SIDE  # see `Detector`

    def __init__(
        self,
        model: str | Path | None = None,
        min_face: float = 0.0,
        engine: str = "auto",
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self._min_face = check_min_face(min_face)
        self._model = None if model is None else Path(model).absolute()
        self._path = yunet_path(self._model).absolute()
        self._options = engine, threads
        self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return FaceDetector, (self._model, self._min_face, *self._options)

    @property
    def engine(self) -> str:
        """The library that computes YuNet: onnxruntime, openvino or opencv."""
        return self._engine.name

    def _open(self) -> None:
        self._engine = open_engine(self._path.read_bytes(), *self._options)

    def _after_fork(self) -> None:
        """Load YuNet again, with threads of its own."""
        if not self._engine.survives_fork:
            super()._after_fork()
        self._open()

    def __call__(self, photo: Image) -> tuple[DetectedFace, ...]:
        """Return the faces of an H x W x 3 uint8 RGB photo, the largest box first."""
        self.check_process()
        small = shrink(photo)
        blob = to_blob(small)
        rows = find_rows(self._engine(blob), blob.shape[3])
        rows[:, :14] *= np.tile(np.divide(photo.shape[1::-1], small.shape[1::-1]), 7)
        return largest_first(_possible_faces(rows), photo, self._min_face)


def _possible_faces(rows: Rows) -> Iterator[DetectedFace]:
    """Yield the faces of YuNet, without those whose numbers no face can have."""
    for row in rows:
        with suppress(DetectorError):
            yield DetectedFace(
                box=(float(row[0]), float(row[1]), float(row[2]), float(row[3])),
                landmarks=row[4:14].reshape(5, 2).copy(),
                score=float(row[14]),
            )
