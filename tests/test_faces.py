import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet import faces
from halnet.benchmarks.samples import portrait
from halnet.errors import ConfigError, DetectorError
from halnet.faces import DetectedFace, FaceDetector, largest_first, yunet_path

CONTENT = b"the content of the model" * 1000
PHOTO = np.zeros((100, 200, 3), np.uint8)
LANDMARKS = [[10, 12], [30, 12], [20, 20], [12, 30], [28, 30]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Replace the real address by a local server; yield the requests that it receives."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            body = CONTENT if self.path == "/model" else b"another file"
            self.send_response(200 if self.path != "/missing" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("HALNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HALNET_YUNET", raising=False)
    monkeypatch.setattr(faces, "YUNET_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(faces, "YUNET_URL", f"http://127.0.0.1:{httpd.server_port}/model")
    yield requests
    httpd.shutdown()


def test_the_model_is_downloaded_once(server: list[str], tmp_path: Path) -> None:
    path = yunet_path()
    assert path.read_bytes() == CONTENT
    assert path.parent == tmp_path / "cache"
    assert yunet_path() == path
    assert server == ["/model"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["other", "missing"])
def test_another_file_at_the_address_is_refused(
    name: str, server: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(faces, "YUNET_URL", faces.YUNET_URL.rsplit("/", 1)[0] + "/" + name)
    with pytest.raises(DetectorError, match="could not be downloaded.*--detector or HALNET_YUNET"):
        yunet_path()
    assert server == [f"/{name}"]
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_umask_decides_who_else_may_read_the_downloaded_model(
    umask: int, mode: int, server: list[str]
) -> None:
    before = os.umask(umask)
    try:
        path = yunet_path()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("blocked", "reason"),
    [("cache", "Not a directory"), (f"cache/{faces.YUNET_NAME}/folder", "Is a directory")],
)
def test_a_cache_that_cannot_be_used_is_named_with_the_cure(
    blocked: str, reason: str, server: list[str], tmp_path: Path
) -> None:
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).touch()
    path = tmp_path / "cache" / faces.YUNET_NAME
    expected = (
        f"^{path}: .* cannot be read or written there: {reason}; name another folder with HALN"
    )
    with pytest.raises(DetectorError, match=expected):
        yunet_path()
    assert not server


def test_a_cache_without_permission_is_named_with_the_cure(
    server: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", "tmp123")

    (tmp_path / "cache").mkdir()
    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)  # what pooch makes in the folder
    expected = f"^{tmp_path}/cache/{faces.YUNET_NAME}: .*: Permission denied; .* with HALNET_CACHE"
    with pytest.raises(DetectorError, match=expected):
        yunet_path()


def test_a_user_without_a_home_is_told_to_name_a_folder(
    server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HALNET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DetectorError, match="has no home folder; name a folder with HALNET_CACHE"):
        yunet_path()


def test_without_a_network_the_error_says_what_to_do(
    server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "YUNET_URL", "http://127.0.0.1:1/model")
    with pytest.raises(DetectorError, match="could not be downloaded.*--detector or HALNET_YUNET"):
        yunet_path()


def test_a_local_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DetectorError, match="cannot be read: No such file"):
        yunet_path(tmp_path / "none.onnx")
    other = tmp_path / "other.onnx"
    other.write_bytes(b"x")
    with pytest.raises(DetectorError, match="expected face_detection_yunet_2023mar.onnx"):
        yunet_path(other)
    monkeypatch.setenv("HALNET_YUNET", str(other))
    with pytest.raises(DetectorError, match="other.onnx"):
        FaceDetector()


def test_the_stored_face_of_the_portrait_is_what_yunet_finds(yunet: Path) -> None:
    image, stored = portrait()
    (found,) = FaceDetector(yunet)(image)
    np.testing.assert_allclose(found.landmarks, stored.landmarks, atol=0.5)
    np.testing.assert_allclose(found.box, stored.box, atol=1)
    # The first eye is on the left side of the picture; nose and mouth are below the eyes.
    (lx, ly), (rx, ry), (_, ny), (_, my), _ = found.landmarks
    assert lx < rx
    assert max(ly, ry) < ny < my


def test_faces_of_any_size_are_found_and_the_largest_is_first(yunet: Path) -> None:
    image, _ = portrait()
    face = image[30:230, 120:320]
    canvas = np.full((1500, 2000, 3), 90, np.uint8)
    canvas[100:300, 100:300] = face
    canvas[500:1300, 900:1700] = cv2.resize(face, (800, 800))
    found = FaceDetector(yunet)(canvas)
    assert len(found) == 2
    assert found[0].area > 9 * found[1].area
    x, y, width, height = found[1].box
    assert 100 < x < x + width < 300
    assert 100 < y < y + height < 300
    assert len(FaceDetector(yunet, min_face=200)(canvas)) == 1


def test_a_photo_without_a_face_gives_none(yunet: Path) -> None:
    assert FaceDetector(yunet)(np.full((300, 200, 3), 128, np.uint8)) == ()


@pytest.mark.parametrize(
    ("width", "height"),
    [(8000, 200), (200, 8000), (8000, 100), (640, 33), (16, 640), (1, 640), (4000, 2), (1, 1)],
)
@pytest.mark.parametrize("gray", [0, 128, 255])
def test_a_strip_has_no_faces(width: int, height: int, gray: int, yunet: Path) -> None:
    assert FaceDetector(yunet)(np.full((height, width, 3), gray, np.uint8)) == ()


class Net:
    """An engine for YuNet, with which `rows` are found."""

    survives_fork = True
    rows: np.ndarray

    def __call__(self, blob: np.ndarray) -> dict[str, np.ndarray]:
        self.blob = blob
        return {}


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, yunet: Path) -> Net:
    made = Net()
    monkeypatch.setattr(faces, "open_engine", lambda *options: made)
    monkeypatch.setattr(faces, "find_rows", lambda heads, width: made.rows.copy())
    return made


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((200, 8000), (640, 64)),  # it is shrunk to 640 x 16
        ((640, 63), (64, 640)),
        ((5, 5), (64, 64)),
        ((64, 100), (128, 64)),
    ],
)
def test_yunet_gets_no_strip(
    shape: tuple[int, int], size: tuple[int, int], net: Net, yunet: Path
) -> None:
    net.rows = np.empty((0, 15), np.float32)
    assert FaceDetector(yunet)(np.full((*shape, 3), 9, np.uint8)) == ()
    assert net.blob.shape == (1, 3, *size[::-1])
    scale = min(1, 640 / max(shape))
    assert (net.blob == 9).all(axis=1).sum() == round(shape[0] * scale) * round(shape[1] * scale)
    assert net.blob[0, :, 0, 0].tolist() == [9, 9, 9]


