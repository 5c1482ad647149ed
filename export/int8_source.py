"""What an export quantizes, for the two ways of quantizing: ONNX graphs, and LiteRT models."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from halnet.export.config import Int8Config
from halnet.export.samples import Int8Samples
from halnet.network.model import AgeNet

OnStep = Callable[[str], None]  # called with a line that states the next step


@dataclass(frozen=True, eq=False)
class Int8Source:
    """A network that is quantized, and with which photos."""

    network: AgeNet  # simplified for export
    proto: Any  # its FP32 graph, an ONNX model
    fits_integers: bool  # whether its weights were trained for integers
    samples: Int8Samples
    batch: int | None = None  # fixed batch size; None: any


class Quantizes(Protocol):
    """Quantizes one network for one or several formats."""

    def quantize(self, scheme: str, budget_runtime: str, out: Path) -> tuple[Any, dict[str, Any]]:
        """Return the quantized graph, and how it was calibrated, for the manifest.

        `scheme` is that of the format, `budget_runtime` measures whether a graph meets the budget,
        and what else is written goes into the folder `out`. Raises ArtifactError where no graph
        meets the budget.
        """
        ...


# Called as open_int8(source, config, on_step), a function of the file that a format names.
OpenInt8 = Callable[[Int8Source, Int8Config, OnStep], Quantizes]
