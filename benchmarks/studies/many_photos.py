"""Many photos through `halnet predict --csv` and through the demo's batch: ages, time, memory.

    python -m halnet.benchmarks.studies.many_photos --photos "All-Age-Faces Dataset" \\
        --detector yunet.onnx

Both run as processes of their own; the demo in Chromium (Debian's package), driven by Playwright.
"""

import csv
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import click
import numpy as np

from halnet.batches import find_photos
from halnet.benchmarks.speed import machine
from halnet.benchmarks.studies.markdown import print_markdown
from halnet.benchmarks.studies.processes import COMMAND, find_browser, served, wait_until
from halnet.errors import ConfigError

MARKS = (0.25, 0.5, 0.75, 1.0)  # of the time from the first photo to the last
SECONDS = 3600.0  # that the browser waits for the last photo


class Watch:
    """Notes the resident memory of a process, ten times a second."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._status = Path(f"/proc/{process.pid}/status")
        self._ended = threading.Event()
        self._seen: list[tuple[float, float]] = []  # seconds, megabytes
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            try:
                lines = self._status.read_text().splitlines()
            except OSError:
                return
            for line in lines:
                if line.startswith("VmRSS"):
                    self._seen.append((time.monotonic(), int(line.split()[1]) / 1024))

    def stop(self, begun: float, first: float) -> list[float]:
        """Return the seconds before the first photo and after it, and the memory, MB.

        `begun` is when the work was asked for, `first` when the first photo's turn came, both of
        time.monotonic; the memory is that at MARKS and at its peak.
        """
        end = time.monotonic()
        self._ended.set()
        self._thread.join()
        times, memory = np.array(self._seen).T
        marks = np.interp([first + mark * (end - first) for mark in MARKS], times, memory)
        return [first - begun, end - first, *marks.tolist(), float(memory.max())]


@click.command()
@click.option("--photos", type=Path, required=True, help="Folder of photos.")
@click.option("--limit", default=1000, show_default=True, help="So many, spread evenly.")
@click.option("--detector", type=Path, help="Local YuNet file.")
def main(photos: Path, limit: int, detector: Path | None) -> None:
    """Compare ages, time and memory of both ways, as Markdown."""
    found = find_photos([photos])
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, min(limit, len(found))).astype(int)]
    extra = [] if detector is None else ["--detector", str(detector)]
    rows = []
    ages: list[dict[tuple[str, str], float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, way in (("halnet predict --csv", _predict), ("halnet demo, batch", _demo)):
            click.echo(name, err=True)
            path = Path(folder, "ages.csv")
            path.unlink(missing_ok=True)
            measured = way(chosen, extra, path)
            ages.append(_read(path))
            rows.append([name, *(f"{value:.0f}" for value in measured)])
    marks = [f"MB after {mark:.0%}" for mark in MARKS]
    columns = ["", "s before the first photo", "s for all", *marks, "MB at most"]
    click.echo(f"{len(chosen)} photos, {machine()}\n")
    print_markdown(columns, rows)
    first, second = ages
    distance = max(abs(first[key] - second[key]) for key in first.keys() & second.keys())
    click.echo(
        f"\n{len(first)} and {len(second)} faces, {len(first.keys() ^ second.keys())} of them in "
        f"one alone; the largest difference of an age is {distance:g} years"
    )


def _predict(photos: list[Path], extra: list[str], path: Path) -> list[float]:
    listing = path.with_name("photos.txt")
    listing.write_text("".join(f"{photo}\n" for photo in photos))
    args = ["predict", "--from", str(listing), "--csv", str(path), *extra]
    begun = time.monotonic()
    with subprocess.Popen([*COMMAND, *args]) as process:
        watch = Watch(process)
        wait_until(path.exists, process)
        first = time.monotonic()
        process.wait()
        return watch.stop(begun, first)


def _demo(photos: list[Path], extra: list[str], path: Path) -> list[float]:
    from playwright.sync_api import sync_playwright

    executable = find_browser()
    if executable is None:
        raise ConfigError("needs Chromium: apt-get install chromium")
    with served([*COMMAND, "demo", *extra]) as (address, process):
        watch = Watch(process)
        with sync_playwright() as tools:
            browser = tools.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(1000 * SECONDS)
            page.goto(address)
            modes = page.get_by_test_id("stRadio").first
            modes.get_by_text("Batch", exact=True).click()
            place = page.get_by_role("region", name="Photos", exact=True)
            uploader = place.get_by_test_id("stFileUploaderDropzoneInput")
            uploader.wait_for(state="attached")
            begun = time.monotonic()
            uploader.set_input_files(photos)
            page.get_by_text(f" of {len(photos)} photos").wait_for()
            first = time.monotonic()
            page.get_by_text(f"{len(photos)} photos, ").wait_for()
            measured = watch.stop(begun, first)
            with page.expect_download() as download:
                page.get_by_role("button", name="Download CSV").click()
            download.value.save_as(path)
            browser.close()
    return measured


def _read(path: Path) -> dict[tuple[str, str], float]:
    """Return ages by name of the photo and number of the face."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["age"]]
    return {(os.path.basename(row["photo"]), row["face"]): float(row["age"]) for row in rows}


if __name__ == "__main__":
    main()
