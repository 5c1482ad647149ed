"""Every mode of the page, without a browser: what is uploaded in, what is shown out."""

import asyncio
import os
import socket
import subprocess
import sys
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
from halnet.artifact import bundled
from halnet.commands import group, run
from halnet.demo.live import LiveView
from halnet.demo.server import APP, DemoConfig
from halnet.errors import DetectorError
from halnet.images import load_image

pytestmark = pytest.mark.usefixtures("configure")
PORTRAIT = bundled("portrait.jpg").read_bytes()
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
HUGE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + bytes(100)


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def wall() -> bytes:
    return encode(np.full((200, 300, 3), 128, np.uint8))


def crowd() -> bytes:
    """The portrait's head, fifty times."""
    head = cv2.resize(load_image(PORTRAIT)[20:220, 120:320], (128, 128))
    return encode(np.tile(head, (5, 10, 1)))


def lying() -> bytes:
    """The portrait as a phone held upright stores it: on its side, with a note in its EXIF."""
    turned = encode(np.rot90(load_image(PORTRAIT)), ".jpg")
    # One entry: orientation (0x0112), a short, 6: turn clockwise to see it upright.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    return turned[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + turned[2:]


def page(mode: str = "Photo") -> AppTest:
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


def texts(elements: Any) -> str:
    return "\n".join(str(element.value) for element in elements)


@pytest.fixture(scope="module")
def expected(yunet: Path) -> Any:
    with Predictor(detector=yunet) as predictor:
        (face,) = predictor(PORTRAIT)
    return face


def test_a_photo(expected: Any) -> None:
    app = page()
    app.slider[0].set_value(80)
    upload(app, ("portrait.jpg", PORTRAIT))
    low, high = expected.interval(0.8)
    assert [(m.label, m.value) for m in app.metric] == [
        ("Age, years", f"{expected.age:.1f}"),
        ("80% interval, years", f"{low:.0f} to {high:.0f}"),
    ]
    said = texts(app.caption)
    assert f"goes from {low:.0f} to {high:.0f} years" in said
    assert f"18 or older: {expected.probability(at_least=18):.0%}" in said
    assert "Nothing leaves this machine" in said


def test_a_photo_from_the_camera(expected: Any) -> None:
    app = page()
    app.radio(key="photo from").set_value("Camera").run()
    assert not app.metric  # refused or absent: nothing comes, nothing breaks
    assert not app.exception
    app.camera_input[0].upload("shot.jpg", PORTRAIT).run()
    assert app.metric[0].value == f"{expected.age:.1f}"


def test_a_photo_on_its_side(expected: Any) -> None:
    app = upload(page(), ("phone.jpg", lying()))
    assert float(app.metric[0].value) == pytest.approx(expected.age, abs=2)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("text.jpg", b"no photo", "text.jpg: not a JPEG, PNG, WebP or BMP image"),
        ("cut.jpg", PORTRAIT[:20000], "cut.jpg: the image data is damaged or cut off"),
        ("phone.heic", HEIC, "phone.heic: a HEIC or AVIF photo; save it as JPEG first"),
        ("huge.png", HUGE, "huge.png: 60000 x 60000 pixels are more than the"),
    ],
)
def test_uploads_that_are_no_photos(name: str, data: bytes, message: str) -> None:
    for mode in ("Photo", "Compare"):
        app = upload(page(mode), (name, data))
        assert message in texts(app.error)
        assert not app.metric


def test_no_face() -> None:
    for mode in ("Photo", "Compare"):
        app = upload(page(mode), ("wall.png", wall()))
        assert "No face was found" in texts(app.warning)
        assert not app.metric


def test_fifty_faces() -> None:
    app = upload(page(), ("crowd.png", crowd()))
    (faces,) = (box for box in app.selectbox if box.label.startswith("Face"))
    assert len(faces.options) >= 45
    assert len(app.dataframe[0].value) == len(faces.options)
    table = app.dataframe[0].value
    faces.set_value(7).run()
    assert float(app.metric[0].value) == table["age"][7]


