"""The networks that give the posterior mean, by the name that a card has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mezzotint.networks.edsr import Edsr
from mezzotint.networks.span import Span

Kind = Literal["span", "edsr"]
PREDICTORS: dict[Kind, type[Span] | type[Edsr]] = {"span": Span, "edsr": Edsr}


def make_predictor(config: Mapping[str, Any], *, scale: int) -> Span | Edsr:
    """The network of the mean that the configuration of a card asks for, untrained."""
    return PREDICTORS[config["predictor"]](
        channels=config["channels"], blocks=config["blocks"], scale=scale, collapsed=config["collapsed"]
    )
