"""The whole way: from the bytes of a JPEG file to the ages of its faces, in stages."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from halnet.ages import Floats
from halnet.batches import predict_photos
from halnet.benchmarks.bench.made_photos import MadePhoto, make_photos
from halnet.benchmarks.bench.stages import STAGES, ClockedPredictor, StageClock
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.cores import find_cores, thread_count
from halnet.faces.detected import Detector
from halnet.faces.upright import open_detector
from halnet.predictor import Predictor
from halnet.reporting.sections import Cell, Figure, FigureKind, Section, Series, Table
from halnet.runtimes.backends import open_model

TURNS = 10  # of each model with each photo
RUNS = 2  # timed runs of a turn
SECONDS = 1.0  # that the photos of a measurement of throughput take together, about
THROUGHPUT_TURNS = 3
MS = 1000


@dataclass(frozen=True)
class WayTime:
    """The whole way of one photo with one model."""

    model: str
    photo: str
    size: tuple[int, int]  # pixels: width and height of the photo
    kilobytes: float  # of its file
    faces: int  # that are in the photo
    found: int  # faces that the detector found
    runs: tuple[tuple[float, ...], ...]  # of each run: the milliseconds of each of STAGES
    rate: float = math.nan  # photos a second, several at the same time; NaN: not measured

    @property
    def p50(self) -> float:
        """The median milliseconds of the whole way."""
        return float(np.median(self._whole))

    @property
    def p90(self) -> float:
        """The 90th percentile of the milliseconds of the whole way."""
        return float(np.percentile(self._whole, 90))

    @property
    def one_by_one(self) -> float:
        """Photos a second, one after the other, from the median."""
        return MS / self.p50

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each of STAGES in the middle half of the runs. Their sum is 1.

        These are the runs whose whole time is nearest to the median. What interrupts others hits
        whatever stage is at work.
        """
        ignored = len(self.runs) // 4  # on each side
        order = np.argsort(self._whole)[ignored : len(self.runs) - ignored]
        sums = np.asarray(self.runs)[order].sum(axis=0)
        return tuple((sums / sums.sum()).tolist())

    @property
    def stages(self) -> tuple[float, ...]:
        """The milliseconds of each of STAGES: its share of the median. Their sum is `p50`."""
        return tuple(share * self.p50 for share in self.shares)

    @property
    def _whole(self) -> Floats:
        whole: Floats = np.asarray(self.runs).sum(axis=1)
        return whole


def measure_way(models: Sequence[TimedModel], threads: int | None) -> Section:
    """Return the section of the whole way of made photos with each model.

    Raises what `open_detector` and `open_model` raise.
    """
    photos, cores = make_photos(), find_cores().usable
    with ExitStack() as stack:
        clock, detector = StageClock(), open_detector(threads=threads)
        predictors = {
            model.name: ClockedPredictor(
                stack.enter_context(open_model(model.model, model.options)), detector, clock
            )
            for model in models
        }
        times = time_ways(predictors, photos)
    with ExitStack() as stack:
        detector = open_detector(threads=1)
        several = {model.name: _open_one_thread(model, detector, cores, stack) for model in models}
        rates = time_many(several, photos, times, cores)
    times = [replace(found, rate=rate) for found, rate in zip(times, rates, strict=True)]
    return way_section(times, thread_count(threads), cores)


def _open_one_thread(
    model: TimedModel, detector: Detector, calls: int, stack: ExitStack
) -> Predictor:
    options = replace(model.options, threads=1, calls=calls)
    runtime = stack.enter_context(open_model(model.model, options))
    return Predictor(runtime, detector=detector)


def time_ways(
    predictors: dict[str, ClockedPredictor], photos: Sequence[MadePhoto], turns: int = TURNS
) -> list[WayTime]:
    """Time each photo with each predictor, in turns, by the clock of the predictor.

    A turn has one run that does not count, and `RUNS` that do. A run goes from bytes in memory to
    ages in memory.
    """
    pairs = [(name, photo) for photo in photos for name in predictors]
    runs: list[list[tuple[float, ...]]] = [[] for _ in pairs]
    for _ in range(turns):
        for (name, photo), found in zip(pairs, runs, strict=True):
            timed = [predictors[name].time_photo(photo.data) for _ in range(RUNS + 1)]
            found += [tuple(MS * seconds for seconds in run) for run in timed[1:]]
    return [
        WayTime(
            name,
            photo.name,
            photo.size,
            len(photo.data) / 1000,
            photo.faces,
            len(predictors[name](photo.data)),
            tuple(found),
        )
        for (name, photo), found in zip(pairs, runs, strict=True)
    ]


