"""The predictor: photos in, faces with ages out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from halnet.alignment import align
from halnet.closing import Closing
from halnet.faces import DetectedFace, FaceDetector
from halnet.images import Image, load_image
from halnet.results import Ages, Face, Outputs, average_outputs, join_outputs
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import Crops, Runtime, RuntimeOptions, RuntimeSpec

Photo = str | Path | bytes | Image

BATCH = 32  # crops a call of the runtime: bounds memory, whatever the number of faces

logger = logging.getLogger("halnet")


class Predictor(Closing):
    """Finds the faces of photos and estimates their ages.

    `model` is a model file, an open `Runtime`, or None: the model that comes with the package, on
    the fastest runtime installed. `runtime`, `device`, `threads` and `mode` go to `open_runtime`;
    `detector` is a local YuNet file (else it is fetched once), `min_face` the narrowest face in
    pixels. `flip` averages each crop with its mirror image: a little more exact, at twice the cost.
    What runs is in `spec`, and logged. Safe to share between threads.

    Raises what `open_runtime` raises; a photo that cannot be read raises ImageError.
    """

    def __init__(
        self,
        model: str | Path | Runtime | None = None,
        *,
        runtime: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        mode: str = "latency",
        detector: str | Path | FaceDetector | None = None,
        min_face: float = 0.0,
        flip: bool = False,
    ) -> None:
        if model is None or isinstance(model, str | Path):
            model = open_model(model, RuntimeOptions(runtime, device, threads, mode))
        self._runtime = model
        self._detector = detector
        self._min_face = min_face
        self._flip = flip
        spec = self.spec
        logger.info("%s on %s %s, %s", spec.model, spec.runtime, spec.version, spec.provider)

    @property
    def spec(self) -> RuntimeSpec:
        """What runs, on what, and the model's metadata."""
        return self._runtime.spec

    @property
    def detector(self) -> FaceDetector:
        """The face detector, loaded on first use; DetectorError where it cannot be had."""
        if not isinstance(self._detector, FaceDetector):
            self._detector = FaceDetector(self._detector, self._min_face)
        return self._detector

    @overload
    def __call__(self, photo: Photo) -> list[Face]: ...

    @overload
    def __call__(self, photo: list[Any] | tuple[Any, ...]) -> list[list[Face]]: ...

    def __call__(self, photo: Photo | list[Any] | tuple[Any, ...]) -> list[Face] | list[list[Face]]:
        """Return the faces of a photo, largest first, none if there is none; a list for a list.

        A photo is a path, the bytes of an image file, or an H x W x 3 uint8 RGB array.
        """
        if isinstance(photo, list | tuple):
            return [self(item) for item in photo]
        image = load_image(photo)
        return self.predict_faces(image, self.detect(image))

    def detect(self, image: Image) -> tuple[DetectedFace, ...]:
        """Return the faces of an H x W x 3 uint8 RGB photo, the largest box first."""
        return self.detector(image)

    def predict_faces(self, image: Image, faces: Sequence[DetectedFace]) -> list[Face]:
        """Return the ages of faces already found in an H x W x 3 uint8 RGB photo."""
        if not faces:
            return []
        ages = self.predict_crops(np.stack([align(image, face.landmarks) for face in faces]))
        return [
            Face(
                age=float(ages.age[i]),
                stddev=float(ages.stddev[i]),
                probabilities=ages.probabilities[i],
                box=face.box,
                landmarks=face.landmarks,
                score=face.score,
                calibration=ages.calibration,
            )
            for i, face in enumerate(faces)
        ]

    def predict_crops(self, crops: Crops) -> Ages:
        """Return the ages of N x 224 x 224 x 3 uint8 RGB crops that `align` has made."""
        starts = range(0, max(len(crops), 1), BATCH)
        parts = [self._run(crops[start : start + BATCH]) for start in starts]
        outputs = join_outputs(parts)
        return Ages(
            outputs.age, outputs.stddev, outputs.probabilities, self.spec.metadata.calibration
        )

    def _run(self, crops: Crops) -> Outputs:
        outputs = self._runtime.run(crops)
        if not self._flip:
            return outputs
        return average_outputs(outputs, self._runtime.run(crops[:, :, ::-1]))

    def close(self) -> None:
        """Free what the runtime holds."""
        self._runtime.close()
