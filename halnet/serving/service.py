"""Service: what the server does for a request. The threads of its queue call these functions."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from halnet import __version__
from halnet.artifact import INPUT, INPUT_NAME, OUTPUT_NAMES, Metadata, find_model, sha256_artifact
from halnet.batches import FaceSelection, PhotoResult
from halnet.closing import Closing
from halnet.cores import find_cores
from halnet.errors import ArtifactError, ImageError
from halnet.faces.detected import DetectedFace, Detector
from halnet.faces.photo_view import PhotoView
from halnet.faces.upright import open_detector
from halnet.packages import installed_version
from halnet.photos.images import Image, open_photo
from halnet.predictor import BATCH, Predictor
from halnet.results import FORMAT
from halnet.runtimes.backends import find_address, open_model
from halnet.runtimes.base import Runtime, RuntimeOptions, check_crops
from halnet.runtimes.inference_protocol import (
    EXTENSION,
    INPUTS,
    OUTPUTS,
    ProtocolError,
    pack,
    unpack,
)
from halnet.runtimes.remote import MODEL_NAME
from halnet.serving.batching import BatchingRuntime
from halnet.serving.bodies import SentPhoto, SentPhotos
from halnet.serving.config import Limits, ServeConfig
from halnet.serving.metrics import Metrics
from halnet.serving.queue import Place

MODEL_VERSION = "1"  # of the only model, in the Open Inference Protocol
LIBRARIES = {"numpy": "numpy", "opencv": "cv2"}  # module of each library


class Service(Closing):
    """A model that is loaded, and a detector. The file of the model may change afterwards.

    Raises what `Predictor` raises.
    """

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self.workers = count_workers(config)
        threads = config.options.threads or (1 if self.workers > 1 else None)
        options = replace(config.options, threads=threads, calls=self.workers)
        runtime, digest = _open_unchanged(config, options)
        batch = config.batch or (1 if runtime.spec.threads else BATCH)
        # Some runtimes plan each number of crops, and fill up others to the next power of two.
        for power in range((batch - 1).bit_length() + 1):
            runtime.run(np.zeros((1 << power, INPUT.size, INPUT.size, 3), np.uint8))
        self._limits, self._metrics = config.limits, metrics
        self._predictor = Predictor(
            BatchingRuntime(runtime, batch, metrics.crops.observe),
            detector=_LimitedDetector(_open_detector(config, threads), config.limits.faces),
            min_face=config.min_face,
            quality=True,
        )
        self.info = _describe(self._predictor, digest, self.workers, batch, config.limits)

    @property
    def metadata(self) -> Metadata:
        """The metadata of the model."""
        return self._predictor.spec.metadata

    def close(self) -> None:
        """Release the model."""
        super().close()
        self._predictor.close()

    def predict(self, sent: SentPhotos, selection: FaceSelection, place: Place) -> Any:
        """Return the result of a photo, or a list of those of the files of a form.

        They are as `halnet predict --json` prints them. Raises ImageError if a single photo cannot
        be read; in a list, such a photo has an "error".
        """
        self.metadata.calibration.interval(0.0, 1.0, selection.level)  # ConfigError, face or none
        if not sent.listed:
            return self._predict(sent.photos[0], selection).to_dict(
                selection.level, selection.at_least
            )
        results = []
        for photo in _until_given_up(sent.photos, place):
            try:
                result = self._predict(photo, selection)
            except ImageError as error:
                result = PhotoResult(photo.name, [], str(error))
            results.append(result.to_dict(selection.level, selection.at_least))
        return results

    def _predict(self, photo: SentPhoto, selection: FaceSelection) -> PhotoResult:
        view = self._open(photo)
        found = self._predictor.detect(view)
        faces = self._predictor.predict_faces(view, found[:1] if selection.largest else found)
        self._metrics.faces.inc(len(faces))
        self._metrics.no_face.inc(not faces)
        return PhotoResult(photo.name, faces)

    def check(self, sent: SentPhotos, policy: dict[str, Any], place: Place) -> dict[str, Any]:
        """Return the audit record of a check of one person, as `halnet check --json` prints it."""
        views = (self._open(photo) for photo in _until_given_up(sent.photos, place))
        result = self._predictor.check(views, **policy)
        self._metrics.checks.labels(result.outcome.value).inc()
        return result.to_dict()

    def _open(self, photo: SentPhoto) -> PhotoView:
        opened = open_photo(photo.data, photo.name)
        width, height = opened.sides
        if width * height > self._limits.pixels:
            raise ImageError(
                f"{photo.name}: {width} x {height} pixels are more than the "
                f"{self._limits.pixels:,} allowed; make the photo smaller first"
            )
        return PhotoView(opened)

    def describe_model(self) -> dict[str, Any]:
        """Return the metadata of the model as the Open Inference Protocol states them."""
        return {
            "name": MODEL_NAME,
            "versions": [MODEL_VERSION],
            "platform": f"halnet_{self._predictor.spec.runtime}",
            "inputs": list(INPUTS),
            "outputs": list(OUTPUTS),
            "parameters": self.metadata.to_properties(),
        }

    def infer(self, body: bytes, length: str | None, place: Place) -> tuple[bytes, int | None]:
        """Return the outputs for crops as a message of the Open Inference Protocol.

        Raises ProtocolError and ConfigError for a wrong message.
        """
        del place  # it is one call of the model
        header, arrays = unpack(body, length, "inputs")
        if set(arrays) != {INPUT_NAME}:
            found = ", ".join(arrays) or "none"
            raise ProtocolError(f"expected the input {INPUT_NAME}, found {found}")
        binary = _read_wanted(header)
        ages = self._predictor.predict_crops(check_crops(arrays[INPUT_NAME]))
        named = {"model_name": MODEL_NAME, "model_version": MODEL_VERSION}
        number = {"id": header["id"]} if isinstance(header.get("id"), str) else {}
        return pack(
            {**named, **number},
            "outputs",
            {name: getattr(ages, name) for name in binary},
            [name for name, is_binary in binary.items() if is_binary],
        )


SERVER = {"name": MODEL_NAME, "version": __version__, "extensions": [EXTENSION]}


def count_workers(config: ServeConfig) -> int:
    """Return how many photos are processed at the same time: all usable cores have work."""
    return config.workers or max(1, find_cores().usable // (config.options.threads or 1))


def _open_unchanged(config: ServeConfig, options: RuntimeOptions) -> tuple[Runtime, str | None]:
    """Return the open model, and the SHA-256 of its file; None if it is not in a file.

    Raises ArtifactError if the file changed in between, so that the hash is that of what runs.
    """
    model = config.model
    path = None if model is None or find_address(model) else find_model(model)
    before = sha256_artifact(path) if path is not None and path.exists() else None
    runtime = open_model(model, options)
    path = Path(runtime.spec.model) if find_address(runtime.spec.model) is None else None
    after = sha256_artifact(path) if path is not None and path.exists() else None
    if before not in (None, after):
        runtime.close()
        raise ArtifactError(f"{path}: it changed while it was loaded; start again")
    return runtime, after


def _open_detector(config: ServeConfig, threads: int | None) -> Detector:
    if config.detector is None or isinstance(config.detector, str | Path):
        return open_detector(config.detector, threads)
    return config.detector


def _describe(
    predictor: Predictor, digest: str | None, workers: int, batch: int, limits: Limits
) -> dict[str, Any]:
    """Return what /info states. It is made once, so that it is of the model that was loaded."""
    return {
        "halnet": __version__,
        "python": platform.python_version(),
        "libraries": {name: installed_version(module) for name, module in LIBRARIES.items()},
        "model": {
            **predictor.spec.to_dict(),
            "file": Path(predictor.spec.model).name,
            "sha256": digest,
        },
        "workers": workers,
        "batch": batch,
        "limits": asdict(limits),
        "format": FORMAT,
    }


class _LimitedDetector:
    """A detector that refuses photos with too many faces."""

    def __init__(self, detector: Detector, limit: int) -> None:
        self._detector, self._limit = detector, limit
        if hasattr(detector, "detection_side"):
            self.detection_side = detector.detection_side

    def __call__(self, photo: Image) -> Sequence[DetectedFace]:
        found = self._detector(photo)
        if len(found) > self._limit:
            raise ImageError(
                f"photo: expected at most {self._limit} faces, found {len(found)}; send parts of it"
            )
        return found


def _until_given_up(photos: Sequence[SentPhoto], place: Place) -> Iterator[SentPhoto]:
    """Yield photos as long as somebody waits for the result."""
    for photo in photos:
        place.check_waiting()
        yield photo


def _read_wanted(header: dict[str, Any]) -> dict[str, bool]:
    """Return the names of the outputs that a request asks for, and whether as bytes.

    Raises ProtocolError for others, and for extensions that this server does not have.
    """
    parameters = header.get("parameters") or {}
    wanted = header.get("outputs") or [{"name": name} for name in OUTPUT_NAMES]
    binary: dict[str, bool] = {}
    try:
        for entry in wanted:
            own = entry.get("parameters") or {}
            others = set(own) - {"binary_data"}
            if entry["name"] not in OUTPUT_NAMES or others:
                raise ProtocolError(
                    f"outputs: expected {', '.join(OUTPUT_NAMES)} with the parameter binary_data "
                    f"or none, found {entry['name']} {' '.join(sorted(others))}"
                )
            is_binary = own.get("binary_data", parameters.get("binary_data_output", False))
            binary[entry["name"]] = is_binary is True
    except (TypeError, AttributeError, KeyError) as error:
        raise ProtocolError("outputs: expected a list of objects with a name") from error
    return binary
