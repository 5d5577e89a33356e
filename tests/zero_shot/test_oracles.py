"""Solvers against exact laws. With the best denoiser of a Gaussian prior almost every solver is affine in its noise, so
mean and covariance of what it returns are computed without drawing a sample. The figures are those of recursions for
each published rule (linear schedule of 1000 steps, leading grids), printed to four digits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mezzotint.bridges import VE, VP
from mezzotint.operators.diagonal import Mask
from mezzotint.operators.resize import imresize
from mezzotint.samplers.step import Estimate
from mezzotint.schedules import geometric, linear
from mezzotint.testing.dense import Dense
from mezzotint.testing.priors import GaussianField, LinearGaussian
from mezzotint.testing.samplers import affine_moments
from mezzotint.zero_shot import Measurement, Plan, Problem, restore
from mezzotint.zero_shot.ccdf import CCDF
from mezzotint.zero_shot.daps import DAPS
from mezzotint.zero_shot.ddnm import DDNM
from mezzotint.zero_shot.ddrm import DDRM
from mezzotint.zero_shot.diffpir import DiffPIR
from mezzotint.zero_shot.dps import DPS
from mezzotint.zero_shot.gdp import GDP
from mezzotint.zero_shot.ilvr import ILVR
from mezzotint.zero_shot.pigdm import PiGDM
from mezzotint.zero_shot.red_diff import REDDiff
from mezzotint.zero_shot.repaint import RePaint
from mezzotint.zero_shot.snips import SNIPS
from mezzotint.zero_shot.solver import even_grid, leading_grid

BRIDGE = VP(linear(1000))
F64 = torch.float64


def matrix(*rows):
    return torch.tensor(rows, dtype=F64)


def law(solver, prior: GaussianField, A: Tensor, x, *, steps=None, noise=0.0, grid=None, bridge=BRIDGE, denoise=None):
    """Mean (D,) and covariance (D, D) of what a solver returns for the measurement x, (d,)."""
    operator, x = Dense(A), torch.as_tensor(x, dtype=F64)
    best = denoise or prior.denoiser(bridge)

    def run(source, batch):
        known = Measurement(operator, x.reshape(1, 1, 1, -1).expand(batch, -1, -1, -1), noise)
        places = grid if grid is not None else leading_grid(bridge, steps)
        return restore(solver, Problem(best, bridge, known), noise=source, grid=places)

    mean, covariance = affine_moments(run)
    return mean.flatten(), covariance


def pair(r):
    return GaussianField(torch.zeros(2, dtype=F64), matrix((1.0, r), (r, 1.0)))


def scalar(c, m=0.0):
    return GaussianField(torch.tensor([m], dtype=F64), matrix((c,)))


# -- a correlated pair of which the first is known --------------------------------------------------------------------

KNOWN = matrix((1.0, 0.0))


@pytest.mark.parametrize(
    ("solver", "steps", "half", "nine"),
    [
        (DDNM.paper(), 100, (0.2627, 0.7791), (0.6149, 0.3345)),
        (DDNM(kernel="ddim", eta=0.0), 100, (0.443, 0.7356), (0.8617, 0.1903)),
        (DDNM(kernel="ddim", eta=1.0), 100, (0.4607, 0.6984), (0.8788, 0.1778)),
        (DDNM.released(), 100, (0.4411, 0.5573), (0.8509, 0.1572)),
        (DDRM(), 20, (0.27, 0.5279), (0.6038, 0.2248)),
        (DDRM(), 100, (0.3905, 0.5687), (0.7902, 0.1774)),
        (DDNM(kernel="ddim", eta=0.0, keeps_noise=False), 100, (0.1789, 0.8622), (0.4454, 0.5033)),
        (DiffPIR(zeta=0.0, clip=False), 100, (0.1789, 0.8622), (0.4454, 0.5033)),
        (RePaint(passes=1), 250, (0.2658, 0.796), (0.6221, 0.3003)),
    ],
)
def test_what_is_not_measured(solver, steps, half, nine):
    for r, (mean, variance) in ((0.5, half), (0.9, nine)):
        found, covariance = law(solver, pair(r), KNOWN, [1.0], steps=steps)
        assert found[0] == pytest.approx(1.0, abs=1e-9)
        assert covariance[0, 0] == pytest.approx(0.0, abs=1e-12)
        assert found[1] == pytest.approx(mean, abs=5.1e-5)
        assert covariance[1, 1] == pytest.approx(variance, abs=5.1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "steps", "half", "nine"),
    [
        (DDNM.paper(), 1000, (0.2674, 0.8366), (0.6256, 0.354)),
        (DDNM.released(), 1000, (0.487, 0.5694), (0.8903, 0.1469)),
        (ILVR(), 1000, (0.2674, 0.8165), (0.6256, 0.3078)),
        (RePaint(passes=2), 250, (0.3493, 0.7566), (0.7606, 0.2293)),
        (RePaint(passes=5), 250, (0.4274, 0.7173), (0.8504, 0.1894)),
        (RePaint(passes=10), 250, (0.4603, 0.6933), (0.8751, 0.1765)),
        (RePaint(passes=20), 250, (0.4781, 0.6723), (0.8856, 0.1712)),
    ],
)
def test_what_is_not_measured_in_many_steps(solver, steps, half, nine):
    test_what_is_not_measured(solver, steps, half, nine)


def test_a_strict_comparison_leaves_a_residual():
    found, covariance = law(DDRM(strict=True), pair(0.9), KNOWN, [1.0], steps=20)
    assert found.tolist() == pytest.approx([0.9998, 0.6038], abs=5.1e-5)
    assert covariance.diag().tolist() == pytest.approx([0.0001, 0.2248], abs=5.1e-5)


# -- one number, measured with noise ---------------------------------------------------------------------------------

CASES = [(1.0, 1.0, 0.1), (1.0, 0.25, 0.1), (0.25, 0.25, 0.1), (0.25, 1.0, 0.05)]


@pytest.mark.parametrize(
    ("solver", "steps", "expected"),
    [
        (DDRM(), 20, [(0.9714, 0.01778), (0.8158, 0.06631), (0.5442, 0.03679), (0.9010, 0.01810)]),
        (DDRM(), 100, [(0.9883, 0.00417), (0.8845, 0.03510), (0.6848, 0.02435), (0.9808, 0.00205)]),
        (DDNM.paper(), 100, [(0.9965, 0.00103), (0.9839, 0.00319), (0.9398, 0.00279), (0.9930, 0.00067)]),
        (
            DiffPIR(zeta=0.1, clip=False), 100,
            [(0.9908, 0.00729), (0.8945, 0.10918), (0.7406, 0.06938), (0.9910, 0.00145)],
        ),
        (DiffPIR(clip=False), 100, [(0.9905, 0.00700), (0.8834, 0.10837), (0.7077, 0.07000), (0.9907, 0.00140)]),
        (
            DiffPIR(zeta=1.0, clip=False), 100,
            [(0.9902, 0.00377), (0.8683, 0.05984), (0.6456, 0.04037), (0.9903, 0.00079)],
        ),
        (
            DiffPIR(7.0, clip=False), 100,
            [(0.9420, 0.05134), (0.5759, 0.41475), (0.3187, 0.16098), (0.9445, 0.01141)],
        ),
        (
            PiGDM(form="theory", kernel="ddpm"), 100,
            [(0.9901, 0.00623), (0.8621, 0.11694), (0.5266, 0.08775), (0.9784, 0.00127)],
        ),
        (DPS(form="likelihood"), 100, [(1.0, 0.00250), (0.9987, 0.06043), (0.7980, 0.05988), (1.0, 425869369648.966)]),
    ],
)
def test_one_measured_number(solver, steps, expected):
    for (c, s, noise), (mean, variance) in zip(CASES, expected, strict=True):
        found, covariance = law(solver, scalar(c), matrix((s,)), [s], steps=steps, noise=noise)
        assert float(found) == pytest.approx(mean, abs=5.1e-5)
        assert float(covariance) == pytest.approx(variance, abs=5.1e-6, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "expected"),
    [
        (DDRM(), [(0.9937, 0.00186), (0.9553, 0.01247), (0.8509, 0.01077), (0.9909, 0.00073)]),
        (DDNM.paper(), [(0.9994, 0.00013), (0.9970, 0.00054), (0.9881, 0.00052), (0.9988, 0.00008)]),
        (
            PiGDM(form="theory", kernel="ddpm"),
            [(0.9901, 0.00918), (0.8621, 0.13513), (0.5305, 0.10206), (0.9800, 0.00223)],
        ),
        (DPS(form="likelihood"), [(1.0, 0.00433), (0.9981, 0.07734), (0.7911, 0.07418), (1.0, 0.00092)]),
    ],
)
def test_one_measured_number_in_a_thousand_steps(solver, expected):
    test_one_measured_number(solver, 1000, expected)


@pytest.mark.parametrize(("centre", "expected"), [("flow", (0.9951, 0.00993)), ("mean", (0.9902, 0.00987))])
def test_daps_on_one_number(centre, expected):
    """In the exploding state, 200 levels from 100 to 0.1; with the exact flow of the prior in place of Euler steps."""
    prior, levels = scalar(1.0), geometric(2, low=0.1, high=100.0)
    bridge = VE(levels)
    denoise = prior.denoiser(bridge)
    if centre == "flow":

        def denoise(z, t):
            _, _, s = bridge.coefficients(t)
            return Estimate(z * (1.0 / (1.0 + s**2)) ** 0.5)

    grid = DAPS().grid(bridge, 200)
    whole = DAPS(centre="mean", walk=math.inf)
    mean, covariance = law(whole, prior, matrix((1.0,)), [1.0], noise=0.1, grid=grid, bridge=bridge, denoise=denoise)
    assert float(mean) == pytest.approx(expected[0], abs=5.1e-5)
    assert float(covariance) == pytest.approx(expected[1], abs=5.1e-6)


@pytest.mark.parametrize("levels", [5, 25, 200])
def test_daps_does_not_drown_what_is_not_measured(levels):
    """Fine structure of variance 0.001: what the walk of the authors leaves at each level, by hand; never above the
    truth. Whole draws end with the last level's noise, ten times as much."""
    c, walk = 0.001, 0.01
    bridge = VE(geometric(2, low=0.1, high=100.0))
    grid = DAPS().grid(bridge, levels)
    stages = [bridge.coefficients(t)[2] for t in grid[:-1]]

    def variance(walk):
        found, covariance = law(DAPS(centre="mean", walk=walk), scalar(c), matrix((0.0,)), [0.0], grid=grid,
                                bridge=bridge)  # fmt: skip
        assert abs(float(found)) < 1e-12
        return float(covariance)

    wanted = stages[0] ** 2
    for index, level in enumerate(stages):
        wanted *= (c / (c + level**2)) ** 2
        left = walk * (1 - 0.99 * index / (levels - 1))
        wanted += level**2 * (1 - math.exp(-2 * left / level**2))
        wanted += stages[index + 1] ** 2 if index + 1 < levels else 0.0
    assert variance(walk) == pytest.approx(wanted, rel=1e-6)
    assert variance(walk) < c and variance(math.inf) > 9 * c


