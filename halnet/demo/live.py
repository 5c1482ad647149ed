"""The mode for live video: ages on the picture of the browser's camera, smoothed over time."""

import threading
import time
from collections import deque
from typing import Any

import numpy as np
import streamlit as st
from av import VideoFrame
from streamlit_webrtc import webrtc_streamer

from halnet.demo.models import open_or_report
from halnet.demo.settings import Settings
from halnet.drawing import draw_faces, draw_note
from halnet.errors import HalnetError
from halnet.photos.images import Image
from halnet.predictor import Predictor
from halnet.tracking import Tracker

VIEW = "live view"  # key of the LiveView in the session of the user
CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}, "audio": False}
RATE_FRAMES = 30  # the frame rate is measured over this number of frames


class LiveView:
    """Draws faces and ages on the frames of a video.

    The predictor and the level may be replaced while the video is running.
    """

    def __init__(self, predictor: Predictor, level: float) -> None:
        self._lock = threading.Lock()
        self._tracker = Tracker()
        self._times: deque[float] = deque(maxlen=RATE_FRAMES)  # seconds
        self.configure(predictor, level)

    def configure(self, predictor: Predictor, level: float) -> None:
        """Use this predictor and this interval coverage (0 to 1) from the next frame on."""
        with self._lock:
            self._predictor, self._level = predictor, level

    @property
    def frame_rate(self) -> float:
        """Frames per second, measured over the last frames; 0 before the second frame."""
        times = list(self._times)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def draw(self, image: Image) -> Image:
        """Return a copy of an H x W x 3 uint8 RGB frame with boxes, ages and the frame rate.

        If the ages cannot be predicted, the copy has the error message instead.
        """
        with self._lock:
            predictor, level = self._predictor, self._level
        now = time.monotonic()
        try:
            faces = predictor(image)
        except HalnetError as error:
            return draw_note(image, str(error))
        self._times.append(now)
        canvas = draw_faces(image, self._tracker.update(faces, now), level)
        return draw_note(canvas, f"{self.frame_rate:.0f} frames/s, {predictor.spec.runtime}")

    async def draw_newest(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        """Return a drawn copy of the last frame, and skip the frames before it.

        `frames` are the frames that arrived since the last call. A slow machine skips frames
        instead of falling behind.
        """
        newest = np.asarray(frames[-1].to_ndarray(format="rgb24"), np.uint8)
        return [VideoFrame.from_ndarray(self.draw(newest), format="rgb24")]


def show(settings: Settings) -> None:
    """Draw the mode."""
    predictor = open_or_report(settings.choice, settings.config)
    if predictor is None:
        return
    view: LiveView | None = st.session_state.get(VIEW)
    if view is None:
        view = st.session_state[VIEW] = LiveView(predictor, settings.level)
    else:
        view.configure(predictor, settings.level)
    context: Any = webrtc_streamer(
        key="live",
        queued_video_frames_callback=view.draw_newest,
        # The browser is on this machine or in its network, so that no server has to connect them.
        rtc_configuration={"iceServers": []},
        media_stream_constraints=CAMERA,
        async_processing=True,
    )
    if not context.state.playing:
        st.info(
            "Press Start to see the picture of your camera with an age on each face. If the "
            "browser reports that there is no camera or that it is blocked, allow the camera in "
            "the address bar of the browser, and press Start again. Browsers allow the camera "
            "only on pages of this machine and on pages with https."
        )
