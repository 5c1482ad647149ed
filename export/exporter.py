"""The exporter: writes a checkpoint as artifacts, checks each, and puts it in its place."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halnet.artifact import bundled
from halnet.errors import ConfigError, RuntimeUnavailableError
from halnet.evaluation.figures import import_matplotlib
from halnet.export.config import ExportConfig
from halnet.export.crop_files import write_crops
from halnet.export.exported import Checked, Exported, Staged, Verdict, put_in_place
from halnet.export.formats import FORMATS
from halnet.export.manifest import check_manifest
from halnet.export.oldest import opens_with
from halnet.packages import import_library, import_onnxruntime
from halnet.placing import check_target, staging

if TYPE_CHECKING:
    from halnet.export.int8_source import Quantizes
    from halnet.network.model import AgeNet

NEAREST = 5  # names of layers that an error about a wrong name lists

Check = Callable[[Path, str], Verdict]  # called with an artifact and the name of a runtime
OnStep = Callable[[str], None]  # called with a line that states the next step


def export(
    config: ExportConfig, check: Check | None = None, on_step: OnStep = lambda line: None
) -> list[Exported]:
    """Export a checkpoint in every requested format and precision.

    All artifacts are written and checked in a staging folder. Then they are moved into their places
    and recorded in the folder's `manifest.json`, all of them or none. An export that fails or is
    interrupted leaves the folder as it was. If a link is in the place of an artifact, the file that
    it leads to is replaced. An artifact that fails its `check` is kept under a name that no runtime
    opens. `on_step` is called with a line before each step.

    Raises ArtifactError for a checkpoint or graph that cannot be exported, ConfigError for a layer
    or capability that does not exist, for a place that cannot be written and where another export
    into the folder is running, DatasetError for photos that INT8 cannot be calibrated on, and
    RuntimeUnavailableError for a missing library.
    """
    exporter = _Exporter(config, on_step)
    jobs = dict.fromkeys(  # a name that is given twice is written once
        (name, precision) for precision, name in product(config.precisions, config.formats)
    )
    for name, precision in jobs:
        for file in FORMATS[name].list_files(config.out / FORMATS[name].file_names[precision]):
            check_target(file)
    with staging(config.out, "export") as folder:
        check_manifest(config.out)
        if config.needs_crops:
            exporter.find_photos()
        written = [exporter.write(name, precision, folder) for name, precision in jobs]
        checked = [Checked(work, *_check(work, check, on_step)) for work in written]
        return put_in_place(config.out, checked)


class _Exporter:
    """Loads the checkpoint and the writers once, and traces and quantizes each graph once."""

    def __init__(self, config: ExportConfig, on_step: OnStep) -> None:
        """Load the libraries and check all names, so that a fault is found before the work."""
        self._config = config
        self._on_step = on_step
        self._writers = {name: FORMATS[name].load_writer() for name in config.formats}
        _check_libraries(config)
        for name in config.formats:
            FORMATS[name].check_target(config.target, config.precisions)
        from halnet.export.graph import simplify
        from halnet.network.checkpoint import kept_random_state, load_checkpoint

        with kept_random_state():
            self._checkpoint = load_checkpoint(config.checkpoint or bundled("halnet.safetensors"))
        self._network = simplify(self._checkpoint.model)
        _check_layers(config.int8.keep or (), self._network)
        self._graphs: dict[tuple[str, str, str], Any] = {}
        self._quantizers: dict[str, Quantizes] = {}

    def write(self, name: str, precision: str, folder: Path) -> Staged:
        """Write the artifact of one format and precision into `folder`."""
        config, line = self._config, FORMATS[name]
        calibration: dict[str, Any] | None = None  # FP32 and FP16 are not calibrated
        if precision == "int8":
            scheme = config.int8.scheme(line.scheme)
            int8 = self._open_int8(line.quantizer)
            graph, calibration = int8.quantize(scheme, line.budget_runtime, config.out)
        else:
            computed = line.traced.get(precision, precision)
            graph = self._trace(precision, computed, line.tracer, line.batch)
        staged = folder / line.file_names[precision]
        self._on_step(f"writing {staged.name}")
        bits = calibration["weight_bits"] if calibration else 0
        metadata = replace(self._checkpoint.metadata, precision=precision, weight_bits=bits)
        self._writers[name](graph, metadata, staged, config.target)
        if line.gives_crops:
            calibration = write_crops(self._samples.calibration, staged)
        entry = {
            "format": name,
            "precision": precision,
            "batch": config.batch or line.batch or "dynamic",
            "calibration": calibration,
            "opens_with": opens_with(name, precision),  # package: its releases
            "checkpoint_sha256": self._checkpoint.sha256,
        }
        return Staged(staged, config.out / staged.name, name, precision, entry)

    def _trace(
        self, precision: str, computed: str, tracer: str = "to_onnx", batch: int | None = None
    ) -> Any:
        """Return the graph whose weights fit `precision` and that computes in `computed`.

        `tracer` is the name of the file that makes it, and `batch` the batch size unless the
        configuration names one.
        """
        from halnet.export.graph import round_to_half

        key = precision, computed, tracer
        if key not in self._graphs:
            self._on_step(f"tracing the network in {precision}")
            network = round_to_half(self._network) if precision == "fp16" else self._network
            trace = import_module(f"halnet.export.{tracer}").trace
            self._graphs[key] = trace(network, computed, self._config.batch or batch)
        return self._graphs[key]

    def find_photos(self) -> None:
        """Find the crops for a calibration, so that a fault in them is found before other work.

        Raises what `find_samples` raises.
        """
        from halnet.export.samples import find_samples

        self._samples = find_samples(self._config.int8, self._checkpoint, self._on_step)

    def _open_int8(self, quantizer: str) -> "Quantizes":
        """Return what quantizes the network; `quantizer` is the name of its file."""
        from halnet.export.int8_source import Int8Source

        if quantizer not in self._quantizers:
            source = Int8Source(
                self._network,
                self._trace("fp32", "fp32"),
                self._checkpoint.fits_integers,
                self._samples,
                self._config.batch,
            )
            open_int8 = import_module(f"halnet.export.{quantizer}").open_int8
            self._quantizers[quantizer] = open_int8(source, self._config.int8, self._on_step)
        return self._quantizers[quantizer]


def _check_libraries(config: ExportConfig) -> None:
    """Raise RuntimeUnavailableError where a library that the work needs later is missing."""
    for library in ("torch", "onnx", "onnxscript"):
        import_library(library, "halnet export", "export")
    if "int8" in config.precisions:
        import_onnxruntime("--precision int8", "export,onnxruntime")
        if config.int8.sensitivity:
            import_matplotlib("--sensitivity")


def _check_layers(names: Sequence[str], network: "AgeNet") -> None:
    """Raise ConfigError, with the nearest names, where no layer of the network has a name."""
    from halnet.export.graph import layer_names

    known = layer_names(network) if names else []
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, NEAREST, cutoff=0)
            raise ConfigError(
                f"--keep-float {name}: expected none or the name of one of the {len(known)} layers "
                f"of the network; the nearest names are {', '.join(near)}"
            )


def _check(work: Staged, check: Check | None, on_step: OnStep) -> tuple[Verdict | None, str]:
    """Return the verdict of a check, or None and why there is none."""
    if check is None:
        return None, "no check was requested"
    on_step(f"checking {work.staged.name}")
    try:
        return check(work.staged, FORMATS[work.format].runtime), ""
    except RuntimeUnavailableError as error:
        return None, str(error)
