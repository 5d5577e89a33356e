"""Conformance of a method: what every trained or untrained super-resolution module must do."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from mezzotint import methods
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.testing.identities import Identities


def check_method(
    method: nn.Module,
    *,
    scale: int = 4,
    size: tuple[int, int] = (9, 7),
    steps: int = 2,
    deterministic: bool = False,
    tolerance: float = 1e-3,
) -> dict[str, float]:
    """The largest error of every invariant of a method, by name; `method` is a module of `methods.build` or `load`.

    Checked on random pictures x of `size` in [-1, 1]: the output is exactly `scale` times as large; the same seed gives
    the same picture and another seed another one (unless `deterministic`); a batch of two equals the two alone;
    arguments stay untouched; every stage's loss is a finite scalar that reaches its parameters with a finite gradient;
    saved and loaded weights give the same picture. Raises AssertionError naming the invariant.
    """
    record = Identities(type(method).__name__, tolerance)
    method.eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, *size, generator=generator) * 2 - 1
    kept = x.clone()

    def draw(pictures: Tensor, *, seed: int, ids: tuple[int, ...], module: nn.Module = method) -> Tensor:
        with torch.no_grad():
            return module.sample(pictures, steps=steps, noise=Noise(seed, pictures=ids))  # pyright: ignore

    both = draw(x, seed=1, ids=(5, 6))
    record.true("size is exact", tuple(both.shape) == (2, 3, size[0] * scale, size[1] * scale), at=tuple(both.shape))
    record.true("output is finite", bool(torch.isfinite(both).all()))
    record.equal("same seed, same picture", draw(x, seed=1, ids=(5, 6)), both)
    alone = torch.cat([draw(x[:1], seed=1, ids=(5,)), draw(x[1:], seed=1, ids=(6,))])
    record.equal("a batch equals its pictures alone", alone, both)
    if not deterministic:
        record.true("another seed, another picture", not torch.allclose(draw(x, seed=2, ids=(5, 6)), both, atol=1e-4))
    _check_losses(method, x, size, scale, record)
    with tempfile.TemporaryDirectory() as folder:
        method.save_pretrained(Path(folder))  # pyright: ignore
        loaded = methods.load(Path(folder))
        record.equal("saved and loaded", draw(x, seed=1, ids=(5, 6), module=loaded), both)
    record.true("arguments stay untouched", bool(torch.equal(x, kept)))
    return record.errors


def _check_losses(method: nn.Module, x: Tensor, size: tuple[int, int], scale: int, record: Identities) -> None:
    y = torch.rand(2, 3, size[0] * scale, size[1] * scale, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for stage in method.stages:  # pyright: ignore
        for name, module in stage.groups.items():
            loss = stage.losses[name](y, x, noise=SequentialNoise(3))
            record.true("loss is a finite scalar", loss.ndim == 0 and bool(torch.isfinite(loss)), at=stage.name)
            parameters = [p for p in module.parameters() if p.requires_grad]
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            found = [g for g in gradients if g is not None]
            record.true("loss reaches the group", len(found) > 0, at=(stage.name, name))
            record.true("gradients are finite", all(bool(torch.isfinite(g).all()) for g in found), at=stage.name)
