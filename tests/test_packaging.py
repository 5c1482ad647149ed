"""The package: its folders, the direction of its imports, its public names, the cost of imports."""

import ast
import configparser
import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import halnet

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "halnet": "halnet",
    "halnet.runtimes": "runtimes",
    "halnet.calibration": "calibration",
    "halnet.export": "export",
    "halnet.benchmarks": "benchmarks",
}
CORE_FOLDERS = ("faces", "photos", "videos")
# The core. A module may import the modules of the lines above its own line, and no others.
CORE = (
    ("errors",),
    ("cache", "cores", "forking", "parallel", "processor", "signal_stack", "photos.photo_objects"),
    ("ages", "closing", "download", "files", "json_text", "packages", "photos.image_formats"),
    ("faces.yunet_file", "photos.heif", "photos.jpeg_scan", "placing"),
    ("photos.images",),
    ("age_calibration", "faces.alignment", "faces.yunet_engines", "videos.video"),
    ("faces.detected", "faces.quality", "faces.yunet_output"),
    ("faces.looks", "faces.photo_view", "faces.yunet"),
    ("faces.upright", "photos.photo_files", "results", "videos.live_video", "videos.video_file"),
    ("artifact", "drawing", "tracking"),
    ("trained_on",),
)
# From photos to faces with ages. These modules may import the runtimes.
PREDICTION = (("predictor",), ("batches",), ("result_files",), ("prediction_run",))
# Modules of evaluation that may import the runtimes too.
EVALUATORS = ("accuracy", "parity", "robustness", "robustness_plot")
# The parts that the modules of each part may import, in addition to their own part.
MAY_IMPORT = {
    "core": set(),
    "network": {"core"},
    "datasets": {"core"},
    "runtimes": {"core", "network"},
    "checks": {"core", "runtimes", "evaluation"},
    "prediction": {"core", "runtimes", "checks"},
    "evaluation": {"core", "datasets"},
    "evaluators": {"core", "datasets", "runtimes", "prediction", "evaluation"},
    "batch": {"core", "runtimes", "prediction", "checks"},
    "reporting": {"core", "evaluation"},
    "audit": {
        *("core", "datasets", "runtimes", "prediction", "evaluation", "evaluators"),
        *("reporting", "checks"),
    },
    "training": {
        *("core", "network", "datasets", "evaluation", "runtimes", "calibration", "export"),
    },
    "calibration": {"core", "network", "datasets", "runtimes", "prediction"},
    "export": {"core", "network", "datasets", "runtimes", "calibration", "evaluation"},
    "benchmarks": {
        *("core", "network", "datasets", "runtimes", "prediction", "evaluation", "evaluators"),
        *("training", "calibration", "export", "reporting", "checks"),
    },
    "demo": {"core", "runtimes", "prediction", "checks"},
    "serving": {"core", "runtimes", "prediction", "checks"},
}
MAY_IMPORT["studies"] = {*MAY_IMPORT["benchmarks"], "benchmarks"}
MAY_IMPORT["commands"] = {
    *MAY_IMPORT["benchmarks"],
    *("audit", "batch", "benchmarks", "demo", "serving"),
}
EXTRAS = {
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "sklearn",
    "matplotlib",
    "jinja2",
    "ray",
    "pyarrow",
}


def modules() -> dict[str, Path]:
    """Return the files of all modules by their names."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join([package, *parts])
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Return the names that a file imports: modules, and modules with a name in them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.iter_child_nodes(tree) if top_level_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(module: str) -> str:
    """Return the part of the package that a module belongs to."""
    names = module.split(".")[1:]
    if names == ["__main__"]:
        return "commands"
    if names[0] in CORE_FOLDERS or (len(names) == 1 and names[0] not in MAY_IMPORT):
        if names[0] in CORE_FOLDERS or any(names[0] in line for line in CORE):
            return "core"
        assert any(names[0] in line for line in PREDICTION), (
            f"{module}: add it to a line of this test"
        )
        return "prediction"
    if names[0] == "evaluation" and names[-1] in EVALUATORS:
        return "evaluators"
    return "studies" if "studies" in names else names[0]


def line(module: str, lines: tuple[tuple[str, ...], ...]) -> int:
    name = module.removeprefix("halnet.")
    if name in CORE_FOLDERS:
        return -1  # the folder itself, which only has a docstring
    (index,) = (i for i, names in enumerate(lines) if name in names)
    return index


def imported_modules(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules of halnet that a file imports, without the package itself."""
    found = set()
    for name in imports(path):
        target = name if name in known else name.rpartition(".")[0]
        if target in known and target != "halnet":
            found.add(target)
    return found


NAMES = sorted(set(modules()) - {"halnet"})


