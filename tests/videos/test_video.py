"""Which names stand for videos, and how videos are named in results."""

import os
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.videos.video import display_name, is_live, is_video


@pytest.mark.parametrize(
    ("name", "video", "live"),
    [
        ("a.mp4", True, False),
        ("b.MOV", True, False),
        ("2024-05-01T10:15:00.mp4", True, False),
        ("lat\udce9.mkv", True, False),
        *((f"a{suffix}", True, False) for suffix in (".ts", ".MTS", ".3gp", ".flv", ".wmv")),
        ("0", True, True),
        ("rtsp://host/stream", True, True),
        ("http://host:8080/video", True, True),
        ("7", False, False),  # a folder
        ("folder.mp4", False, False),
        ("a.jpg", False, False),
        ("folder", False, False),
        ("-", False, False),
        ("c:/a.png", False, False),
        ("photos/*.jpg", False, False),
        ("1.5", False, False),
    ],
)
def test_the_name_of_a_source_shows_whether_it_is_a_video_and_live(
    name: str, video: bool, live: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("7").mkdir()
    Path("folder.mp4").mkdir()
    assert (is_video(name), is_live(name)) == (video, live)


@pytest.mark.parametrize("name", ["film", "film.rec", "film.dat", "7"])
@pytest.mark.parametrize(
    ("head", "video"),
    [
        (b"\0\0\0\x20ftypisom", True),  # MP4
        (b"\0\0\0\x18ftypheic", False),  # a photo
        (b"\0\0\0\x18ftypavif", False),
        (b"\x1aE\xdf\xa3", True),  # Matroska
        (b"RIFF\x10\0\0\0AVI LIST", True),
        (b"RIFF\x10\0\0\0WEBPVP8 ", False),
        (b"\0\0\x01\xba", True),  # MPEG-PS
        ((b"G" + bytes(187)) * 3, True),  # MPEG-TS
        (b"G" + bytes(187) + b"H", False),
        ((bytes(4) + b"G" + bytes(187)) * 3, True),  # the MPEG-TS of camcorders
        (b"Good morning", False),
        (b"", False),
    ],
)
def test_the_content_decides_if_the_name_does_not(
    name: str, head: bytes, video: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(head + bytes(100))
    assert is_video(path) == video
    assert not is_live(path)


def test_a_photo_of_another_name_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"IMG\xe9.original")
    path.write_bytes(bundled("portrait.jpg").read_bytes())
    assert not is_video(path)


def test_a_name_for_which_nothing_can_be_read_is_no_video(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not is_video(tmp_path / "pipe")
    assert not is_video(tmp_path / "none")
    assert not is_video("a\0b")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("film.mp4", "film.mp4"),
        ("3", "camera:3"),
        ("http://host/video", "http://host/video"),
        ("rtsp://user:secret@host:554/one?key=2", "rtsp://host:554/one"),
        ("http://user:secret@host?key=2", "http://host"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("http://me:secret@[x/a", "http://[x/a"),  # not a valid address
    ],
)
def test_the_displayed_name_of_a_source_has_no_secrets(source: str, name: str) -> None:
    assert display_name(source) == name
