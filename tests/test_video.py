"""Videos: files that the tests write, and a server that sends one live."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.errors import ImageError
from halnet.video import Video, display_name, is_live, is_video

SIZE = (160, 120)  # pixels
RATE = 10  # frames a second


def picture(index: int) -> np.ndarray:
    """A frame whose brightness is 10 + 10 times its index."""
    return np.full((SIZE[1], SIZE[0], 3), 10 + 10 * index, np.uint8)


def shown(image: np.ndarray) -> int:
    return round((float(image.mean()) - 10) / 10)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames, ten a second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE)
    for index in range(20):
        writer.write(picture(index))
    writer.release()
    return path


def test_every_frame_of_a_file(film: Path) -> None:
    with Video(film) as video:
        frames = list(video)
        assert (len(video), video.rate, video.live) == (20, RATE, False)
    assert [shown(frame.image) for frame in frames] == list(range(20))
    np.testing.assert_allclose([f.time for f in frames], np.arange(20) / RATE, atol=1e-3)
    assert frames[0].image.shape == (SIZE[1], SIZE[0], 3)


def test_a_frame_each_half_second(film: Path) -> None:
    with Video(film, every=0.5) as video:
        assert [shown(frame.image) for frame in video] == [0, 5, 10, 15]
        assert (len(video), video.rate) == (4, 2)


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, SIZE)
    writer.write(np.full((SIZE[1], SIZE[0], 3), (0, 0, 255), np.uint8))
    writer.release()
    with Video(path) as video:
        (frame,) = video
    assert frame.image[..., 0].mean() > 200
    assert frame.image[..., 2].mean() < 50


def test_what_is_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.MOV", "0", "rtsp://host/stream", "http://host:8080/video"):
        assert is_video(name), name
    for name in ("a.jpg", "folder", "-", "c:/a.png", "photos/*.jpg", "1.5"):
        assert not is_video(name), name
    assert [is_live(name) for name in ("a.mp4", "0", "rtsp://host/stream")] == [False, True, True]
    Path("7").mkdir()
    assert not is_video("7")
    assert display_name("3") == "camera:3"
    assert display_name("rtsp://user:secret@host:554/one?key=2") == "rtsp://host:554/one"


def test_videos_that_cannot_be_read(tmp_path: Path, film: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.mp4: no such video file"):
        Video(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ImageError, match=r"text\.mp4: cannot be opened; is it a video"):
        Video(tmp_path / "text.mp4")
    with pytest.raises(ImageError, match="camera:77: cannot be opened; is it plugged in"):
        Video("77")
    with pytest.raises(ImageError, match=r"rtsp://127\.0\.0\.1:9/x: cannot be opened; is the addr"):
        Video("rtsp://user:secret@127.0.0.1:9/x", timeout=1.0)
    # The index of an MP4 lies at its end.
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"cut\.mp4: cannot be opened"):
        Video(tmp_path / "cut.mp4")


def test_errors_are_all_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    program = """
import sys
from halnet.errors import ImageError
from halnet.video import Video
for source in sys.argv[1:]:
    try:
        Video(source)
    except ImageError as error:
        print(error)
"""
    args = [sys.executable, "-c", program, "77", str(tmp_path / "text.mp4")]
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 2
    assert not done.stderr


def test_a_live_source_gives_the_newest_frame_and_says_when_it_stops() -> None:
    with rtsp_server(count=24, rate=20) as address, Video(address, timeout=3.0) as video:
        assert video.live
        seen, times = [], []
        with pytest.raises(ImageError, match="the source stopped sending frames"):
            for frame in video:
                seen.append(shown(frame.image))
                times.append(frame.time)
                time.sleep(0.2)  # slower than it sends: four frames come meanwhile
    assert seen == sorted(seen)
    gaps = np.diff(seen)
    assert gaps.max() >= 3, seen  # frames were left out, not kept for later
    assert len(seen) < 12, seen
    assert seen[-1] >= 22, seen  # and the last one seen is new
    assert times[0] == 0
    assert times == sorted(times)


def test_closing_a_live_source_in_the_middle() -> None:
    with rtsp_server(count=1000, rate=50) as address:
        with Video(address, timeout=3.0) as video:
            frames = iter(video)
            next(frames)
            next(frames)
        running = [thread for thread in threading.enumerate() if "_read" in thread.name]
        assert not running


@contextmanager
def rtsp_server(count: int, rate: float) -> Iterator[str]:
    """Send `count` frames, `rate` a second, to one client: RTSP over TCP, JPEG by RFC 2435."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    thread = threading.Thread(target=_serve, args=(listener, count, rate, stop), daemon=True)
    thread.start()
    try:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/film"
    finally:
        stop.set()
        listener.close()
        thread.join(5)


def _serve(listener: socket.socket, count: int, rate: float, stop: threading.Event) -> None:
    try:
        client, _ = listener.accept()
    except OSError:
        return
    session = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=film\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    session += "m=video 0 RTP/AVP 26\r\na=control:track\r\n"
    with client:
        asked = client.makefile("rb")
        playing = False
        while not playing:
            lines = []
            while line := asked.readline().strip().decode():
                lines.append(line)
            if not lines:
                return
            method = lines[0].split()[0]
            number = next(x.split(":")[1].strip() for x in lines if x.startswith("CSeq"))
            head, body = [f"CSeq: {number}", "Session: 1"], ""
            if method == "OPTIONS":
                head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == "DESCRIBE":
                body = session
                head += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                head.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            playing = method == "PLAY"
            client.sendall("\r\n".join(["RTSP/1.0 200 OK", *head, "", body]).encode())
        _play(client.sendall, count, rate, stop)


def _play(send: Callable[[bytes], None], count: int, rate: float, stop: threading.Event) -> None:
    start = time.monotonic()
    for index in range(count):
        jpeg = cv2.imencode(".jpg", picture(index % 24))[1].tobytes()
        tables, scan = _parts(jpeg)
        # Type 1: 4:2:0; Q 255: the tables come with the frame.
        kind = bytes([1, 255, SIZE[0] // 8, SIZE[1] // 8])
        payload = bytes(4) + kind + b"\0\0" + len(tables).to_bytes(2, "big") + tables + scan
        head = bytes([0x80, 0x80 | 26]) + index.to_bytes(2, "big")
        head += int(index * 90000 / rate).to_bytes(4, "big") + b"same"
        packet = head + payload
        try:
            send(b"$\0" + len(packet).to_bytes(2, "big") + packet)
        except OSError:
            return
        if stop.wait(max(0.0, start + (index + 1) / rate - time.monotonic())):
            return


def _parts(jpeg: bytes) -> tuple[bytes, bytes]:
    """Return the two quantization tables and the compressed data of a baseline JPEG."""
    tables, offset = b"", 2
    while True:
        marker, length = jpeg[offset + 1], int.from_bytes(jpeg[offset + 2 : offset + 4], "big")
        segment = jpeg[offset + 4 : offset + 2 + length]
        offset += 2 + length
        if marker == 0xDB:
            for start in range(0, len(segment), 65):
                tables += segment[start + 1 : start + 65]
        if marker == 0xDA:
            return tables, jpeg[offset:-2]