@pytest.mark.parametrize("steps", [20, 100])
def test_pigdm_released_bears_what_is_coarse_in_few_steps(steps):
    """A mode of variance 400, as the mean of a picture has, measured without noise: its answer is the measurement. The
    theory with c = 1 moves it by up to 1 / a^2 of what is missing, which 20 steps do not bear."""
    found, _ = law(PiGDM(), scalar(400.0), matrix((1.0,)), [15.0], steps=steps)
    assert float(found) == pytest.approx(15.0, rel=0.02)
    theory, _ = law(PiGDM(form="theory"), scalar(400.0), matrix((1.0,)), [15.0], steps=20)
    assert abs(float(theory) - 15.0) > 1e3


def test_the_pull_of_gdp_is_that_of_a_thousand_steps_in_fewer():
    """On a mode of variance 3 measured as 1, with the strength of pictures of 256 pixels a side: 20 and 100 steps end
    near the 0.957 of 1000, and without the scaling hardly move. In the paper's form the steps' variance does it."""
    strong = 2000.0 / (3 * 256**2)
    for steps in (20, 100):
        found, _ = law(GDP(), scalar(3.0), matrix((1.0,)), [1.0], steps=steps)
        assert float(found) == pytest.approx(0.957, abs=0.05)
        alone, _ = law(GDP(strength=strong, absolute=True), scalar(3.0), matrix((1.0,)), [1.0], steps=steps)
        assert float(alone) < 0.4
    same = [GDP(form="paper"), GDP(form="paper", strength=strong, absolute=True)]
    first, second = (law(solver, scalar(3.0), matrix((1.0,)), [1.0], steps=20)[0] for solver in same)
    assert float(first) == pytest.approx(float(second), abs=1e-12)


