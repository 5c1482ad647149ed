"""Photos a second, memory and rows of `halnet batch`, beside `halnet predict --csv`.

    python -m halnet.benchmarks.studies.batch_run --photos "All-Age-Faces Dataset" \\
        --count 20000 --detector yunet.onnx

This study needs Linux and `pip install 'halnet[dev]'` (for Ray, and for moto, a server that
speaks S3). It makes a folder with so many photos, by links to those in --photos. The ways are:
`halnet predict`, a batch of the folder, a batch of the folder that is killed at a third and then
continued, and a batch of a bucket, into which the photos are copied first. A table shows the photos
a second, the memory of all processes over time, and whether the rows are those of `halnet predict`.
"""

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import click
import numpy as np

from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.studies.processes import COMMAND
from halnet.benchmarks.usage import resident_memory
from halnet.packages import needs
from halnet.photos.photo_files import find_photos
from halnet.result_files import column_type

SAMPLE_SECONDS = 1.0  # between two measurements of the memory
MARKS = (0.25, 0.5, 0.75, 1.0)  # shares of the time from the first result to the last
KILLED_AT = 1 / 3  # share of the photos
BUCKET = "photos"
SHARD = 250  # photos in a result file
# Runs moto's server for S3 on a free port, and prints its address.
SERVER = """
import time
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
time.sleep(1e9)
"""

Row = tuple[tuple[str, str | int | float | None], ...]


@dataclass
class Watched:
    """What one process and all that it started needed."""

    seconds: float = 0.0
    work: float = 0.0  # seconds from the first result to the last
    samples: list[tuple[float, float]] = field(default_factory=list)  # seconds, megabytes

    def memory(self, start: float) -> list[float]:
        """Return the megabytes at MARKS of the time from `start` to the end."""
        times, memory = np.array(self.samples).T
        places = [start + mark * (times[-1] - start) for mark in MARKS]
        return [float(value) for value in np.interp(places, times, memory)]


def descendants(process: int) -> list[int]:
    """Return the ids of a process and of all that it and its children started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has ended
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [process]
    for one in found:
        found += parents.get(one, [])
    return found


def watch(command: list[str], is_begun: Callable[[], bool], stop: Callable[[], bool]) -> Watched:
    """Run a command and measure the memory of all its processes; kill it when `stop` is true.

    `is_begun` says whether there is a first result.
    """
    watched, begun = Watched(), None
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            now = time.monotonic() - start
            try:
                memory = sum(map(_memory, descendants(process.pid)))
            except OSError:
                break
            watched.samples.append((now, memory))
            if begun is None and is_begun():
                begun = now
            if stop():
                process.send_signal(signal.SIGKILL)
            time.sleep(SAMPLE_SECONDS)
        process.wait()
    watched.seconds = time.monotonic() - start
    watched.work = watched.seconds - (begun or 0.0)
    return watched


def _memory(process: int) -> float:
    try:
        return resident_memory(process)
    except OSError:
        return 0.0


def link_photos(source: Path, folder: Path, count: int) -> None:
    """Fill a folder with `count` photos, which are links to those of another folder in turns."""
    found = find_photos([source])
    for number, path in enumerate(islice(cycle(found), count)):
        link = folder / f"{number // 1000:03d}" / f"{number:07d}{path.suffix}"
        link.parent.mkdir(exist_ok=True)
        try:
            os.link(path.resolve(), link)
        except OSError:  # another disk
            link.symlink_to(path.resolve())


@contextmanager
def filled_bucket(folder: Path) -> Iterator[str]:
    """Run a server that speaks S3, put the photos of a folder there, and yield their address."""
    import boto3

    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:  # it writes a line to stderr for each request
        try:
            assert server.stdout is not None
            address = server.stdout.readline().decode().strip()
            os.environ.update(
                AWS_ENDPOINT_URL=address,
                AWS_ACCESS_KEY_ID="key",
                AWS_SECRET_ACCESS_KEY="secret",
                AWS_DEFAULT_REGION="us-east-1",
            )
            client = boto3.client("s3", endpoint_url=address)
            client.create_bucket(Bucket=BUCKET)
            for path in sorted(folder.rglob("*.*")):
                client.upload_file(str(path), BUCKET, str(path.relative_to(folder)))
            yield f"s3://{BUCKET}"
        finally:
            server.kill()


def parquet_rows(out: Path, prefix: str) -> list[Row]:
    """Return the rows in a result folder, sorted, with names without the prefix."""
    from pyarrow.parquet import read_table

    rows = [row for file in out.glob("*.parquet") for row in read_table(file).to_pylist()]
    return _comparable(rows, prefix)


def csv_rows(path: Path, prefix: str) -> list[Row]:
    """Return the rows of a CSV file likewise."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            {name: column_type(name)(text) if text else None for name, text in row.items()}
            for row in csv.DictReader(file)
        ]
    return _comparable(rows, prefix)


