"""The oldest release of each runtime that opens the artifacts of a folder and gives their ages.

    halnet export --format onnx --format openvino --precision fp32 --precision fp16 \\
        --precision int8 --out deploy
    python -m halnet.benchmarks.studies.oldest_runtime deploy

It needs a package registry. For each runtime, it goes through all releases for this Python and this
kind of machine, from the newest to the oldest. It installs each into a folder of its own, and runs
the artifacts there with NumPy 1 and without halnet. A file is no longer tried after the first
release that fails with it, so that every release from the printed one on gives the age.
`export/oldest.py` has the result, which the manifest of an export states.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.samples import portrait
from halnet.benchmarks.studies import oldest_worker
from halnet.errors import ConfigError
from halnet.export.manifest import list_artifacts
from halnet.faces.alignment import align
from halnet.runtimes.backends import open_model

SUFFIXES = {  # of the files that each package runs; "" is that of an IR folder
    "onnxruntime": (".onnx",),
    "openvino": (".onnx", ""),
    "ai-edge-litert": (".tflite",),
}
# What all releases need. Older ones were built for NumPy 1, and newer ones run with it too.
NEEDED = ("numpy<2", "flatbuffers", "packaging")
# Years by which an age may differ from that of the release that is installed with halnet. In INT8,
# releases round differently.
TOLERANCE = {"fp32": 0.001, "fp16": 0.1, "int8": 2.0}
SECONDS = 300  # that an installation or a run may take
COLUMNS = ("file", "package", "oldest release", "age there, years", "age here, years", "reason")


@dataclass(frozen=True)
class Found:
    """The oldest release of a package that runs a file."""

    file: str
    package: str
    release: str | None  # None: not even the newest release runs it
    age: float | None  # with this release, years
    expected: float  # with halnet and the runtime that is installed here, years
    reason: str  # why the release before it does not run the file; empty: there is none


@click.command()
@click.argument("deploy", type=Path)
@click.option("--package", "packages", multiple=True, type=click.Choice([*SUFFIXES]))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def main(deploy: Path, packages: Sequence[str], as_json: bool) -> None:
    """Find the oldest releases that run the artifacts in the folder DEPLOY."""
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        crops = folder / "crops.npy"
        image, face = portrait()
        np.save(crops, align(image, face.landmarks)[None])
        _install(folder / "needed", *NEEDED)
        for package in packages or SUFFIXES:
            models = [path for path in list_artifacts(deploy) if path.suffix in SUFFIXES[package]]
            found += find_oldest(package, models, crops, folder) if models else []
    if as_json:
        click.echo(json.dumps([asdict(line) for line in found]))
        return
    print_markdown(COLUMNS, [[str(value) for value in asdict(line).values()] for line in found])


def find_oldest(package: str, models: Sequence[Path], crops: Path, folder: Path) -> list[Found]:
    """Return for each model file the oldest release of a package that runs it.

    `crops` is a .npy file of N x 224 x 224 x 3 uint8 RGB, of which the first counts. Releases are
    installed into `folder`, whose subfolder `needed` has what they need. Raises ConfigError where
    the registry cannot be reached.
    """
    found = {}
    tolerances = {}
    for path in models:
        with open_model(path) as runtime:
            expected = float(runtime.run(np.load(crops)[:1]).age[0])
            tolerances[path] = TOLERANCE[runtime.spec.metadata.precision]
        found[path] = Found(path.name, package, None, None, expected, "")
    pending = list(models)
    for release in list_releases(package):
        if not pending:
            break
        with tempfile.TemporaryDirectory(dir=folder) as target:
            try:
                _install(Path(target), "--no-deps", f"{package}=={release}")
            except ConfigError as error:  # it has no wheel for this Python
                click.echo(f"{package} {release}: left out: {error}", err=True)
                continue
            for path in list(pending):
                age, reason = run_model(package, path, crops, [Path(target), folder / "needed"])
                click.echo(f"{package} {release}: {path.name}: {age or reason}", err=True)
                last = found[path]
                if age is None or abs(age - last.expected) > tolerances[path]:
                    pending.remove(path)
                    reason = reason or f"{age:.4f} years"
                    found[path] = replace(last, reason=f"{release}: {reason}")
                else:
                    found[path] = replace(last, release=release, age=age)
    return list(found.values())


def list_releases(package: str) -> list[str]:
    """Return the releases of a package for this Python and this kind of machine, newest first.

    Raises ConfigError where the registry cannot be reached.
    """
    printed = _pip("index", "versions", package)
    listed = re.search(r"Available versions: (.*)", printed)
    if listed is None:
        raise ConfigError(f"{package}: expected a list of releases, found none; update pip")
    return listed[1].split(", ")


def run_model(
    package: str, model: Path, crops: Path, paths: Sequence[Path]
) -> tuple[float | None, str]:
    """Return the age of the first crop in years, or None and why there is none.

    The packages are those in the folders `paths`, and no others.
    """
    # -S leaves out the packages that are installed here.
    command = [sys.executable, "-S", oldest_worker.__file__, package, str(model), str(crops)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
            env=environment,
        )
    except subprocess.CalledProcessError as error:
        return None, _last_line(error.stderr) or f"ended with status {error.returncode}"
    except subprocess.TimeoutExpired:
        return None, f"took longer than {SECONDS} seconds"
    return float(done.stdout.split()[-1]), ""


def _install(target: Path, *arguments: str) -> None:
    """Install wheels into a folder. Raises ConfigError if there are none."""
    _pip("install", "--only-binary", ":all:", "--no-compile", "--target", str(target), *arguments)


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    except subprocess.CalledProcessError as error:
        raise ConfigError(_last_line(error.stderr)) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"pip {arguments[0]} took longer than {SECONDS} seconds") from error
    return done.stdout


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1].strip()


if __name__ == "__main__":
    main()
