"""The options of an export: checkpoint, formats, precisions, and what some of these need."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path

from halnet.calibration.budget import Budget
from halnet.errors import ConfigError
from halnet.export.formats import FORMATS
from halnet.export.litert_forms import FORMS
from halnet.processor import adds_8_bit_products_exactly, cpu_features
from halnet.runtimes.compiler_form import INPUTS

OPSETS = range(11, 19)  # of ONNX, in which a network can be written


@dataclass(frozen=True)
class Target:
    """What some formats are written for, or contain. The others run on any machine as they are."""

    # Of a TensorRT engine: its minimum, optimal and maximum batch size, and the GPUs that it is
    # built for, such as "SM86"; empty: those in `to_tensorrt`.
    batches: tuple[int, int, int] = field(default=(1, 8, 32), metadata={"option": "--profile"})
    capabilities: tuple[str, ...] = field(default=(), metadata={"option": "--capability"})
    # Of an ONNX file for compilers: its opset and its input, a name in `INPUTS`.
    opset: int = field(default=17, metadata={"option": "--opset"})
    input: str = field(default="float32-nchw", metadata={"option": "--compiler-input"})
    # Of a folder for browsers: the YuNet file and the folder of onnxruntime-web; None: those that
    # the environment names, or downloads.
    detector: Path | None = field(default=None, metadata={"option": "--detector"})
    onnxruntime_web: Path | None = field(default=None, metadata={"option": "--onnxruntime-web"})

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise ConfigError(
                f"opset: expected a number from {OPSETS[0]} to {OPSETS[-1]}, found {self.opset}"
            )
        if self.input not in INPUTS:
            raise ConfigError(
                f"compiler input: expected one of {', '.join(INPUTS)}, found {self.input}"
            )
        minimum, optimal, maximum = self.batches
        if not 1 <= minimum <= optimal <= maximum:
            raise ConfigError(
                "profile: expected a minimum, optimal and maximum batch size in rising order, "
                f"found {minimum}, {optimal}, {maximum}"
            )


@dataclass(frozen=True)
class Int8Config:
    """How a network is quantized."""

    data: tuple[Path, ...] = ()  # prepared datasets; their validation photos judge the budget
    photos: Path | None = None  # photos to measure ranges on; None: those, or synthetic crops
    detector: Path | None = None  # local YuNet file that finds the faces in `photos`
    crops: int = 128  # largest number of crops that ranges are measured on
    weight_bits: int = 7  # of ONNX and OpenVINO; 8 for x86 with VNNI and for Arm alone
    # Of LiteRT, a name in `litert_forms.FORMS`; None: the form is chosen by measurement
    form: str | None = None
    method: str = "minmax"  # how ranges are measured, a name in `calibration.methods.METHODS`
    seed: int = 0  # decides which crops are picked
    keep: tuple[str, ...] | None = None  # layers kept in floating point; None: search for them
    budget: Budget = field(default_factory=Budget)  # that the search must meet
    sensitivity: bool = False  # whether to write the ranking of the layers into the folder
    threads: int | None = None  # number of threads that measure ages; None: one for each core

    def __post_init__(self) -> None:
        if self.crops < 1:
            raise ConfigError(f"calibration photos: expected at least 1, found {self.crops}")
        if self.weight_bits not in (7, 8):
            raise ConfigError(f"weight bits: expected 7 or 8, found {self.weight_bits}")
        if self.weight_bits == 8 and adds_8_bit_products_exactly() is False:
            raise ConfigError(
                "--weight-bits 8: expected a processor with VNNI, on which the model is made and "
                f"checked, found {', '.join(cpu_features())}; use --weight-bits 7, or export on "
                "another machine"
            )
        if self.form is not None and self.form not in FORMS:
            raise ConfigError(
                f"--litert-form {self.form}: expected one of {', '.join(FORMS)}; leave it out to "
                "choose the form by measurement"
            )
        if self.detector is not None and self.photos is None:
            raise ConfigError(
                "--detector needs --calibration FOLDER: the detector finds the faces in its photos"
            )

    @property
    def is_for_photos(self) -> bool:
        """Whether only fields are set that say which photos a network is calibrated on."""
        photos = {name: getattr(self, name) for name in ("data", "photos", "detector", "crops")}
        return self == Int8Config(**photos, seed=self.seed)

    def scheme(self, name: str) -> str:
        """Return the name of the scheme in `SCHEMES` for a format whose own scheme is `name`."""
        return f"{name} 8" if name == "unsigned" and self.weight_bits == 8 else name


@dataclass(frozen=True)
class ExportConfig:
    """What is exported, and into which folder."""

    checkpoint: Path | None = None  # None: the checkpoint that comes with the package
    formats: tuple[str, ...] = ("onnx",)  # names in `FORMATS`
    precisions: tuple[str, ...] = ("fp32",)  # "fp32", "fp16", "int8"
    batch: int | None = None  # fixed batch size of every inference; None: any batch size
    out: Path = Path("deploy")
    target: Target = field(default_factory=Target)
    int8: Int8Config = field(default_factory=Int8Config)

    def __post_init__(self) -> None:
        _check_names("format", self.formats, list(FORMATS))
        for name in self.formats:
            _check_names("precision", self.precisions, list(FORMATS[name].file_names))
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch: expected at least 1 or dynamic, found {self.batch}")
        _check_target(self.target, self.formats)
        if self.int8.form and not ("litert" in self.formats and "int8" in self.precisions):
            raise ConfigError("--litert-form needs --format litert and --precision int8")
        if (
            self.int8 != Int8Config()
            and "int8" not in self.precisions
            and not (self.needs_crops and self.int8.is_for_photos)
        ):
            raise ConfigError(
                "the options of calibration, weight bits, budget and sensitivity need "
                "--precision int8"
            )
        if self.int8.sensitivity or self.int8.method != Int8Config().method:
            for name in self.formats:
                if not FORMATS[name].ranks_layers:
                    raise ConfigError(
                        f"--sensitivity and --calibration-method: expected another format than "
                        f"{name}, whose INT8 keeps layers from the input on and measures ranges by "
                        f"{Int8Config().method}; leave out the option, or --format {name}"
                    )
        if self.target.batches != Target().batches and self.batch is not None:
            raise ConfigError(
                "--profile needs --batch dynamic: a fixed batch size has no range to optimise"
            )

    @property
    def needs_crops(self) -> bool:
        """Whether crops are needed: for INT8, or for a compiler that quantizes."""
        return needs_crops(self.formats, self.precisions)


def needs_crops(formats: Sequence[str], precisions: Sequence[str]) -> bool:
    """Return whether an export needs crops. Unknown names of formats need none."""
    return "int8" in precisions or any(
        FORMATS[name].gives_crops for name in formats if name in FORMATS
    )


def _check_target(target: Target, formats: Sequence[str]) -> None:
    """Raise ConfigError where a field is set that no format uses."""
    for part in fields(target):
        users = [name for name, line in FORMATS.items() if part.name in line.uses]
        is_used = any(name in users for name in formats)
        if getattr(target, part.name) != part.default and not is_used:
            raise ConfigError(f"{part.metadata['option']} needs --format {' or '.join(users)}")


def _check_names(kind: str, names: Sequence[str], known: list[str]) -> None:
    """Raise ConfigError for no names, or for a name that is not `known`, with the nearest one."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{kind} {name}: expected one of {', '.join(known)}{hint}")
    if not names:
        raise ConfigError(f"{kind}: expected at least one of {', '.join(known)}, found none")
