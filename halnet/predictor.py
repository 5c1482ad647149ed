"""The predictor: photos in, faces with ages out."""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from halnet.ages import LEGAL_AGE
from halnet.closing import Closing
from halnet.errors import ConfigError, DetectorError, HalnetError, ImageError
from halnet.faces.detected import DetectedFace, Detector, check_min_face
from halnet.faces.photo_view import PhotoView
from halnet.faces.quality import Quality, measure_quality
from halnet.faces.upright import open_detector
from halnet.photos.images import Image, Photo
from halnet.results import Ages, Face, Outputs, average_outputs, join_outputs
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import Crops, Runtime, RuntimeOptions, RuntimeSpec, check_crops

if TYPE_CHECKING:
    from halnet.checks.check import AgeCheck

Photos = list[Any] | tuple[Any, ...]  # several of `Photo`

BATCH = 32  # crops in one call of the runtime: limits memory, even for a photo with many faces

logger = logging.getLogger("halnet")


class Predictor(Closing):
    """Finds the faces of photos and estimates their ages.

    Every argument fixes one choice. Whatever is left out is chosen for you.

    - `model`: a model file, or an open `Runtime`. Default: the model that comes with halnet.
    - `runtime`, `device`, `threads`, `mode`: how to run a model file; see `RuntimeOptions`.
    - `detector`: a face detector (any callable, see `Detector`), or the path of a YuNet file.
      Default: YuNet, which is downloaded on first use (see `halnet.faces.yunet_file.yunet_path`).
    - `min_face`: faces with a box narrower than this, in pixels, are left out.
    - `flip`: whether each crop is averaged with its mirror image. This reduces the error a little
      and takes twice the time.
    - `quality`: whether each face has the numbers that say how well its age can be judged, in
      `Face.quality`. This takes a tenth of a millisecond for each face. A check always uses them.

    `spec` and the log state what was chosen. Several threads may share one predictor, if its
    detector allows it; YuNet does. A pickled predictor is opened again where it is unpickled, so it
    can be sent to processes that are started with "spawn". In a forked process, ONNX Runtime opens
    the model again, PyTorch uses one thread, and OpenVINO, TensorRT and CUDA devices raise
    RuntimeUnavailableError.

    Raises ConfigError for a wrong argument, ArtifactError if the runtime cannot run the model file,
    DetectorError if `detector` is not the path of a valid YuNet file, and RuntimeUnavailableError
    if the runtime or the device is missing.
    """

    def __init__(
        self,
        model: str | Path | Runtime | None = None,
        *,
        runtime: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        mode: str = "latency",
        detector: str | Path | Detector | None = None,
        min_face: float = 0.0,
        flip: bool = False,
        quality: bool = False,
    ) -> None:
        if not (detector is None or isinstance(detector, str | Path) or callable(detector)):
            raise ConfigError(
                "detector: expected a callable that takes a photo, or the path of a YuNet file, "
                f"found {type(detector).__name__}"
            )
        self._min_face = check_min_face(min_face)
        self._threads = threads
        self._detector = (
            open_detector(detector, threads) if isinstance(detector, str | Path) else detector
        )
        if model is None or isinstance(model, str | Path):
            model = open_model(model, RuntimeOptions(runtime, device, threads, mode))
        self._runtime = model
        self._flip = flip
        self._quality = quality
        spec = self.spec
        logger.info("%s on %s", spec.model, spec.software)

    @property
    def spec(self) -> RuntimeSpec:
        """The runtime, device and model file that were chosen, with the metadata of the model."""
        return self._runtime.spec

    @property
    def detector(self) -> Detector:
        """The face detector. The default one is loaded on first use.

        Raises DetectorError if there is no valid YuNet file and none can be downloaded.
        """
        if self._detector is None:
            self._detector = open_detector(threads=self._threads)
        return self._detector

    def __reduce__(self) -> tuple[Any, ...]:
        self.check_open()
        options: dict[str, Any] = {"detector": self._detector, "flip": self._flip}
        options |= {"min_face": self._min_face, "threads": self._threads}
        options |= {"quality": self._quality}
        return partial(type(self), **options), (self._runtime,)

    @overload
    def __call__(
        self, photo: Photos, *, errors: Literal["raise"] = "raise"
    ) -> list[list[Face]]: ...

    @overload
    def __call__(
        self, photo: Photos, *, errors: Literal["return"]
    ) -> list[list[Face] | HalnetError]: ...

    @overload
    def __call__(self, photo: Photo | PhotoView) -> list[Face]: ...

    def __call__(self, photo: Photo | PhotoView | Photos, *, errors: str = "raise") -> Any:
        """Return the faces of a photo with their ages, the largest first.

        A photo is a path, the bytes of an image file, a file object that is open for reading bytes,
        a PIL image, or an H x W x 3 uint8 RGB array. A photo without faces gives an empty list.

        A list or tuple of photos gives a list of such lists. With `errors="raise"`, the first photo
        of a list that cannot be read, or for which the detector does not return faces, raises an
        error that names its place in the list. With `errors="return"`, the error stands among the
        results, in the place of the photo.

        Raises ImageError if a photo cannot be read, DetectorError if YuNet cannot be loaded or the
        detector returns something else than faces, and ConfigError after close().
        """
        if errors not in ("raise", "return"):
            raise ConfigError(f"errors: expected raise or return, found {errors!r}")
        if not isinstance(photo, list | tuple):
            return self._predict(photo)
        self.check_open()
        _ = self.detector  # if it is missing, this is no error of a single photo
        results: list[list[Face] | HalnetError] = []
        for place, item in enumerate(photo):
            try:
                results.append(self._predict(item))
            except (ImageError, DetectorError) as error:
                if errors == "raise":
                    message = f"item {place} of the list (counted from 0): {error}"
                    raise type(error)(message) from error
                results.append(error)
        return results

    def check(
        self,
        photo: Photo | PhotoView | Photos | Generator[Any],
        *,
        legal: int = LEGAL_AGE,
        challenge: int | None = None,
        max_risk: float | None = None,
        every: float = 0.0,
        liveness: Callable[[Image], bool] | None = None,
    ) -> "AgeCheck":
        """Return whether a person looks clearly as old as the legal age: pass, refer or no result.

        A person passes whose predicted age is the challenge age or more. This is `challenge`, or
        the smallest age at which the risk that a minor passes is at most `max_risk` (a share such
        as 0.05; see `halnet.checks.risk`). With neither, it is 7 years above `legal`. A photo gives
        no result if it shows no face or several, or if the quality of the face is too low. Smaller
        faces in the background do not count if `min_face` of this predictor leaves them out.

        `photo` is a photo, as for a call of the predictor, the path of a video file, or a list,
        tuple or generator of photos and videos of one person. A video counts as its frames: all of
        them, or one frame every `every` seconds. The age distributions of what can be used are
        averaged; see `halnet.checks.check.check_faces` for how much has to be usable.

        `liveness` is a presentation attack detector of yours. It takes an H x W x 3 uint8 RGB photo
        and returns True if it shows a living person. halnet has none: without `liveness`, a picture
        of an adult passes. See `halnet.checks.check.check_faces` for how its answers count.

        Raises ConfigError for ages, a risk or a time `every` that the check cannot use, if there
        are no photos, for the name of a camera or stream, for a wrong `liveness`, and after
        close(). Raises ImageError and DetectorError as a call does, and ImageError for a video that
        is damaged or cut off.
        """
        from halnet.checks.check import check_faces
        from halnet.checks.policy import make_policy
        from halnet.checks.views import open_views

        self.check_open()
        policy = make_policy(self.spec.metadata, legal, challenge, max_risk)
        with closing(open_views(photo, every)) as views:
            found = ((view, self._predict(view, with_quality=True)) for view in views)
            return check_faces(found, policy, self.spec, liveness)

    def _predict(self, photo: Photo | PhotoView, with_quality: bool = False) -> list[Face]:
        view = _view(photo)
        return self._predict_faces(view, self.detect(view), with_quality or self._quality)

    def detect(self, image: Image | PhotoView) -> tuple[DetectedFace, ...]:
        """Return the faces of an H x W x 3 uint8 RGB photo, the largest box first.

        Faces that are narrower than `min_face`, and those that are mostly outside of the photo, are
        left out (see `largest_first`). Raises ImageError for any other array, DetectorError if
        YuNet cannot be loaded or the detector returns something else than faces, and ConfigError
        after close().
        """
        self.check_open()
        return _view(image).detect(self.detector, self._min_face)

    def predict_faces(self, image: Image | PhotoView, faces: Sequence[DetectedFace]) -> list[Face]:
        """Return the ages of faces that were found in an H x W x 3 uint8 RGB photo, in order.

        Raises DetectorError for a face whose landmarks are far outside of the photo, and
        ConfigError after close().
        """
        self.check_open()
        return self._predict_faces(_view(image), faces, self._quality)

    def _predict_faces(
        self, view: PhotoView, faces: Sequence[DetectedFace], with_quality: bool
    ) -> list[Face]:
        if not faces:
            return []
        width, height = view.size
        for face in faces:
            if not face.is_inside(width, height):
                raise DetectorError(
                    "landmarks of a detected face: expected places inside the photo of "
                    f"{width} x {height} pixels, found {face.landmarks.tolist()}; "
                    "give x and y in pixels of this photo"
                )
        crops = view.crops([face.landmarks for face in faces])
        ages = self.predict_crops(crops)
        qualities = _measure(crops, faces, view.size) if with_quality else [None] * len(faces)
        return [
            Face(
                age=float(ages.age[i]),
                stddev=float(ages.stddev[i]),
                probabilities=ages.probabilities[i],
                box=face.box,
                landmarks=face.landmarks,
                score=face.score,
                turned=face.turned,
                calibration=ages.calibration,
                quality=qualities[i],
            )
            for i, face in enumerate(faces)
        ]

    def predict_crops(self, crops: Crops) -> Ages:
        """Return the ages of N x 224 x 224 x 3 uint8 RGB crops, which `align` made.

        Raises ConfigError for anything else, for an empty array, and after close().
        """
        self.check_open()
        crops = check_crops(crops)
        starts = range(0, len(crops), BATCH)
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
        """Release the model."""
        super().close()
        self._runtime.close()


def _view(photo: Photo | PhotoView) -> PhotoView:
    return photo if isinstance(photo, PhotoView) else PhotoView(photo)


def _measure(
    crops: Crops, faces: Sequence[DetectedFace], size: tuple[int, int]
) -> list[Quality | None]:
    """Return the numbers of faces by their crops. `size` is that of the photo in pixels."""
    return [
        measure_quality(crop, face.landmarks, size, face.score)
        for crop, face in zip(crops, faces, strict=True)
    ]
