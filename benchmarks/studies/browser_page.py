"""The page for browsers: whether it finds the faces and ages that Python finds, and how fast.

    halnet export --format web --precision fp32 --precision int8 --data data/aaf
    python -m halnet.benchmarks.studies.browser_page deploy/halnet_web deploy/halnet_int8_web \\
        --data data/aaf --photos "All-Age-Faces Dataset" --threads 1 --threads 2

This study needs `pip install 'halnet[dev]'` (for Playwright), and Chromium (`apt-get install
chromium`). A server on this machine serves each page, and Chromium runs its modules on raw photos.
Python runs the model of the same page, with its own decoder and detector.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.studies.page_server import serving
from halnet.benchmarks.studies.processes import find_browser
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError
from halnet.faces.detected import DETECTION_SIDE
from halnet.packages import import_library
from halnet.photos.images import load_image
from halnet.predictor import Predictor
from halnet.results import Face

MIN_OVERLAP = 0.9  # intersection over union of two boxes that show the same face
RUNS = 3  # of each photo, of which the median time counts
CROP_RUNS = 30  # of a single crop
OPEN = """
async (threads) => {
    const { Predictor } = await import("./halnet.js");
    window.predictor = await Predictor.open("./", { threads });
    document.body.innerHTML = "<input type=file>";
}
"""
PREDICT = """
async (runs) => {
    const [photo] = document.querySelector("input").files;
    const times = [];
    let faces;
    for (let run = 0; run < runs; run++) {
        const start = performance.now();
        faces = await window.predictor.predict(photo);
        times.push(performance.now() - start);
    }
    return { times, faces: faces.map(({ box, landmarks, age }) => ({ box, landmarks, age })) };
}
"""
CROP = """
async (runs) => {
    const crop = new Uint8Array(224 * 224 * 3).fill(128);
    const times = [];
    for (let run = 0; run < runs; run++) {
        const start = performance.now();
        await window.predictor.predictCrops(crop);
        times.push(performance.now() - start);
    }
    return times;
}
"""
COLUMNS = (
    *("page", "precision", "threads", "photos", "faces in Python", "of these found in the browser"),
    *("faces in the browser alone", "largest distance of landmarks, pixels of the detector"),
    *("median age difference, years", "largest, years", "median time for a photo, ms"),
    "median time for a crop, ms",
)


@dataclass(frozen=True)
class Pair:
    """A face that both found."""

    photo: str  # name of the photo
    overlap: float  # intersection over union of the two boxes
    distance: float  # of the farthest landmark, in pixels of the picture that the detector gets
    age: float  # years, in Python
    difference: float  # years, browser minus Python


@dataclass(frozen=True)
class Compared:
    """One page with one number of threads."""

    page: str
    precision: str
    threads: int
    photos: int
    faces: int  # that Python found
    alone: int  # faces that the browser found and Python did not
    pairs: tuple[Pair, ...]
    photo_milliseconds: float  # median
    crop_milliseconds: float  # median

    @property
    def row(self) -> list[str]:
        """The cells of the table."""
        shifts = [abs(pair.difference) for pair in self.pairs] or [float("nan")]
        distance = max((pair.distance for pair in self.pairs), default=float("nan"))
        numbers = (self.photos, self.faces, len(self.pairs), self.alone)
        return [
            *(self.page, self.precision, str(self.threads), *map(str, numbers)),
            *(f"{distance:.2f}", f"{median(shifts):.2f}", f"{max(shifts):.2f}"),
            *(f"{self.photo_milliseconds:.0f}", f"{self.crop_milliseconds:.1f}"),
        ]


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the intersection over union of two boxes (x, y, width, height)."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = first, second
    across = max(min(ax + aw, bx + bw) - max(ax, bx), 0)
    down = max(min(ay + ah, by + bh) - max(ay, by), 0)
    return across * down / (aw * ah + bw * bh - across * down)


def match(
    name: str, size: tuple[int, int], expected: Sequence[Face], found: Sequence[dict[str, Any]]
) -> tuple[list[Pair], int]:
    """Return the faces of a photo that both found, and how many the browser found alone.

    `size` is the width and the height of the photo, `expected` are the faces in Python and `found`
    those in the browser, all in pixels of the photo.
    """
    scale = min(1.0, DETECTION_SIDE / max(size))
    pairs, left = [], list(found)
    for face in expected:
        near = max(left, key=lambda other: overlap(face.box, other["box"]), default=None)
        if near is None or overlap(face.box, near["box"]) <= MIN_OVERLAP:
            continue
        left.remove(near)
        apart = np.subtract(near["landmarks"], face.landmarks)
        distance = scale * float(np.hypot(*apart.T).max())
        shift = near["age"] - face.age
        pairs.append(Pair(name, overlap(face.box, near["box"]), distance, face.age, shift))
    return pairs, len(left)


def compare(browser: Any, page: Path, threads: int, photos: Sequence[Path]) -> Compared:
    """Run the photos through Python and through a page in the browser, and compare them."""
    pairs: list[Pair] = []
    times: list[float] = []
    faces = alone = 0
    with Predictor(page) as predictor, serving(page, isolated=True) as address:
        precision = predictor.spec.metadata.precision
        with browser.new_page() as tab:
            tab.goto(f"{address}/LICENCES.txt")  # which has no rules for what its scripts may do
            tab.evaluate(OPEN, threads)
            for photo in photos:
                tab.set_input_files("input", photo)
                answer = tab.evaluate(PREDICT, RUNS)
                expected = predictor(photo)
                height, width = load_image(photo).shape[:2]
                both, others = match(photo.name, (width, height), expected, answer["faces"])
                faces, alone = faces + len(expected), alone + others
                pairs += both
                times.append(median(answer["times"]))
            crop = median(tab.evaluate(CROP, CROP_RUNS))
    return Compared(
        *(page.name, precision, threads, len(photos), faces, alone, tuple(pairs)),
        *(median(times), crop),
    )


@click.command()
@click.argument("pages", type=Path, nargs=-1, required=True)
@click.option("--data", type=Path, required=True, help="Prepared dataset of the photos.")
@click.option("--photos", type=Path, required=True, help="Folder of its raw photos.")
@click.option("--split", default="test", show_default=True, help="Part of the dataset.")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1),
    help="Number of photos, spread evenly over the part.",
)
@click.option(
    "--threads",
    default=(1,),
    show_default=True,
    multiple=True,
    type=click.IntRange(1),
    help="Number of threads of the browser. You can repeat this option.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each face as JSON.")
def main(
    pages: tuple[Path, ...],
    data: Path,
    photos: Path,
    split: str,
    limit: int,
    threads: tuple[int, ...],
    as_json: bool,
) -> None:
    """Compare the PAGES, folders of `halnet export --format web`, with Python on raw photos.

    The result is a Markdown table.
    """
    playwright = import_library("playwright.sync_api", "the study browser_page", "dev")
    executable = find_browser()
    if executable is None:
        raise ConfigError("expected Chromium, found none; apt-get install chromium")
    chosen = [photos / record.source for record in PreparedDataset(data).select(split, limit)]
    with (
        playwright.sync_playwright() as tools,
        tools.chromium.launch(executable_path=executable, args=["--no-sandbox"]) as browser,
    ):
        results = [compare(browser, page, count, chosen) for page in pages for count in threads]
        version = browser.version
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results]))
        return
    click.echo(f"Chromium {version}, {machine()}\n")
    print_markdown(COLUMNS, [result.row for result in results])


if __name__ == "__main__":
    main()
