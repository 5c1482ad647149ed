"""Video files: small films of each format, whole, cut off, damaged and with odd times and names."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

from halnet.artifact import bundled
from halnet.errors import ConfigError, ImageError
from halnet.photos.images import load_image
from halnet.videos.video_file import VideoFile, mp4_writer

RATE = 25  # frames a second
COUNT = 50  # frames
EVEN = [index / RATE for index in range(COUNT)]  # seconds
WriteVideo = Callable[..., Path]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Portraits of 96 x 96 pixels, each with a left half as bright as 4 times its index."""
    photo = load_image(bundled("portrait.jpg"))[60:188, 160:288]
    small = cv2.resize(photo, (96, 96), interpolation=cv2.INTER_AREA)
    rolled = [np.roll(small, index, axis=0) for index in range(COUNT)]
    for index, frame in enumerate(rolled):
        frame[:, :48] = 4 * index
    return rolled


def index_of(image: np.ndarray) -> int:
    return round(float(image[:, :40].mean()) / 4)


def read(path: str | Path, every: float = 0.0) -> tuple[list[int], list[float], str]:
    """Return the indices and the times of the frames of a file, and the error at its end."""
    indices, times = [], []
    with VideoFile(path, every) as video:
        try:
            for frame in video:
                indices.append(index_of(frame.image))
                times.append(frame.time)
        except ImageError as error:
            return indices, times, str(error)
    return indices, times, ""


FORMATS = [
    ("film.mp4", "libx264", {"options": {"movflags": "faststart"}}),
    ("film.mov", "mpeg4", {"options": {"movflags": "frag_keyframe+empty_moov"}}),
    ("film.mkv", "libx264", {}),
    ("film.avi", "mjpeg", {}),
    ("film.mpg", "mpeg2video", {"format": "vob"}),
    ("film.ts", "libx264", {}),
    ("film.mts", "libx264", {"format": "mpegts", "options": {"mpegts_m2ts_mode": "1"}}),
    ("film.flv", "flv", {}),
    ("film.wmv", "wmv2", {}),
]


