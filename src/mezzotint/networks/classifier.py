"""What a noisy picture says about the small picture that it was made from: the classifier of super-resolution."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.unet import NoiseEmbedding, UNet


class NoisyClassifier(nn.Module):
    """q(x | z) of the small picture x given a noisy state z of the large one: a Gaussian for each value of x.

    In place of the classes of Dhariwal and Nichol 2021 (arXiv 2105.05233, section 4) stands x itself. Cells of `scale`
    x `scale` pixels of the state become channels of one pixel, so that a U-Net (`width`, `multipliers`, `blocks`,
    `groups`) works at the size of x. It predicts corrections F to the Bayes answer for cells with a mean m ~
    N(0, deviation^2) and x = m + N(0, floor^2): with w = s^2 / scale^2 and the mean z' of the state's cell

        mean     = a deviation^2 / (a^2 deviation^2 + w) z' + sqrt(v) F1
        variance = v exp(F2),    v = deviation^2 w / (a^2 deviation^2 + w) + floor^2,

    F2 bounded to 8 either way, so that both outputs have one size at every level. `floor` stands for what x and the
    mean of a cell differ by: another kernel, rounding. F is the U-Net's answer and the cell itself through one matrix
    that the level gives, since the U-Net's normalisation loses how large a state is. Untrained, F is 0.
    UsageError for a scale that is no whole number of 1 or more, and deviations that are not positive.
    """

    def __init__(
        self,
        *,
        scale: int,
        channels: int = 3,
        width: int = 32,
        multipliers: tuple[int, ...] = (1, 1),
        blocks: int = 1,
        groups: int = 8,
        deviation: float = 0.5,
        floor: float = 0.05,
    ) -> None:
        super().__init__()
        if scale != int(scale) or scale < 1:
            raise UsageError(f"scale {scale}: the classifier works on whole cells, use a whole number, as 4")
        if not (0.0 < deviation < math.inf and 0.0 < floor < math.inf):
            raise UsageError(f"deviation {deviation} and floor {floor} of the classifier must be positive and finite")
        self.scale, self.deviation, self.floor = int(scale), deviation, floor
        self.network = UNet(
            in_channels=channels * self.scale**2, out_channels=2 * channels, channels=width, multipliers=multipliers,
            blocks=blocks, groups=groups, attention=(), middle_attention=False,
        )  # fmt: skip
        self.embedding = NoiseEmbedding(width)
        self.direct = nn.Linear(width, 2 * channels * channels * self.scale**2)
        for layer in (self.network.last[-1], self.direct):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, z: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of x, b c h w each.

        z: b c H W, a y + s eps with a^2 + s^2 = 1. level: b, log(s / a) / 4. UsageError where H W are not whole cells.
        """
        if z.shape[-2] % self.scale or z.shape[-1] % self.scale:
            raise UsageError(
                f"a state of {z.shape[-1]}x{z.shape[-2]} is not made of cells of {self.scale}x{self.scale}: this "
                f"classifier was made for exactly {self.scale} times the size"
            )
        ratio = torch.exp(4.0 * level.to(z.dtype))[:, None, None, None]
        a = (1.0 + ratio**2).rsqrt()
        noise, prior = (a * ratio / self.scale) ** 2, self.deviation**2
        left = prior * noise / (a**2 * prior + noise) + self.floor**2
        cells = F.pixel_unshuffle(z, self.scale)
        mixing = self.direct(F.silu(self.embedding(level.to(z.dtype)))).reshape(len(z), -1, cells.shape[1])
        answer = self.network(cells, level.to(z.dtype)) + torch.einsum("boi,bihw->bohw", mixing, cells)
        shift, spread = answer.chunk(2, dim=1)
        seen = F.avg_pool2d(z, self.scale)
        mean = a * prior / (a**2 * prior + noise) * seen + left.sqrt() * shift
        return mean, left.log() + 8.0 * torch.tanh(spread / 8.0)
