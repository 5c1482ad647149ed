"""How fast this version of halnet is beside another one, on the same machine and in turns.

    git worktree add /tmp/other COMMIT
    python -m halnet.benchmarks.studies.versions /tmp/other --detector yunet.onnx \\
        --photos "All-Age-Faces Dataset"

Each version runs its own bundled ONNX file in ONNX Runtime, with packages from the same
environment. The first rows time the way from the bytes of a JPEG file to ages, one photo after the
other, in a process of each version that stays open. The share of the model itself is subtracted.
The other rows time whole commands, from the start of the process to its end.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np

from halnet.benchmarks.bench.made_photos import make_photos
from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.studies import version_worker
from halnet.benchmarks.studies.processes import COMMAND
from halnet.benchmarks.timing.spread import Ratio, paired_ratio
from halnet.errors import ConfigError
from halnet.photos.photo_files import find_photos

PARTS = ("runtimes", "calibration", "export", "benchmarks")  # folders beside the package's folder
MODEL = Path("halnet", "assets", "halnet.onnx")
RUNS = 3  # of a photo in a turn
COLUMNS = ("what is timed", "other version, ms", "this version, ms", "ratio (95 % interval)")


class Version:
    """One version of halnet: a copy of its package, and a process that runs it."""

    def __init__(self, tree: Path, folder: Path, detector: Path, threads: int) -> None:
        """Copy the package of a source tree into `folder`, and start its process.

        Raises ConfigError if `tree` has no package.
        """
        if not (tree / MODEL).is_file():
            raise ConfigError(
                f"{tree}: expected the source tree of a version of halnet, found no {MODEL}; "
                "make one with git worktree add FOLDER COMMIT"
            )
        shutil.copytree(tree / "halnet", folder / "halnet")
        for part in PARTS:
            shutil.copytree(tree / part, folder / "halnet" / part)
        self._folder = folder  # where commands run: Python looks for packages there first
        self._environment = {**os.environ, "PYTHONPATH": str(folder)}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it makes each start slow
        self._detector = detector
        self._process = subprocess.Popen(
            [sys.executable, version_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            text=True,
        )
        opened = self.ask(
            {"open": str(folder / MODEL), "detector": str(detector), "threads": threads}
        )
        if not Path(opened["package"]).is_relative_to(folder):
            raise ConfigError(
                f"{tree}: expected the source tree of a version of halnet, found one without "
                "halnet/predictor.py; make one with git worktree add FOLDER COMMIT"
            )

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of the process to one task (see `version_worker`)."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None, "both are pipes"  # noqa: PT018
        stdin.write(json.dumps(task) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise ConfigError(
                "expected an answer of each version, found that a process ended; its error is "
                "printed above"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def command(self, *args: str, failed: int = 1) -> float:
        """Return the seconds that a halnet command takes, from its start to its end.

        Raises ConfigError if it ends with the exit status `failed` or a larger one: with 1,
        `halnet predict` reports a photo without a face, or Python an error.
        """
        start = time.perf_counter()
        done = subprocess.run(
            [*COMMAND, *args, "--detector", str(self._detector)],
            check=False,
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if not 0 <= done.returncode < failed:
            raise ConfigError(f"halnet {' '.join(args)} ended with status {done.returncode}")
        return time.perf_counter() - start

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


Measure = Callable[[Version], float]  # seconds


@click.command()
@click.argument("other", type=Path)
@click.option("--detector", type=Path, required=True, help="Local YuNet file.")
@click.option("--photos", type=Path, help="Folder of photos, for halnet predict over a folder.")
@click.option("--limit", default=1000, show_default=True, help="Number of these photos.")
@click.option("--threads", default=2, show_default=True, help="Threads of one inference.")
@click.option(
    "--turns",
    default=20,
    show_default=True,
    type=click.IntRange(1),
    help="Turns of the two versions.",
)
def main(
    other: Path, detector: Path, photos: Path | None, limit: int, threads: int, turns: int
) -> None:
    """Time the version in the source tree OTHER and this one, in turns."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        versions = [
            Version(tree, folder / place, detector.resolve(), threads)
            for place, tree in (("other", other), ("this", this_tree()))
        ]
        for version in versions:
            stack.callback(version.close)
        rows = [
            *_time_ways(versions, folder, turns),
            *_time_commands(versions, folder, photos, limit, turns),
        ]
    click.echo(f"{machine()}, {threads} threads\n")
    print_markdown(COLUMNS, rows)


def this_tree() -> Path:
    """Return the source tree that this version runs from, as an editable installation has it."""
    return Path(version_worker.__file__).resolve().parents[2]


def _time_ways(versions: Sequence[Version], folder: Path, turns: int) -> list[list[str]]:
    """Return a row for each made photo: the way from its bytes to ages, without the model."""
    rows = []
    for number, photo in enumerate(make_photos()):
        path = folder / f"{number}.jpg"
        path.write_bytes(photo.data)
        whole: list[list[float]] = [[], []]
        without: list[list[float]] = [[], []]
        for _ in range(turns):
            for place, version in enumerate(versions):
                model = version.ask({"crops": photo.faces, "runs": RUNS})["seconds"]
                seconds = version.ask({"photo": str(path), "runs": RUNS})["seconds"]
                whole[place].append(float(np.median(seconds)))
                without[place].append(float(np.median(seconds) - np.median(model)))
        rows += [_row(photo.name, whole), _row(f"{photo.name}, without the model", without)]
        click.echo(rows[-1], err=True)
    return rows


def _time_commands(
    versions: Sequence[Version], folder: Path, photos: Path | None, limit: int, turns: int
) -> list[list[str]]:
    """Return the rows of whole commands."""
    one = str(folder / "0.jpg")
    rows = [_compare("halnet predict PHOTO --json", versions, turns, "predict", one, "--json")]
    if photos is not None:
        found = find_photos([photos])
        picked = np.linspace(0, len(found) - 1, min(limit, len(found))).astype(int)
        many = folder / "many"
        many.mkdir()
        for place in picked:
            target = many / f"{place}{found[place].suffix}"
            shutil.copyfile(found[place], target)
        name = f"halnet predict FOLDER of {len(picked)} photos"
        rows.append(_compare(name, versions, 3, "predict", str(many), "--json", failed=2))
    return rows


def _compare(
    name: str, versions: Sequence[Version], turns: int, *args: str, failed: int = 1
) -> list[str]:
    for version in versions:
        version.command(*args, failed=failed)  # fills the caches of the disk
    seconds: list[list[float]] = [[], []]
    for _ in range(turns):
        for place, version in enumerate(versions):
            seconds[place].append(version.command(*args, failed=failed))
    return _row(name, seconds)


def _row(name: str, seconds: Sequence[Sequence[float]]) -> list[str]:
    other, this = seconds
    ratio: Ratio = paired_ratio(this, other)
    return [name, f"{1e3 * np.median(other):.1f}", f"{1e3 * np.median(this):.1f}", str(ratio)]


if __name__ == "__main__":
    main()
