"""Elsewhere: how far the logits of a vendor's runtime shift ages, from the file that it compiled.

`python -m halnet.benchmarks.elsewhere halnet.compiler.onnx crops.npy logits.npy` runs the file in
ONNX Runtime on the same crops, and compares the ages.
"""

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from halnet.errors import ConfigError, HalnetError
from halnet.evaluation.parity import TOLERANCES
from halnet.runtimes.backends import open_runtime
from halnet.runtimes.base import Crops
from halnet.runtimes.compiler_form import DECODINGS
from halnet.runtimes.ort import OnnxRuntime


def age_shifts(model: Path, crops: Crops, logits: Any) -> Any:
    """Return by how many years the ages of N x K logits differ from those of a model file.

    `crops` are N x 224 x 224 x 3 uint8 RGB, in the order of the logits. Raises ArtifactError for a
    file that is not one for compilers, and ConfigError for logits of another shape or for some that
    are not finite.
    """
    with open_runtime(model, "onnxruntime", "cpu") as runtime:
        assert isinstance(runtime, OnnxRuntime)
        form = runtime.form
        if form is None:
            raise ConfigError(
                f"{model}: expected a file with logits; make one with halnet export --for-compiler"
            )
        expected = runtime.run(crops).age
    shape = len(crops), DECODINGS[form.head].logits
    if logits.shape != shape or not np.isfinite(logits).all():
        raise ConfigError(
            f"logits: expected finite numbers of shape {shape}, found {logits.dtype} of shape "
            f"{logits.shape}; store one row for each crop"
        )
    return form.decode(logits).age - expected


@click.command()
@click.argument("model", type=Path)
@click.argument("crops", type=click.Path(exists=True))
@click.argument("logits", type=click.Path(exists=True))
def main(model: Path, crops: str, logits: str) -> None:
    """Compare LOGITS with those of MODEL for the same CROPS; both are .npy files.

    The exit status is 1 if 99 % of ages shift by more than the tolerance of INT8.
    """
    try:
        shifts = age_shifts(model, np.load(crops), np.load(logits))
    except (HalnetError, ValueError, EOFError) as error:  # NumPy's errors for a damaged file
        raise click.UsageError(str(error)) from error
    p99, limit = np.percentile(np.abs(shifts), 99), TOLERANCES["int8"].p99
    click.echo(
        f"{len(shifts)} crops: ages shift by {np.mean(shifts):+.3f} years in the mean, by "
        f"{np.median(np.abs(shifts)):.3f} in the median, 99 % by at most {p99:.3f} (limit: {limit})"
        f", one by {np.abs(shifts).max():.3f}"
    )
    sys.exit(int(p99 > limit))


if __name__ == "__main__":
    main()
