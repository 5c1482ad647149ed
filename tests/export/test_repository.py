"""Repositories: their structure, each name, type and shape in them, and images that are refused."""

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled, sha256_file
from halnet.commands import group, run
from halnet.errors import ArtifactError, ConfigError
from halnet.export.config import Target
from halnet.export.manifest import describe_artifact, record_artifacts
from halnet.export.protobuf_text import parse_text
from halnet.export.repository import check_repository, write_repository
from halnet.export.served_model import read_by_onnx
from halnet.runtimes.backends import open_runtime
from halnet.runtimes.sidecar import Sidecar, sidecar_path
from halnet.signal_stack import kept_signal_stack

onnx = pytest.importorskip("onnx")
ov = pytest.importorskip("openvino")
ort = pytest.importorskip("onnxruntime")

PRECISIONS = ("fp32", "fp16", "int8")
MODELS = {f"halnet_{p}_{form}" for p in PRECISIONS for form in ("onnx", "openvino")}
MODEL = bundled("halnet.onnx")


def save_onnx(path: Path, precision: str = "fp32", batch: int | None = None) -> None:
    """Save the bundled model as an artifact that states another precision or batch size."""
    model = onnx.load(MODEL)
    metadata = replace(read_by_onnx("", MODEL).metadata, precision=precision)
    onnx.helper.set_model_props(model, metadata.to_properties())
    for value in (*model.graph.input, *model.graph.output) if batch else ():
        value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)


def record(*paths: Path) -> None:
    entries = {path.name: describe_artifact(path, {}, ()) for path in paths}
    record_artifacts(paths[0].parent, entries)


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of the bundled model. The INT8 ones state INT8 and compute in FP32."""
    from halnet.export.to_openvino import write_openvino

    folder = tmp_path_factory.mktemp("deploy")
    metadata = read_by_onnx("", MODEL).metadata
    graph = onnx.load(MODEL)
    del graph.metadata_props[:]  # as the graphs are that the exporter writes
    for precision in PRECISIONS:
        part = "" if precision == "fp32" else f".{precision}"
        save_onnx(folder / f"halnet{part}.onnx", precision)
        path = folder / f"halnet{part.replace('.', '_')}_openvino_model"
        write_openvino(graph, replace(metadata, precision=precision), path, Target())
    record(*sorted(folder.iterdir()))
    return folder


@pytest.fixture(scope="module")
def written(deploy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("repositories")
    made = {name: write_repository(name, deploy, folder / name) for name in ("triton", "ovms")}
    assert {frozenset(repository.models) for repository in made.values()} == {frozenset(MODELS)}
    assert not any(repository.left_out for repository in made.values())
    return {name: repository.folder for name, repository in made.items()}


@pytest.fixture(scope="module")
def single(deploy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Repositories of one model each. Tests change copies of them."""
    folder = tmp_path_factory.mktemp("single")
    for server, name in (("triton", "halnet.onnx"), ("ovms", "halnet_openvino_model")):
        source = folder / f"{server}.deploy"
        copy = shutil.copytree if (deploy / name).is_dir() else shutil.copyfile
        source.mkdir()
        copy(deploy / name, source / name)
        record(source / name)
        write_repository(server, source, folder / server)
    return {server: folder / server for server in ("triton", "ovms")}


