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
# What each layer may import, beside the layers before it.
LAYERS = [
    ("halnet.commands",),
    ("halnet.benchmarks",),
    ("halnet.export",),
    ("halnet.calibration",),
    ("halnet.demo",),
    ("halnet.predictor", "halnet.batches", "halnet.result_files", "halnet.tracking"),
    ("halnet.runtimes",),
    ("halnet.training",),
    ("halnet.datasets",),
    ("halnet",),
]
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


def layer(module: str) -> int:
    """The higher, the closer to the core."""
    for index, prefixes in enumerate(LAYERS):
        if any(module == p or module.startswith(p + ".") for p in prefixes):
            return index
    raise AssertionError(module)


def test_imports_point_towards_the_core() -> None:
    known = modules()
    for name, path in known.items():
        if name == "halnet":
            continue  # loads the public names lazily
        for imported in imports(path):
            public = imported.removeprefix("halnet.")
            assert public not in halnet._HOMES, f"{name} imports {imported}: name its module"
            target = imported if imported in known else imported.rpartition(".")[0]
            if target in known and target != "halnet":
                assert layer(name) <= layer(target), f"{name} imports {target}"


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    allowed = ("halnet.training", "halnet.export", "halnet.calibration")
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
