"""Distillation: a student learns the distributions of teachers and, with hints, features.

Teachers and student get the same crops with the same MixUp [Beyer et al., CVPR 2022]. The
distributions of several teachers are averaged, and hints come from the first teacher. A hint
[FitNets: Romero et al., ICLR 2015] maps features of the student to those of the teacher, which are
standardised over the batch. The map is a 1 x 1 convolution for the features at strides 8 and 16,
and a linear layer for the pooled features.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halnet.errors import ConfigError
from halnet.network.folding import fold_batch_norms
from halnet.network.model import AgeNet
from halnet.training.config import TrainConfig
from halnet.training.losses import soft_loss

PROBE_SIZE = 64  # pixels: size of the blank crop that shows the number of channels of features


class Distiller(nn.Module):
    """The part of the loss that compares a student with its teachers.

    Its parameters are the maps of the hints. They are trained together with the student, but are
    not part of the checkpoint of the student.
    """

    def __init__(self, student: AgeNet, teachers: Sequence[AgeNet], config: TrainConfig) -> None:
        """Prepare all networks. The batch norms of the teachers are folded, which saves time.

        Raises ConfigError if hints are requested and a network has no such features.
        """
        super().__init__()
        self._config = config
        for teacher in teachers:
            fold_batch_norms(teacher.eval(), torch.zeros(1, PROBE_SIZE, PROBE_SIZE, 3))
            teacher.requires_grad_(False).to(memory_format=torch.channels_last)
        # The tuple hides the teachers from PyTorch: they are no submodules, so they are not
        # trained, not averaged and not saved.
        self._teachers = tuple(teachers)
        self.maps = _build_maps(student, teachers[0]) if config.hint_weight else nn.ModuleDict()

    def forward(self, student: AgeNet, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the N x K logits of the student and N losses.

        `images` are N x H x W x 3 RGB with values from 0 to 255.
        """
        first, *others = (teacher.to(images.device) for teacher in self._teachers)
        run = compute_features if self.maps else _compute_no_features
        logits, features = run(student, images)
        with torch.no_grad():
            teacher_logits, teacher_features = run(first, images)
            targets = [first.head.probabilities(teacher_logits)]
            targets += [teacher.head.probabilities(teacher.logits(images)) for teacher in others]
            target = torch.stack(targets).mean(dim=0)
        log_probabilities = student.head.log_probabilities(logits)
        loss = self._config.teacher_weight * soft_loss(log_probabilities, target, self._config)
        for name, module in self.maps.items():
            hint = hint_loss(module(features[name]), teacher_features[name])
            loss = loss + self._config.hint_weight * hint
        return logits, loss


def _build_maps(student: AgeNet, teacher: AgeNet) -> nn.ModuleDict:
    """Return a layer for each hint, from the channels of the student to those of the teacher."""
    blank = torch.zeros(1, PROBE_SIZE, PROBE_SIZE, 3)
    with torch.no_grad():
        was_training = student.training
        student.eval()
        features, targets = (compute_features(net, blank)[1] for net in (student, teacher))
        student.train(was_training)
    maps = nn.ModuleDict()
    for name, feature in features.items():
        channels = (feature.shape[1], targets[name].shape[1])
        maps[name] = nn.Linear(*channels) if feature.ndim == 2 else nn.Conv2d(*channels, 1)
    return maps


def hint_loss(mapped: Tensor, target: Tensor) -> Tensor:
    """Return N mean squared distances between mapped features and the standardised target.

    Both are N x C x H x W, or N x C.
    """
    channels = target.shape[1]
    mean, variance = (torch.full((channels,), v, device=target.device) for v in (0.0, 1.0))
    standard = F.batch_norm(target.float(), mean, variance, training=True)
    return (mapped.float() - standard).square().flatten(1).mean(dim=1)


def compute_features(model: AgeNet, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return N x K logits, and the features at strides 8 and 16 and after pooling by their names.

    `images` are N x H x W x 3 RGB with values from 0 to 255. The features "stride8" and "stride16"
    are N x C x h x w, and "pooled" is N x C. Raises ConfigError if the backbone has no such
    features.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            found[name] = output.flatten(1) if name == "pooled" else output

        return hook

    with ExitStack() as stack:
        for name, layer in asdict(model.feature_layers).items():
            if not layer:
                raise ConfigError(
                    f"hint_weight: expected networks with features at {name}, found one without; "
                    "use another backbone, or leave --hint-weight out"
                )
            module = model.network.get_submodule(layer)
            stack.callback(module.register_forward_hook(keep(name)).remove)
        logits = model.logits(images)
    return logits, found


def _compute_no_features(model: AgeNet, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    return model.logits(images), {}
