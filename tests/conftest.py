"""Fixtures: synthetic datasets, models and artifacts, and the real data if it is available."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.artifact import Metadata, TrainedSet, bundled
from halnet.datasets.crop_hash import hash_crop
from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.indexing import write_index
from halnet.datasets.origin import Origin
from halnet.datasets.prepared_dataset import crop_path
from halnet.datasets.preparing import prepare
from halnet.errors import DetectorError, HalnetError
from halnet.faces.yunet_file import yunet_path
from halnet.runtimes.fake import FakeRuntime
from halnet.signal_stack import signal_stack

SHARED = Path(os.environ.get("HALNET_DATA", Path(__file__).parents[2] / "shared"))
TINY_LITERT = Path(__file__).parent / "runtimes" / "tiny.tflite"
ORT_WEB = Path(__file__).parents[1] / ".venv" / "onnxruntime-web"
YUNET = SHARED / "models" / "face_detection_yunet_2023mar.onnx"

# The slowest modules. With several processes (see the Makefile), they are started first, so that no
# process waits long for the last one. Those with a browser, which uses all cores, are kept apart.
SLOWEST = (
    *("test_readme", "test_browser", "test_trainer", "test_several_sets", "test_several_processes"),
    *("test_quantization", "test_page", "test_run", "test_int8", "test_int8_recipes", "test_cpp"),
    *("test_steps", "test_experiments", "test_examples", "test_packaging"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def priority(item: pytest.Item) -> int:
        name = item.path.stem
        return SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)

    items.sort(key=priority)


@pytest.fixture(autouse=True)
def same_signal_stack() -> Iterator[None]:
    """Find a test that changes the signal stack of this process (see `halnet.signal_stack`).

    Otherwise, the next signal, perhaps in another test, would end the process without a word.
    """
    before = signal_stack()
    yield
    assert signal_stack() == before, "this test needs kept_signal_stack() where it uses OpenVINO"


@pytest.fixture(scope="session")
def aaf() -> Path:
    return _real_folder("All-Age-Faces Dataset")


def _real_folder(name: str) -> Path:
    folder = SHARED / "datasets" / name
    if not folder.is_dir():
        pytest.skip(f"needs the {name} photos in {folder}; HALNET_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def utkface() -> Path:
    return _real_folder("UTKFace")


@pytest.fixture(scope="session")
def afad() -> Path:
    return _real_folder("AFAD")


@pytest.fixture(scope="session")
def fairface() -> Path:
    return _real_folder("FairFace")


@pytest.fixture(scope="session")
def yunet() -> Path:
    """The YuNet model: from the folder of the real photos, HALNET_YUNET or a download."""
    try:
        return yunet_path(YUNET if YUNET.exists() else None)
    except DetectorError as error:
        pytest.skip(f"needs the YuNet model: {error}")


@pytest.fixture(scope="session")
def onnxruntime_web() -> Path:
    """The files of onnxruntime-web, which `make .venv/onnxruntime-web` installs by npm."""
    pytest.importorskip("onnx")
    from halnet.export.onnxruntime_web import VARIABLE, find_package

    folder = Path(os.environ.get(VARIABLE) or ORT_WEB)
    if not folder.exists():
        pytest.skip(f"needs the npm package: make .venv/onnxruntime-web, or {VARIABLE}")
    return find_package(folder)


@pytest.fixture(scope="session")
def web_folder(
    onnxruntime_web: Path, yunet: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder for browsers with the bundled model, as an export writes it. It must stay as it is.

    The network is not traced for it: the graph is that of the bundled .onnx file.
    """
    pytest.importorskip("torch")
    import onnx

    from halnet.export import Target
    from halnet.export.to_web import write_web
    from halnet.runtimes.backends import describe

    model = bundled("halnet.onnx")
    path = tmp_path_factory.mktemp("page") / "halnet_web"
    target = Target(detector=yunet, onnxruntime_web=onnxruntime_web)
    write_web(onnx.load(model), describe(model).metadata, path, target)
    return path


