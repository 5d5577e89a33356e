"""The U-Net of ADM ("guided diffusion"): BigGAN's blocks, times that scale and shift, attention of many heads."""

from __future__ import annotations

from functools import partial

from torch import nn

from mezzotint.errors import UsageError
from mezzotint.networks.embedding import TimeEmbedding
from mezzotint.networks.residual_unet import Attention, Parts, ResidualUNet, TimedBlock


class ADM(ResidualUNet):
    """Predict from a noisy picture b in_channels H W and its time b, the number of a node, b out_channels H W.

    Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", arXiv 2105.05233, section 3, and released
    code, without classes. `multipliers` give the width of each depth in units of `channels`; `attention` names the
    depths (0 is full size) whose blocks end in attention, in heads of `head` channels, or in `heads` of them where that
    is given, beside the bottleneck's: at the defaults those of 32, 16 and 8 pixels in pictures of 256. Sides are halved
    and doubled inside residual blocks. A multiplier may be a fraction, as the 1/2 of the network for 512 x 512.
    Unconditional for 256 x 256 pixels it has 552,814,086 parameters with the six channels out that hold a mean and
    a variance, and 552,807,171 with three, as I2SB uses it (552,814,083 where it sees six channels).

    Differs from the authors' code in the sizes that it takes (`ResidualUNet`).
    UsageError for channels that the groups, the heads or the embedding do not divide.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 256,
        multipliers: tuple[float, ...] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        attention: tuple[int, ...] = (3, 4, 5),
        head: int = 64,
        heads: int | None = None,
        groups: int = 32,
        dropout: float = 0.0,
    ) -> None:
        if any(not 0 <= depth < len(multipliers) for depth in attention):
            raise UsageError(f"attention {tuple(attention)} names a depth outside 0..{len(multipliers) - 1}")
        block = partial(TimedBlock, embedding=4 * channels, groups=groups, dropout=dropout, scale_shift=True)

        def mixer(width: int, depth: int, index: int | None) -> nn.Module | None:
            if index is not None and depth not in attention:
                return None
            if heads is not None:
                return Attention(width, heads=heads, groups=groups)
            if width % head:
                raise UsageError(f"{width} channels do not divide into heads of {head}: choose channels or head anew")
            return Attention(width, heads=width // head, groups=groups)

        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            widths=tuple(int(channels * multiplier) for multiplier in multipliers),
            blocks=blocks,
            parts=Parts(
                embedding=TimeEmbedding(
                    channels, out=4 * channels, activation=nn.SiLU(), closed=False, cosines_first=True
                ),
                block=block,
                mixer=mixer,
                down=lambda width: block(width, width, resample="down"),
                up=lambda width: block(width, width, resample="up"),
            ),
            groups=groups,
        )
