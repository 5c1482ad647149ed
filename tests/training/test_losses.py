from dataclasses import replace

import numpy as np
import pytest
import torch

from halnet.training.config import TrainConfig
from halnet.training.losses import (
    HEAD_LOSSES,
    count_ages,
    distribution_loss,
    label_distribution,
    lds_weights,
    mean_over_years,
    mix,
    smooth_density,
)

PLAIN = TrainConfig(mean_weight=0.0)
YEARS = torch.arange(101.0)


def log_of(**shares: float) -> torch.Tensor:
    """Log probabilities with these shares at these ages: log_of(a20=0.5, a40=0.5)."""
    p = torch.full((1, 101), 1e-12)
    for age, share in shares.items():
        p[0, int(age[1:])] = share
    return p.log()


def test_label_distributions_have_the_age_as_their_mean() -> None:
    target = label_distribution(torch.tensor([30.0, 80.0, 25.5]), 2.0)
    torch.testing.assert_close(target.sum(1), torch.ones(3))
    assert (target[0, 32] / target[0, 30]).item() == pytest.approx(np.exp(-0.5), rel=1e-4)
    # The distribution goes beyond 80 years, so the mean at 80 is not shifted to the middle.
    torch.testing.assert_close(target @ YEARS, torch.tensor([30.0, 80.0, 25.5]), atol=1e-3, rtol=0)


def test_sigma_grows_with_the_age() -> None:
    target = label_distribution(torch.tensor([25.0, 50.0, 75.0]), 1.0, 5.0)
    mean = target @ YEARS
    deviation = (target * (YEARS - mean[:, None]) ** 2).sum(1).sqrt()
    torch.testing.assert_close(deviation, torch.tensor([2.0, 3.0, 4.0]), atol=0.01, rtol=0)


def test_dldl_v2_adds_divergence_and_mean_error() -> None:
    target = log_of(a20=0.75, a40=0.25).exp()
    kl = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    config = replace(PLAIN, mean_weight=0.5)
    loss = distribution_loss(log_of(a20=0.5, a40=0.5), target, torch.tensor([33.0]), config)
    assert loss.shape == (1,)
    assert loss.item() == pytest.approx(kl + 0.5 * 3.0, rel=1e-4)


def test_dldl_v2_is_zero_only_at_the_target() -> None:
    age = torch.tensor([44.0])
    target = label_distribution(age, 2.0)
    config = replace(PLAIN, mean_weight=1.0)
    same = distribution_loss((target + 1e-30).log(), target, age, config)
    assert same.item() == pytest.approx(0, abs=1e-3)
    other = label_distribution(torch.tensor([45.0]), 2.0)
    # The KL divergence of equal Gaussians with a distance d is d^2 / (2 sigma^2).
    apart = distribution_loss((other + 1e-30).log(), target, age, config)
    assert apart.item() == pytest.approx(1 / 8 + 1, abs=1e-3)


def test_the_ranking_loss_is_the_squared_distance_of_cumulative_distributions() -> None:
    """Between steps at 20 and 30, the cumulative distributions differ by 1 in ten years."""
    target = log_of(a30=1.0).exp()
    args = (log_of(a20=1.0), target, torch.tensor([30.0]))
    without = distribution_loss(*args, PLAIN)
    loss = distribution_loss(*args, replace(PLAIN, cdf_weight=0.5))
    assert (loss - without).item() == pytest.approx(0.5 * 10, rel=1e-4)
    half = (log_of(a20=0.5, a30=0.5), target, torch.tensor([30.0]))
    loss = distribution_loss(*half, replace(PLAIN, cdf_weight=1.0))
    assert (loss - distribution_loss(*half, PLAIN)).item() == pytest.approx(10 * 0.25, rel=1e-4)


def test_the_mean_variance_loss() -> None:
    """With equal probabilities of 20 and 40, the mean is 30 and the variance is 100."""
    target = log_of(a33=1.0).exp()
    args = (log_of(a20=0.5, a40=0.5), target, torch.tensor([33.0]))
    config = replace(PLAIN, squared_weight=0.2, variance_weight=0.05)
    extra = distribution_loss(*args, config) - distribution_loss(*args, PLAIN)
    assert extra.item() == pytest.approx(0.2 * 9 / 2 + 0.05 * 100, rel=1e-4)


