"""DDPM's U-Net in the forms in which others publish it: diffusers' UNet2DModel and the DDPM of score-SDE's code."""

from __future__ import annotations

from torch import nn

from mezzotint.errors import UsageError
from mezzotint.networks.embedding import TimeEmbedding
from mezzotint.networks.residual_unet import Attention, Doubled, Halved, Parts, ResidualUNet, TimedBlock


class UNet2D(ResidualUNet):
    """Predict from a noisy picture b in_channels H W and its time b, an index, b out_channels H W.

    `widths` are the channels of the depths; `down_attention` and `up_attention` name the depths (0 is full size) whose
    blocks end in attention, on the way down and up, beside the bottleneck's (without `middle_attention` it has none),
    in heads of `head` channels, one for all where it is None. `once`: on the way up only the last block of such a depth
    has it. `closed` and `cosines_first`: the sines of the time (`embedding.TimeEmbedding`); `around`: where
    convolutions that halve see zeros (`residual_unet.Halved`).

    At the defaults DDPM's network for 256 x 256 pixels as Hugging Face's google/ddpm-celebahq-256, -church, -bedroom
    and -cat have it, 113,673,219 parameters (Ho et al. 2020, arXiv 2006.11239). With `once` the DDPM of Song et al.
    2021 (arXiv 2011.13456, released PyTorch code). What the other settings of UNet2DModel compute is what diffusers
    0.42 computes. Differs from both in the sizes that it takes (`ResidualUNet`). UsageError for channels that the
    groups, the heads or the embedding do not divide.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        widths: tuple[int, ...] = (128, 128, 256, 256, 512, 512),
        blocks: int = 2,
        down_attention: tuple[int, ...] = (4,),
        up_attention: tuple[int, ...] = (4,),
        middle_attention: bool = True,
        once: bool = False,
        head: int | None = None,
        closed: bool = True,
        cosines_first: bool = False,
        around: bool = False,
        groups: int = 32,
        epsilon: float = 1e-6,
        dropout: float = 0.0,
    ) -> None:
        for attention in (down_attention, up_attention):
            if any(not 0 <= depth < len(widths) for depth in attention):
                raise UsageError(f"attention {tuple(attention)} names a depth outside 0..{len(widths) - 1}")
        if not widths:
            raise UsageError("a U-Net needs at least one depth, one block and one channel everywhere")

        def attend(width: int) -> nn.Module:
            if head is not None and (head < 1 or width % head):
                raise UsageError(f"{width} channels do not divide into heads of {head}: choose channels or head anew")
            heads = 1 if head is None else width // head
            return Attention(width, heads=heads, groups=groups, epsilon=epsilon)

        def mixer(width: int, depth: int, index: int | None) -> nn.Module | None:
            wanted = middle_attention if index is None else depth in down_attention
            return attend(width) if wanted else None

        def mixer_up(width: int, depth: int, index: int | None) -> nn.Module | None:
            return attend(width) if depth in up_attention and (index == blocks or not once) else None

        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            widths=tuple(widths),
            blocks=blocks,
            parts=Parts(
                embedding=TimeEmbedding(
                    widths[0], out=4 * widths[0], activation=nn.SiLU(), closed=closed, cosines_first=cosines_first
                ),
                block=lambda i, o: TimedBlock(
                    i, o, embedding=4 * widths[0], groups=groups, dropout=dropout, epsilon=epsilon
                ),
                mixer=mixer,
                mixer_up=mixer_up,
                down=lambda width: Halved(width, width, around=around),
                up=Doubled,
            ),
            groups=groups,
            epsilon=epsilon,
        )
