"""Every mode of the page without a browser: what is uploaded, and what the page shows."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("streamlit")

from av import VideoFrame
from streamlit.testing.v1 import AppTest

from halnet import Predictor
from halnet.ages import LEGAL_AGE, LEVEL
from halnet.artifact import bundled
from halnet.demo.batch import BATCH
from halnet.demo.live import VIEW
from halnet.demo.server import APP
from halnet.demo.widgets import AGE
from halnet.drawing import draw_faces, draw_note
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import load_image
from halnet.results import Face

pytestmark = pytest.mark.usefixtures("configure")
PORTRAIT = bundled("portrait.jpg").read_bytes()
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
HUGE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + bytes(100)


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def gray_photo() -> bytes:
    return encode(np.full((200, 300, 3), 128, np.uint8))


def photo_of_fifty_faces() -> bytes:
    head = cv2.resize(load_image(PORTRAIT)[20:220, 120:320], (128, 128))
    return encode(np.tile(head, (5, 10, 1)))


def photo_on_its_side() -> bytes:
    """Return the portrait as a phone stores it: on its side, with the orientation in its EXIF."""
    turned = encode(np.rot90(load_image(PORTRAIT)), ".jpg")
    # One entry: orientation (0x0112), a short, 6: turn clockwise to see it upright.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    return turned[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + turned[2:]


def open_page(mode: str = "Photo") -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    if mode != "Photo":
        app.radio[0].set_value(mode).run()
    assert not app.exception
    return app


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, data in files:
        app.file_uploader[0].upload(name, data)
    app.run()
    assert not app.exception
    return app


def choose(app: AppTest, label: str, value: str) -> AppTest:
    (box,) = (box for box in app.selectbox if box.label == label)
    return box.set_value(value).run()


def texts(elements: Any) -> str:
    return "\n".join(str(element.value) for element in elements)


def test_a_photo(portrait_face: Face) -> None:
    app = open_page()
    app.slider[0].set_value(80)
    upload(app, ("portrait.jpg", PORTRAIT))
    low, high = portrait_face.interval(0.8)
    assert [(m.label, m.value) for m in app.metric] == [
        ("Age, years", f"{portrait_face.age:.1f}"),
        ("80% interval, years", f"{low:.0f} to {high:.0f}"),
    ]
    captions = texts(app.caption)
    assert f"goes from {low:.0f} to {high:.0f} years" in captions
    adult = portrait_face.probability(at_least=LEGAL_AGE)
    assert f"{LEGAL_AGE} or older is {adult:.0%}" in captions
    assert "Nothing leaves this machine" in captions


def test_a_photo_from_the_camera(portrait_face: Face) -> None:
    app = open_page()
    app.radio(key="photo source").set_value("Camera").run()
    assert not app.metric  # nothing is shown without a camera, or as long as no photo is taken
    assert not app.exception
    app.camera_input[0].upload("shot.jpg", PORTRAIT).run()
    assert app.metric[0].value == f"{portrait_face.age:.1f}"


def test_a_photo_on_its_side(portrait_face: Face) -> None:
    app = upload(open_page(), ("phone.jpg", photo_on_its_side()))
    assert float(app.metric[0].value) == pytest.approx(portrait_face.age, abs=2)


@pytest.mark.parametrize("mode", ["Photo", "Compare", "Check"])
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("text.jpg", b"no photo", "text.jpg: not a JPEG, PNG, WebP or BMP image"),
        ("cut.jpg", PORTRAIT[:20000], "cut.jpg: the image data is damaged or cut off"),
        ("phone.heic", HEIC, "phone.heic: the image data is damaged or cut off"),
        ("huge.png", HUGE, "huge.png: 60000 x 60000 pixels are more than the"),
    ],
)
def test_a_file_that_is_no_photo(mode: str, name: str, data: bytes, message: str) -> None:
    app = upload(open_page(mode), (name, data))
    assert message in texts(app.error)
    assert not app.metric
    assert not app.dataframe


@pytest.mark.parametrize("mode", ["Photo", "Compare"])
def test_a_photo_without_faces(mode: str) -> None:
    app = upload(open_page(mode), ("gray.png", gray_photo()))
    assert "No face was found" in texts(app.warning)
    assert not app.metric
    assert not app.dataframe


def test_fifty_faces() -> None:
    app = upload(open_page(), ("crowd.png", photo_of_fifty_faces()))
    (faces,) = (box for box in app.selectbox if box.label.startswith("Face"))
    assert len(faces.options) >= 45
    table = app.dataframe[0].value
    assert len(table) == len(faces.options)
    faces.set_value(7).run()
    assert app.metric[0].value == f"{table[AGE][7]:.1f}"


def test_a_batch(portrait_face: Face) -> None:
    files = [
        ("a.jpg", PORTRAIT),
        ("gray.png", gray_photo()),
        ("text.jpg", b"no photo"),
        ("phone.heic", HEIC),
        ("b.jpg", photo_on_its_side()),
    ]
    app = upload(open_page("Batch"), *files)
    assert "5 photos, 2 faces, 3 photos without a result." in texts(app.markdown)
    table, failed = (frame.value for frame in app.dataframe)
    assert list(table["photo"]) == ["a.jpg", "b.jpg"]
    assert table[AGE][0] == portrait_face.age
    assert all(face.startswith("data:image/jpeg;base64,/9j/") for face in table["face"])
    reasons = dict(zip(failed["photo"], failed["reason"], strict=True))
    assert reasons["gray.png"] == "no face found"
    assert reasons["text.jpg"].startswith("not a JPEG")
    assert reasons["phone.heic"] == "the image data is damaged or cut off"
    assert len(app.download_button) == 1


def test_another_level_changes_the_intervals_of_a_batch(portrait_face: Face) -> None:
    app = upload(open_page("Batch"), ("a.jpg", PORTRAIT))
    for level in (LEVEL, 0.5):
        app.slider[0].set_value(round(100 * level)).run()
        low, high = portrait_face.interval(level)
        table = app.dataframe[0].value
        assert list(table[AGE]) == [portrait_face.age]
        assert list(table[f"{level:.0%} interval, years"]) == [f"{low:.1f} to {high:.1f}"]


def test_a_batch_predicts_only_new_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    detect = Predictor.detect

    def count(self: Predictor, view: PhotoView) -> Any:
        seen.append(view.size[0])
        return detect(self, view)

    monkeypatch.setattr(Predictor, "detect", count)
    app = upload(open_page("Batch"), ("a.jpg", PORTRAIT), ("gray.png", gray_photo()))
    assert len(seen) == 2
    app.run()
    assert len(seen) == 2
    choose(app, "Runtime", "openvino")
    assert len(seen) == 4  # another runtime predicts all photos again
    assert "2 photos, 1 face, 1 photo without a result." in texts(app.markdown)
    upload(app, ("b.jpg", PORTRAIT))  # replaces the others
    assert len(seen) == 5
    assert "1 photo, 1 face, 0 photos without a result." in texts(app.markdown)
    assert len(app.session_state[BATCH].results) == 1  # the results of the others are removed


def test_users_do_not_see_each_other(portrait_face: Face) -> None:
    first, second = open_page(), open_page("Batch")
    upload(first, ("a.jpg", PORTRAIT))
    second.run()
    assert not second.dataframe
    upload(second, ("gray.png", gray_photo()))
    first.run()
    assert first.metric[0].value == f"{portrait_face.age:.1f}"
    assert not open_page().metric


def test_runtimes_side_by_side(
    onnx_artifact: Path, configure: Callable[..., None], portrait_face: Face
) -> None:
    configure(models=[str(onnx_artifact)])
    app = upload(open_page("Compare"), ("portrait.jpg", PORTRAIT))
    table = app.dataframe[0].value
    assert list(table["runtime"]) == [
        *("pytorch", "onnxruntime", "openvino"),
        *("onnxruntime", "openvino"),
    ]
    assert list(table["model"]) == ["bundled"] * 3 + [onnx_artifact.name] * 2
    assert table[AGE][0] == pytest.approx(portrait_face.age, abs=1e-3)
    assert abs(table["difference, years"][:3]).max() <= 1e-3
    assert abs(table["difference, years"][3:]).min() > 0.5  # another network
    low, high = portrait_face.interval(LEVEL)
    assert table["90% interval, years"][0] == f"{low:.1f} to {high:.1f}"
    assert "problem" not in table
    (distance,) = re.findall(r"differ by (\S+) years", texts(app.caption))
    assert float(distance) == pytest.approx(table[AGE].max() - table[AGE].min(), abs=2e-3)


def test_a_model_that_disappears_from_its_folder(
    tmp_path: Path, onnx_artifact: Path, configure: Callable[..., None], portrait_face: Face
) -> None:
    model = tmp_path / "mine.onnx"
    model.write_bytes(onnx_artifact.read_bytes())
    configure(models=[str(tmp_path)])
    app = choose(open_page(), "Model", "mine.onnx")
    upload(app, ("portrait.jpg", PORTRAIT))
    assert app.metric[0].value != f"{portrait_face.age:.1f}"
    model.unlink()
    app.run()  # the page now offers only the bundled model
    assert app.metric[0].value == f"{portrait_face.age:.1f}"


def test_a_model_file_that_does_not_exist(configure: Callable[..., None], tmp_path: Path) -> None:
    configure(models=[str(tmp_path / "none.onnx")])
    app = choose(open_page(), "Model", "none.onnx")
    assert "no such model file" in texts(app.error)
    assert not app.exception
    app = upload(open_page("Compare"), ("portrait.jpg", PORTRAIT))
    table = app.dataframe[0].value
    assert list(table["problem"].str.contains("no such model file")) == [False] * 3 + [True] * 2


def test_a_page_that_other_machines_can_open_says_so(configure: Callable[..., None]) -> None:
    configure(address="0.0.0.0")
    captions = texts(open_page().caption)
    assert "Photos are sent to the machine that serves this page (0.0.0.0)" in captions
    assert "Nothing leaves this machine" not in captions


def test_no_runtime_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halnet.demo.models.find_choices", lambda models: [])
    app = open_page()
    assert "pip install 'halnet[onnxruntime]'" in texts(app.error)
    assert not app.file_uploader


def test_live_video(monkeypatch: pytest.MonkeyPatch, portrait_face: Face) -> None:
    passed: list[dict[str, Any]] = []

    def streamer(**values: Any) -> Any:
        passed.append(values)
        return SimpleNamespace(state=SimpleNamespace(playing=False))

    monkeypatch.setattr("halnet.demo.live.webrtc_streamer", streamer)
    app = open_page("Live video")
    assert "Browsers allow the camera only on pages of this machine" in texts(app.info)
    assert passed[-1]["rtc_configuration"] == {"iceServers": []}
    picture = load_image(PORTRAIT)
    boxes = draw_faces(picture, [portrait_face], LEVEL)

    def next_frame() -> np.ndarray:
        callback = passed[-1]["queued_video_frames_callback"]
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        (drawn,) = asyncio.run(callback([frame]))
        return np.asarray(drawn.to_ndarray(format="rgb24"))

    assert np.array_equal(next_frame(), draw_note(boxes, "0 frames/s, onnxruntime"))
    choose(app, "Runtime", "openvino")  # while the video is running
    second = next_frame()
    rate = app.session_state[VIEW].frame_rate
    assert np.array_equal(second, draw_note(boxes, f"{rate:.0f} frames/s, openvino"))
