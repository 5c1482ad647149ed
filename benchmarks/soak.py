"""Soak: thousands of photos, good and damaged, through one predictor, as a service sends them.

    python -m halnet.benchmarks.soak --detector yunet.onnx

This needs Linux and `pip install 'halnet[onnxruntime]'`. The photos are copies of the bundled
portrait in several sizes and formats, and some of them are damaged. They are predicted one by one,
by threads that share the predictor, and by processes that get a copy of it each. A table shows
whether memory or the number of open files grows, and whether an answer differs.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice, product
from pathlib import Path

import click
import cv2

from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.samples import portrait
from halnet.benchmarks.usage import open_files, resident_memory
from halnet.errors import ImageError
from halnet.predictor import Predictor

SIDES = (120, 240, 480, 960)  # pixels: the height of the photos
SUFFIXES = (".jpg", ".png", ".webp", ".bmp", ".avif")  # those are used that OpenCV can write
DAMAGES: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: b"",
    lambda data: data[: len(data) // 2],
    lambda data: data[len(data) // 2 :],
    lambda data: data[:20] + bytes(20) + data[40:],
)
WARM_UP = 3  # rounds over all files before the first measurement, since libraries keep memory
CHUNK = 8  # photos that a process takes at a time
MARKS = (0.25, 0.5, 0.75, 1.0)  # shares of the photos after which the memory is measured
COLUMNS = (
    *("way", "photos a second", "memory before, MB"),
    *(f"memory after {mark:.0%} of the photos, MB" for mark in MARKS),
    *("open files before", "open files after", "answers unlike those one by one"),
)

Answer = tuple[float, ...] | str  # the ages of the faces, in years, or why a photo cannot be read
Predict = Callable[[Iterable[Path]], Iterator[Answer]]  # keeps the order of the photos
Way = Callable[[Predictor, int], AbstractContextManager[Predict]]  # takes the number of workers


@dataclass(frozen=True)
class Outcome:
    """What a way of predicting needed, over all of its processes, and how it answered."""

    seconds: float
    memory: tuple[float, ...]  # megabytes before the first photo, and after each of MARKS
    files: tuple[int, int]  # open file descriptors before the first photo and after the last
    different: int  # answers that are not exactly the expected ones


def write_photos(folder: Path, sides: Sequence[int] = SIDES) -> list[Path]:
    """Write the portrait in each size and format, and damaged copies, and return their paths.

    `sides` are the heights in pixels. A third of the files are damaged.
    """
    image = cv2.cvtColor(portrait()[0], cv2.COLOR_RGB2BGR)
    height, width = image.shape[:2]
    suffixes = [suffix for suffix in SUFFIXES if cv2.haveImageWriter(suffix)]
    paths = []
    for number, (side, suffix) in enumerate(product(sides, suffixes)):
        smaller = cv2.resize(image, (width * side // height, side), interpolation=cv2.INTER_AREA)
        data = cv2.imencode(suffix, smaller)[1].tobytes()
        paths.append(folder / f"{side}{suffix}")
        paths[-1].write_bytes(data)
        if number % 2:
            paths.append(folder / f"damaged{side}{suffix}")
            paths[-1].write_bytes(DAMAGES[number // 2 % len(DAMAGES)](data))
    return paths


def answer(predictor: Predictor, photo: Path) -> Answer:
    """Return the ages in a photo, or the text of the error if it cannot be read."""
    try:
        return tuple(face.age for face in predictor(photo))
    except ImageError as error:
        return str(error)


@contextmanager
def one_by_one(predictor: Predictor, workers: int) -> Iterator[Predict]:
    """Yield a function that predicts one photo after the other."""
    del workers
    yield partial(map, partial(answer, predictor))


@contextmanager
def by_threads(predictor: Predictor, workers: int) -> Iterator[Predict]:
    """Yield a function that predicts photos in threads, which share the predictor."""
    with ThreadPoolExecutor(workers) as pool:
        yield partial(pool.map, partial(answer, predictor))


@contextmanager
def by_processes(predictor: Predictor, workers: int) -> Iterator[Predict]:
    """Yield a function that predicts photos in processes, each of which opens the predictor."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _set_predictor, (predictor,)) as pool:
        yield partial(pool.map, _answer_in_process, chunksize=CHUNK)


WAYS: dict[str, Way] = {"one by one": one_by_one, "threads": by_threads, "processes": by_processes}

_own: list[Predictor] = []  # the predictor of this process, if `by_processes` started it


def _set_predictor(predictor: Predictor) -> None:
    _own.append(predictor)


def _answer_in_process(photo: Path) -> Answer:
    return answer(_own[0], photo)


def soak(
    predict: Predict, photos: Sequence[Path], count: int, expected: Sequence[Answer]
) -> Outcome:
    """Predict `count` photos, which are `photos` again and again, and compare their answers."""
    for _ in predict(list(photos) * WARM_UP):
        pass
    processes = [os.getpid(), *(child.pid or 0 for child in multiprocessing.active_children())]
    marks = [round(mark * count) for mark in MARKS]
    files = sum(map(open_files, processes))
    memory = [sum(map(resident_memory, processes))]
    different = 0
    start = time.monotonic()
    answers = predict(list(islice(cycle(photos), count)))
    for number, (found, right) in enumerate(zip(answers, cycle(expected)), 1):
        different += found != right
        memory += [sum(map(resident_memory, processes)) for _ in range(marks.count(number))]
    seconds = time.monotonic() - start
    return Outcome(seconds, tuple(memory), (files, sum(map(open_files, processes))), different)


@click.command()
@click.option("--photos", default=10_000, show_default=True, type=click.IntRange(4))
@click.option("--workers", default=4, show_default=True, type=click.IntRange(1))
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@click.option("--runtime", default="auto", show_default=True, help="Runtime of the model.")
@click.option("--detector", type=Path, help="Local YuNet file.")
def main(
    photos: int, workers: int, model: Path | None, runtime: str, detector: Path | None
) -> None:
    """Predict many photos in each way, and print a row for each as a Markdown table."""
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Predictor(model, runtime=runtime, threads=1, detector=detector) as predictor,
    ):
        files = write_photos(Path(folder))
        expected = [answer(predictor, file) for file in files]
        for name, way in WAYS.items():
            click.echo(name, err=True)
            with way(predictor, workers) as predict:
                outcome = soak(predict, files, photos, expected)
            rows.append([name, *_cells(outcome, photos)])
    unread = sum(isinstance(found, str) for found in expected)
    click.echo(
        f"{photos} photos: {len(files)} files of {len(SIDES)} sizes again and again, {unread} of "
        f"which cannot be read; {workers} threads or processes; {machine()}\n"
    )
    print_markdown(COLUMNS, rows)


def _cells(outcome: Outcome, photos: int) -> list[str]:
    values = chain(outcome.memory, outcome.files, [outcome.different])
    return [f"{photos / outcome.seconds:.1f}", *(f"{value:.0f}" for value in values)]


if __name__ == "__main__":
    main()
