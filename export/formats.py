"""The table of formats that a checkpoint can be exported to.

To add a format, write a file beside this one with a function (graph, metadata, path, target) that
writes one artifact to the path, and add a line to `FORMATS`. The file imports the library of the
format at its top, so that an export finds out before its work whether it is installed. A format
that is not made from the ONNX graph names files of its own for `tracer` and `quantizer`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from halnet.artifact import OPENVINO_FILES, PACKAGE_FILES, WEB_FILES
from halnet.export.crop_files import CROP_SUFFIXES
from halnet.packages import needs
from halnet.runtimes.sidecar import SIDECAR_SUFFIX

if TYPE_CHECKING:  # it imports this table
    from halnet.export.config import Target


@dataclass(frozen=True)
class Format:
    """One line of the table of formats."""

    module: str  # name of the file that writes the format, below halnet.export
    function: str  # name of its function, which is called with (graph, metadata, path, target)
    file_names: dict[str, str]  # name of the artifact in each precision
    runtime: str  # runtime that checks the artifact after it is written; "auto": none can run it
    packages: tuple[str, ...]  # modules whose versions the manifest states
    extra: str = "export"  # extras of halnet that install these packages
    traced: dict[str, str] = field(
        default_factory=dict
    )  # precision: what its graph computes in instead
    # Of INT8, a name in `calibration.quantizer.SCHEMES`; empty: its `quantizer` chooses one
    scheme: str = "unsigned"
    budget_runtime: str = "onnxruntime"  # runtime that measures whether INT8 meets the budget
    tracer: str = "to_onnx"  # file below halnet.export; its `trace` makes the graph of a network
    quantizer: str = "int8"  # file below halnet.export; its `open_int8` makes INT8 graphs
    ranks_layers: bool = True  # False: INT8 has no ranking, and measures ranges by minmax alone
    batch: int | None = None  # batch size unless one is named; None: any
    # Whether the crops that a compiler quantizes with are written beside the file
    gives_crops: bool = False
    beside: tuple[str, ...] = ()  # suffixes of further files that belong to the artifact
    inside: tuple[str, ...] = ()  # names of the files of an artifact that is a folder
    # Name of its function that checks (target, precisions) before the work; empty: it needs none
    target_check: str = ""
    uses: tuple[str, ...] = ()  # names of the fields of `Target` that it uses

    def list_files(self, path: Path) -> list[Path]:
        """Return the files that an artifact at `path` consists of, the one to open it by last."""
        if self.inside:
            return [path / name for name in self.inside]
        return [path.with_name(path.name + suffix) for suffix in (*self.beside, "")]

    def load_writer(self) -> Callable[..., None]:
        """Return the function that writes this format.

        Raises RuntimeUnavailableError where its library is missing.
        """
        return self._load(self.function)

    def check_target(self, target: "Target", precisions: Sequence[str]) -> None:
        """Raise ConfigError for a target that the format cannot be written for.

        Raises RuntimeUnavailableError where its library is missing.
        """
        if self.target_check:
            self._load(self.target_check)(target, precisions)

    def _load(self, function: str) -> Callable[..., None]:
        with needs("halnet export", self.extra):
            loaded: Callable[..., None] = getattr(
                import_module(f"halnet.export.{self.module}"), function
            )
        return loaded


TRACED_BY = ("torch", "onnx", "onnxscript")

FORMATS = {
    "onnx": Format(
        "to_onnx",
        "write_onnx",
        {"fp32": "halnet.onnx", "fp16": "halnet.fp16.onnx", "int8": "halnet.int8.onnx"},
        "onnxruntime",
        TRACED_BY,
    ),
    "compiler": Format(
        "to_compiler",
        "write_compiler",
        {"fp32": "halnet.compiler.onnx"},
        "onnxruntime",
        TRACED_BY,
        tracer="to_compiler",
        batch=1,
        gives_crops=True,
        beside=(SIDECAR_SUFFIX, *CROP_SUFFIXES),
        uses=("opset", "input"),
    ),
    "openvino": Format(
        "to_openvino",
        "write_openvino",
        {
            "fp32": "halnet_openvino_model",
            "fp16": "halnet_fp16_openvino_model",
            "int8": "halnet_int8_openvino_model",
        },
        "openvino",
        (*TRACED_BY, "openvino"),
        "export,openvino",
        traced={"fp16": "fp32"},  # OpenVINO itself stores the weights in FP16
        budget_runtime="openvino",
        inside=OPENVINO_FILES,
    ),
    "tensorrt": Format(
        "to_tensorrt",
        "write_tensorrt",
        {"fp32": "halnet.engine", "fp16": "halnet.fp16.engine", "int8": "halnet.int8.engine"},
        "tensorrt",
        (*TRACED_BY, "tensorrt_rtx", "tensorrt"),
        "export,tensorrt-rtx",
        scheme="symmetric",
        beside=(SIDECAR_SUFFIX,),
        target_check="check_target",
        uses=("batches", "capabilities"),
    ),
    "litert": Format(
        "to_litert",
        "write_litert",
        {"fp32": "halnet.tflite", "fp16": "halnet.fp16.tflite", "int8": "halnet.int8.tflite"},
        "litert",
        ("torch", "litert_torch", "ai_edge_quantizer", "ai_edge_litert"),
        "litert-export",
        scheme="",
        budget_runtime="litert",
        tracer="to_litert",
        quantizer="litert_int8",
        ranks_layers=False,
    ),
    "coreml": Format(
        "to_coreml",
        "write_coreml",
        {"fp32": "halnet.mlpackage", "fp16": "halnet.fp16.mlpackage"},
        "auto",
        ("torch", "coremltools"),
        "coreml",
        tracer="to_coreml",
        batch=1,
        inside=PACKAGE_FILES,
    ),
    "web": Format(
        "to_web",
        "write_web",
        {"fp32": "halnet_web", "fp16": "halnet_fp16_web", "int8": "halnet_int8_web"},
        "onnxruntime",
        TRACED_BY,
        inside=WEB_FILES,
        target_check="check_target",
        uses=("detector", "onnxruntime_web"),
    ),
}
PRECISIONS = tuple(dict.fromkeys(name for line in FORMATS.values() for name in line.file_names))