# -- equalities ------------------------------------------------------------------------------------------------------


def test_without_noise_ddnm_is_ddrm():
    prior, A, grid = pair(0.8), matrix((0.25, 0.0)), leading_grid(BRIDGE, 100)
    first = law(DDNM(eta=1.0), prior, A, [0.3], grid=grid)
    second = law(DDRM(eta=1.0), prior, A, [0.3], grid=grid)
    assert (first[0] - second[0]).abs().max() < 1e-10
    assert (first[1] - second[1]).abs().max() < 1e-10
    assert first[0].tolist() == pytest.approx([1.2, 0.8637], abs=5.1e-5)
    assert first[1].diag().tolist() == pytest.approx([0.0, 0.1883], abs=5.1e-5)


@pytest.mark.parametrize(
    ("eta", "mean", "variance"), [(0.85, (1.1427, 0.8017), (0.0145, 0.3071)), (0.3, (1.1613, 0.5364), (0.0016, 0.5016))]
)
def test_the_released_rule_for_noise_is_that_of_ddrm(eta, mean, variance):
    found, covariance = law(DDNM(eta=eta), pair(0.8), matrix((0.25, 0.0)), [0.3], steps=100, noise=0.05)
    assert found.tolist() == pytest.approx(mean, abs=5.1e-5)
    assert covariance.diag().tolist() == pytest.approx(variance, abs=5.1e-5)


