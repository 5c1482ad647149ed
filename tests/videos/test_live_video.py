"""Live videos: a fake camera, and a server that sends a live stream."""

import queue
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.errors import ImageError
from halnet.videos.live_video import LiveVideo

SIZE = (160, 120)  # pixels


def picture(index: int) -> np.ndarray:
    """Return a frame whose brightness is 10 + 10 times its index."""
    return np.full((SIZE[1], SIZE[0], 3), 10 + 10 * index, np.uint8)


def index_of(image: np.ndarray) -> int:
    """Return the index of the frame that `picture` made."""
    return round((float(image.mean()) - 10) / 10)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("77", "camera:77: cannot be opened; check that the camera is connected"),
        ("9" * 30, f"camera:{'9' * 30}: cannot be opened; check that the camera is connected"),
        (
            "rtsp://user:secret@127.0.0.1:9/x",
            "rtsp://127.0.0.1:9/x: cannot be opened; check that the address is right",
        ),
        ("rtsp://host/\udce9", r"'rtsp://host/\udce9': write such bytes of an address as %E9"),
    ],
)
def test_a_source_that_cannot_be_opened_is_an_error(source: str, message: str) -> None:
    with pytest.raises(ImageError, match=f"^{re.escape(message)}"):
        LiveVideo(source, timeout=1.0)


def test_opencv_prints_nothing_about_a_bad_source() -> None:
    program = """
import sys
from halnet.errors import ImageError
from halnet.videos.live_video import LiveVideo
for source in sys.argv[1:]:
    try:
        LiveVideo(source)
    except ImageError as error:
        print(error)
"""
    args = [sys.executable, "-c", program, "77", "rtsp://127.0.0.1:9/x"]
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 2
    assert not done.stderr


class Camera:
    """Stands for cv2.VideoCapture of a camera. The test decides when a frame arrives."""

    def __init__(self) -> None:
        self.released = False
        self._frames: queue.Queue[np.ndarray | None] = queue.Queue()
        self._taken = False

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, prop: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self._taken:
            self._frames.task_done()
        frame = self._frames.get()
        self._taken = True
        return frame is not None, frame

    def release(self) -> None:
        self.released = True

    def send(self, *indices: int) -> None:
        """Send frames, and wait until the next one is expected."""
        for index in indices:
            self._frames.put(picture(index))
        self._frames.join()

    def stop(self) -> None:
        self._frames.put(None)


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Camera:
    found = Camera()
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: found)
    return found


def test_a_slow_reader_of_a_live_source_skips_to_the_newest_frame(camera: Camera) -> None:
    with LiveVideo("0") as video, ThreadPoolExecutor(1) as pool:
        assert (video.live, video.name, len(video)) == (True, "camera:0", 0)
        frames = iter(video)
        first = pool.submit(next, frames)
        camera.send(0)
        assert index_of(first.result().image) == 0
        camera.send(1, 2, 3, 4)
        newest = next(frames)
        assert index_of(newest.image) == 4
        camera.send(5)
        assert index_of(next(frames).image) == 5
        assert first.result().time == 0
        assert newest.time > 0
        camera.stop()
        with pytest.raises(ImageError, match="camera:0: the source stopped sending frames"):
            next(frames)
    assert camera.released


def test_a_live_source_gives_one_frame_for_each_half_second(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(index: int, seconds: float) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: 1000 + seconds)
        camera.send(index)

    with LiveVideo("0", every=0.5) as video, ThreadPoolExecutor(1) as pool:
        frames = iter(video)
        found: list[tuple[int, float]] = []
        for times in ([0.0], [0.1, 0.4, 0.6], [0.7, 1.2]):
            waiting: Any = pool.submit(next, frames)
            for seconds in times:
                send(round(seconds * 10), seconds)
            frame = waiting.result()
            found.append((index_of(frame.image), round(frame.time, 3)))
        camera.stop()
    assert found == [(0, 0.0), (6, 0.6), (12, 1.2)]


def test_a_stream_gives_frames_until_it_stops() -> None:
    with rtsp_server(count=24, rate=50) as address, LiveVideo(address, timeout=3.0) as video:
        assert video.live
        found = []
        with pytest.raises(ImageError, match="the source stopped sending frames"):
            for frame in video:
                found.append((index_of(frame.image), frame.time))
    indices, times = zip(*found, strict=True)
    assert list(indices) == sorted(set(indices))
    assert indices[-1] >= 22
    assert times[0] == 0
    assert list(times) == sorted(times)


def test_a_stream_may_be_closed_in_the_middle() -> None:
    with rtsp_server(count=1000, rate=50) as address:
        with LiveVideo(address, timeout=3.0) as video:
            frames = iter(video)
            next(frames)
            next(frames)
            assert "halnet-video" in [thread.name for thread in threading.enumerate()]
        assert "halnet-video" not in [thread.name for thread in threading.enumerate()]


@contextmanager
def rtsp_server(count: int, rate: float) -> Iterator[str]:
    """Send `count` frames at `rate` per second to one client: RTSP over TCP, JPEG by RFC 2435."""
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
        # Type 1 is 4:2:0; Q 255 means that the tables come with the frame.
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
