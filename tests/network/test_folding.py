import pytest
import torch
from torch import nn

from halnet.network.config import NetworkConfig
from halnet.network.folding import fold_batch_norms
from halnet.network.model import AgeNet


@pytest.mark.parametrize(
    "backbone", ["timm:tf_efficientnet_lite0", "timm:resnet18", "ca_mobilenet_v3"]
)
@torch.no_grad()
def test_the_outputs_stay_the_same_without_any_batch_norm(backbone: str) -> None:
    torch.manual_seed(0)
    model = AgeNet(NetworkConfig(backbone=backbone))
    crops = torch.randint(0, 256, (4, 64, 64, 3)).float()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
        norm.momentum = None
    model(crops)  # changes the statistics from 0 and 1
    model.eval()
    before = model(crops)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) > 15
    fold_batch_norms(model, crops[:1])
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    for a, b in zip(model(crops), before, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_batch_norm_without_a_convolution_before_it_stays() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    x = torch.randn(2, 3, 5, 5)
    network[2].running_mean.fill_(0.3)
    before = network(x)
    fold_batch_norms(network, x)
    assert isinstance(network[2], nn.BatchNorm2d)
    assert torch.equal(network(x), before)
