"""The load that `halnet serve` carries: rate, latency, batches, memory, and its end under load.

    python -m halnet.benchmarks.studies.serve_load --detector yunet.onnx

This study needs Linux and `pip install 'halnet[onnxruntime,serve]'`. The server runs in a process
of its own, and the clients are threads of this one, on the same cores: the rate of a server whose
clients are elsewhere is higher. The photos are those of `halnet.benchmarks.soak`, some of which
are damaged, and every answer is compared with that of a predictor here.
"""

import json
import operator
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from typing import Any

import click
import numpy as np

from halnet.batches import PhotoResult
from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.samples import sample_crops
from halnet.benchmarks.soak import write_photos
from halnet.benchmarks.studies.processes import COMMAND
from halnet.benchmarks.usage import open_files, resident_memory
from halnet.cores import find_cores
from halnet.errors import ConfigError, ImageError
from halnet.predictor import Predictor
from halnet.runtimes.backends import open_runtime

CLIENTS = (1, 4, 16, 64)
MARKS = (0.1, 0.25, 0.5, 0.75, 1.0)  # shares of the requests after which the memory is measured
LEVEL = 0.9
LOST, REFUSED = "lost", "not taken"  # outcomes of a request without an answer
END_SECONDS = 3.0  # of load before the server is told to end

Answer = dict[str, Any]


@dataclass
class Load:
    """What became of requests."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds, of requests with an answer
    outcomes: Counter[str] = field(default_factory=Counter)  # statuses of HTTP, LOST, REFUSED
    different: int = 0  # answers unlike those of the predictor here


class Client:
    """One connection to the server, opened again when it was closed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._connection: HTTPConnection | None = None

    def send(self, photo: bytes) -> tuple[str, Answer]:
        """Return the status and the answer, or LOST or REFUSED and nothing."""
        is_sent = False
        try:
            if self._connection is None:
                self._connection = HTTPConnection(*self._address, timeout=60)
                self._connection.connect()
            is_sent = True
            self._connection.request("POST", f"/predict?level={LEVEL}", photo)
            response = self._connection.getresponse()
            answer = json.loads(response.read())
            if response.will_close:
                self._connection = None
            return str(response.status), answer
        except (OSError, HTTPException):
            self._connection = None
            return (LOST if is_sent else REFUSED), {}


def run_load(
    address: tuple[str, int],
    photos: Sequence[bytes],
    expected: Sequence[Answer],
    clients: int,
    stop: Callable[[int], bool],
) -> Load:
    """Send photos from so many clients, each as fast as it gets answers.

    It ends when `stop`, which is called with the number of each request, returns True.
    """
    load, lock, numbers = Load(), threading.Lock(), count()

    def work(_: int) -> None:
        client = Client(address)
        while not stop(number := next(numbers)):
            start = time.perf_counter()
            status, answer = client.send(photos[number % len(photos)])
            taken = time.perf_counter() - start
            with lock:
                load.outcomes[status] += 1
                if status in ("200", "422"):
                    load.latencies.append(taken)
                    load.different += answer != expected[number % len(photos)]
            if status == REFUSED:
                return

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    load.seconds = time.perf_counter() - start
    return load


@contextmanager
def running(options: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """Run `halnet serve` on a free port, and yield its process and its address."""
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://(.+):(\d+);", process.stdout.readline())
            if found is None:
                raise ConfigError("expected a server that starts, found none; see its error above")
            yield process, (found[1], int(found[2]))
        finally:
            process.terminate()


def expect(predictor: Predictor, photo: bytes) -> Answer:
    """Return the answer that the server should give."""
    try:
        return PhotoResult("photo", predictor(photo)).to_dict(LEVEL)
    except ImageError as error:
        return {"error": str(error).replace("the image bytes", "photo")}


def metric(address: tuple[str, int], name: str) -> float:
    """Return a value that the server counts."""
    connection = HTTPConnection(*address, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)
    )


def _measure_rates(
    address: tuple[str, int], photos: Sequence[bytes], expected: Sequence[Answer], seconds: float
) -> list[list[str]]:
    rows = []
    for clients in CLIENTS:
        before = [metric(address, f"halnet_batch_crops_{name}") for name in ("sum", "count")]
        load = run_load(address, photos, expected, clients, _after(seconds))
        after = [metric(address, f"halnet_batch_crops_{name}") for name in ("sum", "count")]
        crops, runs = (b - a for a, b in zip(before, after, strict=True))
        p50, p99 = np.percentile(load.latencies, (50, 99)) * 1000
        rows.append(
            [
                *(f"{clients} clients", f"{len(load.latencies) / load.seconds:.1f}"),
                *(f"{p50:.0f}", f"{p99:.0f}", f"{crops / max(runs, 1):.2f}"),
                *(str(load.outcomes["429"]), str(load.outcomes[LOST]), str(load.different)),
            ]
        )
    return rows


