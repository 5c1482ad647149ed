"""Video: how many frames a second are predicted, and how steady the ages of a still face are."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from halnet.batches import PhotoResult, predict_video
from halnet.benchmarks.bench.made_photos import GRAY, NOISE, face_part
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.cores import find_cores
from halnet.faces.upright import open_detector
from halnet.photos.images import Image
from halnet.predictor import Predictor
from halnet.reporting.sections import Section, Table
from halnet.runtimes.backends import open_model
from halnet.tracking import Tracker
from halnet.videos.video_file import VideoFile, mp4_writer

SIZE = (1280, 720)  # pixels: width and height of a frame
FRAMES, RATE = 100, 25.0  # of a made video; frames a second
TURNS = 3  # of each model with each video
# Of each video: its number of faces, the height of a portrait in pixels, and where portraits are.
VIDEOS = (
    (1, 600, ((375, 60),)),
    (5, 320, ((40, 20), (499, 20), (958, 20), (240, 380), (740, 380))),
)
COLUMNS = (
    *("faces", "model", "frames a second", "persons"),
    *("deviation of the ages of a person, years", "without smoothing, years"),
)


@dataclass(frozen=True)
class VideoTime:
    """The predictions of one video with one model."""

    model: str
    faces: int  # in each frame
    rate: float  # frames a second; the median of the turns
    persons: int  # tracks that were found
    deviation: float  # years: the largest standard deviation of the ages of a person
    unsmoothed: float  # the same without smoothing


def measure_video(models: Sequence[TimedModel], threads: int | None) -> Section:
    """Return the section of made videos with each model.

    `threads` is not used: as in `halnet predict`, each core computes a frame with one thread.
    Raises RuntimeUnavailableError without PyAV, and what `open_detector` and `open_model` raise.
    """
    del threads
    workers = find_cores().usable
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        videos = {faces: folder / f"{faces}.mp4" for faces, _, _ in VIDEOS}
        for faces, height, places in VIDEOS:
            write_made_video(videos[faces], height, places)
        detector = open_detector(threads=1)
        predictors = {}
        for model in models:
            options = replace(model.options, threads=1, calls=workers)
            runtime = stack.enter_context(open_model(model.model, options))
            predictors[model.name] = Predictor(runtime, detector=detector)
        return video_section(time_videos(predictors, videos, workers), workers)


def write_made_video(path: Path, height: int, places: Sequence[tuple[int, int]]) -> None:
    """Write a video of still portraits, so high, at these left top corners in pixels.

    Each frame has noise of its own, as the frames of a camera have.
    """
    part = face_part()
    width = round(part.shape[1] * height / part.shape[0])
    enlarged = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
    still = np.full((SIZE[1], SIZE[0], 3), GRAY, np.float32)
    for x, y in places:
        still[y : y + height, x : x + width] = enlarged
    random = np.random.default_rng(0)

    def frame() -> Image:
        noise = random.normal(0, NOISE, still.shape).astype(np.float32)
        return np.asarray(np.clip(still + noise, 0, 255), np.uint8)

    with mp4_writer(path, frame()) as write:
        for number in range(FRAMES):
            write(frame(), number / RATE)


def time_videos(
    predictors: dict[str, Predictor],
    videos: dict[int, Path],
    workers: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[VideoTime]:
    """Predict each video, by its number of faces, with each predictor, in turns."""
    pairs = [(name, faces) for faces in videos for name in predictors]
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    ages: dict[tuple[str, int], dict[int, list[float]]] = {}

    def predict(name: str, faces: int, tracker: Tracker) -> list[PhotoResult]:
        with VideoFile(videos[faces]) as video:
            found = predict_video(predictors[name], video, workers=workers, tracker=tracker)
            return list(found)

    for _ in range(TURNS):
        for pair in pairs:
            start = clock()
            results = predict(*pair, Tracker())
            rates[pair].append(len(results) / (clock() - start))
            ages[pair] = ages_of_tracks(results)
    return [
        VideoTime(
            *pair,
            float(np.median(rates[pair])),
            len(ages[pair]),
            largest_deviation(ages[pair]),
            largest_deviation(ages_of_tracks(predict(*pair, Tracker(half_life=0)))),
        )
        for pair in pairs
    ]


def ages_of_tracks(results: Sequence[PhotoResult]) -> dict[int, list[float]]:
    """Return the ages in the frames of each track, by its number."""
    ages: dict[int, list[float]] = defaultdict(list)
    for result in results:
        for face in result.faces:
            ages[face.track or 0].append(face.age)
    return dict(ages)


def largest_deviation(ages: dict[int, list[float]]) -> float:
    """Return the largest standard deviation of the ages of a track, in years; 0 without tracks."""
    return max((float(np.std(values)) for values in ages.values()), default=0.0)


def video_section(times: Sequence[VideoTime], workers: int) -> Section:
    """Return what the report shows of the videos. `times` has at least one."""
    text = (
        f"From an H.264 file of {SIZE[0]} x {SIZE[1]} pixels to the ages of all faces in all of "
        f"its {FRAMES} frames, as halnet predict does it for a video: {workers} frames at the same "
        "time, each with one thread. The videos are made of the portrait that comes with halnet, "
        "which does not move, with the noise of a camera.",
        "The ages of a person are averaged over the frames before, so that they are steady. The "
        "deviation is the standard deviation of the ages of one person over all frames, and of "
        "several persons the largest.",
    )
    rows = tuple(
        (way.faces, way.model, way.rate, way.persons, way.deviation, way.unsmoothed)
        for way in times
    )
    warnings = tuple(
        f"{way.model} followed {way.persons} persons in the video with {way.faces} faces."
        for way in times
        if way.persons != way.faces
    )
    return Section("Video", text, (Table(COLUMNS, rows),), (), warnings)
