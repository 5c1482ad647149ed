"""The networks: their layers, features, normalisation and outputs."""

import pytest
import torch
from torchvision.ops import SqueezeExcitation

from halnet.errors import ConfigError
from halnet.network.attention import CoordinateAttention
from halnet.network.backbones import build_backbone
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.training.distillation import compute_features

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def test_coordinate_attention_is_in_the_deep_blocks() -> None:
    network = build_backbone("ca_mobilenet_v3", 101, 0.2).network
    ca = [n for n, m in network.named_modules() if isinstance(m, CoordinateAttention)]
    se = [n for n, m in network.named_modules() if isinstance(m, SqueezeExcitation)]
    assert ca == [f"features.{i}.block.2" for i in range(11, 16)]
    assert se == [f"features.{i}.block.2" for i in range(4, 7)]
    # block.0 expands, block.1 is the depthwise convolution, block.3 projects
    assert network.features[11].block[1][0].groups == network.features[11].block[1][0].in_channels


def test_mobilenet_v3_large_keeps_all_its_squeeze_excitation() -> None:
    network = build_backbone("mobilenet_v3_large", 101, 0.2).network
    assert sum(isinstance(m, SqueezeExcitation) for m in network.modules()) == 8
    assert not any(isinstance(m, CoordinateAttention) for m in network.modules())


@pytest.mark.parametrize(
    ("backbone", "head", "parameters", "outputs"),
    [
        ("ca_mobilenet_v3", "distribution", 3_125_143, 101),
        ("mobilenet_v3_large", "distribution", 4_331_413, 101),
        ("timm:tf_efficientnet_lite0", "distribution", 3_500_389, 101),
        ("timm:resnet18", "ordinal", 11_227_812, 100),
        ("mobilenet_v1", "distribution", 3_310_501, 101),
    ],
)
def test_parameters_are_counted(backbone: str, head: str, parameters: int, outputs: int) -> None:
    model = AgeNet(NetworkConfig(backbone=backbone, head=head)).eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    crops = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert model.logits(crops).shape == (2, outputs)
        age, stddev, probabilities = model(crops)
    assert probabilities.shape == (2, 101)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    torch.testing.assert_close(age, probabilities @ torch.arange(101.0))
    assert (stddev > 0).all()


def test_multiply_accumulates_are_counted() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = AgeNet().eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, 224, 224, 3, dtype=torch.uint8))
    assert 0.215e9 < counter.get_total_flops() / 2 < 0.225e9


def test_batch_norms_have_a_large_momentum() -> None:
    norms = [m for m in AgeNet().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 40
    assert all(norm.momentum == 0.1 for norm in norms)


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("ca_mobilenet_v3", (40, 112, 960)),
        ("timm:tf_efficientnet_lite0", (40, 112, 1280)),
        ("timm:resnet18", (128, 256, 512)),
        ("mobilenet_v1", (256, 512, 1024)),
    ],
)
def test_features_have_the_sizes_of_their_strides(name: str, widths: tuple[int, int, int]) -> None:
    model = AgeNet(NetworkConfig(backbone=name)).eval()
    logits, features = compute_features(model, torch.zeros(2, 96, 64, 3))
    assert logits.shape == (2, 101)
    assert features["stride8"].shape == (2, widths[0], 12, 8)
    assert features["stride16"].shape == (2, widths[1], 6, 4)
    assert features["pooled"].shape == (2, widths[2])
    compute_features(model, torch.zeros(2, 32, 32, 3))
    assert features["stride8"].shape[2:] == (12, 8), "the hooks are removed after the pass"


def test_the_normalisation_is_that_of_the_pretrained_weights() -> None:
    white = torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)
    ours = AgeNet().normalise(white).flatten()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(ours, (1 - mean) / std)
    lite = AgeNet(NetworkConfig(backbone="timm:tf_efficientnet_lite0")).normalise(white).flatten()
    torch.testing.assert_close(lite, torch.ones(3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alexnet", "backbone: expected one of ca_mobilenet_v3, .* found alexnet"),
        ("timm:resnet18_b", "found timm:resnet18_b; similar names are .*resnet18"),
    ],
)
def test_the_error_for_an_unknown_name_lists_other_names(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_backbone(name, 101, 0.2)


def test_a_network_for_images_of_one_size_is_refused() -> None:
    message = "expected a network that takes images of any size, found timm:levit_128s"
    with pytest.raises(ConfigError, match=f"^backbone: {message} .*; use a convolutional network"):
        build_backbone("timm:levit_128s", 101, 0.2)


def test_coordinate_attention_computes_the_equations_of_the_paper() -> None:
    """Equations 4 to 8, for one position at a time."""
    torch.manual_seed(0)
    ca = CoordinateAttention(320).eval()
    assert ca.squeeze.out_channels == 10
    assert CoordinateAttention(64).squeeze.out_channels == 8
    x = torch.randn(2, 320, 5, 7)

    def gate(mean: torch.Tensor, conv: torch.nn.Conv2d) -> torch.Tensor:
        hidden = ca.act(ca.norm(ca.squeeze(mean[:, :, None, None])))
        return conv(hidden).sigmoid()[:, :, 0, 0]

    with torch.no_grad():
        y = ca(x)
        for i in range(5):
            for j in range(7):
                a_h = gate(x[:, :, i, :].mean(2), ca.gate_h)
                a_w = gate(x[:, :, :, j].mean(2), ca.gate_w)
                torch.testing.assert_close(y[:, :, i, j], x[:, :, i, j] * a_h * a_w)


def test_age_and_deviation_are_those_of_the_distribution() -> None:
    torch.manual_seed(0)
    model = AgeNet().eval()
    crops = torch.randint(0, 256, (3, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        age, stddev, probabilities = model(crops)
        logits = model.network((crops.permute(0, 3, 1, 2) / 255 - MEAN) / STD)
    expected = logits.softmax(1).double()
    torch.testing.assert_close(probabilities, expected.float(), rtol=1e-4, atol=1e-7)
    years = torch.arange(101.0, dtype=torch.float64)
    mean = expected @ years
    torch.testing.assert_close(age.double(), mean, rtol=1e-4, atol=1e-3)
    variance = (expected * (years - mean[:, None]) ** 2).sum(1)
    torch.testing.assert_close(stddev.double(), variance.sqrt(), rtol=1e-4, atol=1e-3)
