"""The photos and frames of a check: what each item stands for, and what cannot be read."""

import io
import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

from halnet import DetectedFace, Predictor
from halnet.artifact import bundled
from halnet.checks import check as checks
from halnet.checks import views
from halnet.checks.views import open_views
from halnet.errors import ConfigError, ImageError
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import load_image
from halnet.runtimes.fake import FakeRuntime
from halnet.videos.video_file import VideoFile

LANDMARKS = np.array([[45, 45], [65, 45], [55, 55], [47, 65], [63, 65]], np.float32)
WriteVideo = Callable[..., Path]


def gray(value: int) -> np.ndarray:
    return np.full((100, 120, 3), value, np.uint8)


def values(items: Any, every: float = 0.0) -> list[int]:
    """Return how bright each photo and frame is, in steps of ten."""
    return [10 * round(float(view.image().mean()) / 10) for view in open_views(items, every)]


@pytest.fixture
def film(write_video: WriteVideo, tmp_path: Path) -> Path:
    """Ten frames within a second, each brighter than the one before."""
    frames = [gray(20 * index) for index in range(10)]
    return write_video(tmp_path / "film.mp4", frames, [index / 10 for index in range(10)])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "photo.png"), gray(250))
    return tmp_path / "photo.png"


def test_one_item_is_a_photo_or_the_frames_of_a_video(film: Path, photo: Path) -> None:
    assert values(film) == values(str(film)) == [20 * index for index in range(10)]
    data = photo.read_bytes()
    for item in (photo, str(photo), data, io.BytesIO(data), gray(250), PhotoView(photo)):
        assert values(item) == [250]


def test_items_are_mixed_in_their_order(film: Path, photo: Path) -> None:
    mixed = [photo, film, gray(100), photo.read_bytes(), str(film)]
    expected = [250, 0, 80, 160, 100, 250, 0, 80, 160]
    assert values(mixed, every=0.4) == values(tuple(mixed), every=0.4) == expected
    assert values((item for item in mixed), every=0.4) == expected


def test_a_video_is_known_by_its_content_too(film: Path) -> None:
    other = film.rename(film.with_name("recording"))
    assert len(values(other)) == 10