def test_ccdf_from_noise_is_ilvr_and_one_pass_of_repaint():
    grid = leading_grid(BRIDGE, 50)
    laws = [law(s, pair(0.9), KNOWN, [1.0], grid=grid) for s in (ILVR(), CCDF(begin=1.0), RePaint(passes=1))]
    for mean, covariance in laws[2:]:
        assert (mean - laws[0][0]).abs().max() < 1e-10
        assert (covariance - laws[0][1]).abs().max() < 1e-10
    # CCDF starts from the noised guess, of which little is left at the start.
    assert (laws[1][0] - laws[0][0]).abs().max() < 5e-3


@pytest.mark.parametrize(("begin", "gains"), [(0.1, (0.8970, 0.4655, 0.0801)), (0.5, (0.0786, 0.0085, 0.0009))])
@pytest.mark.parametrize("steps", [10, 30])
def test_ccdf_forgets_its_guess(begin, gains, steps):
    """An error of the guess is multiplied by a^2 c / (a^2 c + s^2), whatever the number of steps."""
    first = (1000 * begin) / 1000
    grid = tuple(first * i / steps for i in range(steps, 0, -1)) + (0.0,)
    for c, gain in zip((1.0, 0.1, 0.01), gains, strict=True):
        ends = [
            float(law(CCDF(begin=1.0, guess=None), scalar(c), matrix((0.0,)), [0.0], grid=grid)[0])
            if guess is None
            else float(_from(guess, scalar(c), grid))
            for guess in (None, 1.0)
        ]
        assert ends[1] - ends[0] == pytest.approx(gain, abs=5.1e-5)


def _from(guess, prior, grid):
    def run(source, batch):
        known = Measurement(Dense(matrix((0.0,))), torch.zeros(batch, 1, 1, 1, dtype=F64))
        solver = CCDF(begin=1.0, guess=torch.full((batch, 1, 1, 1), guess, dtype=F64))
        return restore(solver, Problem(prior.denoiser(BRIDGE), BRIDGE, known), noise=source, grid=grid)

    return affine_moments(run)[0]


