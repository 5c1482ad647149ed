import numpy as np
import pytest
import torch

from halnet.training.config import TrainConfig
from halnet.training.heads import HEADS

CONFIG = TrainConfig()
YEARS = torch.arange(101.0)


@pytest.mark.parametrize("name", list(HEADS))
def test_every_head_ends_in_a_distribution(name: str) -> None:
    head = HEADS[name]
    logits = 3 * torch.randn(7, head.outputs, generator=torch.Generator().manual_seed(0))
    p = head.probabilities(logits)
    assert p.shape == (7, 101)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(7))
    torch.testing.assert_close(head.log_probabilities(logits).exp(), p, atol=1e-6, rtol=1e-4)


def test_ordinal_answers_become_ages() -> None:
    """Older than 0, 1, .. 29 for certain, than 30 with one chance in four, no further."""
    logits = torch.full((1, 100), -50.0)
    logits[0, :30] = 50.0
    logits[0, 30] = -np.log(3)
    p = HEADS["ordinal"].probabilities(logits)
    assert p[0, 30].item() == pytest.approx(0.75)
    assert p[0, 31].item() == pytest.approx(0.25)
    # Answers out of order are sorted, and their sum, the mean age, is kept.
    shuffled = logits[:, torch.randperm(100, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(HEADS["ordinal"].probabilities(shuffled), p)
    assert (p @ YEARS).item() == pytest.approx(logits.sigmoid().sum().item())


def test_ordinal_target_and_loss_by_hand() -> None:
    head = HEADS["ordinal"]
    target = head.target(torch.tensor([0.0, 3.0]), CONFIG)
    assert target.sum(1).tolist() == [0, 3]
    assert target[1, :4].tolist() == [1, 1, 1, 0]
    loss = head.loss(torch.zeros(2, 100), target, torch.tensor([0.0, 3.0]), CONFIG)
    torch.testing.assert_close(loss, torch.full((2,), 100 * np.log(2), dtype=torch.float32))
    certain = torch.where(target > 0, 20.0, -20.0)
    assert head.loss(certain, target, torch.tensor([0.0, 3.0]), CONFIG).max() < 1e-5


def test_the_distribution_head_follows_the_recipe() -> None:
    head = HEADS["distribution"]
    target = head.target(torch.tensor([40.0]), TrainConfig(sigma=3.0))
    deviation = (target * (YEARS - 40) ** 2).sum().sqrt()
    assert deviation.item() == pytest.approx(3, rel=1e-3)
    assert head.outputs == 101
