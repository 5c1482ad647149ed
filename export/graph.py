"""The graph: a network made ready for export, the same mathematics in fewer steps.

Each step replaces modules of a copy by ones that give the same numbers. `python -m
halnet.benchmarks.studies.graph_steps` measures what each one gains.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halnet.alignment import CROP_SIZE
from halnet.network.attention import CoordinateAttention
from halnet.network.folding import fold_batch_norms
from halnet.network.model import AgeNet


class SeparateAttention(nn.Module):
    """Coordinate Attention whose two axes go their own ways, with no concat, split or transpose.

    The squeeze is a 1 x 1 convolution, so that it may be applied to each axis by itself; in
    training it is not, because the batch norm's statistics are of both. The means are written as
    average pools, which runtimes compute in the layout of their convolutions, and the gates meet
    each other before the features, which are then weighted once.
    """

    def __init__(self, attention: CoordinateAttention) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(attention.squeeze, attention.norm, attention.act)
        self.gate_h, self.gate_w = attention.gate_h, attention.gate_w

    def forward(self, x: Tensor) -> Tensor:
        """Return x * (a_h * a_w) for N x C x H x W features."""
        height, width = x.shape[2:]
        a_h = self.gate_h(self.squeeze(F.avg_pool2d(x, (1, width)))).sigmoid()
        a_w = self.gate_w(self.squeeze(F.avg_pool2d(x, (height, 1)))).sigmoid()
        weighted: Tensor = x * (a_h * a_w)
        return weighted


class GlobalMean(nn.Module):
    """A global average pool that the exporter writes as one node, not as a strided view's dozen."""

    def forward(self, x: Tensor) -> Tensor:
        """Return N x C x 1 x 1 means of N x C x H x W features."""
        return F.avg_pool2d(x, x.shape[2:])


class HalfNet(nn.Module):
    """An AgeNet whose backbone computes in float16; input, softmax and expectation do not."""

    def __init__(self, model: AgeNet) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.model.network.half()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the AgeNet does, nearly."""
        logits = self.model.network(self.model.normalise(images).half())
        return self.model.summarise(logits.float())


@torch.no_grad()
def round_to_half(model: AgeNet) -> AgeNet:
    """Return a copy with weights that float16 holds, in float32, the sum of each kernel kept.

    To the nearest, a kernel's errors add up wherever the picture is flat, which moves ages by a
    tenth of a year; here its smallest weight, whose float16 steps are the finest, takes their sum.
    """
    rounded = copy.deepcopy(model)
    for weight in rounded.network.parameters():
        exact = weight.flatten(2) if weight.ndim == 4 else weight[..., None]  # one row a kernel
        half = exact.half().float()
        at = exact.abs().argmin(-1, keepdim=True)
        error = (exact - half).sum(-1, keepdim=True)
        half.scatter_(-1, at, (half.gather(-1, at) + error).half().float())
        weight.copy_(half.view_as(weight))
    return rounded


def fold(model: AgeNet) -> None:
    """Fold batch norms into the convolutions before them."""
    fold_batch_norms(model, torch.zeros(1, CROP_SIZE, CROP_SIZE, 3))


def separate_attention(model: AgeNet) -> None:
    """Replace Coordinate Attention by its form without concat."""
    _replace(model, CoordinateAttention, SeparateAttention)


def pool_by_mean(model: AgeNet) -> None:
    """Replace adaptive average pools to one pixel by means."""
    _replace(model, nn.AdaptiveAvgPool2d, _mean_of)


STEPS: dict[str, Callable[[AgeNet], None]] = {
    "attention": separate_attention,
    "pooling": pool_by_mean,
    "folding": fold,
}


def simplify(model: AgeNet, steps: tuple[str, ...] = tuple(STEPS)) -> AgeNet:
    """Return a copy of a network after the steps, in eval mode."""
    simplified = copy.deepcopy(model).eval()
    for step in steps:
        STEPS[step](simplified)
    module: Any
    for (
        module
    ) in simplified.modules():  # a graph has no "in place", and takes twice as long to trace
        if hasattr(module, "inplace"):
            module.inplace = False
    return simplified


def _mean_of(pool: Any) -> nn.Module:
    return GlobalMean() if pool.output_size in (1, (1, 1)) else pool


def _replace(model: nn.Module, kind: type[nn.Module], make: Callable[[Any], nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kind):
                setattr(parent, name, make(child))