def tensors(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Return the types and shapes that ONNX Runtime or OpenVINO finds; -1 for any size."""
    if path.suffix == ".onnx":
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        values = (*session.get_inputs(), *session.get_outputs())
        types = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32"}
        return {
            v.name: (types[v.type], [d if isinstance(d, int) else -1 for d in v.shape])
            for v in values
        }
    network = ov.Core().read_model(path)
    types = {"u8": "UINT8", "f32": "FP32"}
    return {
        port.any_name: (
            types[port.element_type.get_type_name()],
            [-1 if d.is_dynamic else d.get_length() for d in port.partial_shape],
        )
        for port in (*network.inputs, *network.outputs)
    }


def configured(config: dict[str, Any]) -> dict[str, tuple[str, list[int]]]:
    """Return the types and shapes that a model has if Triton's documents are followed."""
    found = {}
    for tensor in config["input"] + config["output"]:
        dims = tensor["reshape"][0]["shape"] if "reshape" in tensor else tensor["dims"]
        shape = [-1, *dims] if config["max_batch_size"] else dims
        found[tensor["name"]] = tensor["data_type"].removeprefix("TYPE_"), shape
    return found


@pytest.mark.parametrize("server", ["triton", "ovms"])
def test_the_files_are_those_of_the_artifacts(
    server: str, deploy: Path, written: dict[str, Path]
) -> None:
    folder = written[server]
    own = {"triton": "config.pbtxt", "ovms": ""}[server]
    assert {p.name for p in folder.iterdir() if p.is_dir()} == MODELS
    for name in MODELS:
        _, precision, form = name.split("_")
        part = "" if precision == "fp32" else precision
        artifact = deploy / ".".join(filter(None, ["halnet", part, "onnx"]))
        pairs = [(artifact, "model.onnx")]
        if form == "openvino":
            artifact = deploy / "_".join(filter(None, ["halnet", part, "openvino_model"]))
            pairs = [(artifact / f"halnet.{end}", f"model.{end}") for end in ("bin", "xml")]
        version = folder / name / "1"
        assert {p.name for p in version.parent.iterdir()} == {"1", *filter(None, [own])}
        assert {p.name for p in version.iterdir()} == {target for _, target in pairs}
        for source, target in pairs:
            assert sha256_file(version / target) == sha256_file(source)
    assert len(check_repository(folder)) == 6
    text = (folder / "README.md").read_text()
    assert f'"$PWD/{server}":/models:ro' in text
    assert "was not run" in text


def test_triton_gets_the_names_types_and_shapes(written: dict[str, Path]) -> None:
    for name in MODELS:
        folder = written["triton"] / name
        config = parse_text((folder / "config.pbtxt").read_text())
        (opened,) = (p for p in (folder / "1").iterdir() if p.suffix in (".onnx", ".xml"))
        assert configured(config) == tensors(opened)
        assert configured(config)["image"] == ("UINT8", [-1, 224, 224, 3])
        assert config["name"] == name
        batched = name.endswith("onnx")
        assert config["max_batch_size"] == (32 if batched else 0)
        assert ("dynamic_batching" in config) == batched
        assert config.get("platform") == ("onnxruntime_onnx" if batched else None)
        assert config.get("backend") == (None if batched else "openvino")
        kind = "KIND_AUTO" if batched and "int8" not in name else "KIND_CPU"
        assert [group["kind"] for group in config["instance_group"]] == [kind]
        warm = [part["inputs"][0]["value"][0]["dims"] for part in config["model_warmup"]]
        assert warm == ([[224, 224, 3]] * 4 if batched else [[1, 224, 224, 3]])
        assert [part["batch_size"] for part in config["model_warmup"]] == (
            [1, 8, 16, 32] if batched else [1]
        )
        assert config["response_cache"] == [{"enable": False}]
        stated = {p["key"]: p["value"][0]["string_value"] for p in config["parameters"]}
        metadata = read_by_onnx("", MODEL).metadata
        assert stated["halnet.precision"] == name.split("_")[1]
        assert stated.get("cudnn_conv_algo_search") == ("1" if kind == "KIND_AUTO" else None)
        assert stated["halnet.input_fingerprint"] == metadata.input.fingerprint()
        assert stated["halnet.checkpoint_sha256"] == metadata.checkpoint_sha256
        assert stated["halnet.calibration"] == metadata.to_properties()["halnet.calibration"]


@pytest.fixture(scope="module")
def triton_schema() -> Any:
    """Triton's own schema. The client for gRPC is not needed, which wants an older protobuf."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    client = find_spec("tritonclient")
    if client is None or not client.submodule_search_locations:
        pytest.skip("needs Triton's schema: pip install --no-deps tritonclient")
    path = Path(client.submodule_search_locations[0], "grpc", "model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    return lambda text: text_format.Parse(text, schema.ModelConfig())


def test_the_configuration_follows_tritons_schema(
    triton_schema: Callable[[str], Any], written: dict[str, Path]
) -> None:
    for name in MODELS:
        text = (written["triton"] / name / "config.pbtxt").read_text()
        config, own = triton_schema(text), parse_text(text)
        assert config.name == name
        assert config.max_batch_size == own["max_batch_size"]
        for found, expected in zip(
            [*config.input, *config.output], own["input"] + own["output"], strict=True
        ):
            kind = found.DESCRIPTOR.fields_by_name["data_type"].enum_type
            number = kind.values_by_name[expected["data_type"]].number
            assert (found.name, found.data_type) == (expected["name"], number)
            assert list(found.dims) == expected["dims"]
            assert found.HasField("reshape") == ("reshape" in expected)
        batched = own["max_batch_size"] > 0
        assert config.HasField("dynamic_batching") == batched
        assert list(config.dynamic_batching.preferred_batch_size) == [8, 16, 32] * batched
        assert config.model_warmup[0].inputs["image"].random_data
        accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
        on_gpu = name in ("halnet_fp32_onnx", "halnet_fp16_onnx")
        assert [(found.name, dict(found.parameters)) for found in accelerators] == (
            [("cuda", {"use_tf32": "0"})] if on_gpu else []
        )
        assert not config.response_cache.enable
        assert set(config.parameters) == {entry["key"] for entry in own["parameters"]}


class RefusedError(Exception):
    """Stands for the error "Received binary image input but resource not configured ..."."""


def decode(config: dict[str, Any], encoded: Any) -> np.ndarray:
    """Return the array that OpenVINO Model Server makes of an encoded image for `image`.

    As its src/tensor_conversion.cpp does it. Without a layout in the configuration, that of the
    model counts, and N... if it has none.
    """
    letters = config.get("layout", {}).get("image", "N...")
    given = letters.replace("...", "?" * (4 - len(letters.replace("...", ""))))
    if any("?" not in (a, b) and a != b for a, b in zip(given, "NHWC", strict=True)):
        raise RefusedError
    image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(cv2.resize(image, (224, 224)))[None]  # BGR


def serve(config: dict[str, Any], folder: Path) -> Callable[[Any], float]:
    """Return a function from an array to the age, as the server runs a model with a layout."""
    (path,) = (p for p in (folder / "1").iterdir() if p.suffix in (".onnx", ".xml"))
    network = ov.Core().read_model(path)
    layout = config.get("layout", {}).get("image")
    if layout:
        steps = ov.preprocess.PrePostProcessor(network)
        steps.input("image").tensor().set_layout(ov.Layout(layout))
        steps.input("image").model().set_layout(ov.Layout(layout))
        network = steps.build()
    with kept_signal_stack():
        compiled = ov.Core().compile_model(network, "CPU", config["plugin_config"])
    return lambda crops: float(compiled({"image": crops})["age"][0])


def test_openvino_model_server_refuses_images_that_would_get_wrong_ages(
    written: dict[str, Path], single: dict[str, Path], portrait_crop: Path, tmp_path: Path
) -> None:
    folder = written["ovms"]
    content = json.loads((folder / "config.json").read_text())
    configs = {entry["config"]["name"]: entry["config"] for entry in content["model_config_list"]}
    assert set(configs) == MODELS
    crop = np.load(portrait_crop)
    with open_runtime(MODEL, "onnxruntime", "cpu") as runtime:
        age = float(runtime.run(crop).age[0])
    png = cv2.imencode(".png", crop[0, :, :, ::-1])[1]  # the file shows the colours as they are
    jpeg = np.fromfile(bundled("portrait.jpg"), np.uint8)

    for name in ("halnet_fp32_openvino", "halnet_fp32_onnx"):
        ages = serve(configs[name], folder / name)
        assert ages(crop) == pytest.approx(age, abs=0.01), "the layout changes no array"
        for image in (png, jpeg):
            with pytest.raises(RefusedError):
                decode(configs[name], image)

    # What would happen without the layout: the types and shapes fit, and the ages are wrong.
    open_config = {k: v for k, v in configs[name].items() if k != "layout"}
    ages = serve(open_config, folder / name)
    assert decode(open_config, png).shape == crop.shape
    assert decode(open_config, png).dtype == crop.dtype
    assert ages(decode(open_config, png)) - age == pytest.approx(4.5, abs=0.3)
    assert ages(decode(open_config, jpeg)) - age == pytest.approx(19, abs=2)
    assert ages(decode(open_config, png)[..., ::-1].copy()) == pytest.approx(age, abs=0.01)

    damaged = Path(shutil.copytree(single["ovms"], tmp_path / "ovms"))
    content = json.loads((damaged / "config.json").read_text())
    content["model_config_list"][0]["config"].pop("layout")
    (damaged / "config.json").write_text(json.dumps(content))
    with pytest.raises(
        ArtifactError, match="expected the layout NCHW .* decodes JPEG files to BGR"
    ):
        check_repository(damaged)


CONFIG = "halnet_fp32_onnx/config.pbtxt"


@pytest.mark.parametrize(
    ("server", "name", "old", "new", "message"),
    [
        ("triton", CONFIG, "TYPE_UINT8", "TYPE_FP32", r"image: expected \('uint8'.*'float32'"),
        ("triton", CONFIG, "[ 224, 224, 3 ]", "[ 3, 224, 224 ]", "image: expected .*, 3, 224, 224"),
        ("triton", CONFIG, '"stddev"', '"deviation"', "deviation: expected nothing"),
        ("triton", CONFIG, "dims: [ 101 ]", "dims: [ 100 ]", "probabilities: expected"),
        ("triton", CONFIG, "    shape: [ ]", "    shape: [ 1 ]", "age: expected"),
        ("triton", CONFIG, "max_batch_size: 32", "max_batch_size: 0", "expected"),
        ("triton", CONFIG, '"onnxruntime_onnx"', '"tensorrt_plan"', "platform: expected"),
        ("triton", CONFIG, '"halnet_fp32_onnx"', '"halnet"', "name: expected halnet_fp32_onnx"),
        ("triton", CONFIG, "enable: false", "enable: true", "response_cache: expected False"),
        ("triton", CONFIG, '"fp32"', '"fp16"', "halnet.precision: expected fp32"),
        ("triton", CONFIG, "dynamic_batching", "batching", "damaged file .no dynamic_batching"),
        ("triton", CONFIG, "}", "", "damaged file"),
        ("triton", "repository.json", '"triton"', '"another"', "expected the record"),
        ("triton", "repository.json", "{", "", "expected the record"),
        ("ovms", "config.json", '"NCHW"', '"NHWC"', "decodes JPEG files to BGR"),
        ("ovms", "config.json", '"base_path": "halnet', '"base_path": "other', "in the folder"),
        ("ovms", "config.json", '"name": "halnet', '"name": "other', "found no such model"),
        ("ovms", "config.json", "{", "", "damaged file"),
    ],
)
def test_the_check_finds_what_was_changed(
    server: str,
    name: str,
    old: str,
    new: str,
    message: str,
    single: dict[str, Path],
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(single[server], tmp_path / "copy", copy_function=os.link))
    text = (folder / name).read_text()
    assert old in text
    (folder / name).unlink()
    (folder / name).write_text(text.replace(old, new, 1))
    with pytest.raises(ArtifactError, match=message):
        check_repository(folder)


def test_the_check_finds_other_model_files(single: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(single["ovms"], tmp_path / "copy"))
    version = folder / "halnet_fp32_openvino" / "1"
    (version / "model.bin").rename(version / "other.bin")
    with pytest.raises(ArtifactError, match="expected the files model.bin, model.xml as they were"):
        check_repository(folder)
    (version / "other.bin").rename(version / "model.bin")
    check_repository(folder)
    with (version / "model.bin").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match="with another SHA-256"):
        check_repository(folder)


def test_triton_does_not_batch_a_fixed_batch(tmp_path: Path) -> None:
    source = tmp_path / "deploy"
    source.mkdir()
    save_onnx(source / "halnet.onnx", batch=4)
    record(source / "halnet.onnx")
    write_repository("triton", source, tmp_path / "models")
    config = parse_text((tmp_path / "models" / CONFIG).read_text())
    assert (config["max_batch_size"], "dynamic_batching" in config) == (0, False)
    assert configured(config) == {
        "image": ("UINT8", [4, 224, 224, 3]),
        "age": ("FP32", [4]),
        "stddev": ("FP32", [4]),
        "probabilities": ("FP32", [4, 101]),
    }
    (warm,) = config["model_warmup"]
    assert (warm["batch_size"], warm["inputs"][0]["value"][0]["dims"]) == (1, [4, 224, 224, 3])


def add_engine(folder: Path, library: str, batches: tuple[int, int, int]) -> Path:
    path = folder / "halnet.engine"
    path.write_bytes(b"an engine")
    properties = read_by_onnx("", MODEL).metadata.to_properties()
    sidecar = Sidecar(library, "11.0", ("SM86",), batches, sha256_file(path), properties)
    sidecar_path(path).write_text(sidecar.to_json())
    return path


def test_engines_of_the_full_tensorrt_are_served_by_triton(tmp_path: Path) -> None:
    source = tmp_path / "deploy"
    source.mkdir()
    record(add_engine(source, "tensorrt", (1, 4, 16)))
    made = write_repository("triton", source, tmp_path / "models")
    assert made.models == ("halnet_fp32_tensorrt",)
    folder = tmp_path / "models" / "halnet_fp32_tensorrt"
    config = parse_text((folder / "config.pbtxt").read_text())
    assert (config["platform"], config["max_batch_size"]) == ("tensorrt_plan", 16)
    assert config["default_model_filename"] == "model.plan"
    assert config["instance_group"] == [{"count": 1, "kind": "KIND_GPU"}]
    assert config["dynamic_batching"][0]["preferred_batch_size"] == [8, 16]
    assert configured(config)["probabilities"] == ("FP32", [-1, 101])
    assert (folder / "1" / "model.plan").read_bytes() == b"an engine"


@pytest.mark.parametrize(("largest", "warm"), [(4, [1, 4]), (16, [1, 8, 16])])
def test_triton_warms_up_the_batches_that_it_makes(
    largest: int, warm: list[int], tmp_path: Path
) -> None:
    source = tmp_path / "deploy"
    source.mkdir()
    record(add_engine(source, "tensorrt", (1, 4, largest)))
    write_repository("triton", source, tmp_path / "models")
    text = (tmp_path / "models" / "halnet_fp32_tensorrt" / "config.pbtxt").read_text()
    assert [part["batch_size"] for part in parse_text(text)["model_warmup"]] == warm


@pytest.mark.parametrize(
    ("server", "library", "batches", "message"),
    [
        ("triton", "tensorrt_rtx", (1, 8, 32), "this one is of TensorRT for RTX"),
        ("triton", "tensorrt", (2, 8, 32), "the smallest batch size of 2"),
        ("ovms", "tensorrt", (1, 8, 32), "gets ONNX and OpenVINO models"),
    ],
)
def test_what_a_server_cannot_run_is_left_out(
    server: str, library: str, batches: tuple[int, int, int], message: str, tmp_path: Path
) -> None:
    source = tmp_path / "deploy"
    source.mkdir()
    (source / "halnet.tflite").write_bytes(b"a model")
    (source / "other.onnx").write_bytes(b"a model")
    engine = add_engine(source, library, batches)
    record(engine, source / "halnet.tflite", source / "other.onnx")
    with pytest.raises(ArtifactError, match=rf"found none: .*{message}.*; halnet.tflite: .*--for"):
        write_repository(server, source, tmp_path / "models")
    assert sorted(tmp_path.iterdir()) == [source]

    shutil.copyfile(MODEL, source / "halnet.onnx")
    record(source / "halnet.onnx")
    lines: list[str] = []
    made = write_repository(server, source, tmp_path / "models", lines.append)
    assert made.models == ("halnet_fp32_onnx",)
    assert set(made.left_out) == {"halnet.engine", "halnet.tflite", "other.onnx"}
    assert len([line for line in lines if line.startswith("leaving out ")]) == 3


def test_bad_folders(deploy: Path, tmp_path: Path) -> None:
    source = tmp_path / "deploy"
    source.mkdir()
    out = tmp_path / "new" / "models"
    with pytest.raises(ConfigError, match="expected one of triton, ovms; did you mean triton?"):
        write_repository("trition", source, out)
    with pytest.raises(ArtifactError, match=r"manifest.json that lists artifacts, found none"):
        write_repository("triton", source, out)
    (source / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"manifest.json: damaged"):
        write_repository("triton", source, out)
    shutil.copyfile(deploy / "manifest.json", source / "manifest.json")
    with pytest.raises(ArtifactError, match="lists this file, and it is missing"):
        write_repository("triton", source, out)
    assert not out.parent.exists()

    shutil.copyfile(deploy / "halnet.onnx", source / "halnet.onnx")
    (source / "manifest.json").unlink()
    record(source / "halnet.onnx")
    model = onnx.load(source / "halnet.onnx")
    model.producer_name = "another"
    onnx.save(model, source / "halnet.onnx")
    with pytest.raises(ArtifactError, match="halnet.onnx: expected the SHA-256 .* was changed"):
        write_repository("triton", source, out)
    assert not out.exists()
    assert not list(out.parent.iterdir())


def test_a_mounted_file_system_is_refused(
    single: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one, such as a volume of Docker, cannot be replaced."""
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    with pytest.raises(ConfigError, match=f"name a new folder in it, such as {tmp_path}/models"):
        write_repository("ovms", single["ovms"].with_name("ovms.deploy"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_taken_stays_as_it_is(single: dict[str, Path], tmp_path: Path) -> None:
    deploy = single["ovms"].with_name("ovms.deploy")
    out = tmp_path / "models"
    out.write_text("a file")
    with pytest.raises(ConfigError, match="expected a folder, found that .* is a file"):
        write_repository("ovms", deploy, out)
    out.unlink()
    out.mkdir()
    (out / "config.json").write_text("mine")
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        write_repository("ovms", deploy, out)
    assert (out / "config.json").read_text() == "mine"
    (out / "config.json").unlink()
    write_repository("ovms", deploy, out)
    check_repository(out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("triton", "deploy"), "expected a folder of artifacts and --out with a new folder"),
        (("triton", "--out", "models"), "expected a folder of artifacts and --out with a new"),
        (("ovmss", "deploy", "--out", "models"), "did you mean ovms?"),
        (("ovms", "deploy", "--out", "models"), "lists artifacts, found none"),
        (
            ("ovms", "deploy", "--out", "models", "--format", "onnx"),
            "--format cannot be used with --repository, which exports nothing",
        ),
        (
            ("ovms", "deploy", "--out", "models", "--golden", "golden"),
            "cannot be used with --golden, which exports nothing",
        ),
    ],
)
def test_wrong_use_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(group, ["export", "--repository", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def start_commands(text: str) -> list[str]:
    """Return the commands that start a server, each in one line."""
    lines = text.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.lstrip().startswith("docker run")]


def test_the_commands_of_the_document(
    deploy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those that write the repositories, and the request that `curl` sends."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy").symlink_to(deploy)
    text = (Path(__file__).parents[2] / "docs" / "servers.md").read_text(encoding="utf-8")
    lines = re.findall(r"^halnet (export --repository .+)$", text, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        assert run(group, line.split()) == 0
        server = line.split()[2]
        assert f"{server}: a repository for " in capsys.readouterr().out
        assert len(check_repository(tmp_path / server)) == 6
        # The command that starts the server is that of the README in the repository.
        readme = (tmp_path / server / "README.md").read_text()
        (start,) = start_commands(readme)
        assert start in start_commands(text)
    request = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]
    exec(compile(request, "servers.md", "exec"), {})
    body = (tmp_path / "request.bin").read_bytes()
    length = int((tmp_path / "length.txt").read_text())
    (image,) = json.loads(body[:length])["inputs"]
    assert (image["name"], image["datatype"]) == ("image", "UINT8")
    assert image["parameters"]["binary_data_size"] == len(body) - length
    crops = np.frombuffer(body[length:], np.uint8).reshape(image["shape"])
    with open_runtime(MODEL, "onnxruntime", "cpu") as runtime:
        age = float(runtime.run(crops).age[0])
    assert f"its `age` is {age:.1f}" in text


def test_a_repository_that_fails_its_check_is_not_left(
    single: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy = single["ovms"].with_name("ovms.deploy")
    monkeypatch.setattr("halnet.export.ovms.make_config", lambda model: {"name": model.name})
    with pytest.raises(ArtifactError, match="found no such model"):
        write_repository("ovms", deploy, tmp_path / "models")
    assert not list(tmp_path.iterdir())
