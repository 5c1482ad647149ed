import numpy as np
import pytest
import torch

from halnet.errors import ConfigError
from halnet.network.heads import HEADS, find_head

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


def test_an_unknown_head_names_those_that_there_are() -> None:
    assert find_head("ordinal").outputs == 100
    with pytest.raises(ConfigError, match="head softmax: expected one of distribution, ordinal"):
        find_head("softmax")
