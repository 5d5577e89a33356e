"""The spectral correction: exact where its assumption holds, and a measured spectrum where it does not."""

from __future__ import annotations

import math

import pytest
import torch

from mezzotint.bridges import VP
from mezzotint.errors import UsageError
from mezzotint.noise import Noise
from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.diagonal import Average, Grey, Identity, Mask
from mezzotint.operators.named import named_operator
from mezzotint.operators.separable import gaussian, resize
from mezzotint.samplers.step import Estimate
from mezzotint.schedules import LinearSDE
from mezzotint.testing.priors import GaussianField, LinearGaussian
from mezzotint.testing.samplers import affine_moments
from mezzotint.zero_shot import Measurement, Problem, restore
from mezzotint.zero_shot.error_spectrum import (
    BINS,
    ErrorSpectrum,
    cosines,
    from_cosines,
    measure_spectrum,
    rings,
    to_cosines,
)
from mezzotint.zero_shot.spectral import Posterior, Spectral

BRIDGE = VP(LinearSDE())
F64 = torch.float64


class Stationary:
    """The error spectrum of the best denoiser of a normal prior with independent cosines, for any level."""

    def __init__(self, variances):
        self.variances = variances

    def at(self, level, *, height, width):
        if math.isinf(level):
            return self.variances
        return self.variances * level**2 / (self.variances + level**2)


def prior(channels, height, width):
    place = rings(height, width)
    variances = torch.stack([0.3 / (1.0 + place) ** 2 / (1 + j) for j in range(channels)])
    return variances


def denoiser(variances):
    def denoise(z, t):
        a, _, s = BRIDGE.coefficients(t)
        return Estimate(from_cosines(a * variances / (a**2 * variances + s**2) * to_cosines(z)))

    return denoise