@pytest.mark.slow
def test_gdp_pulls_by_the_strength_over_the_number_of_values():
    """s / (2 C H W) a step; released weights at two sizes, on a range mode of variance 3."""
    for values, mean, variance in ((3 * 256**2, 0.9574, 0.1943), (3 * 64**2, 1.0, 0.001)):
        solver = GDP(strength=2000.0 / values, absolute=True)
        found, covariance = law(solver, scalar(3.0), matrix((1.0,)), [1.0], steps=1000)
        assert float(found) == pytest.approx(mean, abs=5.1e-5)
        assert float(covariance) == pytest.approx(variance, abs=5.1e-5)


def test_snips_has_its_stationary_law():
    """One level, many repeats: precision 1 / (c + l^2) + sv^2 / (noise^2 - sv^2 l^2), variance over 1 - a / 2 of it."""
    c, sv, noise, level, size = 0.5, 0.5, 0.4, 0.3, 0.2
    bridge = VE(geometric(2, low=level, high=2 * level))
    solver = SNIPS(rate=size * level**2, repeats=800)
    found, covariance = law(solver, scalar(c), matrix((sv,)), [0.7], noise=noise, grid=(0.5, 0.0), bridge=bridge)
    precision = 1 / (c + level**2) + sv**2 / (noise**2 - sv**2 * level**2)
    step = size * level**2 * (1 - sv**2 * level**2 / noise**2)
    assert float(found) == pytest.approx(sv * 0.7 / (noise**2 - sv**2 * level**2) / precision, abs=1e-6)
    assert float(covariance) == pytest.approx(1 / precision / (1 - step * precision / 2), rel=1e-6)


def test_red_diff_finds_the_linear_fixed_point_of_one_level():
    """Where nothing is measured the mean of the prior, where it is the weighted maximum; the same for every seed."""
    prior, A = pair(0.0), matrix((1.0, 0.0))
    t = 0.3
    _, _, s = BRIDGE.coefficients(t)
    grid = (t, *(t * (1 - 1e-9 * i) for i in range(1, 400)), 0.0)
    solver = REDDiff(optimiser="sgd", rate=0.2, weight=0.25)
    found, _ = law(solver, prior, A, [1.0], grid=grid)
    # 2 numbers, of which 1 is measured: lambda (s / a) (a s mu) / 2 = 1 - mu.
    assert float(found[0]) == pytest.approx(1.0 / (1.0 + 0.25 * s**2 / 2.0), rel=1e-6)


# -- the released rule of DPS, which is not affine: the same draws ---------------------------------------------------


def _spectrum_of_pictures(small):
    """Variances of the modes, 1 / f^2 and 0.25 a pixel in all, that a reduction by 4 to small x small pixels sees."""
    import numpy as np

    k = np.fft.fftfreq(4 * small) * 4 * small
    whole = 1.0 / (k[:, None] ** 2 + k[None] ** 2 + 1.0)
    whole *= 0.25 * whole.size / whole.sum()
    low = np.fft.fftfreq(small) * small
    seen = 1.0 / (low[:, None] ** 2 + low[None] ** 2 + 1.0)
    return np.tile((seen * whole.max()).ravel(), 3)


class _Drawn:
    """The normal numbers of a NumPy generator, in the order in which they are asked for."""

    def __init__(self, generator):
        self.generator = generator

    def normal(self, stream, draw, shape, *, origin=(0, 0), dtype=F64, device="cpu"):
        return torch.as_tensor(self.generator.normal(size=tuple(shape))).to(dtype)

    def uniform(self, stream, draw, count):
        raise AssertionError("DPS draws no uniform numbers")


# Side of the small picture, zeta, the residual over its noise, and the squared distance to the posterior's mean over
# its variance: means of two draws by a recursion in NumPy, seed 1. A sampler of the posterior has 1 and 1.
_SLOW = pytest.mark.slow
DESCENTS = [
    (16, 0.3, 4.154, 16.98),
    pytest.param(16, 0.1, 7.981, 63.61, marks=_SLOW), pytest.param(16, 1.0, 0.009, 0.04, marks=_SLOW),
    pytest.param(16, 3.0, 0.065, 0.04, marks=_SLOW), pytest.param(64, 0.1, 9.217, 84.91, marks=_SLOW),
    pytest.param(64, 0.3, 7.300, 53.16, marks=_SLOW), pytest.param(64, 1.0, 4.098, 16.50, marks=_SLOW),
    pytest.param(64, 3.0, 0.018, 0.05, marks=_SLOW),
]  # fmt: skip