def _comparable(rows: list[dict[str, str | int | float | None]], prefix: str) -> list[Row]:
    for row in rows:
        for name in ("photo", "error"):
            row[name] = row[name] and str(row[name]).replace(prefix, "")
    return sorted((tuple(row.items()) for row in rows), key=str)


@click.command()
@click.option("--photos", type=Path, required=True, help="Folder of photos.")
@click.option("--count", default=20_000, show_default=True, type=click.IntRange(10))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1))
@click.option("--shard", default=SHARD, show_default=True, type=click.IntRange(1))
@click.option("--detector", type=Path, help="Local YuNet file.")
@click.option("--bucket/--no-bucket", default=True, help="Whether a bucket is measured too.")
def main(
    photos: Path, count: int, workers: int, shard: int, detector: Path | None, bucket: bool
) -> None:
    """Compare `halnet batch` with `halnet predict --csv`, and print a Markdown table."""
    with needs("the study batch_run", "dev"):
        import boto3  # noqa: F401
        import ray  # noqa: F401
    common = ["--workers", str(workers), *(["--detector", str(detector)] if detector else [])]
    lines = []

    def run_batch(source: str, out: Path, kill: bool = False, resume: bool = False) -> Watched:
        click.echo(f"batch of {source}{', to be killed' if kill else ''}", err=True)
        command = [*COMMAND, "batch", source, str(out), *common, "--shard", str(shard)]
        before = len(list(out.glob("*.parquet")))

        def share() -> float:
            return len(list(out.glob("*.parquet"))) * shard / count

        return watch(
            command + ["--resume"] * resume,
            lambda: len(list(out.glob("*.parquet"))) > before,
            lambda: kill and share() >= KILLED_AT,
        )

    def add(name: str, watched: Watched, number: int, same: str) -> None:
        memory = watched.memory(watched.seconds - watched.work)
        values = (number / watched.seconds, number / max(watched.work, 1e-9))
        lines.append([name, *(f"{v:.1f}" for v in values), *(f"{m:.0f}" for m in memory), same])

    with tempfile.TemporaryDirectory() as place:
        folder, root = Path(place, "photos"), Path(place)
        folder.mkdir()
        link_photos(photos, folder, count)
        path = root / "faces.csv"
        click.echo("predict", err=True)
        command = [*COMMAND, "predict", str(folder), "--csv", str(path), *common]
        watched = watch(command, lambda: path.exists() and path.stat().st_size > 500, lambda: False)
        expected = csv_rows(path, f"{folder}/")
        add("halnet predict", watched, count, f"{len(expected)} rows")

        def compare(out: Path, prefix: str) -> str:
            return "the same" if parquet_rows(out, prefix) == expected else "other rows"

        out = root / "folder"
        watched = run_batch(str(folder), out)
        add("halnet batch, folder", watched, count, compare(out, f"{folder}/"))
        out = root / "killed"
        run_batch(str(folder), out, kill=True)
        done = len(list(out.glob("*.parquet"))) * shard
        watched = run_batch(str(folder), out, resume=True)
        name = f"halnet batch, folder, after {done} photos killed, the rest"
        add(name, watched, count - done, compare(out, f"{folder}/"))
        if bucket:
            with filled_bucket(folder) as address:
                out = root / "bucket"
                watched = run_batch(address, out)
                add("halnet batch, bucket", watched, count, compare(out, f"{address}/"))
    columns = ["way", "photos a second, with the start", "photos a second, from the first result"]
    columns += [f"memory after {mark:.0%} of the work, MB" for mark in MARKS]
    click.echo(f"{count} photos, {workers} workers, {shard} photos a shard; {machine()}\n")
    print_markdown([*columns, "rows"], lines)


if __name__ == "__main__":
    main()