@pytest.mark.parametrize("name", NAMES)
def test_imports_only_go_in_the_allowed_direction(name: str) -> None:
    known = modules()
    own = part(name)
    for imported in imported_modules(known[name], known) - {name}:
        other = part(imported)
        if own != other:
            assert other in MAY_IMPORT[own], f"{name} ({own}) imports {imported} ({other})"
        elif own in ("core", "prediction"):
            lines = CORE if own == "core" else PREDICTION
            assert line(imported, lines) < line(name, lines), f"{name} imports {imported}"


@pytest.mark.parametrize("name", NAMES)
def test_no_module_imports_public_names_from_the_package(name: str) -> None:
    """A module imports a name from where it is defined, not from `halnet`."""
    found = {i.removeprefix("halnet.") for i in imports(modules()[name]) if i.startswith("halnet.")}
    assert not found & set(halnet.__all__) - {"__version__"}


PACKAGES = [name for name, path in modules().items() if path.name == "__init__.py"]


@pytest.mark.parametrize("name", sorted(set(PACKAGES) - {"halnet"}))
def test_packages_only_export_names(name: str) -> None:
    """An `__init__.py` contains a docstring, imports and `__all__`, and nothing else."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    for node in tree.body[1:]:
        assert isinstance(node, ast.ImportFrom) or (
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ), ast.unparse(node)


HEAVY = ("halnet.network", "halnet.training", "halnet.export", "halnet.calibration")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(HEAVY)])
def test_heavy_libraries_are_imported_where_they_are_used(name: str) -> None:
    found = {i.split(".")[0] for i in imports(modules()[name], top_level_only=True)}
    assert not found & EXTRAS


@pytest.mark.parametrize("name", NAMES)
def test_no_module_is_named_after_a_library_that_it_imports(name: str) -> None:
    path = modules()[name]
    assert path.stem not in {i.split(".")[0] for i in imports(path)}


def test_every_folder_with_code_is_in_the_wheel() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    present = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert listed == present
    mapping = dict(
        line.split(" = ") for line in config["options"]["package_dir"].split("\n") if line
    )
    assert mapping == FOLDERS


def run(code: str) -> str:
    """Run Python code in a new process; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout


def loaded(code: str) -> set[str]:
    """Return the top-level modules that are loaded after a new process has run Python code."""
    names = json.loads(run(f"{code}; import sys, json; print(json.dumps(sorted(sys.modules)))"))
    return {name.split(".")[0] for name in names}


def test_import_halnet_loads_no_heavy_library() -> None:
    found = loaded("import halnet")
    assert "halnet" in found
    assert not {"torch", "cv2", "numpy", "onnxruntime", "rich", "click"} & found


def test_import_halnet_takes_under_a_fifth_of_a_second() -> None:
    code = (
        "import time; start = time.perf_counter(); import halnet; "
        "print(time.perf_counter() - start)"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.2


def test_the_predictor_loads_no_torch() -> None:
    found = loaded("from halnet import Predictor")
    assert "cv2" in found
    assert not {"torch", "sklearn", "matplotlib", "rich"} & found


def test_running_a_checkpoint_loads_no_training_library() -> None:
    found = loaded(
        "from halnet import open_runtime; "
        "from halnet.benchmarks.samples import sample_crops; "
        "open_runtime(runtime='pytorch').run(sample_crops()[:1])"
    )
    assert {"torch", "torchvision", "safetensors"} <= found
    training = {"lightning", "tensorboard", "sklearn", "timm", "torchmetrics", "matplotlib"}
    assert not training & found


PUBLIC = {
    "AgeCheck": "halnet.checks.check",
    "Ages": "halnet.results",
    "CheckOutcome": "halnet.checks.check",
    "CheckPolicy": "halnet.checks.policy",
    "DetectedFace": "halnet.faces.detected",
    "Detector": "halnet.faces.detected",
    "Face": "halnet.results",
    "FaceDetector": "halnet.faces.yunet",
    "Predictor": "halnet.predictor",
    "RuntimeOptions": "halnet.runtimes.base",
    "__version__": "halnet",
    "open_runtime": "halnet.runtimes.backends",
}


def test_the_public_names_are_a_fixed_list() -> None:
    assert halnet.__all__ == list(PUBLIC)


@pytest.mark.parametrize(("name", "module"), PUBLIC.items())
def test_each_public_name_is_loaded_from_its_module(name: str, module: str) -> None:
    assert getattr(halnet, name) is getattr(import_module(module), name)


def test_the_version_is_that_of_the_installed_package() -> None:
    assert halnet.__version__ == version("halnet")


def test_a_name_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'halnet' has no attribute 'nonsense'"):
        _ = halnet.nonsense