@pytest.mark.parametrize(("small", "zeta", "residual", "distance"), DESCENTS)
def test_the_released_rule_of_dps_on_a_spectrum_of_pictures(small, zeta, residual, distance):
    """Two draws differ by a fifth, so that they are made of the numbers that the recursion drew."""
    import numpy as np

    spread, sv, noise, chains = _spectrum_of_pictures(small), 0.25, 0.05, 2
    g = np.random.default_rng(1)
    y = g.normal(size=len(spread)) * np.sqrt(spread)
    x = torch.as_tensor(sv * y + noise * g.normal(size=len(spread)))
    c = torch.as_tensor(spread)
    known = Measurement(Mask(torch.full((1, len(c)), sv)), x.expand(chains, 1, 1, -1), noise)

    def best(z, t):
        a, _, s = BRIDGE.coefficients(t)
        return Estimate(a * c / (a**2 * c + s**2) * z)

    problem, grid = Problem(best, BRIDGE, known), leading_grid(BRIDGE, 1000)
    z = restore(DPS(zeta=zeta, absolute=True), problem, noise=_Drawn(g), grid=grid).flatten(1)
    mean, variance = c * sv / (c * sv**2 + noise**2) * x, 1.0 / (1.0 / c + sv**2 / noise**2)
    found = (x - sv * z).norm(dim=1).mean() / (noise * len(c) ** 0.5)
    assert float(found) == pytest.approx(residual, abs=5.1e-4)
    assert float(((z - mean).square() / variance).mean()) == pytest.approx(distance, abs=5.1e-3)


# -- a row of 64 numbers with a spectrum of 1 / f^2 -----------------------------------------------------------------


def _row():
    n = 64
    k = torch.fft.fftfreq(n, dtype=F64) * n
    power = 1.0 / (k**2 + 1.0)
    power = power * 0.25 * n / power.sum()
    basis = torch.fft.fft(torch.eye(n, dtype=torch.complex128)) / n**0.5
    covariance = (basis.conj().T @ torch.diag(power).to(torch.complex128) @ basis).real
    prior = GaussianField(torch.zeros(n, dtype=F64), 0.5 * (covariance + covariance.T))
    A = imresize(torch.eye(n, dtype=F64)[None, None], size=(n, n // 4))[0, 0].T.contiguous()
    import numpy as np

    g = np.random.default_rng(0)
    y = torch.as_tensor(np.linalg.cholesky(prior.covariance.numpy() + 1e-12 * np.eye(n)) @ g.normal(size=n))
    return prior, A, A @ y


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "steps", "residual", "bias", "share"),
    [
        (ILVR(), 100, 0.0, 0.0049, 0.736),
        (ILVR(released=True), 100, 0.0046, 0.0050, 0.738),
        (DDNM.paper(), 100, 0.0, 0.0049, 0.739),
        (DDNM(kernel="ddim", eta=0.0), 100, 0.0, 0.0003, 0.853),
        (DDNM.released(), 100, 0.0, 0.0018, 0.638),
        (DDRM(), 20, 0.0, 0.0061, 0.393),
        (DDRM(strict=True), 20, 0.0046, 0.0061, 0.394),
    ],
)
def test_a_row_like_a_picture(solver, steps, residual, bias, share):
    prior, A, x = _row()
    assert float(x.square().mean().sqrt()) == pytest.approx(0.553, abs=5e-4)
    exact = LinearGaussian(prior, A, 1e-6).given(x)
    mean, covariance = law(solver, prior, A, x, steps=steps)
    off = A @ mean - x
    found = (off @ off / len(x) + (A @ covariance @ A.T).trace().clamp(min=0) / len(x)).sqrt()
    assert float(found) == pytest.approx(residual, abs=5.1e-5)
    assert float((mean - exact.mean).square().mean().sqrt()) == pytest.approx(bias, abs=5.1e-5)
    assert float(covariance.trace() / exact.covariance.trace()) == pytest.approx(share, abs=5.1e-4)