def _measure_plain(
    predictor: Predictor, photos: Sequence[bytes], seconds: float
) -> list[list[str]]:
    """Return rows for a predictor without a server: in a loop, and in threads of one core each."""
    rows = []
    workers = find_cores().usable
    for name, size in (("predictor in a loop", 1), (f"predictor in {workers} threads", workers)):
        done: list[float] = []
        work = partial(_predict_all, predictor, photos, done, count(), _after(seconds))
        start = time.perf_counter()
        with ThreadPoolExecutor(size) as pool:
            list(pool.map(work, range(size)))
        rate = len(done) / (time.perf_counter() - start)
        p50, p99 = np.percentile(done, (50, 99)) * 1000
        rows.append([name, f"{rate:.1f}", f"{p50:.0f}", f"{p99:.0f}", "-", "-", "-", "-"])
    return rows


def _predict_all(
    predictor: Predictor,
    photos: Sequence[bytes],
    done: list[float],
    numbers: Iterator[int],
    stop: Callable[[int], bool],
    worker: int,
) -> None:
    """Predict photos until `stop` returns True, and add the seconds of each to `done`."""
    del worker
    while not stop(number := next(numbers)):
        start = time.perf_counter()
        expect(predictor, photos[number % len(photos)])
        done.append(time.perf_counter() - start)


def _after(seconds: float) -> Callable[[int], bool]:
    """Return a function that returns True when so many seconds have passed."""
    end = time.monotonic() + seconds
    return lambda number: time.monotonic() > end


def _measure_memory(
    process: subprocess.Popen[str],
    address: tuple[str, int],
    photos: Sequence[bytes],
    expected: Sequence[Answer],
    requests: int,
) -> list[str]:
    """Return megabytes after shares of the requests, and the open files after all of them."""
    cells = []
    for first, last in zip((0.0, *MARKS), MARKS, strict=False):
        size = round((last - first) * requests)
        run_load(address, photos, expected, 8, partial(operator.le, size))
        cells.append(f"{resident_memory(process.pid):.0f}")
    return [*cells, str(open_files(process.pid))]


def _end_under_load(
    options: Sequence[str], photos: Sequence[bytes], expected: Sequence[Answer], clients: int
) -> list[str]:
    """Tell a server to end while clients send photos, and return what became of the requests."""
    with running(options) as (process, address):
        timer = threading.Timer(END_SECONDS, partial(process.send_signal, signal.SIGTERM))
        timer.start()
        load = run_load(address, photos, expected, clients, lambda n: process.poll() is not None)
        status = process.wait()
    answered = sum(n for name, n in load.outcomes.items() if name not in (LOST, REFUSED))
    return [str(clients), str(answered), str(load.outcomes[LOST]), str(load.different), str(status)]


@click.command()
@click.option("--requests", default=50_000, show_default=True, type=click.IntRange(0))
@click.option("--seconds", default=10.0, show_default=True, help="Of each rate.")
@click.option("--ends", default=5, show_default=True, help="Ends under load.")
@click.option("--runtime", default="auto", show_default=True, help="Runtime of the model.")
@click.option("--device", default="auto", show_default=True, help="Device of the model.")
@click.option("--batch", type=int, help="See halnet serve --batch.")
@click.option("--detector", type=Path, help="Local YuNet file.")
def main(
    requests: int,
    seconds: float,
    ends: int,
    runtime: str,
    device: str,
    batch: int | None,
    detector: Path | None,
) -> None:
    """Measure the server, and print a Markdown table for each question."""
    options = ["--runtime", runtime, "--device", device]
    options += [] if batch is None else ["--batch", str(batch)]
    options += [] if detector is None else ["--detector", str(detector)]
    with (
        tempfile.TemporaryDirectory() as folder,
        Predictor(
            runtime=runtime, device=device, threads=1, detector=detector, quality=True
        ) as predictor,
    ):
        photos = [path.read_bytes() for path in write_photos(Path(folder)) if path.stat().st_size]
        expected = [expect(predictor, photo) for photo in photos]
        click.echo(
            f"{len(photos)} photos again and again, {predictor.spec.software}; {machine()}\n"
        )
        rows = _measure_plain(predictor, photos, seconds)
        with running(options) as (process, address):
            rows += _measure_rates(address, photos, expected, seconds)
            print_markdown(RATE_COLUMNS, rows)
            with open_runtime(f"http://{address[0]}:{address[1]}") as remote:
                crops, start, runs = sample_crops()[:8], time.perf_counter(), 0
                while time.perf_counter() - start < seconds:
                    remote.run(crops)
                    runs += 1
            rate = runs * len(crops) / (time.perf_counter() - start)
            click.echo(f"\nCrops a second by the remote runtime, 8 in a request: {rate:.1f}\n")
            if requests:
                cells = _measure_memory(process, address, photos, expected, requests)
                print_markdown(MEMORY_COLUMNS, [[str(requests), *cells]])
                click.echo()
        print_markdown(
            END_COLUMNS, [_end_under_load(options, photos, expected, 16) for _ in range(ends)]
        )


RATE_COLUMNS = (
    *("load", "photos a second", "p50, ms", "p99, ms", "crops in an inference"),
    *("refused (429)", "lost", "answers unlike the predictor's"),
)
MEMORY_COLUMNS = (
    "requests",
    *(f"memory after {mark:.0%}, MB" for mark in MARKS),
    "open files after",
)
END_COLUMNS = (
    *("clients", "answered", "sent, but not answered"),
    *("answers unlike the predictor's", "exit status"),
)

if __name__ == "__main__":
    main()
