"""Ages of raw photos by the whole way of a predictor: model files beside PyTorch.

    python -m halnet.benchmarks.studies.raw_photos deploy --photos "All-Age-Faces Dataset" \\
        --detector yunet.onnx

This needs `pip install 'halnet[pytorch]'` and the runtimes of the model files. The faces of each
photo are found once. Then a predictor of each model file predicts their ages on --device, and so
does the checkpoint in PyTorch FP32 on the CPU. The exit status is 1 if a model file is outside the
tolerance of its precision.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np

from halnet.artifact import CHECKPOINTS
from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.verification import expand_folders
from halnet.errors import ArtifactError, ImageError
from halnet.evaluation.accuracy import find_checkpoint
from halnet.evaluation.parity import Reference, compare
from halnet.faces.photo_view import PhotoView
from halnet.photos.photo_files import find_photos
from halnet.predictor import Predictor
from halnet.results import Face, Outputs

COLUMNS = (
    *("model file", "runtime", "99th percentile of the age shift, years"),
    *("largest age shift, years", "allowed 99th percentile, years"),
)


def predict_all(predictors: Sequence[Predictor], photos: Sequence[Path]) -> list[list[Face]]:
    """Return the faces of all photos by each predictor; the first one finds the faces.

    A photo that cannot be read is reported and left out.
    """
    faces: list[list[Face]] = [[] for _ in predictors]
    for photo in photos:
        try:
            view = PhotoView(photo)
            found = predictors[0].detect(view)
        except ImageError as error:
            click.echo(str(error), err=True)
            continue
        for predictor, own in zip(predictors, faces, strict=True):
            own.extend(predictor.predict_faces(view, found))
    return faces


def to_outputs(faces: Sequence[Face]) -> Outputs:
    """Return what the model put out for these faces."""
    return Outputs(
        np.array([face.age for face in faces], np.float32),
        np.array([face.stddev for face in faces], np.float32),
        np.array([face.probabilities for face in faces], np.float32),
    )


@click.command()
@click.argument("models", nargs=-1, required=True, type=Path)
@click.option("--photos", required=True, type=Path, help="Folder of photos.")
@click.option(
    "--limit",
    default=500,
    show_default=True,
    type=click.IntRange(1),
    help="Number of photos, evenly spaced in the order of their paths.",
)
@click.option(
    "--checkpoint",
    type=Path,
    help="Checkpoint of the model files. Default: the one that comes with halnet.",
)
@click.option("--detector", type=Path, help="Local YuNet file.")
@click.option("--device", default="auto", show_default=True, help="Device of the model files.")
@click.option(
    "--threads",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Number of threads of each runtime. With more than one, the threads of the runtimes wait "
    "for each other.",
)
def main(
    models: tuple[Path, ...],
    photos: Path,
    limit: int,
    checkpoint: Path | None,
    detector: Path | None,
    device: str,
    threads: int,
) -> None:
    """Compare MODELS, or all of a folder that halnet export wrote, with PyTorch on raw photos."""
    files = find_photos([photos])
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(limit, len(files))).astype(int)]
    path = find_checkpoint(checkpoint or CHECKPOINTS[0])
    with ExitStack() as stack:
        own = stack.enter_context(
            Predictor(path, runtime="pytorch", device="cpu", threads=threads, detector=detector)
        )
        others = [
            stack.enter_context(
                Predictor(model, device=device, threads=threads, detector=own.detector)
            )
            for model, _ in expand_folders(models)
        ]
        made_from = own.spec.metadata.checkpoint_sha256
        for other in others:
            if other.spec.metadata.checkpoint_sha256 != made_from:
                raise ArtifactError(
                    f"{other.spec.model}: expected a model of {path}, found one of another "
                    "checkpoint; name it with --checkpoint"
                )
        expected, *found = predict_all([own, *others], chosen)
        if not expected:
            raise ImageError(f"{photos}: expected photos with faces, found none")
        data = f"{len(expected)} faces in {len(chosen)} raw photos"
        reference = Reference(data, to_outputs(expected), (), own.spec.metadata.calibration)
        results = [
            compare(reference, to_outputs(faces), other.spec)
            for faces, other in zip(found, others, strict=True)
        ]
    click.echo(f"{data}, {machine()}\n")
    rows = [
        [
            *(Path(other.spec.model).name, result.runtime),
            *(f"{value:.5f}" for value in (result.overall.p99, result.overall.maximum)),
            f"{result.tolerance.p99:g}",
        ]
        for other, result in zip(others, results, strict=True)
    ]
    print_markdown(COLUMNS, rows)
    sys.exit(0 if all(result.passed for result in results) else 1)


if __name__ == "__main__":
    main()
