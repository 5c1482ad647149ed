"""YuNet in every engine, compared with OpenCV's own detector."""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from halnet.benchmarks.samples import portrait
from halnet.errors import ConfigError, DetectorError, RuntimeUnavailableError
from halnet.faces.yunet import FaceDetector
from halnet.faces.yunet_engines import ENGINES, free_sizes, open_engine
from halnet.faces.yunet_output import NMS_THRESHOLD, SCORE_THRESHOLD, find_rows, to_blob
from halnet.photos.images import Image, quiet_opencv

PHOTO, _ = portrait()


def resized(width: int, height: int) -> Image:
    return np.asarray(cv2.resize(PHOTO, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def several() -> Image:
    """A photo with faces of different sizes, one of them shown twice with a small shift."""
    photo = np.zeros((480, 640, 3), np.uint8)
    for x, y, size in ((0, 0, 300), (330, 20, 200), (340, 240, 120), (500, 300, 90)):
        photo[y : y + size, x : x + size] = resized(size, size)
    return photo


def opencv_rows(yunet: Path, photo: Image) -> np.ndarray:
    """Return what OpenCV's own detector finds."""
    with quiet_opencv():
        net = cv2.FaceDetectorYN.create(
            *("onnx", np.fromfile(yunet, np.uint8), np.empty(0, np.uint8)),
            *(photo.shape[1::-1], SCORE_THRESHOLD, NMS_THRESHOLD),
        )
        found = net.detect(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1]
    return np.empty((0, 15), np.float32) if found is None else np.asarray(found)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("photo", "faces"),
    [
        (resized(300, 340), 1),
        (resized(640, 479), 1),
        (several(), 4),
        (np.full((200, 333, 3), 120, np.uint8), 0),
    ],
)
def test_every_engine_finds_what_opencv_finds(
    name: str, photo: Image, faces: int, yunet: Path
) -> None:
    engine = open_engine(yunet.read_bytes(), name)
    blob = to_blob(photo)
    rows = find_rows(engine(blob), blob.shape[3])
    assert len(rows) == faces
    np.testing.assert_allclose(rows, opencv_rows(yunet, photo), atol=2e-3)


@pytest.mark.parametrize("name", ENGINES)
def test_the_detector_says_which_engine_it_has(name: str, yunet: Path) -> None:
    assert FaceDetector(yunet, engine=name).engine == name


def test_the_first_engine_that_is_installed_is_used(
    yunet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ENGINES:
        found.append(open_engine(yunet.read_bytes()).name)
        monkeypatch.setitem(sys.modules, name, None)
    assert found == ["onnxruntime", "openvino", "opencv"]


def test_an_engine_that_is_not_installed_is_an_error(
    yunet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        RuntimeUnavailableError, match=r"face detection needs onnxruntime.*halnet\[onnxruntime\]"
    ):
        FaceDetector(yunet, engine="onnxruntime")


def test_an_unknown_engine_is_an_error(yunet: Path) -> None:
    expected = "engine: expected auto or one of onnxruntime, openvino, opencv, found dlib"
    with pytest.raises(ConfigError, match=expected):
        FaceDetector(yunet, engine="dlib")


@pytest.mark.parametrize("name", ENGINES)
def test_a_file_that_is_no_network_is_one_clear_line(name: str) -> None:
    with pytest.raises(DetectorError, match=f"^YuNet cannot be loaded by {name}: .+$"):
        open_engine(b"\x08\x06" * 40, name)


def test_the_sizes_of_the_model_file_are_taken_out_and_nothing_else(yunet: Path) -> None:
    before, after = onnx.load(yunet), onnx.load_from_string(free_sizes(yunet.read_bytes()))
    (given,) = after.graph.input
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim] == [1, 3, 0, 0]
    assert not after.graph.value_info
    for model in (before, after):
        del model.graph.input[:], model.graph.value_info[:]
        names = [output.name for output in model.graph.output]
        del model.graph.output[:]
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    assert before == after


def test_numbers_that_no_face_has_are_left_out() -> None:
    """An overflow of one place must not disturb the others."""
    heads = {}
    for stride in (8, 16, 32):
        places = (64 // stride) ** 2
        for name, count in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            heads[f"{name}_{stride}"] = np.zeros((1, places, count), np.float32)
    for place, width in ((0, 1.0), (1, 500.0), (2, np.nan)):
        heads["cls_8"][0, place] = heads["obj_8"][0, place] = 0.9
        heads["bbox_8"][0, place, 2] = width
    (row,) = find_rows(heads, 64)
    assert row[2] == pytest.approx(8 * np.e)
    assert row[14] == pytest.approx(0.9)


def test_a_wrong_number_of_threads_is_an_error(yunet: Path) -> None:
    with pytest.raises(ConfigError, match="threads: expected 1 to 1024, found 0"):
        FaceDetector(yunet, threads=0)
