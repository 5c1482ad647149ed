"""Live video: the browser's camera, with steadied ages and the frame rate on the picture."""

import threading
import time
from collections import deque
from typing import Any

import numpy as np
import streamlit as st
from av import VideoFrame
from streamlit_webrtc import webrtc_streamer

from halnet.demo.models import ready
from halnet.demo.settings import Settings
from halnet.drawing import draw_faces, draw_note
from halnet.errors import HalnetError
from halnet.images import Image
from halnet.predictor import Predictor
from halnet.tracking import Tracker

VIEW = "live view"  # in the session
CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}, "audio": False}


class LiveView:
    """Turns frames into frames with ages. What it runs may be exchanged in the middle."""

    def __init__(self, predictor: Predictor, level: float) -> None:
        self._lock = threading.Lock()
        self._tracker = Tracker()
        self._times: deque[float] = deque(maxlen=30)  # of the last frames, seconds
        self.use(predictor, level)

    def use(self, predictor: Predictor, level: float) -> None:
        """Run something else from the next frame on."""
        with self._lock:
            self._predictor, self._level = predictor, level

    @property
    def rate(self) -> float:
        """Frames a second, of the last 30; 0 before there are two."""
        times = list(self._times)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def draw(self, image: Image) -> Image:
        """Return an H x W x 3 uint8 RGB frame with boxes, ages and the frame rate."""
        with self._lock:
            predictor, level = self._predictor, self._level
        now = time.monotonic()
        try:
            found = predictor(image)
        except HalnetError as error:
            return draw_note(image, str(error))
        self._times.append(now)
        drawn = draw_faces(image, self._tracker.update(found, now), level)
        return draw_note(drawn, f"{self.rate:.0f} frames/s  {predictor.spec.runtime}")

    async def answer(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        """Return the newest of the frames that came since the last call, drawn; drop the others."""
        newest = np.asarray(frames[-1].to_ndarray(format="rgb24"), np.uint8)
        drawn = self.draw(newest)
        return [VideoFrame.from_ndarray(drawn, format="rgb24")]


def show(settings: Settings) -> None:
    """Draw the mode."""
    predictor = ready(settings.choice, settings.config)
    if predictor is None:
        return
    view: LiveView | None = st.session_state.get(VIEW)
    if view is None:
        view = st.session_state[VIEW] = LiveView(predictor, settings.level)
    else:
        view.use(predictor, settings.level)
    context: Any = webrtc_streamer(
        key="live",
        queued_video_frames_callback=view.answer,
        # No server is asked for the way: browser and page are on one machine or network.
        rtc_configuration={"iceServers": []},
        media_stream_constraints=CAMERA,
        async_processing=True,
    )
    if not context.state.playing:
        st.info(
            "Start shows what the camera sees, with an age on each face. If the browser says that "
            "there is no camera or that it may not be used, allow it beside the address and start "
            "again; browsers give a camera only to pages of this machine or with https."
        )
