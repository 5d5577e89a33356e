"""Operators by name and in files: each against the operator that it stands for, at any size."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise
from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.blur import Blur, CircularBlur
from mezzotint.operators.composed import Chain, Stack
from mezzotint.operators.degradation import degrade, reduction
from mezzotint.operators.diagonal import Average, Grey, Identity, Mask
from mezzotint.operators.kernels import GaussianKernel
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.named import OPERATORS, named_operator
from mezzotint.operators.presets import PRESETS
from mezzotint.operators.separable import gaussian, resize
from mezzotint.testing import check_operator

BLUR = """
[[step]]
operator = "blur"
scale = 2
border = "reflect"
kernel = { family = "gaussian", size = 9, sigmas = [2.0, 1], angle = 0.5 }
"""


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def read_mask(path: str) -> Tensor:
    assert path.endswith("holes.png")
    return torch.tensor([[1, 0, 255], [0, 7, 0]])


def save(folder: Path, text: str) -> str:
    path = folder / "operator.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "scale", "same"),
    [
        ("bicubic", 4, BicubicDown(scale=4, height=16, width=12)),
        ("bicubic", 2.5, resize(height=16, width=12, scale=2.5)),
        ("lanczos", 3, resize(height=16, width=12, scale=3, kernel="lanczos3")),
        ("average", 4, Average(scale=4, height=16, width=12)),
        ("gaussian:1.6", 4, gaussian(height=16, width=12, scale=4, sigma=1.6)),
        ("grey", 1, Grey(height=16, width=12)),
        ("identity", 1, Identity(height=16, width=12)),
    ],
)
def test_names_stand_for_operators(text: str, scale: float, same: LinearOperator) -> None:
    named = named_operator(text, scale=scale)
    operator = named.for_large(16, 12)
    y = normal(1, 3, 16, 12)
    assert operator == same and operator.shape_out == named.size_out((16, 12))
    torch.testing.assert_close(operator.A(y), same.A(y))


@given(
    text=st.sampled_from(["bicubic", "lanczos", "average", "gaussian:1.2"]),
    scale=st.sampled_from([1, 2, 3, 4, 2.5, 4 / 3, 3.7]),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
)
@settings(max_examples=40, deadline=None)
def test_sizes_fit_whatever_they_are(text: str, scale: float, height: int, width: int) -> None:
    """A small picture of any size has a large one, which is reduced to that size; every large one is reduced."""
    if text not in ("bicubic", "lanczos") and scale != int(scale):
        return
    named = named_operator(text, scale=scale)
    small = named.for_small(height, width)
    assert small.shape_out == (height, width) == named.size_out(small.shape_in)
    large = named.for_large(height, width)
    assert large.shape_out == named.size_out((height, width))
    y = torch.ones(1, 1, height, width, dtype=torch.float64)
    torch.testing.assert_close(large.A(y), torch.ones(1, 1, *large.shape_out, dtype=torch.float64))


def test_a_mask_has_a_size_of_its_own() -> None:
    named = named_operator("mask:holes.png", scale=1, read_mask=read_mask)
    y = normal(1, 3, 2, 3)
    expected = y * torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    assert torch.equal(named.for_large(2, 3).A(y), expected)
    with pytest.raises(UsageError, match="2x3.*4x3"):
        named.for_large(4, 3)


def test_a_file_describes_a_blur(tmp_path: Path) -> None:
    operator = named_operator(save(tmp_path, BLUR), scale=2).for_large(11, 14)
    kernel = GaussianKernel(size=9, sigmas=(2.0, 1.0), angle=0.5)
    assert operator == Blur(kernel=kernel, height=11, width=14, scale=2, border="reflect")


def test_a_torus_is_solved_by_fourier_transforms_where_it_can_be(tmp_path: Path) -> None:
    named = named_operator(save(tmp_path, BLUR.replace("reflect", "circular")), scale=2)
    assert isinstance(named.for_large(12, 14), CircularBlur) and isinstance(named.for_large(11, 14), Blur)


def test_steps_follow_each_other(tmp_path: Path) -> None:
    text = '[[step]]\noperator = "mask"\nfile = "holes.png"\n[[step]]\noperator = "average"\nscale = 3\n'
    text += '[[step]]\noperator = "grey"\nweights = [0.2, 0.3, 0.5]\n'
    named = named_operator(save(tmp_path, text), scale=3, read_mask=read_mask)
    operator = named.for_large(2, 3)
    y = normal(1, 3, 2, 3)
    masked = Mask(read_mask("holes.png")[:, :] != 0).A(y)
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)[:, None, None]
    assert operator.shape_out == (1, 1)
    small = named_operator("average", scale=3).for_large(2, 3).A(masked)
    torch.testing.assert_close(operator.A(y), (small * weights).sum(1, keepdim=True))
    check_operator(operator)


@pytest.mark.parametrize("family", ["gaussian", "generalised", "plateau", "sinc", "given"])
def test_kernels_of_every_family(tmp_path: Path, family: str) -> None:
    kernels = {
        "gaussian": "sigmas = [1.0, 2.0]",
        "generalised": "sigmas = [1.0, 2.0], beta = 2.0",
        "plateau": "size = 5, sigmas = [1, 2], beta = 2",
        "sinc": "cutoff = 2.0",
        "given": "values = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]",
    }
    text = f'[[step]]\noperator = "blur"\nkernel = {{ family = "{family}", {kernels[family]} }}\n'
    operator = named_operator(save(tmp_path, text), scale=1).for_large(6, 7)
    torch.testing.assert_close(operator.A(torch.ones(1, 1, 6, 7)), torch.ones(1, 1, 6, 7))


def test_shifts_make_a_stack(tmp_path: Path) -> None:
    text = '[[step]]\noperator = "gaussian"\nsigma = 0.7\nscale = 2\nshifts = [[0, 0], [0.5, -1]]\n'
    operator = named_operator(save(tmp_path, text), scale=2).for_small(5, 6)
    assert isinstance(operator, Stack) and operator.shape_in == (10, 12) and operator.channels_out(3) == 6
    y = normal(1, 3, 10, 12)
    expected = gaussian(height=10, width=12, scale=2, sigma=0.7, shift=(0.5, -1)).A(y)
    torch.testing.assert_close(operator.A(y)[:, 3:], expected)


def test_degrade_takes_files_masks_and_grey(tmp_path: Path) -> None:
    y = torch.rand(1, 3, 11, 14, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    path = save(tmp_path, BLUR)
    x, record = degrade(y, operator=path, scale=2, bits=None)
    assert x.shape == (1, 3, 5, 7) and record["stages"][-1] == {"stage": "operator", "operator": path}
    grey, _ = degrade(y, operator="grey", scale=1, bits=None)
    assert grey.shape == (1, 1, 11, 14)
    masked, _ = degrade(y[..., :2, :3], operator="mask:holes.png", scale=1, bits=None, read_mask=read_mask)
    assert float(masked[0, 0, 0, 1]) == 0
    torch.testing.assert_close(masked[..., 0, 0], y[..., 0, 0])


@pytest.mark.parametrize(
    ("text", "scale", "message"),
    [
        ("bikubic", 4, "bikubic.*bicubic, lanczos"),
        ("bicubic:2", 4, "bicubic:2"),
        ("gaussian", 4, "gaussian:1.6"),
        ("gaussian:x", 4, "gaussian:x"),
        ("gaussian:1", 2.5, "whole scale"),
        ("average", 0.5, "scale 0.5"),
        ("average", math.nan, "scale nan"),
        ("grey", 2, "keeps the size.*scale 1"),
        ("mask", 1, "needs a file"),
        ("mask:", 1, "needs a file"),
        ("mask:a.png", 1, "read_mask"),
        ("mask:a.png", 4, "keeps the size"),
    ],
)
def test_refuses(text: str, scale: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        named_operator(text, scale=scale)


@pytest.mark.parametrize(
    ("content", "scale", "message"),
    [
        ("step = 3", 1, r"\[\[step\]\]"),
        ("", 1, r"\[\[step\]\]"),
        ("[[step]]\noperator", 1, "not TOML"),
        ('[[step]]\noperator = "bicubic"\n[other]\na = 1', 1, "nothing else"),
        ('[[step]]\noperator = "blurr"', 1, "blurr.*bicubic"),
        ('[[step]]\noperator = "bicubic"\nsigma = 2', 1, "'sigma' is no setting of bicubic"),
        ('[[step]]\noperator = "bicubic"\nscale = 2', 4, "scale 2, not 4: use --scale 2"),
        ('[[step]]\noperator = "bicubic"\nscale = "2"', 2, "scale 2 is not a number"),
        ('[[step]]\noperator = "gaussian"', 1, "sigma nan"),
        ('[[step]]\noperator = "gaussian"\nsigma = 1\nborder = "zero"', 1, "zero.*symmetric"),
        ('[[step]]\noperator = "gaussian"\nsigma = 1\nshifts = [1, 2]', 1, "step 1"),
        ('[[step]]\noperator = "blur"', 1, "kernel with a family: gaussian"),
        ('[[step]]\noperator = "blur"\nkernel = { family = "sinc", beta = 2 }', 1, "'beta' is no setting of a sinc"),
        ('[[step]]\noperator = "blur"\nkernel = { family = "sinc", cutoff = 9 }', 1, "cutoff 9"),
        ('[[step]]\noperator = "blur"\nkernel = { family = "sinc" }', 1, "cutoff"),
        ('[[step]]\noperator = "grey"\nweights = [0, 0]', 1, "not all 0"),
        (BLUR + "shifts = [[0, 0]]\n" + '[[step]]\noperator = "grey"', 2, "only the last"),
    ],
)
def test_refuses_files(tmp_path: Path, content: str, scale: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        named_operator(save(tmp_path, content), scale=scale)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.toml"):
        named_operator(str(tmp_path / "none.toml"), scale=2)


def test_a_chain_of_a_file_is_simplified(tmp_path: Path) -> None:
    text = '[[step]]\noperator = "bicubic"\nscale = 2\n[[step]]\noperator = "grey"\n'
    operator = named_operator(save(tmp_path, text), scale=2).for_large(8, 10)
    assert isinstance(operator, Chain) and isinstance(operator.first, Grey) and operator.has_svd


def test_the_page_says_what_there_is(tmp_path: Path) -> None:
    """docs/degradations.md names every operator and preset, and its example is what it says."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "degradations.md").read_text(encoding="utf-8")
    for name in (*OPERATORS, *PRESETS):
        assert f"`{name}`" in page, name
    example = page.split("```toml\n")[1].split("```")[0]
    operator = named_operator(save(tmp_path, example), scale=4).for_small(5, 6)
    assert operator.shape_in == (20, 24) and operator.channels_out(3) == 1
    check_operator(operator)


def test_other_processes_can_be_sent_a_degradation(tmp_path: Path) -> None:
    y = normal(1, 3, 12, 16)
    for text, scale in (("lanczos", 2), ("grey", 1), (save(tmp_path, BLUR), 2)):
        (*_, stage) = reduction(text, scale=scale)
        again = pickle.loads(pickle.dumps(stage))
        assert torch.equal(again.apply(y, noise=Noise(0)), stage.apply(y, noise=Noise(0)))
    for preset in PRESETS.values():
        chain = preset.chain(Noise(0), size=(24, 28), scale=4)
        assert pickle.loads(pickle.dumps(chain)) == chain