@pytest.fixture(scope="session")
def aaf_sample(aaf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the form of All-Age-Faces with every 190th photo, 61 photos in all."""
    return link_sample(aaf, tmp_path_factory.mktemp("aaf"), 190)


@pytest.fixture(scope="session")
def aaf_larger(aaf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every 55th photo, 243 photos in all, which are enough for a training."""
    return link_sample(aaf, tmp_path_factory.mktemp("aaf_larger"), 55)


def link_sample(aaf: Path, root: Path, step: int) -> Path:
    names = sorted(path.stem for path in (aaf / "original images").iterdir())[::step]
    for folder, suffix in (("original images", ".jpg"), ("key points", ".txt")):
        (root / folder).mkdir()
        for name in names:
            (root / folder / (name + suffix)).symlink_to(aaf / folder / (name + suffix))
    return root


@pytest.fixture(scope="session")
def aaf_prepared(aaf_sample: Path, yunet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("aaf_prepared")
    prepare(aaf_sample, out, workers=1, detector=yunet)
    return out


def synthetic_crop(age: int, seed: int, size: int = 256) -> np.ndarray:
    """An image whose brightness grows with the age, with random noise."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), 40 + 2 * age, np.float64) + rng.normal(0, 12, (size, size, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def make_prepared(
    root: Path,
    count: int = 240,
    dataset: str = "synthetic",
    first: int = 0,
    years: int = 1,
    shares: str = "90/5/5",
) -> Path:
    """Write a prepared dataset of noise. `first` is the number of its first photo.

    Datasets whose numbers overlap have the same photos. With `years` above 1, the labels are ranges
    of so many years.
    """
    results = []
    for i in range(first, first + count):
        age = 10 + i % 60
        source = f"{i:03d}.jpg"
        path = crop_path(root, source)
        path.parent.mkdir(parents=True, exist_ok=True)
        crop = synthetic_crop(age, i)
        cv2.imwrite(str(path), crop[:, :, ::-1])
        low = age // years * years
        results.append(
            PreparedPhoto(
                source,
                low,
                low + years - 1,
                ("female", "male")[i % 2],
                groups={"camera": "abc"[i % 3]},
                score=0.9,
                faces=1,
                hash=f"{hash_crop(crop):016x}",
            )
        )
    write_index(root, Origin(dataset, seed=0, listing_sha256="0", shares=shares), results)
    return root


@pytest.fixture(scope="session")
def make_prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes prepared datasets; it takes the arguments of `make_prepared` after `root`."""

    def make(*args: Any, **values: Any) -> Path:
        return make_prepared(tmp_path_factory.mktemp("prepared"), *args, **values)

    return make


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def calibratable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with 20 validation photos, which are enough to calibrate INT8."""
    return make_prepared(tmp_path_factory.mktemp("calibratable"), 400)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights, which predicts very different ages for different crops."""
    torch = pytest.importorskip("torch")
    from halnet.age_calibration import fit_age_calibration
    from halnet.network.checkpoint import save_checkpoint
    from halnet.network.model import AgeNet
    from halnet.training.config import TrainConfig

    torch.manual_seed(0)
    model = AgeNet()
    with torch.no_grad():
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # exact statistics give activations of order 1 in each layer
        model.train()
        small = torch.randint(0, 256, (16, 3, 7, 7), dtype=torch.uint8).float()
        model(torch.nn.functional.interpolate(small, (224, 224)).permute(0, 2, 3, 1))
        for layer in (0, 3):
            torch.nn.init.normal_(model.network.classifier[layer].weight, 0, 0.15)
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(101), 200).astype(np.float32)
    metadata = Metadata(
        calibration=fit_age_calibration(probabilities, rng.integers(2, 81, 200)),
        datasets=(TrainedSet("synthetic", "ab" * 32),),
        reference_mae={"val": 20.0},
    )
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_checkpoint(path, model.eval(), TrainConfig().to_json(), metadata)
    return path


@pytest.fixture(scope="session")
def graphs(checkpoint: Path) -> dict[str, Any]:
    """The graphs of the checkpoint in FP32 and in FP16. Tests must not change them."""
    pytest.importorskip("onnxscript")
    from halnet.export.graph import simplify
    from halnet.export.to_onnx import trace
    from halnet.network.checkpoint import load_checkpoint

    model = simplify(load_checkpoint(checkpoint).model)
    return {precision: trace(model, precision) for precision in ("fp32", "fp16")}


@pytest.fixture(scope="session")
def artifacts(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An artifact of the checkpoint in each format that can be written on this machine."""
    pytest.importorskip("onnxscript")
    from halnet.export import ExportConfig, export

    formats = ["onnx", *(["openvino"] if find_spec("openvino") else [])]
    out = tmp_path_factory.mktemp("deploy")
    made = export(ExportConfig(checkpoint=checkpoint, formats=tuple(formats), out=out))
    return {exported.format: exported.path for exported in made}


@pytest.fixture(scope="session")
def onnx_artifact(artifacts: dict[str, Path]) -> Path:
    return artifacts["onnx"]


@pytest.fixture(scope="session")
def openvino_artifact(artifacts: dict[str, Path]) -> Path:
    pytest.importorskip("openvino")
    return artifacts["openvino"]


@pytest.fixture(scope="session")
def litert_network() -> Any:
    """An AgeNet with four layers and the last one, which LiteRT converts in seconds.

    Its ages differ widely, and FP16 and integers round its weights visibly.
    """
    torch = pytest.importorskip("torch")
    from halnet.network.model import AgeNet

    nn = torch.nn
    torch.manual_seed(3)
    model = AgeNet()
    model.network = nn.Sequential(
        *(nn.Conv2d(3, 6, 16, 32), nn.Hardswish()),
        *(nn.Conv2d(6, 8, 1), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Hardswish()),
        *(nn.Conv2d(8, 4, 1), nn.AvgPool2d(7), nn.Flatten()),
        nn.Linear(4, 101),
    )
    with torch.no_grad():
        for layer, factor in {0: 2, 2: 2, 4: 2, 6: 2, 9: 60}.items():
            model.network[layer].weight.mul_(factor)
    return model.eval()


@pytest.fixture(scope="session")
def litert_metadata() -> Metadata:
    calibration = FakeRuntime().spec.metadata.calibration
    return Metadata(calibration, (TrainedSet("tiny"),), reference_mae={"val": 20.0})


@pytest.fixture(scope="session")
def litert_artifact(request: pytest.FixtureRequest) -> Path:
    """The LiteRT artifact of `litert_network`, a file of the repository.

    The extra `dev` runs such files, but has no converter that makes them. If the file is deleted,
    it is made again in an environment with the extra `litert-export`.
    """
    if not TINY_LITERT.exists():
        pytest.importorskip("litert_torch")
        from halnet.export.config import Target
        from halnet.export.to_litert import trace, write_litert

        graph = trace(request.getfixturevalue("litert_network"))
        metadata = request.getfixturevalue("litert_metadata")
        write_litert(graph, metadata, TINY_LITERT, Target())
    return TINY_LITERT


@pytest.fixture(scope="session")
def drawn_axes(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Any, Callable[[Path], None]], list[Any]]:
    """A function that draws a figure and returns its axes.

    It takes the module that imports `figure`, and a function that draws into a file.
    """
    from halnet.evaluation.figures import figure

    def draw(module: Any, draw_file: Callable[[Path], None]) -> list[Any]:
        kept: list[Any] = []

        @contextmanager
        def keep(*args: Any, **options: Any) -> Iterator[Any]:
            with figure(*args, **options) as axes:
                yield axes
                kept.extend(axes)

        path = tmp_path_factory.mktemp("figure") / "figure.png"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "figure", keep)
            draw_file(path)
        assert path.exists()
        return kept

    return draw


@pytest.fixture(scope="session")
def in_fork() -> Callable[[Callable[[], Any]], Any]:
    """Calls a function in a forked process and returns its result, or the error that it raised."""
    if sys.platform != "linux":
        pytest.skip("needs fork")
    context = multiprocessing.get_context("fork")

    def call(function: Callable[[], Any]) -> Any:
        receiver, sender = context.Pipe(duplex=False)

        def work() -> None:
            try:
                sender.send(function())
            except HalnetError as error:
                sender.send(error)

        process = context.Process(target=work)
        process.start()
        try:
            assert receiver.poll(60), "the forked process hangs"
            result = receiver.recv()
            process.join(60)
            assert process.exitcode == 0
            return result
        finally:
            process.kill()

    return call


@pytest.fixture(scope="session")
def serving() -> Callable[..., Any]:
    """Serves a model in a thread: a context manager that yields (app, address).

    It takes the fields of `ServeConfig`. By default, it serves the fake runtime, and the stored
    face of the portrait is found in photos of its size.
    """
    pytest.importorskip("uvicorn")
    pytest.importorskip("prometheus_client")
    from halnet.benchmarks.samples import portrait
    from halnet.runtimes.base import RuntimeOptions
    from halnet.serving import server
    from halnet.serving.app import App
    from halnet.serving.config import ServeConfig
    from halnet.serving.metrics import Metrics
    from halnet.serving.service import Service

    def detect(photo: np.ndarray) -> list[Any]:
        return [portrait()[1]] if photo.shape[:2] == (512, 512) else []

    @contextmanager
    def serve(**values: Any) -> Iterator[tuple[Any, str]]:
        fake = {"model": Path("model.fake"), "options": RuntimeOptions("fake")}
        config = ServeConfig(**{"port": 0, "detector": detect, **fake, **values})
        metrics = Metrics()
        with server.listen(config) as listener, Service(config, metrics) as service:
            app = App(config, service, metrics)
            process = server.GracefulServer(app, config.limits.seconds, drain=0.0)
            thread = threading.Thread(target=process.run, args=([listener],))
            thread.start()
            try:
                yield app, f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                process.should_exit = True
                thread.join(60)
                app.queue.close()

    return serve


@pytest.fixture(scope="session")
def crops() -> np.ndarray:
    """Five different crops."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (5, 7, 7, 3), np.uint8)
    return np.stack([cv2.resize(c, (224, 224), interpolation=cv2.INTER_CUBIC) for c in small])


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """A function that writes a video file, whose format follows from its name.

    It takes a path, frames (H x W x 3 uint8 RGB) and their times in seconds. `codec` is that of
    FFmpeg, and `settings` are arguments of `av.open`. Without a codec, only sound is written; it
    lasts for `sound` seconds.
    """
    av = pytest.importorskip("av")

    def write(
        path: Path,
        frames: Sequence[np.ndarray],
        times: Sequence[float],
        codec: str | None = "libx264",
        sound: float = 0.0,
        **settings: Any,
    ) -> Path:
        with path.open("wb") as file, av.open(file, "w", **settings) as container:
            if codec:
                stream = container.add_stream(codec, rate=25)
                stream.height, stream.width = frames[0].shape[:2]
                stream.bit_rate = 4_000_000
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                # Most others know multiples of 1/25 s only.
                tick = stream.codec_context.time_base = Fraction(
                    1, 1000 if codec == "libx264" else 25
                )
            noise = container.add_stream("aac", rate=48000) if sound else None
            for image, time in zip(frames, times, strict=True) if codec else ():
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = round(time / tick), tick
                container.mux(stream.encode(frame))
            for start in range(0, round(sound * 48000), 1024):
                samples = np.zeros((1, 1024), np.float32)
                part = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                part.sample_rate, part.pts = 48000, start
                container.mux(noise.encode(part))
            for written in ([stream] if codec else []) + ([noise] if noise else []):
                container.mux(written.encode())
        return path

    return write


@pytest.fixture(scope="session")
def portrait_crop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the crop of the bundled portrait, 1 x 224 x 224 x 3 uint8 RGB."""
    from halnet.benchmarks.samples import portrait
    from halnet.faces.alignment import align

    image, face = portrait()
    path = tmp_path_factory.mktemp("portrait") / "crop.npy"
    np.save(path, align(image, face.landmarks)[None])
    return path


@pytest.fixture(scope="session")
def portrait_ages(portrait_crop: Path) -> list[float]:
    """The ages that PyTorch predicts here for the bundled portrait and for its crop."""
    from halnet import Predictor
    from halnet.benchmarks.samples import portrait

    image, face = portrait()
    with Predictor(runtime="pytorch", device="cpu") as predictor:
        (result,) = predictor.predict_faces(image, [face])
        return [result.age, float(predictor.predict_crops(np.load(portrait_crop)).age[0])]


@pytest.fixture
def tiny_graph() -> Any:
    """A tiny network with a layer of each role except gates, from uint8 crops to an age."""
    pytest.importorskip("onnx")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    shapes = {
        "network.features.0.0": (4, 3, 32, 32),
        "network.features.1.block.0.0": (8, 4, 1, 1),
        "network.features.1.block.1.0": (8, 1, 3, 3),
        "network.features.1.block.2.0": (4, 8, 1, 1),
        "network.classifier.0": (5, 4),
    }
    weights = {
        f"{name}.weight": rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        for name, shape in shapes.items()
    }
    constants = {"scale": np.array(1 / 64), "shape": np.array([-1, 4]), "one": np.array([1])}
    tensors = [
        numpy_helper.from_array(v.astype(np.float32 if v.dtype == float else np.int64), k)
        for k, v in {**weights, **constants}.items()
    ]
    names = list(weights)
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["float"], "cast", to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        node("Mul", ["planes", "scale"], ["scaled"], "normalise"),
        node("Conv", ["scaled", names[0]], ["stem"], "stem", strides=[32, 32]),
        node("Relu", ["stem"], ["stem_relu"], "stem_relu"),
        node("Conv", ["stem_relu", names[1]], ["wide"], "expand"),
        node("Relu", ["wide"], ["wide_relu"], "wide_relu"),
        node("Conv", ["wide_relu", names[2]], ["deep"], "deep", group=8, pads=[1, 1, 1, 1]),
        node("Relu", ["deep"], ["deep_relu"], "deep_relu"),
        node("Conv", ["deep_relu", names[3]], ["narrow"], "project"),
        node("Add", ["narrow", "stem_relu"], ["sum"], "add"),
        node("GlobalAveragePool", ["sum"], ["mean"], "mean"),
        node("Reshape", ["mean", "shape"], ["flat"], "reshape"),
        node("Gemm", ["flat", names[4]], ["logits"], "head", transB=1),
        node("ReduceSum", ["logits", "one"], ["age"], "sum_up", keepdims=0),
    ]
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 224, 224, 3])],
            [helper.make_tensor_value_info("age", TensorProto.FLOAT, ["n"])],
            tensors,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


@pytest.fixture
def make_unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes all folders of a name unreadable, even for root."""
    scan = os.scandir

    def make(name: str) -> None:
        def refuse(path: Path) -> object:
            if path.name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr("os.scandir", refuse)

    return make
