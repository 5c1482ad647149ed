import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from halnet.errors import ConfigError
from halnet.network.backbones import FeatureLayers
from halnet.network.model import AgeNet
from halnet.training.config import TrainConfig
from halnet.training.distillation import Distiller, hint_loss

CONFIG = TrainConfig(teacher_sha256="ab", mean_weight=0.0)


class Tiny(AgeNet):
    """An AgeNet whose backbone is four layers."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network = nn.Sequential(
            nn.Conv2d(3, width, 8, 8),
            nn.Conv2d(width, 2 * width, 2, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * width, 101),
        )
        self.feature_layers = FeatureLayers("0", "1", "2")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, 64, 64, 3), generator=torch.Generator().manual_seed(0)).float()


def test_a_copy_of_the_teacher_has_no_loss(images: torch.Tensor) -> None:
    teacher = Tiny(4, 0)
    student = copy.deepcopy(teacher)
    logits, loss = Distiller(student, [teacher], replace(CONFIG, mean_weight=1.0))(student, images)
    assert loss.shape == (6,)
    assert logits.shape == (6, 101)
    assert loss.abs().max() < 1e-4
    other = Tiny(4, 1)
    assert Distiller(other, [teacher], CONFIG)(other, images)[1].min() > 1e-3


def test_the_loss_is_the_divergence_from_the_teacher(images: torch.Tensor) -> None:
    teacher, student = Tiny(4, 0), Tiny(4, 1)
    config = replace(CONFIG, teacher_weight=0.5)
    _, loss = Distiller(student, [teacher], config)(student, images)
    with torch.no_grad():
        p, q = teacher(images)[2], student(images)[2]
    torch.testing.assert_close(loss, 0.5 * (p * (p / q).log()).sum(1), rtol=1e-3, atol=1e-5)


def test_the_distributions_of_several_teachers_are_averaged(images: torch.Tensor) -> None:
    """The features that hints compare are those of the first teacher."""
    first, second, student = Tiny(4, 0), Tiny(6, 2), Tiny(4, 1)
    _, loss = Distiller(student, [first, second], CONFIG)(student, images)
    with torch.no_grad():
        p = (first(images)[2] + second(images)[2]) / 2
        q = student(images)[2]
    torch.testing.assert_close(loss, (p * (p / q).log()).sum(1), rtol=1e-3, atol=1e-5)
    hinted = replace(CONFIG, hint_weight=1.0)
    assert Distiller(student, [second, first], hinted).maps["pooled"].weight.shape == (12, 8)
    assert Distiller(student, [first, second], hinted).maps["pooled"].weight.shape == (8, 8)


def test_hints_map_between_the_widths_and_train_with_the_student(images: torch.Tensor) -> None:
    teacher, student = Tiny(6, 0), Tiny(4, 1)
    distiller = Distiller(student, [teacher], replace(CONFIG, hint_weight=2.0))
    shapes = {name: tuple(module.weight.shape) for name, module in distiller.maps.items()}
    assert shapes == {"stride8": (6, 4, 1, 1), "stride16": (12, 8, 1, 1), "pooled": (12, 8)}
    before = copy.deepcopy(teacher.state_dict())
    parameters = [*student.parameters(), *distiller.parameters()]
    assert len(parameters) == len(list(student.parameters())) + 6, "the teacher is not trained"
    optimizer = torch.optim.Adam(parameters, 1e-2)
    losses = []
    for _ in range(30):
        loss = distiller(student, images)[1].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), "the teacher does not change"


def test_hints_compare_standardised_features() -> None:
    given = 5 + 3 * torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    standard = (given - given.mean((0, 2, 3), keepdim=True)) / given.var(
        (0, 2, 3), keepdim=True, unbiased=False
    ).sqrt()
    assert hint_loss(standard, given).max() < 1e-6
    torch.testing.assert_close(hint_loss(standard + 2, given), torch.full((8,), 4.0))
    assert hint_loss(given, given).min() > 4


def test_a_backbone_without_such_features_is_refused() -> None:
    teacher, student = Tiny(4, 0), Tiny(4, 1)
    teacher.feature_layers = FeatureLayers("0", "", "2")
    with pytest.raises(ConfigError, match="expected networks with features at stride16"):
        Distiller(student, [teacher], replace(CONFIG, hint_weight=1.0))