def test_a_video_is_closed_when_nothing_more_is_read(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    class Watched(VideoFile):
        def close(self) -> None:
            closed.append(self.name)
            super().close()

    monkeypatch.setattr(views, "VideoFile", Watched)
    opened = open_views([film, "none.jpg"])
    next(opened)
    assert not closed
    opened.close()
    assert closed == [str(film)]
    with pytest.raises(ImageError, match=r"none\.jpg"):
        values([film, "none.jpg"])
    assert closed == [str(film)] * 2


@pytest.mark.parametrize("every", [-1, float("nan"), float("inf")])
def test_a_wrong_time_between_frames(every: float) -> None:
    with pytest.raises(ConfigError, match=f"every: expected a finite number .* found {every}"):
        open_views("film.mp4", every)


@pytest.mark.parametrize("name", ["0", "rtsp://me:secret@host/a"])
def test_a_live_source_would_never_end(name: str) -> None:
    def items() -> Generator[str]:
        yield name

    for item in (name, ["none.jpg", name]):  # before anything is read
        with pytest.raises(ConfigError, match="found a live source; record it into a file first"):
            open_views(item)
    with pytest.raises(ConfigError, match=r"^(camera:0|rtsp://host/a): a check takes photos and"):
        list(open_views(items()))


def test_what_cannot_be_read_is_named(film: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "film.d").mkdir()
    (tmp_path / "dir.mp4").mkdir()
    for item, message in (
        (tmp_path / "film.d", r"film\.d: expected a photo or a video file, found a folder; name "),
        (tmp_path / "dir.mp4", r"dir\.mp4: expected a photo or a video file, found a folder; name"),
        (tmp_path / "none.mp4", r"none\.mp4: cannot be read: No such file"),
        (tmp_path / "text.mp4", r"text\.mp4: cannot be opened; check that it is a complete video"),
        (tmp_path / "none.png", r"none\.png: .*No such file"),
        (b"nonsense", r"^photo 1 \(counted from 0\): not a JPEG"),
        (io.BytesIO(b"nonsense"), r"^photo 1 \(counted from 0\): not a JPEG"),
        (photo.read_bytes()[:150], r"^photo 1 \(counted from 0\)"),
        (gray(1).astype(float), r"^photo 1 \(counted from 0\): image array: expected H x W x 3"),
        (None, r"^photo 1 \(counted from 0\): photo: expected"),
    ):
        with pytest.raises(ImageError, match=message) as error:
            values([photo, item])
        assert "\n" not in str(error.value)
    with pytest.raises(ImageError, match=r"^the image bytes: not a JPEG"):
        values(b"nonsense")


# Checks of videos, with the fake runtime, whose ages are brightness


def detect(photo: np.ndarray) -> Sequence[DetectedFace]:
    """Find a face in each frame that is not black, and two in a white one."""
    value = photo.mean()
    return [DetectedFace((30, 20, 50, 60), LANDMARKS, 0.9)] * (int(value > 10) + int(value > 230))


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    monkeypatch.setattr(checks, "find_reasons", lambda quality, face: ())
    return Predictor(FakeRuntime(), detector=detect)


def test_the_library_reads_a_video_as_the_command_does(
    predictor: Predictor, write_video: WriteVideo, tmp_path: Path
) -> None:
    levels = [0, 0, 90, 100, 110, 120]
    times = [index / 10 for index in range(6)]
    film = write_video(tmp_path / "film.mp4", [gray(level) for level in levels], times)
    check = predictor.check(film)
    assert (check.outcome, check.photos, check.unused) == ("pass", 4, (("no face", 2),))
    assert check.age == pytest.approx(105 / 2.55, abs=0.5)
    some = predictor.check(str(film), every=0.2)
    assert (some.photos, some.unused) == (2, (("no face", 1),))
    assert some.age == pytest.approx(100 / 2.55, abs=0.5)
    both = predictor.check([film, gray(100), film])
    assert (both.photos, both.total) == (9, 13)
    assert both.age == pytest.approx((8 * 105 + 100) / 9 / 2.55, abs=0.5)


def test_a_video_in_which_nobody_shows_a_face(
    predictor: Predictor, write_video: WriteVideo, tmp_path: Path
) -> None:
    film = write_video(tmp_path / "film.mp4", [gray(0)] * 3, [0, 0.1, 0.2])
    check = predictor.check(film)
    assert (check.outcome, check.reason) == (
        "no_result",
        "None of 3 photos can be used (no face: 3).",
    )
    assert check.quality is None


def test_a_video_without_frames(
    predictor: Predictor, write_video: WriteVideo, tmp_path: Path
) -> None:
    film = write_video(tmp_path / "film.ts", [gray(100)] * 3, [0, 0.1, 0.2])
    data = film.read_bytes()
    film.write_bytes(data[: len(data) // 8])
    with pytest.raises(ImageError, match=r"film\.ts: ") as error:
        predictor.check(film)
    assert "\n" not in str(error.value)


def test_a_damaged_video_has_no_result_and_says_what_to_do(
    predictor: Predictor, write_video: WriteVideo, tmp_path: Path
) -> None:
    """Its frames that can be read do not make a result: nobody knows what the others show."""
    photo = cv2.resize(load_image(bundled("portrait.jpg")), (120, 100))
    frames = [np.roll(photo, 5 * index, axis=1) for index in range(10)]
    film = write_video(tmp_path / "film.avi", frames, [index / 10 for index in range(10)], "mjpeg")
    data = bytearray(film.read_bytes())
    first, after = [match.start() for match in re.finditer(b"\xff\xd8\xff", data)][4:6]
    data[first : after - 8] = bytes(after - 8 - first)
    film.write_bytes(data)
    with pytest.raises(ImageError, match="the video is damaged or cut off; 9 frames could be read"):
        predictor.check(film)
