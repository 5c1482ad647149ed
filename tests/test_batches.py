"""Batches with the fake runtime: the age of a face is its brightness, of which 255 is 100 years."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet import DetectedFace, Predictor
from halnet.batches import (
    STDIN,
    FaceSelection,
    PhotoResult,
    open_video,
    plan_videos,
    predict_photos,
    predict_video,
)
from halnet.drawing import BOX_COLOUR
from halnet.errors import ConfigError, ImageError
from halnet.photos.images import load_image
from halnet.photos.photo_files import find_photos
from halnet.runtimes.fake import FakeRuntime
from halnet.tracking import Tracker
from halnet.videos.video import Frame
from halnet.videos.video_file import VideoFile

LARGE, SMALL = (30.0, 20.0, 50.0, 60.0), (90.0, 40.0, 20.0, 20.0)  # boxes
LANDMARKS = np.array([[45, 45], [65, 45], [55, 55], [47, 65], [63, 65]], np.float32)


def detect(photo: np.ndarray) -> list[DetectedFace]:
    """Find a small and a large face, or none in a black photo."""
    faces = [DetectedFace(SMALL, LANDMARKS, 0.8), DetectedFace(LARGE, LANDMARKS, 0.9)]
    return faces if photo.mean() > 5 else []


def gray(brightness: int) -> np.ndarray:
    return np.full((100, 120, 3), brightness, np.uint8)


def age(brightness: int) -> float:
    return brightness / 255 * 100


def is_amber(pixel: np.ndarray) -> bool:
    """Return whether an RGB pixel has the colour of a box, within the error of a JPEG or video."""
    return bool(np.abs(pixel.astype(int) - BOX_COLOUR).max() < 60)


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(FakeRuntime(), detector=detect)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two gray photos, one of them in a subfolder, a black photo, and a damaged one."""
    root = tmp_path / "photos"
    (root / "deep").mkdir(parents=True)
    for name, brightness in (("a.png", 64), ("deep/b.PNG", 128), ("wall.png", 0)):
        cv2.imwrite(str(root / name), gray(brightness))
    (root / "cut.png").write_bytes((root / "a.png").read_bytes()[:60])
    (root / "notes.txt").write_text("no photo")
    return root


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Six frames, ten per second, that get brighter; the third one is black."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (120, 100))
    for brightness in (40, 60, 0, 80, 100, 120):
        writer.write(gray(brightness))
    writer.release()
    return path


@pytest.mark.parametrize("workers", [1, 3])
def test_good_photos_get_ages_and_bad_ones_an_error(
    workers: int, predictor: Predictor, folder: Path
) -> None:
    photos = find_photos([folder])
    first, cut, second, wall = predict_photos(predictor, photos, workers=workers)
    assert [face.box for face in first.faces] == [LARGE, SMALL]
    assert first.faces[0].age == pytest.approx(age(64), abs=0.01)
    assert second.faces[0].age == pytest.approx(age(128), abs=0.01)
    assert (first.photo, first.error, first.time) == (str(folder / "a.png"), None, None)
    assert (wall.faces, wall.error) == ([], None)
    assert cut.faces == []
    assert cut.error == f"{folder / 'cut.png'}: the image data is damaged or cut off"


def test_only_the_largest_face_is_predicted(predictor: Predictor, folder: Path) -> None:
    selection = FaceSelection(largest=True)
    (result,) = predict_photos(predictor, [folder / "a.png"], selection=selection)
    assert [face.box for face in result.faces] == [LARGE]


def test_a_result_has_intervals_at_the_level(predictor: Predictor, folder: Path) -> None:
    (result,) = predict_photos(predictor, [folder / "a.png"])
    values = result.to_dict(0.5)
    assert values["photo"] == str(folder / "a.png")
    assert set(values) == {"format", "photo", "faces"}
    assert [face["level"] for face in values["faces"]] == [0.5, 0.5]
    # The quantile of the fake runtime at 50 % is one standard deviation, which is 5 years.
    low, high = values["faces"][0]["interval"]
    assert (low, high) == pytest.approx((age(64) - 5, age(64) + 5), abs=0.05)


def test_a_result_states_its_time_and_its_error() -> None:
    frame = PhotoResult("film.mp4", [], time=1.23456)
    assert frame.to_dict(0.9) == {"format": 2, "photo": "film.mp4", "time": 1.235, "faces": []}
    bad = PhotoResult("bad.jpg", [], "bad.jpg: the file is empty")
    assert bad.to_dict(0.9)["error"] == "bad.jpg: the file is empty"


