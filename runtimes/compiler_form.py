"""The form of an ONNX file for vendors' compilers: its input, and how its logits become ages.

Most compilers compute a whole graph in 8-bit integers. A softmax and an expectation in 8 bits would
move ages by years, so that such a file ends with the logits, and a program does the rest. The file
states its form in a property, and a sidecar states it for programs that cannot read the property.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from halnet.ages import N_AGES, mean_and_stddev
from halnet.artifact import PREFIX
from halnet.errors import ArtifactError
from halnet.json_text import parse_json
from halnet.results import Outputs
from halnet.runtimes.base import Crops

PROPERTY = PREFIX + "compiler"
LOGITS_NAME = "logits"  # the only output
Logits = NDArray[np.float32]  # N x K


@dataclass(frozen=True)
class CompilerInput:
    """One kind of input that such a file can have."""

    layout: str  # "NCHW" or "NHWC"
    dtype: str
    normalised: bool  # whether the pixels must be normalised before; otherwise, the graph does it


INPUTS = {
    "float32-nchw": CompilerInput("NCHW", "float32", normalised=True),
    "uint8-nchw": CompilerInput("NCHW", "uint8", normalised=False),
    "uint8-nhwc": CompilerInput("NHWC", "uint8", normalised=False),
}


def _softmax(logits: Logits) -> Logits:
    """Return the probabilities of N x 101 logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Logits = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _steps(logits: Logits) -> Logits:
    """Return the probabilities of N x 100 logits, whose sigmoids are P(age > k) when sorted."""
    older = -np.sort(-1 / (1 + np.exp(-logits)), axis=1)
    ones, zeros = np.ones_like(older[:, :1]), np.zeros_like(older[:, :1])
    steps: Logits = np.concatenate([ones, older], axis=1) - np.concatenate([older, zeros], axis=1)
    return steps


@dataclass(frozen=True)
class Decoding:
    """How the logits of a head become probabilities; the same as in `halnet.network.heads`."""

    logits: int  # number of them
    formula: str
    probabilities: Callable[[Logits], Logits]


DECODINGS = {  # by the name of the head
    "distribution": Decoding(
        N_AGES, "probabilities[k] = exp(logits[k]) / sum over j of exp(logits[j])", _softmax
    ),
    "ordinal": Decoding(
        N_AGES - 1,
        "older = 1 / (1 + exp(-logits)), sorted in falling order; probabilities[k] = older[k - 1] "
        "- older[k], with older[-1] = 1 and older[100] = 0",
        _steps,
    ),
}


@dataclass(frozen=True)
class CompilerForm:
    """What such a file takes and returns."""

    input: str  # a name in INPUTS
    mean: tuple[float, float, float]  # of R, G and B, on pixels from 0 to 255
    std: tuple[float, float, float]
    head: str  # a name in DECODINGS

    def prepare(self, crops: Crops) -> NDArray[Any]:
        """Return N x 224 x 224 x 3 uint8 RGB crops as the input of the file."""
        kind = INPUTS[self.input]
        images: NDArray[Any] = crops
        if kind.normalised:
            images = (crops - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        if kind.layout == "NCHW":
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images, kind.dtype)

    def decode(self, logits: NDArray[Any]) -> Outputs:
        """Return ages, deviations and probabilities for N x K logits."""
        found = DECODINGS[self.head].probabilities(np.asarray(logits, np.float64))
        probabilities = found.astype(np.float32)
        return Outputs(*mean_and_stddev(probabilities), probabilities)

    def to_json(self) -> str:
        """Return the fields as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str | Path) -> Self | None:
        """Return the form that the file `source` states; None if it is no file for compilers.

        Raises ArtifactError if the form is damaged.
        """
        if PROPERTY not in properties:
            return None
        try:
            values = parse_json(properties[PROPERTY])
            form = cls(
                values["input"], channels(values["mean"]), channels(values["std"]), values["head"]
            )
            _ = INPUTS[form.input], DECODINGS[form.head]
        except (KeyError, ValueError, TypeError) as error:
            raise ArtifactError(
                f"{source}: its property {PROPERTY} is damaged ({error!r}); export the checkpoint "
                "again"
            ) from error
        return form


def channels(values: Any) -> tuple[float, float, float]:
    """Return three numbers, for R, G and B. Raises ValueError or TypeError for others."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