def test_a_batch(tmp_path: Path, yunet: Path, expected: Any) -> None:
    files = [
        ("a.jpg", PORTRAIT),
        ("wall.png", wall()),
        ("text.jpg", b"no photo"),
        ("phone.heic", HEIC),
        ("b.jpg", lying()),
    ]
    app = upload(page("Batch"), *files)
    assert "5 photos, 2 faces, 3 photos without a result." in texts(app.markdown)
    table, failed = (frame.value for frame in app.dataframe)
    assert list(table["photo"]) == ["a.jpg", "b.jpg"]
    assert table["age"][0] == round(expected.age, 2)
    assert all(face.startswith("data:image/jpeg;base64,/9j/") for face in table["face"])
    reasons = dict(zip(failed["photo"], failed["reason"], strict=True))
    assert reasons["wall.png"] == "no face found"
    assert reasons["text.jpg"].startswith("not a JPEG")
    assert reasons["phone.heic"] == "a HEIC or AVIF photo; save it as JPEG first"
    assert len(app.download_button) == 1
    # Another level changes the intervals, and asks the model nothing.
    before = table
    app.slider[0].set_value(50).run()
    after = app.dataframe[0].value
    assert list(after["age"]) == list(before["age"])
    assert after["low"][0] > before["low"][0]


def test_a_batch_asks_only_for_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    detect = Predictor.detect

    def count(self: Predictor, image: np.ndarray) -> Any:
        seen.append(len(image))
        return detect(self, image)

    monkeypatch.setattr(Predictor, "detect", count)
    app = upload(page("Batch"), ("a.jpg", PORTRAIT), ("wall.png", wall()))
    assert len(seen) == 2
    app.run()
    assert len(seen) == 2
    app.selectbox[0].set_value("onnxruntime").run()
    assert len(seen) == 4  # another runtime: all of it again
    assert "2 photos, 1 face, 1 photo without a result." in texts(app.markdown)
    upload(app, ("b.jpg", PORTRAIT))  # in the place of the others
    assert len(seen) == 5
    assert "1 photo, 1 face, 0 photos without a result." in texts(app.markdown)
    assert len(app.session_state["batch results"].done) == 1  # those are forgotten


def test_users_do_not_see_each_other(expected: Any) -> None:
    first, second = page(), page("Batch")
    upload(first, ("a.jpg", PORTRAIT))
    second.run()
    assert not second.dataframe
    upload(second, ("wall.png", wall()))
    first.run()
    assert first.metric[0].value == f"{expected.age:.1f}"
    assert not page().metric


def test_runtimes_side_by_side(onnx_artifact: Path, configure: Any, expected: Any) -> None:
    configure(models=[str(onnx_artifact)])
    app = upload(page("Compare"), ("portrait.jpg", PORTRAIT))
    table = app.dataframe[0].value
    assert list(table["runtime"]) == [
        *("pytorch", "openvino", "onnxruntime"),
        *("onnxruntime", "openvino"),
    ]
    assert list(table["model"]) == ["bundled"] * 3 + [onnx_artifact.name] * 2
    assert table["age, years"][0] == pytest.approx(expected.age, abs=1e-3)
    assert abs(table["difference, years"][:3]).max() <= 1e-3
    assert abs(table["difference, years"][3:]).min() > 0.5  # another network
    assert "problem" not in table


def test_a_runtime_that_disappears(
    tmp_path: Path, onnx_artifact: Path, configure: Any, expected: Any
) -> None:
    model = tmp_path / "mine.onnx"
    model.write_bytes(onnx_artifact.read_bytes())
    configure(models=[str(tmp_path)])
    app = page()
    app.selectbox[0].set_value("mine.onnx").run()
    upload(app, ("portrait.jpg", PORTRAIT))
    assert app.metric
    model.unlink()
    app.run()
    # The folder has no such model any more: the page offers what there is.
    assert app.metric[0].value == f"{expected.age:.1f}"
    configure(models=[str(model)])  # named itself
    app = page()
    app.selectbox[0].set_value("mine.onnx").run()
    assert "no such model file" in texts(app.error)
    assert not app.exception
    app = upload(page("Compare"), ("portrait.jpg", PORTRAIT))
    table = app.dataframe[0].value
    assert list(table["problem"].str.contains("no such model file")) == [False] * 3 + [True] * 2