def test_cosines_are_orthonormal():
    for count in (1, 2, 7, 16):
        assert (cosines(count) @ cosines(count).T - torch.eye(count, dtype=F64)).abs().max() < 1e-13
    y = torch.randn(2, 3, 5, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    assert (from_cosines(to_cosines(y)) - y).abs().max() < 1e-13
    assert to_cosines(y).square().sum() == pytest.approx(float(y.square().sum()))


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_posterior_in_any_number_of_steps(noise, steps):
    """Mean and covariance of 6 x 8 normal pictures, halved by MATLAB's bicubic, both ways."""
    variances = prior(1, 6, 8)
    operator = resize(height=6, width=8, scale=2)
    dense = operator.A(torch.eye(48, dtype=F64).reshape(48, 1, 6, 8)).reshape(48, -1).T
    basis = to_cosines(torch.eye(48, dtype=F64).reshape(48, 1, 6, 8)).reshape(48, 48)
    covariance = basis @ torch.diag(variances.flatten()) @ basis.T
    field = GaussianField(torch.zeros(48, dtype=F64), 0.5 * (covariance + covariance.T))
    x = torch.randn(12, dtype=F64, generator=torch.Generator().manual_seed(1)) * 0.5
    exact = LinearGaussian(field, dense, max(noise, 1e-7)).given(x)

    def run(source, batch):
        known = Measurement(operator, x.reshape(1, 1, 3, 4).expand(batch, -1, -1, -1), noise)
        problem = Problem(denoiser(variances), BRIDGE, known, Stationary(variances))
        return restore(Spectral(ends_noisy=True), problem, noise=source, steps=steps)

    mean, found = affine_moments(run)
    assert (mean.flatten() - exact.mean).abs().max() < 1e-6
    assert (found - exact.covariance).abs().max() < 1e-6


@pytest.mark.parametrize(
    "operator",
    [
        resize(height=12, width=16, scale=4),
        BicubicDown(scale=4, height=16, width=12),
        resize(height=13, width=9, scale=2),
        Average(scale=2, height=8, width=12),
        gaussian(height=12, width=8, scale=2, sigma=1.2),
        Identity(height=7, width=5),
        Mask((torch.rand(8, 9, generator=torch.Generator().manual_seed(3)) > 0.4).double()),
        Grey(height=6, width=7),
    ],
    ids=lambda operator: type(operator).__name__,
)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_gain_is_that_of_dense_matrices(operator, noise):
    height, width = operator.shape_in
    count = 3 * height * width
    basis = to_cosines(torch.eye(count, dtype=F64).reshape(count, 3, height, width)).reshape(count, count)
    variances = prior(3, height, width)
    R = basis @ torch.diag(variances.flatten()) @ basis.T
    A = operator.A(torch.eye(count, dtype=F64).reshape(count, 3, height, width)).reshape(count, -1).T
    inner = A @ R @ A.T + noise**2 * torch.eye(len(A), dtype=F64)
    gain = R @ A.T @ torch.linalg.pinv(inner, hermitian=True, rtol=1e-12)
    y = torch.randn(count, dtype=F64, generator=torch.Generator().manual_seed(2))
    known = Measurement(operator, operator.A(y.reshape(1, 3, height, width)), noise)
    posterior = Posterior.at(known, Stationary(variances), math.inf, like=y.reshape(1, 3, height, width))
    assert (posterior.gain(known.x).flatten() - gain @ (A @ y)).abs().max() < 1e-7


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("name", ["bicubic", "average", "identity"])
def test_the_system_of_a_named_reduction_is_diagonal_in_cosines(name, noise, monkeypatch):
    """Conjugate gradients are then done in one step, with a second for rounding, for steep spectra as well."""
    operator = named_operator(name, scale=1 if name == "identity" else 4).for_large(24, 32)
    variances = torch.exp(-0.4 * rings(24, 32)).expand(3, -1, -1)
    applied, forward = [], type(operator).A

    def counted(self, y):
        applied.append(1)
        return forward(self, y)

    x = operator.A(torch.randn(1, 3, 24, 32, dtype=F64, generator=torch.Generator().manual_seed(2)))
    like = torch.zeros(1, 3, 24, 32, dtype=F64)
    posterior = Posterior.at(Measurement(operator, x, noise), Stationary(variances), math.inf, like=like)
    monkeypatch.setattr(type(operator), "A", counted)
    posterior.gain(x)
    assert len(applied) <= 3


def test_without_noise_the_measurement_is_met_on_odd_sizes_in_float32():
    operator = resize(height=37, width=29, scale=4)
    y = torch.rand(2, 3, 37, 29, generator=torch.Generator().manual_seed(0)) * 2 - 1
    known = Measurement(operator, operator.A(y))
    found = restore(
        Spectral(),
        Problem(denoiser(prior(3, 37, 29)), BRIDGE, known, Stationary(prior(3, 37, 29))),
        noise=Noise(0, pictures=(1, 2)),
        steps=4,
        dtype=torch.float32,
    )
    assert (operator.A(found) - known.x).abs().max() < 1e-5


def test_a_measured_spectrum_is_that_of_the_errors():
    """White pictures of variance 1/4 and the best denoiser: variance c l^2 / (c + l^2) at every frequency."""
    generator = torch.Generator().manual_seed(5)
    pictures = [0.5 * torch.randn(4, 3, 40, 32, generator=generator, dtype=F64) for _ in range(4)]
    spectrum = measure_spectrum(lambda z, level: 0.25 / (0.25 + level**2) * z, pictures, levels=(0.1, 1.0))
    assert spectrum.power.shape == (3, 3, BINS)
    for level in (0.1, 1.0):
        found = spectrum.at(level, height=40, width=32)
        assert found.shape == (3, 40, 32)
        assert found[:, 5:, 5:].mean() == pytest.approx(0.25 * level**2 / (0.25 + level**2), rel=0.05)
    assert spectrum.at(math.inf, height=40, width=32)[:, 5:, 5:].mean() == pytest.approx(0.25, rel=0.05)
    assert (spectrum.at(0.01, height=8, width=8) / spectrum.at(0.1, height=8, width=8)).mean() == pytest.approx(0.01)


def test_what_it_refuses():
    y = torch.zeros(1, 1, 6, 8)
    known = Measurement(Identity(height=6, width=8), y)
    with pytest.raises(UsageError, match="how far its prior"):
        restore(Spectral(), Problem(denoiser(prior(1, 6, 8)), BRIDGE, known), noise=Noise(0))
    for settings in ({"begin": 0.01}, {"low": 0.0}, {"spread": 1.5}):
        with pytest.raises(UsageError, match="spectral"):
            Spectral(**settings)
    with pytest.raises(UsageError, match="fall"):
        ErrorSpectrum(torch.tensor([1.0, 2.0]), torch.ones(2, 3, BINS))
    with pytest.raises(UsageError, match="no pictures"):
        measure_spectrum(lambda z, level: z, [], levels=(1.0,))
