"""Weight selection, with small blocks and with the real pair of networks."""

import pytest
import torch
from torch import nn

from halnet.errors import ConfigError
from halnet.network.backbones import build_backbone
from halnet.training.weight_selection import Block, ConvNorm, copy_block, fit_kernel, select_weights


def layer(inputs: int, outputs: int, size: int = 1, groups: int = 1) -> ConvNorm:
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs).eval()
    for value in (norm.weight, norm.running_var):
        nn.init.uniform_(value, 0.5, 1.5)
    for value in (norm.bias, norm.running_mean):
        nn.init.normal_(value, 0, 0.1)
    return ConvNorm(conv, norm)


def block(width: int, inner: int, size: int = 3) -> Block:
    return Block(layer(width, inner), layer(inner, inner, size, inner), layer(inner, width))


def run(part: Block, x: torch.Tensor) -> torch.Tensor:
    assert part.expand is not None
    x = part.expand.norm(part.expand.conv(x)).relu()
    x = part.depthwise.norm(part.depthwise.conv(x)).relu()
    return part.project.norm(part.project.conv(x))


@torch.no_grad()
def test_the_channels_with_an_effect_are_copied() -> None:
    """Seven of twelve expanded channels have no effect, so the five others give the output."""
    torch.manual_seed(0)
    source, target = block(4, 12), block(4, 5)
    silent = torch.tensor([0, 2, 3, 5, 8, 9, 11])
    source.project.conv.weight[:, silent] = 0
    everything = torch.arange(4)
    copy_block(source, target, everything, everything)
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(run(target, x), run(source, x))


@torch.no_grad()
def test_the_strength_of_a_channel_is_the_product_of_its_norms() -> None:
    """The second channel has the largest product, though not the largest expansion."""
    torch.manual_seed(0)
    source, target = block(4, 3), block(4, 1)
    for part in (source.expand, source.depthwise, source.project):
        assert part is not None
        nn.init.ones_(part.conv.weight)
        nn.init.ones_(part.norm.weight)
        nn.init.ones_(part.norm.running_var)
    source.expand.conv.weight[0] *= 3  # type: ignore[union-attr]
    source.project.conv.weight[:, 0] *= 0.2  # the product is 3 * 0.2, less than 1
    source.depthwise.norm.weight[1] *= 4  # the product is 4
    source.depthwise.norm.bias[1] = 7
    copy_block(source, target, torch.arange(4), torch.arange(4))
    assert target.depthwise.norm.bias.item() == 7


def test_kernels_are_cropped_and_padded_on_all_sides() -> None:
    weight = torch.arange(25.0).view(1, 1, 5, 5)
    assert fit_kernel(weight, 3)[0, 0].tolist() == [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
    wide = fit_kernel(weight[..., 1:4, 1:4], 5)[0, 0]
    assert wide[2, 2] == 12
    assert wide[0].abs().sum() == 0


@torch.no_grad()
def test_weights_of_efficientnet_lite_in_mobilenet_v3() -> None:
    torch.manual_seed(0)
    source = build_backbone("timm:tf_efficientnet_lite0", 101, 0.2).network
    target = build_backbone("ca_mobilenet_v3", 101, 0.2).network
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    select_weights(source, target)
    after = target.state_dict()
    changed = {n for n, v in before.items() if not torch.equal(v, after[n])}
    convolutions = {
        name + ".0.weight"
        for name, module in target.features.named_modules(prefix="features")
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d)
    }
    assert convolutions <= changed, "each convolution outside the attention layers is copied"
    assert not any("classifier" in name or ".squeeze" in name for name in changed)
    # Blocks with the same widths in both networks get the weights of the source.
    own = target.features[12].block[0][0].weight
    assert own.shape == (672, 112, 1, 1)
    torch.testing.assert_close(own, source.body.blocks[4][1].conv_pw.weight)
    # Of 192 residual channels, 160 are copied: the next block reads those that a block writes.
    written = target.features[13].block[3][0].weight
    read = target.features[14].block[0][0].weight
    found = [
        next(
            i
            for i, row in enumerate(source.body.blocks[5][0].conv_pwl.weight)
            if set(out.flatten().tolist()) <= set(row.flatten().tolist())
        )
        for out in written
    ]
    assert found == sorted(found)
    first = read[0].flatten()
    origin = next(
        w.flatten()
        for w in source.body.blocks[5][1].conv_pw.weight
        if torch.equal(w.flatten()[found], first)
    )
    assert len(origin) == 192


def test_other_networks_are_refused() -> None:
    resnet = build_backbone("timm:resnet18", 101, 0.2).network
    ours = build_backbone("ca_mobilenet_v3", 101, 0.2).network
    lite = build_backbone("timm:tf_efficientnet_lite0", 101, 0.2).network
    with pytest.raises(ConfigError, match="expected channels of timm:tf_efficientnet_lite0"):
        select_weights(resnet, ours)
    with pytest.raises(ConfigError, match="expected the backbone ca_mobilenet_v3"):
        select_weights(lite, resnet)