def test_what_no_face_can_be_is_left_out(net: Net, yunet: Path) -> None:
    """The first row is a face; the others are like those that OpenCV before 5 invents."""
    good = [10, 10, 40, 50, *np.ravel(LANDMARKS), 0.9]
    wrong = [
        {0: -np.inf, 2: np.inf},
        {0: -4.9e15, 1: -2e15, 2: 0, 3: 0},
        {2: np.nan},
        {5: np.inf},
        {14: np.nan},
        {2: -40},
        {4: 1e38, 5: -1e38},
        {0: -60, 2: 90},  # two thirds of the box are outside
        {0: -1e25, 1: -1e25, 2: 2e25, 3: 2e25},
    ]
    net.rows = np.array([good] * (len(wrong) + 1), np.float32)
    for row, values in zip(net.rows[1:], wrong, strict=True):
        for place, value in values.items():
            row[place] = value
    (face,) = FaceDetector(yunet)(PHOTO)
    assert face.box == (10, 10, 40, 50)


def test_a_detected_face_converts_its_values() -> None:
    face = DetectedFace(np.array([5, 6, 40, 50]), LANDMARKS, np.float32(0.5))  # type: ignore[arg-type]
    assert face.box == (5, 6, 40, 50)
    assert [type(value) for value in (*face.box, face.score)] == [float] * 5
    assert face.landmarks.dtype == np.float32
    assert face.landmarks.tolist() == LANDMARKS
    assert face.area == 2000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"box": (1, 2, 3)}, r"box of .* four finite numbers .*, found an array of shape \(3,\)"),
        ({"box": None}, "box of .* four finite numbers"),
        ({"box": "face"}, "box of .* four finite numbers .*, found str"),
        ({"box": (0, 0, 40, float("nan"))}, r"box of .*, found \[0.0, 0.0, 40.0, nan\]"),
        (
            {"box": (50, 50, 10, -20)},
            r"width and height above 0, found \[50.0, 50.0, 10.0, -20.0\]",
        ),
        (
            {"landmarks": np.zeros((68, 2))},
            r"landmarks of .* 5 x 2 .*, found an array of shape \(68, 2\)",
        ),
        (
            {"landmarks": np.ravel(LANDMARKS)},
            r"landmarks of .* 5 x 2 .*, found an array of shape \(10,\)",
        ),
        ({"landmarks": [[1, 2], [3]]}, "landmarks of .* 5 x 2 finite numbers .*, found list"),
        ({"landmarks": np.full((5, 2), np.inf)}, "landmarks of .* 5 x 2 finite numbers .* found"),
        (
            {"landmarks": np.full((5, 2), 7)},
            r"five different places, found \[7.0, 7.0\] five times",
        ),
        (
            {"landmarks": [[1e39, 2], *LANDMARKS[1:]]},
            r"landmarks of .* in the range of float32, found \[\[1e\+39, 2.0\]",
        ),
        (
            {"landmarks": np.add([[1, 0]] * 4 + [[0, 0]], 1e10)},
            r"five different places, found \[10000000000.0, 10000000000.0\] five times",
        ),
        ({"score": float("nan")}, "score of .* a finite number"),
        ({"score": (0.5, 0.6)}, r"score of .* a finite number .*, found an array of shape \(2,\)"),
    ],
)
def test_a_detected_face_with_wrong_values_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    values: dict[str, Any] = {"box": (5, 6, 40, 50), "landmarks": LANDMARKS, "score": 0.5}
    with pytest.raises(DetectorError, match=message) as error:
        DetectedFace(**{**values, **changed})
    assert "\n" not in str(error.value)