def test_a_photo_can_come_from_standard_input(
    predictor: Predictor, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stdin:
        buffer = io.BytesIO((folder / "a.png").read_bytes())

    monkeypatch.setattr("sys.stdin", Stdin)
    (result,) = predict_photos(predictor, [STDIN], tmp_path / "drawn")
    assert result.photo == "-"
    assert result.faces[0].age == pytest.approx(age(64), abs=0.01)
    assert load_image(tmp_path / "drawn" / "stdin.jpg").shape == (100, 120, 3)


@pytest.mark.parametrize(
    ("stdin", "error"),
    [
        (None, "standard input: it is closed; send something to it, or name files"),
        (b"", "standard input: the file is empty"),
    ],
)
def test_standard_input_without_a_photo_is_an_error_of_this_photo(
    stdin: bytes | None,
    error: str,
    predictor: Predictor,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stdin:
        buffer = io.BytesIO(stdin or b"")

    monkeypatch.setattr("sys.stdin", None if stdin is None else Stdin)
    first, second = predict_photos(predictor, [STDIN, folder / "a.png"])
    assert (first.faces, first.error) == ([], error)
    assert len(second.faces) == 2


def test_a_link_that_leads_to_itself_does_not_stop_the_copies(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    loop = folder / "loop.png"
    loop.symlink_to(loop)
    first, second = predict_photos(predictor, [loop, folder / "a.png"], tmp_path / "drawn")
    assert "loop.png: cannot be read: Too many levels of symbolic links" in str(first.error)
    assert len(second.faces) == 2
    assert (tmp_path / "drawn" / "a.png.jpg").exists()


def test_copies_lie_in_the_subfolders_of_their_photos(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "drawn"
    list(predict_photos(predictor, find_photos([folder]), out))
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["a.png.jpg", "deep/b.PNG.jpg", "wall.png.jpg"]


def test_a_copy_shows_the_boxes_and_is_the_photo_elsewhere(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    selection = FaceSelection(largest=True)
    list(predict_photos(predictor, [folder / "a.png"], tmp_path, selection))
    drawn = load_image(tmp_path / "a.png.jpg")
    x, y, width, height = map(round, LARGE)
    for row, column in ((y + 30, x), (y + 30, x + width), (y + height, x + 25)):
        assert is_amber(drawn[row, column])
    inside = drawn[y + 10 : y + height - 10, x + 10 : x + width - 10]
    assert np.abs(inside.astype(int) - 64).mean() < 4


@pytest.mark.parametrize("out", [".", "deep/..", "../link"])
def test_a_copy_never_overwrites_a_photo(out: str, predictor: Predictor, folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    photo = folder / "a.jpg"
    cv2.imwrite(str(photo), gray(64))
    before = photo.read_bytes()
    with pytest.raises(ConfigError, match=r"a\.jpg would overwrite another photo; name another"):
        list(predict_photos(predictor, [photo], folder / out))
    assert photo.read_bytes() == before


def test_two_photos_never_share_a_copy(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    for name in ("a.bmp", "a.bmp.jpg"):
        cv2.imwrite(str(folder / name), gray(64))
    with pytest.raises(ConfigError, match="would overwrite another photo"):
        list(predict_photos(predictor, find_photos([folder]), tmp_path / "drawn"))
    assert not (tmp_path / "drawn").exists()


def test_the_frames_of_a_video_get_ages_and_times(predictor: Predictor, film: Path) -> None:
    with VideoFile(film) as video:
        results = list(predict_video(predictor, video, tracker=Tracker(half_life=0)))
    assert {result.photo for result in results} == {str(film)}
    assert [result.time for result in results] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert [len(result.faces) for result in results] == [2, 2, 0, 2, 2, 2]
    found = [result.faces[0].age for result in results if result.faces]
    assert found == pytest.approx([age(b) for b in (40, 60, 80, 100, 120)], abs=1.5)
    assert [[face.track for face in result.faces] for result in results if result.faces] == [
        [1, 2]
    ] * 5


def test_several_workers_give_the_same_ages_averaged_over_time(
    predictor: Predictor, film: Path
) -> None:
    """The first frames count equally: after the second one, the age is their mean."""
    found = []
    for workers in (1, 3):
        with VideoFile(film) as video:
            results = list(predict_video(predictor, video, workers=workers))
        found.append([(r.time, [(f.track, f.age, f.box) for f in r.faces]) for r in results])
    assert found[0] == found[1]
    first, second = (frame[1][0][1] for frame in found[0][:2])
    assert (first, second) == pytest.approx((age(40), (age(40) + age(60)) / 2), abs=1.5)


def test_the_largest_face_is_chosen_after_all_are_followed(
    predictor: Predictor, film: Path
) -> None:
    with VideoFile(film) as video:
        results = list(predict_video(predictor, video, selection=FaceSelection(largest=True)))
    assert [[face.track for face in result.faces] for result in results if result.faces] == [
        [1]
    ] * 5


def test_a_copy_of_a_video_has_its_frames_with_boxes(
    predictor: Predictor, film: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "drawn" / "copy.mp4"
    with VideoFile(film) as video:
        list(predict_video(predictor, video, copy, FaceSelection(largest=True)))
    with VideoFile(copy) as drawn:
        frames = list(drawn)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    x, y = round(LARGE[0]), round(LARGE[1]) + 30
    amber = [is_amber(frame.image[y, x]) for frame in frames]
    assert amber == [True, True, False, True, True, True]


def test_a_copy_has_the_times_of_a_variable_frame_rate(
    predictor: Predictor, write_video: Callable[..., Path], tmp_path: Path
) -> None:
    times = [0, 0.04, 0.08, 2.0, 9.0]
    film = write_video(tmp_path / "film.mkv", [gray(60)] * 5, times)
    with VideoFile(film) as video:
        results = list(predict_video(predictor, video, tmp_path / "copy.mp4"))
    with VideoFile(tmp_path / "copy.mp4") as drawn:
        assert [frame.time for frame in drawn] == pytest.approx(times, abs=1e-3)
    assert [result.time for result in results] == pytest.approx(times, abs=1e-3)


@pytest.mark.parametrize("workers", [1, 4])
def test_what_was_read_of_a_cut_video_is_kept_and_drawn(
    workers: int, predictor: Predictor, write_video: Callable[..., Path], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
    film = write_video(tmp_path / "film.avi", [noise] * 6, [i / 25 for i in range(6)], "mjpeg")
    data = film.read_bytes()
    film.write_bytes(data[: len(data) * 6 // 10])
    copy = tmp_path / "copy.mp4"
    with VideoFile(film) as video:
        *kept, last = predict_video(predictor, video, copy, workers=workers)
    assert 2 <= len(kept) <= 4
    assert all(result.error is None for result in kept)
    assert "the video is damaged or cut off" in str(last.error)
    with VideoFile(copy) as drawn:
        assert len(list(drawn)) == len(kept)


@pytest.mark.parametrize("folder", [b"drawn", b"lat\xe9"])
def test_the_folder_of_a_copy_may_have_any_name(
    folder: bytes, predictor: Predictor, film: Path, tmp_path: Path
) -> None:
    odd = film.rename(tmp_path / os.fsdecode(b"10:15 lat\xe9.avi"))
    copies = plan_videos([odd], tmp_path / os.fsdecode(folder))
    with open_video(odd) as video:
        results = list(predict_video(predictor, video, copies[odd]))
    assert {result.photo for result in results} == {str(odd)}
    with VideoFile(copies[odd]) as drawn:
        assert len(list(drawn)) == 6


def test_a_video_that_cannot_be_read_gives_an_error(
    predictor: Predictor, film: Path, tmp_path: Path
) -> None:
    class Broken(VideoFile):
        """A video whose source stops after the first frame."""

        def __iter__(self) -> Iterator[Frame]:
            yield next(super().__iter__())
            raise ImageError(f"{self.name}: the source stopped sending frames")

    with Broken(film) as video:
        first, last = predict_video(predictor, video)
    assert len(first.faces) == 2
    assert (last.faces, last.time) == ([], None)
    assert last.error == f"{film}: the source stopped sending frames"


def test_copies_of_videos_are_mp4_files(tmp_path: Path) -> None:
    assert plan_videos(["x/a.avi", "b.mp4"], tmp_path) == {
        "x/a.avi": tmp_path / "a.avi.mp4",
        "b.mp4": tmp_path / "b.mp4",
    }


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        (["a.avi", "x/a.avi"], "the copy of x/a.avi would overwrite another video"),
        (["out/a.mp4"], "the copy of out/a.mp4 would overwrite another video"),
        (["0"], "camera:0: a copy can be drawn of photos and video files, but not of a live"),
        (["rtsp://me:secret@host/1"], "^rtsp://host/1: a copy can be drawn of photos and video"),
    ],
)
def test_a_video_without_a_place_for_its_copy_is_an_error(
    videos: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        plan_videos(videos, Path("out"))
