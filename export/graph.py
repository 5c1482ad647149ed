"""The graph: makes a network ready for export, with the same mathematics in fewer steps.

Each step replaces modules in a copy of the network by modules that give the same numbers.
`python -m halnet.benchmarks.studies.graph_steps` measures how much time each step saves.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halnet.faces.alignment import CROP_SIZE
from halnet.network.attention import CoordinateAttention
from halnet.network.folding import fold_batch_norms
from halnet.network.model import AgeNet


class SeparateAttention(nn.Module):
    """Coordinate Attention that computes its two axes separately, without concat and split.

    The squeeze is a 1 x 1 convolution, so it can be applied to each axis separately. In training it
    cannot, because the batch norm's statistics are those of both axes together. The means are
    written as average pools, which runtimes compute in the memory layout of their convolutions. The
    two gates are multiplied with each other first, so that the features are weighted only once.
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
    """A global average pool that PyTorch exports as one node instead of a dozen."""

    def forward(self, x: Tensor) -> Tensor:
        """Return N x C x 1 x 1 means of N x C x H x W features."""
        return F.avg_pool2d(x, x.shape[2:])


class HalfNet(nn.Module):
    """An AgeNet whose backbone computes in float16.

    Normalisation, softmax and expectation compute in float32.
    """

    def __init__(self, model: AgeNet) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.model.network.half()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same outputs as AgeNet, within FP16 rounding."""
        logits = self.model.network(self.model.normalise(images).half())
        return self.model.summarise(logits.float())


@torch.no_grad()
def round_to_half(model: AgeNet) -> AgeNet:
    """Return a copy whose float32 weights are float16 values; each kernel keeps its sum.

    If each weight were rounded to the nearest value, the errors of a kernel would add up wherever
    the picture is flat, which shifts ages by a tenth of a year. Here the smallest weight of the
    kernel, whose float16 steps are the finest, takes the sum of the errors.
    """
    rounded = copy.deepcopy(model)
    for weight in rounded.network.parameters():
        exact = weight.flatten(2) if weight.ndim == 4 else weight[..., None]  # a row for a kernel
        half = exact.half().float()
        smallest = exact.abs().argmin(-1, keepdim=True)
        error = (exact - half).sum(-1, keepdim=True)
        half.scatter_(-1, smallest, (half.gather(-1, smallest) + error).half().float())
        weight.copy_(half.view_as(weight))
    return rounded


def fold(model: AgeNet) -> None:
    """Fold batch norms into the convolutions before them."""
    fold_batch_norms(model, torch.zeros(1, CROP_SIZE, CROP_SIZE, 3, device="cpu"))


def separate_attention(model: AgeNet) -> None:
    """Replace Coordinate Attention by its form without concat."""
    _replace(model, CoordinateAttention, SeparateAttention)


def pool_by_mean(model: AgeNet) -> None:
    """Replace adaptive average pools to one pixel by means."""
    _replace(model, nn.AdaptiveAvgPool2d, _to_mean)


STEPS: dict[str, Callable[[AgeNet], None]] = {
    "attention": separate_attention,
    "pooling": pool_by_mean,
    "folding": fold,
}


def simplify(model: AgeNet, steps: tuple[str, ...] = tuple(STEPS)) -> AgeNet:
    """Return a copy of a network after these steps, in eval mode."""
    simplified = copy.deepcopy(model).eval()
    for step in steps:
        STEPS[step](simplified)
    # A graph has no operations in place, and a network with them takes twice as long to trace.
    modules: list[Any] = [module for module in simplified.modules() if hasattr(module, "inplace")]
    for module in modules:
        module.inplace = False
    return simplified


def layer_names(model: AgeNet) -> list[str]:
    """Return the names of a simplified network's layers, as `find_layers` finds them in its graph.

    They are known without tracing, so that a wrong name is found before the work.
    """
    return [
        name.removesuffix(".weight")
        for name, weights in model.network.named_parameters()
        if name.endswith(".weight") and weights.ndim > 1
    ]


def _to_mean(pool: Any) -> nn.Module:
    return GlobalMean() if pool.output_size in (1, (1, 1)) else pool


def _replace(model: nn.Module, kind: type[nn.Module], make: Callable[[Any], nn.Module]) -> None:
    """Replace each module of one kind, in place, by what `make` returns for it."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kind):
                setattr(parent, name, make(child))
