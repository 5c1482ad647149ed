"""Ages, time and memory of many photos with `halnet predict --csv` and in the demo's batch mode.

    python -m halnet.benchmarks.studies.many_photos --photos "All-Age-Faces Dataset" \\
        --detector yunet.onnx

This study needs Linux, `pip install 'halnet[dev]'` (for the demo and Playwright), and Chromium
(`apt-get install chromium`). Each of the two runs in a process of its own, and Playwright opens the
demo in Chromium.
"""

import csv
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.studies.processes import COMMAND, find_browser, served, wait_until
from halnet.benchmarks.usage import resident_memory
from halnet.errors import ConfigError
from halnet.packages import needs
from halnet.photos.photo_files import find_photos

MARKS = (0.25, 0.5, 0.75, 1.0)  # shares of the time from the first photo to the last
BROWSER_SECONDS = 3600.0  # that the browser waits for the last photo
SAMPLE_SECONDS = 0.1  # between two measurements of the memory


@dataclass(frozen=True)
class Usage:
    """Time and memory that a process needed for all photos."""

    seconds_before: float  # from the request to the first photo
    seconds: float  # from the first photo to the last
    memory: tuple[float, ...]  # megabytes at MARKS
    peak: float  # megabytes


class MemoryWatch:
    """Measures the resident memory of a process ten times a second, until `stop` is called."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process.pid
        self._stopped = threading.Event()
        self._samples: list[tuple[float, float]] = []  # seconds, megabytes
        self._thread = threading.Thread(target=self._measure, daemon=True)
        self._thread.start()

    @property
    def peak(self) -> float:
        """The largest memory so far, megabytes; 0 before the first measurement."""
        return max((memory for _, memory in list(self._samples)), default=0.0)

    def stop(self, requested: float, first: float) -> Usage:
        """Stop measuring, and return the usage until now.

        `requested` and `first` are values of time.monotonic: when the work was requested, and when
        the first photo was processed. Raises ConfigError where the process ended too soon.
        """
        end = time.monotonic()
        self._stopped.set()
        self._thread.join()
        if not self._samples:
            raise ConfigError(
                "expected a process whose memory can be measured, found that it ended at once; "
                "name more photos"
            )
        times, memory = np.array(self._samples).T
        marks = np.interp([first + mark * (end - first) for mark in MARKS], times, memory)
        return Usage(first - requested, end - first, tuple(marks.tolist()), self.peak)

    def _measure(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            try:
                memory = resident_memory(self._process)
            except OSError:  # the process has ended
                return
            if memory:
                self._samples.append((time.monotonic(), memory))


def predict(photos: list[Path], options: list[str], path: Path) -> Usage:
    """Write the ages of the photos to the CSV file `path` with `halnet predict`."""
    listing = path.with_name("photos.txt")
    listing.write_text("".join(f"{photo}\n" for photo in photos))
    args = ["predict", "--from", str(listing), "--csv", str(path), *options]
    requested = time.monotonic()
    with subprocess.Popen([*COMMAND, *args]) as process:
        watch = MemoryWatch(process)
        wait_until(path.exists, process)
        first = time.monotonic()
        process.wait()
        return watch.stop(requested, first)


def demo(photos: list[Path], options: list[str], path: Path) -> Usage:
    """Upload the photos to the demo's batch mode, and download its CSV file to `path`."""
    from playwright.sync_api import sync_playwright

    executable = find_browser()
    if executable is None:
        raise ConfigError("expected Chromium, found none; apt-get install chromium")
    with served([*COMMAND, "demo", *options]) as (address, process):
        watch = MemoryWatch(process)
        with sync_playwright() as tools:
            browser = tools.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(1000 * BROWSER_SECONDS)
            page.goto(address)
            modes = page.get_by_test_id("stRadio").first
            modes.get_by_text("Batch", exact=True).click()
            region = page.get_by_role("region", name="Photos", exact=True)
            uploader = region.get_by_test_id("stFileUploaderDropzoneInput")
            uploader.wait_for(state="attached")
            requested = time.monotonic()
            uploader.set_input_files(photos)
            page.get_by_text(f" of {len(photos)} photos").wait_for()
            first = time.monotonic()
            page.get_by_text(f"{len(photos)} photos, ").wait_for()
            usage = watch.stop(requested, first)
            with page.expect_download() as download:
                page.get_by_role("button", name="Download CSV").click()
            download.value.save_as(path)
            browser.close()
    return usage


WAYS: dict[str, Callable[[list[Path], list[str], Path], Usage]] = {
    "halnet predict --csv": predict,
    "halnet demo, batch mode": demo,
}


@click.command()
@click.option("--photos", type=Path, required=True, help="Folder of photos.")
@click.option(
    "--limit",
    default=1000,
    show_default=True,
    type=click.IntRange(1),
    help="Number of photos, spread evenly over the folder.",
)
@click.option("--detector", type=Path, help="Local YuNet file.")
def main(photos: Path, limit: int, detector: Path | None) -> None:
    """Compare `halnet predict --csv` with the demo's batch mode.

    The ages of both are compared, and their times and memory are printed as a Markdown table.
    """
    with needs("the study many_photos", "dev"):
        import playwright  # noqa: F401
        import streamlit  # noqa: F401
    found = find_photos([photos])
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, min(limit, len(found))).astype(int)]
    options = [] if detector is None else ["--detector", str(detector)]
    rows = []
    ages: list[dict[tuple[str, str], float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, run) in enumerate(WAYS.items()):
            click.echo(name, err=True)
            path = Path(folder, f"ages{number}.csv")
            usage = run(chosen, options, path)
            ages.append(read_ages(path))
            values = (usage.seconds_before, usage.seconds, *usage.memory, usage.peak)
            rows.append([name, *(f"{value:.0f}" for value in values)])
    columns = ["way", "time before the first photo, s", "time for all photos, s"]
    columns += [f"memory after {mark:.0%} of the time, MB" for mark in MARKS]
    columns += ["largest memory, MB"]
    click.echo(f"{len(chosen)} photos, {machine()}\n")
    print_markdown(columns, rows)
    first, second = ages
    both = first.keys() & second.keys()
    difference = max((abs(first[key] - second[key]) for key in both), default=0.0)
    click.echo(
        f"\nThe two ways found {len(first)} and {len(second)} faces; "
        f"{len(first.keys() ^ second.keys())} faces were found in one way only. The largest "
        f"difference of an age is {difference:g} years."
    )


def read_ages(path: Path) -> dict[tuple[str, str], float]:
    """Return the ages in a CSV file of results, by the photo's name and the face's number."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["age"]]
    return {(os.path.basename(row["photo"]), row["face"]): float(row["age"]) for row in rows}


if __name__ == "__main__":
    main()
