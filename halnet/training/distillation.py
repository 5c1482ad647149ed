"""Distillation: a student learns a teacher's distributions and, as hints, its features.

Teacher and student see the same crop and the same MixUp [Beyer et al., CVPR 2022]. Hints [FitNets:
Romero et al., ICLR 2015] are 1 x 1 convolutions from the student's features at strides 8 and 16 and
a linear map from its pooled one, each to the teacher's, standardised over the batch.
"""

from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halnet.errors import ConfigError
from halnet.network.folding import fold_batch_norms
from halnet.network.model import AgeNet
from halnet.training.config import TrainConfig
from halnet.training.losses import soft_loss

PROBE_SIZE = 64  # pixels: the features' channels are counted on one blank crop of this size


class Distiller(nn.Module):
    """The part of the loss that compares a student with its teacher.

    Its own parameters, the hints' maps, are trained with the student and not part of its file.
    """

    def __init__(self, student: AgeNet, teacher: AgeNet, config: TrainConfig) -> None:
        """Take the two networks; the teacher's batch norms are folded, for speed."""
        super().__init__()
        self._config = config
        fold_batch_norms(teacher.eval(), torch.zeros(1, PROBE_SIZE, PROBE_SIZE, 3))
        teacher.requires_grad_(False).to(memory_format=torch.channels_last)
        # In a tuple: the teacher is no submodule, so that it is neither trained, nor averaged, nor
        # saved.
        self._teacher = (teacher,)
        self.maps = nn.ModuleDict()
        if config.hint_weight:
            blank = torch.zeros(1, PROBE_SIZE, PROBE_SIZE, 3)
            with torch.no_grad():
                was_training = student.training
                student.eval()
                own, given = (with_features(net, blank)[1] for net in (student, teacher))
                student.train(was_training)
            for name, feature in own.items():
                maps = (feature.shape[1], given[name].shape[1])
                self.maps[name] = nn.Linear(*maps) if feature.ndim == 2 else nn.Conv2d(*maps, 1)

    def forward(self, student: AgeNet, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the student's N x K logits and N losses for N x H x W x 3 RGB images, 0 to 255."""
        teacher = self._teacher[0].to(images.device)
        run = with_features if self.maps else _without_features
        logits, own = run(student, images)
        with torch.no_grad():
            given_logits, given = run(teacher, images)
        loss = self._config.teacher_weight * self._soft(student, logits, teacher, given_logits)
        for name, module in self.maps.items():
            loss = loss + self._config.hint_weight * hint_loss(module(own[name]), given[name])
        return logits, loss

    def _soft(
        self, student: AgeNet, logits: Tensor, teacher: AgeNet, given_logits: Tensor
    ) -> Tensor:
        """The loss of the labels' terms, with the teacher's distribution as the label."""
        target = teacher.head.probabilities(given_logits)
        return soft_loss(student.head.log_probabilities(logits), target, self._config)


def hint_loss(mapped: Tensor, given: Tensor) -> Tensor:
    """Return N mean squared distances of N x C (x H x W) features to standardised ones."""
    channels = given.shape[1]
    mean, variance = (torch.full((channels,), v, device=given.device) for v in (0.0, 1.0))
    standard = F.batch_norm(given.float(), mean, variance, training=True)
    return (mapped.float() - standard).square().flatten(1).mean(dim=1)


def with_features(model: AgeNet, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return N x K logits and the features at strides 8 and 16 (N x C x h x w) and pooled (N x C).

    Raises ConfigError for a backbone that has no features at one of those strides.
    """
    found: dict[str, Tensor] = {}
    taps = {"stride8": model.taps.stride8, "stride16": model.taps.stride16}
    taps["pooled"] = model.taps.pooled

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            found[name] = output.flatten(1) if name == "pooled" else output

        return hook

    with ExitStack() as stack:
        for name, place in taps.items():
            if not place:
                raise ConfigError(
                    f"hint_weight: a backbone without features at {name} cannot give or take hints"
                )
            module = model.network.get_submodule(place)
            stack.callback(module.register_forward_hook(keep(name)).remove)
        logits = model.logits(images)
    return logits, found


def _without_features(model: AgeNet, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    return model.logits(images), {}