def test_who_can_open_the_page(configure: Any) -> None:
    configure(address="0.0.0.0")
    assert "Photos go to the machine that serves this page (0.0.0.0)" in texts(page().caption)
    addresses = ("127.0.0.1", "::1", "localhost", "10.0.0.1", "elsewhere")
    private = [DemoConfig(address=address).private for address in addresses]
    assert private == [True, True, True, False, False]


def test_live_video(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def streamer(**values: Any) -> Any:
        given.append(values)
        return SimpleNamespace(state=SimpleNamespace(playing=False))

    monkeypatch.setattr("streamlit_webrtc.webrtc_streamer", streamer)
    monkeypatch.setattr("halnet.demo.live.webrtc_streamer", streamer)
    app = page("Live video")
    assert "browsers give a camera only to pages of this machine" in texts(app.info)
    assert given[-1]["rtc_configuration"] == {"iceServers": []}
    callback = given[-1]["queued_video_frames_callback"]
    frame = VideoFrame.from_ndarray(load_image(PORTRAIT), format="rgb24")
    (drawn,) = asyncio.run(callback([frame]))
    before = drawn.to_ndarray(format="rgb24")
    assert before.shape == load_image(PORTRAIT).shape
    assert (abs(before.astype(int) - load_image(PORTRAIT)).max(axis=2) > 60).sum() > 500
    app.selectbox[0].set_value("onnxruntime").run()  # while it runs
    (drawn,) = asyncio.run(callback([frame]))
    after = drawn.to_ndarray(format="rgb24")
    assert (after != before).any()  # the note names the runtime


def test_slow_frames_do_not_pile_up(yunet: Path) -> None:
    seen: list[int] = []

    class Slow(Predictor):
        def detect(self, image: np.ndarray) -> Any:
            seen.append(int(image[0, 0, 0]))
            return super().detect(image)

    with Slow(detector=yunet) as predictor:
        view = LiveView(predictor, 0.9)
        queued = [
            VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * i, np.uint8), format="rgb24")
            for i in range(1, 6)
        ]
        assert len(asyncio.run(view.answer(queued))) == 1
        assert len(asyncio.run(view.answer(queued[:2]))) == 1
    assert seen == [100, 40]  # the newest of each call


def test_live_video_says_what_is_wrong() -> None:
    class Broken(Predictor):
        def __init__(self) -> None:
            pass

        def detect(self, image: np.ndarray) -> Any:
            raise DetectorError("the detector is gone")

    plain = np.full((480, 640, 3), 200, np.uint8)
    drawn = LiveView(Broken(), 0.9).draw(plain)
    changed = np.argwhere((drawn != plain).any(axis=2))
    assert changed[:, 0].min() > 400  # a line at the bottom


def test_the_command_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], yunet: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(group, ["demo", "--port", str(port), "--detector", str(yunet)]) == 2
    assert f"127.0.0.1:{port} cannot be served: Address already in use" in capsys.readouterr().err
    assert run(group, ["demo", "--address", "192.0.2.1"]) == 2
    assert "192.0.2.1:8501 cannot be served" in capsys.readouterr().err
    assert run(group, ["demo", str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx: no such model file or folder" in capsys.readouterr().err
    assert run(group, ["demo", "--detector", str(bundled("portrait.jpg"))]) == 2
    assert "expected face_detection_yunet" in capsys.readouterr().err


def test_the_command_without_its_extra() -> None:
    program = """
import sys
sys.modules["streamlit"] = None
from halnet.commands import group, run
sys.exit(run(group, ["demo"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 2
    assert "pip install 'halnet[demo]'" in done.stderr
