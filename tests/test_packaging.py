"""The house: folders, import directions, and what an import costs."""

import ast
import configparser
import json
import subprocess
import sys
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
# The core, from the bottom up: a module imports modules of the lines above its own, no others.
CORE = (
    ("errors",),
    ("ages", "closing", "files", "images", "packages"),
    ("alignment", "video"),
    ("faces", "results"),
    ("artifact", "drawing", "tracking"),
)
# The way from photos to faces with ages, which stands above the runtimes.
PREDICTION = (("predictor",), ("batches",), ("result_files",))
JUDGES = ("accuracy", "parity")  # in evaluation: they stand above the runtimes too
# What the modules of each part may import beside their own part.
MAY_IMPORT = {
    "core": set(),
    "network": {"core"},
    "datasets": {"core"},
    "runtimes": {"core", "network"},
    "prediction": {"core", "runtimes"},
    "evaluation": {"core", "datasets"},
    "judges": {"core", "datasets", "runtimes", "prediction", "evaluation"},
    "training": {"core", "network", "datasets", "evaluation"},
    "calibration": {"core", "network", "datasets", "runtimes", "prediction"},
    "export": {"core", "network", "datasets", "runtimes", "calibration", "evaluation"},
    "benchmarks": {
        *("core", "network", "datasets", "runtimes", "prediction", "evaluation", "judges"),
        *("training", "calibration", "export"),
    },
    "demo": {"core", "runtimes", "prediction"},
}
MAY_IMPORT["studies"] = {*MAY_IMPORT["benchmarks"], "benchmarks"}
MAY_IMPORT["commands"] = {*MAY_IMPORT["benchmarks"], "benchmarks", "demo"}
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
}


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join([package, *parts])
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, top_level_only: bool = False) -> set[str]:
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
    """Return the part of the house that a module stands in."""
    names = module.split(".")[1:]
    if len(names) == 1 and names[0] not in MAY_IMPORT:
        if any(names[0] in line for line in CORE):
            return "core"
        assert any(names[0] in line for line in PREDICTION), f"{module}: in no line of this test"
        return "prediction"
    if names[0] == "evaluation" and names[-1] in JUDGES:
        return "judges"
    return "studies" if "studies" in names else names[0]


def line(module: str, lines: tuple[tuple[str, ...], ...]) -> int:
    (index,) = (i for i, names in enumerate(lines) if module.split(".")[1] in names)
    return index


def imported_modules(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules of halnet that a file imports, the package itself aside."""
    found = set()
    for name in imports(path):
        target = name if name in known else name.rpartition(".")[0]
        if target in known and target != "halnet":
            found.add(target)
    return found


@pytest.mark.parametrize("name", sorted(set(modules()) - {"halnet"}))
def test_imports_follow_the_parts(name: str) -> None:
    known = modules()
    own = part(name)
    for imported in imported_modules(known[name], known) - {name}:
        other = part(imported)
        if own != other:
            assert other in MAY_IMPORT[own], f"{name} ({own}) imports {imported} ({other})"
        elif own in ("core", "prediction"):
            lines = CORE if own == "core" else PREDICTION
            assert line(imported, lines) < line(name, lines), f"{name} imports {imported}"


def test_no_module_imports_public_names_from_the_package() -> None:
    for name, path in modules().items():
        if name != "halnet":  # which loads them when they are first used
            named = {i.removeprefix("halnet.") for i in imports(path) if i.startswith("halnet.")}
            assert not named & set(halnet.__all__) - {"__version__"}, name


def test_packages_only_export_names() -> None:
    """An `__init__.py` holds a docstring, imports and `__all__`; halnet's own loads names late."""
    for name, path in modules().items():
        if path.name == "__init__.py" and name != "halnet":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in tree.body[1:]:
                assert isinstance(node, ast.ImportFrom) or (
                    isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
                ), f"{path}: {ast.unparse(node)}"


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    allowed = ("halnet.network", "halnet.training", "halnet.export", "halnet.calibration")
    checked = 0
    for name, path in modules().items():
        if name.startswith(allowed):
            continue
        heavy = {i.split(".")[0] for i in imports(path, top_level_only=True)} & EXTRAS
        assert not heavy, f"{name} imports {heavy} at its top"
        checked += 1
    assert checked > 30


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


def test_no_module_is_named_after_a_library_it_imports() -> None:
    for name, path in modules().items():
        assert path.stem not in {i.split(".")[0] for i in imports(path)}, name


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout


def test_import_halnet_loads_no_heavy_library() -> None:
    loaded = json.loads(run("import halnet, sys, json; print(json.dumps(sorted(sys.modules)))"))
    assert "halnet" in loaded
    assert not {"torch", "cv2", "numpy", "onnxruntime", "rich", "click"} & set(loaded)


def test_import_halnet_takes_under_a_fifth_of_a_second() -> None:
    code = (
        "import time; start = time.perf_counter(); import halnet; "
        "print(time.perf_counter() - start)"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.2


def test_the_predictor_loads_no_torch() -> None:
    code = "from halnet import Predictor; import sys, json; print(json.dumps(sorted(sys.modules)))"
    assert not {"torch", "sklearn", "matplotlib", "rich"} & set(json.loads(run(code)))


def test_public_names() -> None:
    for name in halnet.__all__:
        assert getattr(halnet, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = halnet.nonsense
