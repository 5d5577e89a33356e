"""The U-Net of DDPM: residual blocks, one head of attention at chosen depths."""

from __future__ import annotations

from torch import nn

from mezzotint.errors import UsageError
from mezzotint.networks.embedding import TimeEmbedding
from mezzotint.networks.residual_unet import Attention, Doubled, Halved, Parts, ResidualUNet, TimedBlock

# That of GroupNorm, as in the authors' TensorFlow.
_EPSILON = 1e-6


class DDPMUNet(ResidualUNet):
    """Predict from a noisy picture b in_channels H W and its time b, the number of a node, b out_channels H W.

    Ho et al., "Denoising Diffusion Probabilistic Models", arXiv 2006.11239, appendix B, and released code, in the form
    of DDIM's PyTorch code. `multipliers` give the width of each depth in units of `channels`; `attention` names the
    depths (0 is full size) whose blocks end in attention of one head, beside the bottleneck's: for pictures of 32 x 32
    the papers' "16 x 16" is depth 1, for 256 x 256 depth 4. 35,746,307 parameters for CIFAR-10 (multipliers 1, 2, 2,
    2), 113,673,219 for pictures of 256 x 256 (1, 1, 2, 2, 4, 4), both with three channels in and out; further channels
    in, the condition, change the first convolution only.

    Differs from the authors' code in the sizes that it takes (`ResidualUNet`); in the weights at the start, PyTorch's
    own with zeros where theirs are scaled to 1e-10; and in that theirs counts nodes from 0, ours from 1.
    UsageError for channels that the groups or the embedding do not divide.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (1,),
        groups: int = 32,
        dropout: float = 0.0,
    ) -> None:
        if any(not 0 <= depth < len(multipliers) for depth in attention):
            raise UsageError(f"attention {tuple(attention)} names a depth outside 0..{len(multipliers) - 1}")

        def block(width_in: int, width_out: int) -> nn.Module:
            return TimedBlock(
                width_in, width_out, embedding=4 * channels, groups=groups, dropout=dropout, epsilon=_EPSILON
            )

        def mixer(width: int, depth: int, index: int | None) -> nn.Module | None:
            wanted = index is None or depth in attention
            return Attention(width, groups=groups, epsilon=_EPSILON) if wanted else None

        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            widths=tuple(channels * multiplier for multiplier in multipliers),
            blocks=blocks,
            parts=Parts(
                embedding=TimeEmbedding(channels, out=4 * channels, activation=nn.SiLU(), closed=True),
                block=block,
                mixer=mixer,
                down=lambda width: Halved(width, width),
                up=Doubled,
            ),
            groups=groups,
            epsilon=_EPSILON,
        )