# -- exact by construction -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [5, 50])
def test_the_true_covariance_gives_the_posterior_in_five_steps(steps):
    """Type II with R = Cov(y | z) and the step's variance that of y given z and x: exact for any number of steps."""
    prior = GaussianField(torch.tensor([0.3, -0.1], dtype=F64), 0.5 * matrix((1.0, 0.8), (0.8, 1.0)))
    A, x, noise = matrix((0.5, 0.2)), torch.tensor([0.7], dtype=F64), 0.1
    exact = LinearGaussian(prior, A, noise).given(x)
    values, vectors = torch.linalg.eigh(prior.covariance)

    def conditional(z, t):
        a, _, s = BRIDGE.coefficients(t)
        estimate = prior.denoiser(BRIDGE)(z, t)
        R = (vectors * (values * s**2 / (a**2 * values + s**2))) @ vectors.T
        gain = R @ A.T @ torch.linalg.inv(A @ R @ A.T + noise**2 * torch.eye(1, dtype=F64))
        y = estimate.y.flatten(1)
        return Estimate((y + (x - y @ A.T) @ gain.T).reshape(z.shape)), R - gain @ A @ R

    grid = leading_grid(BRIDGE, steps)

    def step(bridge, z, estimate, x_state, t, r, noise, carry):
        k, sd = bridge.transition(r, t)
        weight = bridge.coefficients(r)[0] - k * bridge.coefficients(t)[0]
        covariance = conditional(z, t)[1] * weight**2 + sd**2 * torch.eye(2, dtype=F64)
        eps = noise().flatten(1) @ torch.linalg.cholesky(covariance).T
        return weight * estimate.y + k * z + eps.reshape(z.shape), carry

    a, _, s = BRIDGE.coefficients(grid[0])
    root = torch.linalg.cholesky(a**2 * exact.covariance + s**2 * torch.eye(2, dtype=F64))

    class Exact:
        steps, gradients = 5, False

        def plan(self, problem, grid):
            def start(eps):
                return (a * exact.mean + eps.flatten(1) @ root.T).reshape(eps.shape)

            return Plan(grid, lambda z, t: conditional(z, t)[0], step, start=start)

    mean, covariance = law(Exact(), prior, A, x, grid=grid, noise=noise)
    assert (mean - exact.mean).abs().max() < 1e-13
    assert (covariance - exact.covariance).abs().max() < 1e-13


@pytest.mark.parametrize("c", [1.0, 0.04])
@pytest.mark.parametrize(
    ("kernel", "eta", "expected"),
    [
        ("ddpm", 1.0, {1.0: (0.7107, 0.9216), 0.04: (0.4148, 0.7637)}),
        ("ddim", 0.0, {1.0: (0.8327, 0.9640), 0.04: (0.5262, 0.8801)}),
        ("ddrm", 0.85, {1.0: (0.6342, 0.7247), 0.04: (0.4265, 0.6533)}),
        ("ddrm", 1.0, {1.0: (0.4142, 0.4704), 0.04: (0.3095, 0.4231)}),
    ],
)
def test_the_three_meanings_of_eta(kernel, eta, expected, c):
    """The variance of a number that is not measured, over the prior's, in 20 and 100 steps from the true start."""
    for steps, wanted in zip((20, 100), expected[c], strict=True):
        grid = leading_grid(BRIDGE, steps)
        a, _, s = BRIDGE.coefficients(grid[0])
        size = math.sqrt(a**2 * c + s**2)

        def run(source, batch, grid=grid, size=size):
            known = Measurement(Dense(matrix((0.0,))), torch.zeros(batch, 1, 1, 1, dtype=F64))
            plan = DDNM(kernel=kernel, eta=eta).plan(Problem(scalar(c).denoiser(BRIDGE), BRIDGE, known), grid)

            class Fixed:
                steps, gradients = 0, False

                def plan(self, problem, grid):
                    return Plan(grid, plan.denoise, plan.step, start=lambda eps: size * eps)

            return restore(Fixed(), Problem(plan.denoise, BRIDGE, known), noise=source, grid=grid)

        _, covariance = affine_moments(run)
        assert float(covariance) / c == pytest.approx(wanted, abs=5.1e-5)


def test_the_even_grid_ends_on_the_last_node():
    assert even_grid(BRIDGE, 4) == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert leading_grid(BRIDGE, 4) == (0.751, 0.501, 0.251, 0.001, 0.0)
