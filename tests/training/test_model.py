import torch
from torchvision.ops import SqueezeExcitation

from halnet.training.model import AgeNet, CoordinateAttention, ca_mobilenet_v3


def test_attention_sits_where_it_should() -> None:
    network = ca_mobilenet_v3()
    ca = [n for n, m in network.named_modules() if isinstance(m, CoordinateAttention)]
    se = [n for n, m in network.named_modules() if isinstance(m, SqueezeExcitation)]
    assert ca == [f"features.{i}.block.2" for i in range(11, 16)]
    assert se == [f"features.{i}.block.2" for i in range(4, 7)]
    # block.0 expands, block.1 is the depthwise convolution, block.3 projects
    assert network.features[11].block[1][0].groups == network.features[11].block[1][0].in_channels


def test_parameters_are_counted() -> None:
    assert sum(p.numel() for p in AgeNet().parameters()) == 3_125_143


def test_multiply_accumulates_are_counted() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = AgeNet().eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, 224, 224, 3, dtype=torch.uint8))
    assert 0.215e9 < counter.get_total_flops() / 2 < 0.225e9


def test_batch_norm_momentum() -> None:
    norms = [m for m in AgeNet().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 40
    assert all(norm.momentum == 0.1 for norm in norms)


def test_coordinate_attention_against_the_paper() -> None:
    """Equations 4 to 8, one position at a time."""
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


def test_outputs_are_those_of_the_distribution() -> None:
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


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