@pytest.mark.parametrize(("kind", "power"), [("inverse", 1.0), ("sqrt", 0.5), ("none", 0.0)])
def test_rare_ages_get_larger_weights(kind: str, power: float) -> None:
    ages = np.array([30] * 90 + [70] * 10)
    weights = lds_weights(count_ages(ages, ages), kind)
    assert weights.shape == (101,)
    assert weights[ages].mean() == pytest.approx(1, rel=1e-5), "the mean of all photos is 1"
    assert weights[70] / weights[30] == pytest.approx(9**power, rel=1e-4)
    kernel = np.exp(-(np.array([-2, -1, 0, 1, 2]) ** 2) / 8)
    assert weights[31] / weights[30] == pytest.approx((kernel[2] / kernel[1]) ** power)


def test_a_range_counts_evenly_for_its_years() -> None:
    low, high = np.array([3, 3, 20, 95]), np.array([9, 9, 20, 100])
    counts = count_ages(low, high)
    assert counts.sum() == pytest.approx(4)
    np.testing.assert_allclose(counts[3:10], 2 / 7)
    assert counts[20] == 1
    np.testing.assert_allclose(counts[95:], 1 / 6)
    assert np.count_nonzero(counts) == 7 + 1 + 6
    # The density is smoothed with five values of a Gaussian, whose sum is 1.
    assert smooth_density(counts)[6] == pytest.approx(2 / 7)
    kernel = np.exp(-(np.array([-2, -1, 0, 1, 2]) ** 2) / 8)
    assert smooth_density(counts)[20] == pytest.approx(kernel[2] / kernel.sum())


def test_the_weight_of_a_range_is_the_mean_of_its_years() -> None:
    values = np.arange(101.0) ** 2
    table = mean_over_years(values)
    assert table.shape == (101, 101)
    np.testing.assert_array_equal(np.diag(table), values)
    assert table[3, 5] == pytest.approx((9 + 16 + 25) / 3)
    assert table[0, 100] == pytest.approx(values.mean())
    ages = np.array([30] * 50), np.array([34] * 50)
    single = np.array([60] * 5)
    counts = count_ages(*ages) + count_ages(single, single)
    weights = mean_over_years(lds_weights(counts, "inverse"))
    mean = (50 * weights[30, 34] + 5 * weights[60, 60]) / 55
    assert mean == pytest.approx(1, rel=1e-5), "the mean of all photos is 1, with ranges too"


def test_mix_is_the_same_for_images_and_ages() -> None:
    order = torch.tensor([1, 0])
    ages = torch.tensor([10.0, 50.0])
    torch.testing.assert_close(mix(ages, order, 0.75), torch.tensor([20.0, 40.0]))
    images = ages.view(2, 1, 1, 1).expand(2, 4, 4, 3)
    torch.testing.assert_close(mix(images, order, 0.75)[:, 0, 0, 0], torch.tensor([20.0, 40.0]))
    target = label_distribution(ages, 2.0)
    mean = mix(target, order, 0.75) @ YEARS
    torch.testing.assert_close(mean, torch.tensor([20.0, 40.0]), atol=1e-3, rtol=0)


def test_targets_and_losses_of_the_ordinal_head() -> None:
    head = HEAD_LOSSES["ordinal"]
    target = head.target(torch.tensor([0.0, 3.0]), TrainConfig())
    assert target.sum(1).tolist() == [0, 3]
    assert target[1, :4].tolist() == [1, 1, 1, 0]
    loss = head.loss(torch.zeros(2, 100), target, torch.tensor([0.0, 3.0]), TrainConfig())
    torch.testing.assert_close(loss, torch.full((2,), 100 * np.log(2), dtype=torch.float32))
    certain = torch.where(target > 0, 20.0, -20.0)
    assert head.loss(certain, target, torch.tensor([0.0, 3.0]), TrainConfig()).max() < 1e-5


def test_the_distribution_head_follows_the_recipe() -> None:
    head = HEAD_LOSSES["distribution"]
    target = head.target(torch.tensor([40.0]), TrainConfig(sigma=3.0))
    deviation = (target * (YEARS - 40) ** 2).sum().sqrt()
    assert deviation.item() == pytest.approx(3, rel=1e-3)