def test_the_largest_face_is_first_and_narrow_ones_are_dropped() -> None:
    sizes = [(20, 90), (50, 60), (60, 10)]
    faces = [DetectedFace((0, 0, *size), LANDMARKS, 0.5) for size in sizes]  # type: ignore[arg-type]
    assert [face.area for face in largest_first(iter(faces), PHOTO)] == [3000, 1800, 600]
    assert [face.box[2] for face in largest_first(faces, PHOTO, min_face=50)] == [50, 60]


@pytest.mark.parametrize(
    ("moved", "kept"),
    [
        ((0, 0), True),
        ((-19, 0), True),  # the left eye and mouth corner are outside, the middle is inside
        ((-21, 0), False),  # the middle is outside
        ((0, -21.5), False),
        ((181, 0), False),
        ((180, 0), True),
        ((0, 80), False),
        ((5e8, -5e8), False),
    ],
)
def test_a_face_whose_middle_is_outside_of_the_photo_is_dropped(
    moved: tuple[float, float], kept: bool
) -> None:
    face = DetectedFace((0, 0, 40, 40), np.add(LANDMARKS, moved), 0.5)  # type: ignore[arg-type]
    assert face.is_inside(PHOTO) is kept
    assert largest_first([face], PHOTO) == ((face,) if kept else ())


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((-40, 0, 80, 40), True),
        ((-41, 0, 80, 40), False),
        ((160, 60, 80, 40), True),
        ((161, 60, 80, 40), False),
        ((0, -20, 40, 40), True),
        ((0, -21, 40, 40), False),
        ((-20, -20, 40, 40), False),  # a quarter of it is inside
        ((0, 100, 40, 40), False),
        ((-50, 200, 10, 900), False),
        ((-1e200, -1e200, 2e200, 2e200), False),
    ],
)
def test_a_face_whose_box_is_mostly_outside_of_the_photo_is_dropped(
    box: tuple[float, float, float, float], kept: bool
) -> None:
    face = DetectedFace(box, LANDMARKS, 0.5)  # type: ignore[arg-type]
    assert largest_first([face], PHOTO) == ((face,) if kept else ())


@pytest.mark.parametrize(("x", "kept"), [(-200, True), (-201, False), (400, True), (401, False)])
def test_a_face_with_a_landmark_far_outside_of_the_photo_is_dropped(x: float, kept: bool) -> None:
    landmarks = [[x, 50], [100, 50], [100, 60], [200 - x, 70], [100, 70]]  # the middle is inside
    face = DetectedFace((0, 0, 40, 40), landmarks, 0.5)  # type: ignore[arg-type]
    inside = DetectedFace((0, 0, 9, 9), LANDMARKS, 0.5)  # type: ignore[arg-type]
    assert largest_first([inside, face], PHOTO) == ((face, inside) if kept else (inside,))


@pytest.mark.parametrize("min_face", [-3.0, float("nan"), float("inf")])
def test_a_wrong_width_of_the_narrowest_face_is_refused(min_face: float) -> None:
    with pytest.raises(ConfigError, match=f"min_face: .* pixels from 0 up, found {min_face}"):
        FaceDetector(min_face=min_face)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (None, "it returned NoneType"),
        (7, "it returned int"),
        ([{"box": (0, 0, 9, 9)}], "one of them is dict"),
        (np.zeros((1, 15)), "one of them is ndarray"),
    ],
)
def test_something_else_than_faces_is_refused(returned: Any, found: str) -> None:
    with pytest.raises(
        DetectorError, match=f"a sequence of halnet.DetectedFace values, but {found}"
    ):
        largest_first(returned, PHOTO)


def test_a_detector_file_may_have_a_name_that_is_not_utf_8(yunet: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"lat\xe9.onnx")
    path.symlink_to(yunet)
    image, stored = portrait()
    (face,) = FaceDetector(path)(image)
    assert face.box == pytest.approx(stored.box, abs=1)