@pytest.fixture(scope="module", params=FORMATS, ids=lambda values: values[0])
def film(
    request: pytest.FixtureRequest,
    frames: list[np.ndarray],
    write_video: WriteVideo,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Two seconds of video in one of the formats."""
    name, codec, settings = request.param
    settings = {"format": {"mov": "mp4"}.get(name[-3:]), **settings}
    return write_video(tmp_path_factory.mktemp("film") / name, frames, EVEN, codec, **settings)


def test_a_file_gives_every_frame_with_its_time(film: Path) -> None:
    indices, times, error = read(film)
    assert indices == list(range(COUNT))
    assert times == pytest.approx(EVEN, abs=2e-3)
    assert not error


def test_a_file_gives_one_frame_for_each_half_second(film: Path) -> None:
    indices, times, _ = read(film, every=0.5)
    assert indices == [0, 13, 25, 38]
    assert times == pytest.approx([0, 0.52, 1.0, 1.52], abs=2e-3)


def test_a_file_that_is_cut_off_gives_its_frames_and_an_error(
    film: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / film.name
    data = film.read_bytes()
    cut.write_bytes(data[: round(len(data) * 0.6)])
    indices, times, error = read(cut)
    assert 15 <= len(indices) <= 40
    assert times == pytest.approx([index / RATE for index in indices], abs=2e-3)
    last = f"{len(indices)} frames could be read, the last one at {times[-1]:.2f} s"
    assert error.startswith(f"{cut}: the video is damaged or cut off; {last}")
    assert capfd.readouterr() == ("", "")  # FFmpeg prints nothing of its own


def test_the_number_of_frames_is_estimated(
    frames: list[np.ndarray], write_video: WriteVideo, tmp_path: Path
) -> None:
    for name in ("film.mp4", "film.mkv"):  # only the first one states the number
        write_video(tmp_path / name, frames, EVEN)
        with VideoFile(tmp_path / name) as video, VideoFile(tmp_path / name, 0.3) as some:
            assert (len(video), len(some)) == (COUNT, 7)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_times_of_a_variable_frame_rate_are_kept(
    suffix: str, frames: list[np.ndarray], write_video: WriteVideo, tmp_path: Path
) -> None:
    times = [0, 0.04, 0.08, 0.5, 2.0, 9.0, 9.04, 9.08]
    path = write_video(tmp_path / f"film{suffix}", frames[:8], times)
    assert read(path) == (list(range(8)), pytest.approx(times, abs=1e-3), "")
    assert read(path, every=1.0)[1] == pytest.approx([0, 2, 9], abs=1e-3)


def test_a_sound_that_lasts_longer_is_no_damage(
    frames: list[np.ndarray], write_video: WriteVideo, tmp_path: Path
) -> None:
    for name in ("film.mp4", "film.mkv"):
        path = write_video(tmp_path / name, frames[:5], EVEN[:5], sound=3.0)
        assert read(path) == (list(range(5)), pytest.approx(EVEN[:5], abs=1e-3), "")


def test_damaged_frames_are_left_out(
    frames: list[np.ndarray], write_video: WriteVideo, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "film.avi", frames, EVEN, "mjpeg")
    data = bytearray(path.read_bytes())
    first, after = [match.start() for match in re.finditer(b"\xff\xd8\xff", data)][20:22]
    data[first : after - 8] = bytes(after - 8 - first)
    path.write_bytes(data)
    indices, times, error = read(path)
    assert indices == [*range(20), *range(21, COUNT)]
    assert times == pytest.approx([index / RATE for index in indices], abs=1e-3)
    assert "the video is damaged or cut off; 49 frames could be read, the last one at 1.96" in error


def test_joined_recordings_and_bare_pictures_have_rising_times(
    frames: list[np.ndarray], write_video: WriteVideo, tmp_path: Path
) -> None:
    late = [40 + time for time in EVEN[:20]]
    write_video(tmp_path / "late.mpg", frames[:20], late, "mpeg2video")
    write_video(tmp_path / "early.mpg", frames[:30], EVEN[:30], "mpeg2video")
    joined = tmp_path / "joined.mpg"
    joined.write_bytes((tmp_path / "late.mpg").read_bytes() + (tmp_path / "early.mpg").read_bytes())
    assert read(joined)[0] == [*range(20), *range(30)]
    assert read(joined)[1] == pytest.approx(EVEN, abs=2e-3)
    assert len(read(joined, every=0.2)[0]) == 10
    bare = write_video(tmp_path / "film.h264", frames, EVEN, format="h264")
    assert read(bare)[1] == pytest.approx(EVEN, abs=1e-3)


def test_frames_are_upright(
    frames: list[np.ndarray], write_video: WriteVideo, tmp_path: Path
) -> None:
    wide = [np.vstack([frame[:48], frame[:16]]) for frame in frames[:2]]
    path = write_video(tmp_path / "film.mp4", wide, EVEN[:2])
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    turn = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]  # a quarter, clockwise
    data[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turn)
    path.write_bytes(data)
    with VideoFile(path) as video:
        image = next(iter(video)).image
    assert image.shape == (96, 64, 3)
    assert np.abs(np.rot90(image).astype(int) - wide[0]).mean() < 8
    assert image[:40].mean() < 5  # the left half is above


def test_frames_have_square_pixels(frames: list[np.ndarray], tmp_path: Path) -> None:
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width = stream.height = 96
        stream.pix_fmt, stream.codec_context.sample_aspect_ratio = "yuv420p", Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frames[0], format="rgb24")))
        container.mux(stream.encode())
    with VideoFile(path) as video:
        image = next(iter(video)).image
    assert image.shape == (96, 128, 3)
    assert np.abs(image.astype(int) - cv2.resize(frames[0], (128, 96))).mean() < 8


def test_colours_are_red_green_blue(write_video: WriteVideo, tmp_path: Path) -> None:
    red = np.full((32, 32, 3), (255, 0, 0), np.uint8)
    with VideoFile(write_video(tmp_path / "red.mp4", [red], [0])) as video:
        (frame,) = video
    assert frame.image.mean(axis=(0, 1)) == pytest.approx([255, 0, 0], abs=6)


@pytest.mark.parametrize(
    "name", [b"lat\xe9.mp4", b"2024-05-01T10:15:00.mp4", b"http:x.mp4", b"p%d.mp4", b"a?b#c.mp4"]
)
def test_a_file_may_have_any_name(
    name: bytes,
    frames: list[np.ndarray],
    write_video: WriteVideo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    write_video(path, frames[:3], EVEN[:3], format="mp4")
    assert read(path) == ([0, 1, 2], pytest.approx(EVEN[:3], abs=1e-3), "")
    with mp4_writer(path, frames[0]) as write:
        write(frames[3], 0.0)
    assert read(path)[0] == [3]


def test_the_title_of_a_file_may_have_any_bytes(
    frames: list[np.ndarray], write_video: WriteVideo, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "film.mkv", frames[:2], EVEN[:2])
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"Lav\xe9"))
    assert read(path)[0] == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "cannot be opened; check that it is a complete video in a format that FFmpeg reads"),
        (b"no video", "cannot be opened; check that it is a complete video"),
        (b"ffconcat version 1.0\nfile film.ts\n", "cannot be opened"),  # names another file
    ],
)
def test_a_file_that_cannot_be_opened_is_an_error(
    content: bytes | None,
    message: str,
    frames: list[np.ndarray],
    write_video: WriteVideo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("film.ts"), frames[:3], EVEN[:3])
    path = Path("other.mp4")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=f"^other.mp4: {message}"):
        VideoFile(path)


def test_a_file_without_pictures_is_an_error(write_video: WriteVideo, tmp_path: Path) -> None:
    path = write_video(tmp_path / "song.mp4", [], [], codec=None, sound=0.5)
    with pytest.raises(ImageError, match="there are no pictures that FFmpeg can decode in it"):
        VideoFile(path)


def test_a_name_with_a_null_byte_is_an_error() -> None:
    with pytest.raises(ImageError, match=r"'a\\x00.mp4': cannot be read: embedded null byte"):
        VideoFile("a\0.mp4")


def test_frames_that_are_too_large_are_an_error(
    frames: list[np.ndarray],
    write_video: WriteVideo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_video(tmp_path / "film.mp4", frames[:2], EVEN[:2])
    monkeypatch.setattr("halnet.videos.video.MAX_PIXELS", 9000)
    with pytest.raises(ImageError, match="96 x 96 pixels are more than the 9,000 allowed"):
        VideoFile(path)


def test_a_missing_reader_is_an_error_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImageError, match=r"film.mp4: .* needs av, .*'halnet\[video\]'"):
        VideoFile("film.mp4")


def write_copy(path: Path, images: Sequence[np.ndarray], times: Sequence[float]) -> None:
    with mp4_writer(path, images[0]) as write:
        for image, time in zip(images, times, strict=True):
            write(image, time)


def test_a_written_file_has_the_times_of_its_frames(
    frames: list[np.ndarray], tmp_path: Path
) -> None:
    times = [0, 0.04, 0.5, 0.5, 2.0, 9.0]
    write_copy(tmp_path / "film.mp4", frames[:6], times)
    assert read(tmp_path / "film.mp4") == (list(range(6)), pytest.approx(times, abs=1e-4), "")


def test_a_written_file_states_its_frame_rate(frames: list[np.ndarray], tmp_path: Path) -> None:
    write_copy(tmp_path / "film.mp4", frames[:6], [index / 10 for index in range(6)])
    capture = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    capture.release()


def test_odd_sides_of_a_written_file_become_even(frames: list[np.ndarray], tmp_path: Path) -> None:
    odd = [frame[:95, :91] for frame in frames[:3]]
    write_copy(tmp_path / "film.mp4", [*odd, frames[3]], EVEN[:4])
    with VideoFile(tmp_path / "film.mp4") as video:
        images = [frame.image for frame in video]
    assert [image.shape for image in images] == [(96, 92, 3)] * 4
    assert [index_of(image) for image in images] == [0, 1, 2, 3]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    wide = np.zeros((16, 17000, 3), np.uint8)  # wider than the encoder can write
    with pytest.raises(ConfigError, match=r"film\.mp4: a video cannot be written: "):
        write_copy(tmp_path / "film.mp4", [wide], [0])
    assert not list(tmp_path.iterdir())
