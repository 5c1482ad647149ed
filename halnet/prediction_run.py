"""Prediction run: photos, folders and videos through one model, into files and a callback."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import chain, takewhile
from pathlib import Path

from halnet.batches import (
    FaceSelection,
    PhotoResult,
    open_video,
    plan_videos,
    predict_photos,
    predict_video,
)
from halnet.cores import find_cores
from halnet.errors import ConfigError, ImageError
from halnet.faces.detected import Detector
from halnet.faces.upright import open_detector
from halnet.photos.photo_files import LeftOut, PhotoSearch, search_photos
from halnet.predictor import Predictor
from halnet.result_files import ResultFile, is_stdout, model_name
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions, RuntimeSpec
from halnet.tracking import FORGET_AFTER, HALF_LIFE, Tracker
from halnet.videos.video import display_name, is_live, is_video

MANY = 4  # photos for each core: with fewer, one photo after the other is not slower

OnProgress = Callable[[int, int], None]  # called with the items done and all items (0: unknown)
OpenProgress = Callable[[str], AbstractContextManager[OnProgress]]  # called with a label


@dataclass(frozen=True)
class PredictConfig:
    """What is predicted, with which model, and where the results are written."""

    sources: tuple[str, ...]  # photos, folders and patterns (see `search_photos`), and videos
    model: Path | None = None  # None: the model that comes with the package
    options: RuntimeOptions = RuntimeOptions()
    detector: Path | Detector | None = None  # local YuNet file, or a detector; None: YuNet
    min_face: float = 0.0  # pixels: narrower faces are dropped
    selection: FaceSelection = field(default_factory=FaceSelection)
    quality: bool = False  # True: each face has the numbers that say how well it can be judged
    every: float = 0.0  # seconds from one frame of a video to the next; 0: every frame
    smooth: float = HALF_LIFE  # seconds: half-life of the averages over the frames of a video
    seconds: float | None = None  # time after which a live source is closed; None: never
    draw: Path | None = None  # folder for copies with boxes and ages
    csv: Path | None = None  # file for one row for each face; "-": standard output
    jsonl: Path | None = None  # file for one JSON object for each photo or frame; "-" likewise
    resume: bool = False  # True: continue these files and skip the photos that they already hold
    # Photos or frames that are processed at the same time. None: one for each usable core if there
    # are many photos or a video file, with one thread each, unless the number of threads is given.
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.resume and self.csv is None and self.jsonl is None:
            raise ConfigError("--resume continues a result file; name it with --csv or --jsonl")
        if self.csv and self.jsonl and is_stdout(self.csv) and is_stdout(self.jsonl):
            raise ConfigError(
                "--csv and --jsonl: expected one of them on standard output, found both; name a "
                "file for the other one"
            )
        for name, seconds in (
            ("every", self.every),
            ("smooth", self.smooth),
            ("seconds", self.seconds or 0.0),
        ):
            if not 0 <= seconds < math.inf:
                raise ConfigError(
                    f"{name}: expected a finite number of seconds from 0 up, found {seconds}"
                )


class RunOutcome(Enum):
    """How a prediction run ended."""

    COMPLETE = "every photo and every video shows a face"
    PARTIAL = "a photo or video was left out, could not be read, or shows no face"
    UNREADABLE = "no photo and no video could be read"


def run_prediction(
    config: PredictConfig,
    on_result: Callable[[PhotoResult], None] = lambda result: None,
    on_start: Callable[[RuntimeSpec, int], None] = lambda spec, skipped: None,
    open_progress: OpenProgress = lambda label: nullcontext(lambda done, total: None),
    on_left_out: Callable[[LeftOut], None] = lambda left_out: None,
) -> RunOutcome:
    """Predict all photos, then all videos, and return how the run ended.

    `on_start` is called once before the work, with the runtime's specification and the number of
    photos that are skipped because the result files already hold them. `on_result` is called with
    each result after it is in the result files. `on_left_out` is called at the end, for each folder
    or pattern of which something was left out. A folder or pattern without photos gives a result
    with an error, as a photo that cannot be read does.

    Raises ConfigError for a level or result file that cannot be used, DetectorError if there is no
    face detector, and what `open_model` raises, all of them before the work.
    """
    videos = [name for name in config.sources if is_video(name)]
    search = search_photos([Path(name) for name in config.sources if not is_video(name)])
    copies = plan_videos(videos, config.draw) if config.draw else {}
    seen: set[_Kind] = set()
    complete = True
    has_video_file = any(not is_live(video) for video in videos)
    workers = _count_workers(config, len(search.photos), has_video_file)
    with ExitStack() as stack:
        predictor = stack.enter_context(open_predictor(config, workers))
        files = [stack.enter_context(file) for file in _open_files(config, predictor.spec)]
        done = frozenset.intersection(*(file.done for file in files)) if files else frozenset()
        search.photos = [photo for photo in search.photos if str(photo) not in done]
        videos = [video for video in videos if display_name(video) not in done]
        on_start(predictor.spec, len(done))
        for job in _plan_jobs(config, predictor, search, videos, copies, workers):
            kinds = set()
            with open_progress(job.label) as on_progress:
                for index, result in enumerate(job.results, 1):
                    for file in files:
                        file.write(result)
                    on_result(result)
                    kinds.add(_kind(result))
                    on_progress(index, job.total)
            seen |= kinds
            complete = complete and job.is_complete(kinds)
    for left_out in search.left_out:
        complete = complete and not left_out.is_loss
        on_left_out(left_out)
    if seen == {_Kind.ERROR} and not done:
        return RunOutcome.UNREADABLE
    return RunOutcome.COMPLETE if complete else RunOutcome.PARTIAL


class _Kind(Enum):
    FACES = "a result with faces"
    NO_FACES = "a result without faces"
    ERROR = "a photo or frame that could not be read"


def _kind(result: PhotoResult) -> _Kind:
    if result.error is not None:
        return _Kind.ERROR
    return _Kind.FACES if result.faces else _Kind.NO_FACES


@dataclass(frozen=True)
class _Job:
    """The results of all photos, or those of the frames of one video."""

    label: str  # of the progress bar
    total: int  # expected number of results; 0 if it is not known
    results: Iterable[PhotoResult]
    video: bool

    def is_complete(self, kinds: set[_Kind]) -> bool:
        """Return whether every photo has a face, or the whole video was read and has a face."""
        if self.video:
            return _Kind.FACES in kinds and _Kind.ERROR not in kinds
        return kinds == {_Kind.FACES}


def _plan_jobs(
    config: PredictConfig,
    predictor: Predictor,
    search: PhotoSearch,
    videos: Sequence[str],
    copies: Mapping[str | Path, Path],
    workers: int,
) -> Iterator[_Job]:
    if search.photos or search.failed:
        errors = [PhotoResult(str(path), [], error) for path, error in search.failed]
        results = predict_photos(predictor, search.photos, config.draw, config.selection, workers)
        total = len(errors) + len(search.photos)
        yield _Job("photos", total, chain(errors, results), video=False)
    for name in videos:
        try:
            video = open_video(name, config.every)
        except ImageError as error:
            failed = PhotoResult(display_name(name), [], str(error))
            yield _Job("videos", 1, [failed], video=True)
            continue
        with video:
            tracker = Tracker(config.smooth, max(FORGET_AFTER, 2 * config.every))
            results = predict_video(
                predictor, video, copies.get(name), config.selection, workers, tracker
            )
            if video.live and config.seconds is not None:
                results = _until(config.seconds, results)
            yield _Job(f"frames of {video.name}", len(video), results, video=True)


def _until(seconds: float, results: Iterable[PhotoResult]) -> Iterator[PhotoResult]:
    return takewhile(lambda result: (result.time or 0.0) <= seconds, results)


def _count_workers(config: PredictConfig, photos: int, has_video: bool) -> int:
    """Return how many photos or frames are processed at the same time."""
    if config.workers is not None:
        return config.workers
    if config.options.threads is not None or callable(config.detector):
        return 1
    cores = find_cores().usable
    return cores if has_video or photos >= MANY * cores else 1


def open_predictor(config: PredictConfig, workers: int) -> Predictor:
    """Return the predictor for so many workers that share it.

    What would fail with the first photo fails here. Raises ConfigError for a level that the model
    is not calibrated for, DetectorError if there is no face detector, and what `open_model` raises.
    """
    options = replace(config.options, calls=workers)
    if workers > 1 and options.threads is None:
        options = replace(options, threads=1)
    model, detector = open_model(config.model, options), config.detector
    model.spec.metadata.calibration.interval(0.0, 1.0, config.selection.level)
    if not callable(detector):
        detector = open_detector(detector, options.threads)
    return Predictor(model, detector=detector, min_face=config.min_face, quality=config.quality)


def _open_files(config: PredictConfig, spec: RuntimeSpec) -> Iterator[ResultFile]:
    for path, kind in ((config.csv, "csv"), (config.jsonl, "jsonl")):
        if path is not None:
            level, at_least = config.selection.level, config.selection.at_least
            name, quality = model_name(spec), config.quality
            yield ResultFile(path, kind, level, name, config.resume, at_least, quality)
