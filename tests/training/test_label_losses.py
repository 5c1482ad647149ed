"""The loss on exact ages and ranges, with values that are computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from halnet.network.heads import HEADS
from halnet.training.config import TrainConfig
from halnet.training.label_losses import (
    Labels,
    MixUp,
    distance_to_range,
    label_losses,
    range_loss,
)
from halnet.training.losses import HEAD_LOSSES, label_distribution

CONFIG = TrainConfig(mean_weight=0.0)


def labels(*ends: tuple[int, int], weights: list[float] | None = None) -> Labels:
    low, high = torch.tensor(ends).T
    return Labels(low, high, torch.tensor(weights or [1.0] * len(ends)))


def log_of(**shares: float) -> torch.Tensor:
    """Log probabilities with these shares at these ages: log_of(a20=0.5, a40=0.5)."""
    p = torch.full((1, 101), 1e-12)
    for age, share in shares.items():
        p[0, int(age[1:])] = share
    return p.log()


def range_of(log_probabilities: torch.Tensor, low: int, high: int) -> float:
    """Return the loss of a range. Logarithms of probabilities are logits too."""
    return range_loss(log_probabilities, torch.tensor([low]), torch.tensor([high]), CONFIG).item()


def test_a_range_costs_the_logarithm_of_its_probability() -> None:
    """The mean is 6, inside the range, so the distance is 0. Both ends belong to the range."""
    p = log_of(a2=0.25, a3=0.25, a9=0.25, a10=0.25)
    assert range_of(p, 3, 9) == pytest.approx(-np.log(0.5), rel=1e-5)
    assert range_of(p, 2, 10) == pytest.approx(0, abs=1e-5)
    assert range_of(p, 4, 8) == pytest.approx(-np.log(5e-12), rel=1e-3)


def test_a_mean_outside_the_range_costs_its_distance() -> None:
    p = log_of(a20=0.5, a40=0.5)  # the mean is 30
    assert range_of(p, 10, 20) == pytest.approx(-np.log(0.5) + 0.1 * 10, rel=1e-4)
    assert range_of(p, 35, 50) == pytest.approx(-np.log(0.5) + 0.1 * 5, rel=1e-4)
    assert range_of(p, 70, 100) == pytest.approx(-np.log(31e-12) + 0.1 * 40, rel=1e-4)


def test_the_distance_to_a_range() -> None:
    ages = torch.tensor([2.0, 3.0, 6.5, 9.0, 11.5, 42.0])
    low, high = torch.tensor([3.0, 3, 3, 3, 3, 40]), torch.tensor([9.0, 9, 9, 9, 9, 40])
    assert distance_to_range(ages, low, high).tolist() == [1, 0, 0, 0, 2.5, 2]


def test_exact_labels_are_not_changed_by_ranges_beside_them() -> None:
    logits = torch.randn(3, 101, generator=torch.Generator().manual_seed(0))
    mixed = label_losses(logits, labels((30, 30), (3, 9), (70, 100)), CONFIG)
    target = label_distribution(torch.tensor([30.0]), 2.0)
    exact = HEAD_LOSSES["distribution"].loss(logits[:1], target, torch.tensor([30.0]), CONFIG)
    assert mixed[0].item() == exact.item()
    p = logits.softmax(1)
    years = torch.arange(101.0)
    for row, low, high in ((1, 3, 9), (2, 70, 100)):
        distance = max(low - p[row] @ years, p[row] @ years - high, torch.tensor(0.0))
        expected = -p[row, low : high + 1].sum().log() + 0.1 * distance
        assert mixed[row].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("head", ["distribution", "ordinal"])
def test_mixup_mixes_losses_where_a_partner_is_a_range(head: str) -> None:
    """Photos 0 and 1 are exact and partners. Photo 2 is exact with the range 3 as its partner."""
    config = replace(CONFIG, head=head, mean_weight=0.1)
    size = 101 if head == "distribution" else 100
    logits = torch.randn(4, size, generator=torch.Generator().manual_seed(1))
    ends = [(20, 20), (50, 50), (30, 30), (3, 9)]
    weights = [1.0, 2.0, 0.5, 4.0]
    order = torch.tensor([1, 0, 3, 2])
    found = label_losses(logits, labels(*ends, weights=weights), config, MixUp(order, 0.75))

    def single(row: int, label: int) -> float:
        """Return the weighted loss of a mixed photo with the label of one photo."""
        part = labels(ends[label], weights=[weights[label]])
        return label_losses(logits[row : row + 1], part, config).item()

    for row, partner in ((2, 3), (3, 2)):
        expected = 0.75 * single(row, row) + 0.25 * single(row, partner)
        assert found[row].item() == pytest.approx(expected, rel=1e-5)
    exact = label_losses(
        logits[:2], labels(*ends[:2], weights=weights[:2]), config, MixUp(order[:2], 0.75)
    )
    assert torch.equal(found[:2], exact), "exact labels mix their targets, as without ranges"
    losses_mixed = 0.75 * single(0, 0) + 0.25 * single(0, 1)
    assert abs(found[0].item() - losses_mixed) > 1e-3, "which differs from mixed losses"


def test_the_ordinal_head_gives_a_range_the_probability_between_its_thresholds() -> None:
    """P(age > 2) = 0.8 and P(age > 9) = 0.3, so the range 3 to 9 has the probability 0.5."""
    older = torch.tensor([0.9] * 2 + [0.8] + [0.4] * 6 + [0.3] + [0.0001] * 90)
    logits = older.logit()[None]
    config = replace(CONFIG, head="ordinal")
    loss = label_losses(logits, labels((3, 9)), config).item()
    assert older.sum().item() == pytest.approx(5.309)  # the mean age, inside the range
    assert loss == pytest.approx(-np.log(0.5), rel=1e-4)


@pytest.mark.parametrize(("low", "high"), [(0, 2), (0, 100), (1, 1), (31, 60), (99, 100)])
def test_both_forms_of_the_probability_of_an_ordinal_range_agree(low: int, high: int) -> None:
    logits = 3 * torch.randn(1, 100, generator=torch.Generator().manual_seed(2)).double()
    ends = torch.tensor([low]), torch.tensor([high])
    found = HEAD_LOSSES["ordinal"].log_range(logits, *ends).exp().item()
    expected = HEADS["ordinal"].probabilities(logits)[0, low : high + 1].sum().item()
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("head", ["distribution", "ordinal"])
def test_training_on_ranges_alone_moves_the_mean_into_them(head: str) -> None:
    """From 60 years, where the range 3 to 9 has nearly no probability, by moving the centre."""
    years = torch.arange(101.0 if head == "distribution" else 100.0)
    centre = torch.tensor([60.0, 60.0], requires_grad=True)
    config = replace(CONFIG, head=head)
    optimizer = torch.optim.Adam([centre], 1.0)
    for _ in range(150):
        distance = centre[:, None] - years
        logits = -distance.abs() / 2 if head == "distribution" else distance / 2
        loss = label_losses(logits, labels((3, 9), (70, 100)), config).sum()
        optimizer.zero_grad()
        loss.backward()
        assert centre.grad is not None
        assert centre.grad.abs().min() > 0 or loss < 0.1
        optimizer.step()
    assert 3 < centre[0] < 9.5
    assert 75 < centre[1] < 100
