"""Coordinate Attention, which scales the features of the deep blocks of CA-MobileNetV3."""

import torch
from torch import Tensor, nn

CA_REDUCTION = 32
CA_MIN_CHANNELS = 8


class CoordinateAttention(nn.Module):
    """Coordinate Attention [Hou, Zhou, Feng, CVPR 2021] on N x C x H x W features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(CA_MIN_CHANNELS, channels // CA_REDUCTION)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = nn.Hardswish()
        self.gate_h = nn.Conv2d(hidden, channels, 1)
        self.gate_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return N x C x H x W features, each multiplied by the gates of its row and its column.

        The gates of a row are computed from the mean features of this row, and the gates of a
        column from those of this column.
        """
        height, width = x.shape[2:]
        rows = x.mean(dim=3, keepdim=True)  # N x C x H x 1
        columns = x.mean(dim=2, keepdim=True).transpose(2, 3)  # N x C x W x 1
        hidden = self.act(self.norm(self.squeeze(torch.cat([rows, columns], dim=2))))
        rows, columns = torch.split(hidden, [height, width], dim=2)
        a_h = self.gate_h(rows).sigmoid()
        a_w = self.gate_w(columns.transpose(2, 3)).sigmoid()
        weighted: Tensor = x * a_h * a_w
        return weighted