def time_many(
    predictors: dict[str, Predictor],
    photos: Sequence[MadePhoto],
    times: Sequence[WayTime],
    workers: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return how many photos a second `workers` threads predict, for each of `times`.

    The photos are files, as for `halnet predict`. The values are medians of several turns.
    """
    found: list[list[float]] = [[] for _ in times]
    with TemporaryDirectory() as folder:
        paths = {photo.name: Path(folder) / f"{i}.jpg" for i, photo in enumerate(photos)}
        for photo in photos:
            paths[photo.name].write_bytes(photo.data)
        for _ in range(THROUGHPUT_TURNS):
            for way, rates in zip(times, found, strict=True):
                count = workers * math.ceil(SECONDS / THROUGHPUT_TURNS * way.one_by_one / workers)
                many = [paths[way.photo]] * count
                start = clock()
                for _ in predict_photos(predictors[way.model], many, workers=workers):
                    pass
                rates.append(count / (clock() - start))
    return [float(np.median(rates)) for rates in found]


def way_section(times: Sequence[WayTime], threads: int, workers: int) -> Section:
    """Return what the report shows of the whole way. `times` has at least one."""
    text = (
        "From the bytes of a JPEG file to the ages of all faces, by the predictor's own way. The "
        "photos are made of the portrait that comes with halnet.",
        f"Latency: one photo after the other, {threads} threads, {len(times[0].runs)} runs of each "
        "photo with each model, in turns. All of them count for the median and the percentile. The "
        "shares of the stages are those in the half of the runs that is nearest to the median, and "
        "the milliseconds of a stage are its share of the median.",
        "Decoding includes reading the header of the file; detection and alignment do not include "
        "decoding. The rest is what is between the stages: checks of the arguments and of the "
        "faces, and making the results.",
        f"Throughput: {workers} photos at the same time from files, each with one thread, as "
        "halnet predict does it for a folder.",
    )
    latency = Table(
        (
            *("photo", "model", "median, ms", "90th percentile, ms"),
            *(f"{stage}, ms" for stage in STAGES),
        ),
        tuple((way.photo, way.model, way.p50, way.p90, *way.stages) for way in times),
        "Latency",
    )
    shares = Table(
        ("photo", "model", *(f"{stage}, %" for stage in STAGES)),
        tuple((way.photo, way.model, *(100 * share for share in way.shares)) for way in times),
        "Shares of the latency",
    )
    rates = Table(
        (
            *("photo", "model", "one after the other, photos a second"),
            f"{workers} at the same time, photos a second",
        ),
        tuple(
            (way.photo, way.model, way.one_by_one, None if math.isnan(way.rate) else way.rate)
            for way in times
        ),
        "Throughput",
    )
    files: dict[str, tuple[Cell, ...]] = {
        way.photo: (way.photo, *way.size, way.kilobytes, way.faces) for way in times
    }
    made = Table(
        ("photo", "width", "height", "size of the file, kB", "faces"),
        tuple(files.values()),
        "Photos",
    )
    warnings = tuple(
        f"{way.model} found {way.found} faces in the photo {way.photo}, which has {way.faces}."
        for way in times
        if way.found != way.faces
    )
    figures = tuple(_figure([way for way in times if way.photo == name]) for name in files)
    return Section("The whole way", text, (latency, shares, rates, made), figures, warnings)


def _figure(times: Sequence[WayTime]) -> Figure:
    return Figure(
        f"Stages of the whole way: {times[0].photo}",
        FigureKind.STACKS,
        "milliseconds",
        tuple(
            Series(stage, tuple(way.stages[place] for way in times))
            for place, stage in enumerate(STAGES)
        ),
        categories=tuple(way.model for way in times),
    )
