"""What every solver must do, by one table, with real operators and a prior that was never trained: identities, refusals
and counts that hold for any denoiser. Exact laws are in test_oracles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mezzotint import methods
from mezzotint.bridges import VE, VP
from mezzotint.errors import UsageError
from mezzotint.methods.restorer import Restorer, build_restorer
from mezzotint.noise import Noise
from mezzotint.operators.blur import CircularBlur
from mezzotint.operators.composed import Stack, chain
from mezzotint.operators.diagonal import Average, Grey, Identity, Mask
from mezzotint.operators.kernels import GaussianKernel
from mezzotint.operators.linear import SVD, LinearOperator
from mezzotint.operators.named import named_operator
from mezzotint.operators.separable import average, gaussian
from mezzotint.samplers import ancestral, sample
from mezzotint.samplers.step import Estimate
from mezzotint.schedules import geometric, linear
from mezzotint.zero_shot import SOLVERS, Measurement, Problem, build, restore
from mezzotint.zero_shot.ddnm import DDNM
from mezzotint.zero_shot.ddrm import DDRM
from mezzotint.zero_shot.gdp import GDP
from mezzotint.zero_shot.kernels import kernel

BRIDGE = VP(linear(1000))
F64 = torch.float64
NAMES = tuple(SOLVERS)
FITTING = tuple(name for name, row in SOLVERS.items() if row.fits)
NOISY = tuple(name for name, row in SOLVERS.items() if row.noise)


def prior(std=0.1):
    """An untrained prior with random weights; with `std` 0 it is the best denoiser of N(0, 0.25 I)."""
    return _prior(std)


@lru_cache(maxsize=4)
def _prior(std):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = {"network": {"widths": (6, 8), "blocks": 1, "embedding": 8}}
        method = methods.build("prior", scale=1, config=config).eval().requires_grad_(False)
        for parameter in method.parameters():
            if std > 0:
                torch.nn.init.normal_(parameter, std=std)
        pictures = pixels(4, 3, 16, 16, seed=9)
        method.measure_errors([(pictures, pictures)])
        return method


def restorer(name, *, scale=2, preset="") -> Restorer:
    first = preset or next(iter(SOLVERS[name].presets))
    return build_restorer(name, scale=scale, preset=first, config=None, prior=prior())


def pixels(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def mask(height, width):
    return Mask((torch.rand(height, width, generator=torch.Generator().manual_seed(5)) > 0.4).double())


def circular(height, width, scale):
    return CircularBlur(kernel=GaussianKernel(size=9, sigmas=(1.2, 0.8), angle=0.4), height=height, width=width,
                        scale=scale)  # fmt: skip


OPERATORS: dict[str, Callable[[], LinearOperator]] = {
    "bicubic x2": lambda: named_operator("bicubic", scale=2).for_large(10, 14),
    "bicubic x2 odd": lambda: named_operator("bicubic", scale=2).for_large(11, 15),
    "bicubic x3": lambda: named_operator("bicubic", scale=3).for_large(15, 9),
    "bicubic x4": lambda: named_operator("bicubic", scale=4).for_large(20, 12),
    "average x2": lambda: Average(height=10, width=14, scale=2),
    "average x2 odd": lambda: average(height=9, width=13, scale=2),
    "gaussian, circular": lambda: circular(12, 8, 2),
    "gaussian, symmetric": lambda: gaussian(height=12, width=9, scale=3, sigma=1.0),
    "mask": lambda: mask(9, 11),
    "grey": lambda: Grey(height=7, width=9),
    "grey and average": lambda: chain(Average(height=8, width=6, scale=2), Grey(height=4, width=3)),
}


def small(operator, batch=1, channels=3, seed=0):
    """A measurement of a picture, in float32."""
    return operator.A(pixels(batch, channels, *operator.shape_in, seed=seed, dtype=F64)).float()


def off(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, in units of the larger of 1 and the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))


def test_the_table_has_every_solver():
    solvers = {card.name for card in methods.cards() if card.family == "zero-shot"}
    assert solvers == set(SOLVERS) and set(FITTING) | set(NOISY) == set(SOLVERS)


# -- a batch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["bicubic x2", "mask"])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_pictures_alone_in_any_order(name, operator):
    built, method = OPERATORS[operator](), restorer(name)
    x, sigma = small(built, batch=3), 0.05 if name in NOISY else 0.0

    def draw(x, ids):
        return method.sample(x, steps=3, noise=Noise(1, pictures=ids), operator=built, sigma=sigma)

    together = draw(x, (5, 6, 7))
    alone = torch.cat([draw(x[i : i + 1], (5 + i,)) for i in range(3)])
    assert off(together, alone) < 1e-4
    assert off(draw(x[[2, 0, 1]], (7, 5, 6)), together[[2, 0, 1]]) < 1e-4
    assert (together - draw(x, (8, 9, 10))).abs().max() > 1e-3 or name == "red-diff"
    assert together.shape == (3, 3, *built.shape_in) and together.dtype == x.dtype


# -- consistency -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", FITTING)
def test_a_measurement_without_noise_is_met_whatever_the_prior(name, operator):
    built = OPERATORS[operator]()
    x, method = small(built, batch=2), restorer(name)
    if SOLVERS[name].singular and not built.has_svd:
        with pytest.raises(UsageError, match="singular"):
            method.sample(x, steps=3, noise=Noise(0), operator=built)
        return
    y = method.sample(x, steps=3, noise=Noise(0, pictures=(0, 1)), operator=built)
    assert float((built.A(y) - x).abs().max()) <= 1e-5 * max(1.0, float(y.abs().max()))


@pytest.mark.parametrize("name", FITTING)
def test_the_identity_without_noise_gives_the_picture_back(name):
    x = pixels(2, 3, 6, 7)
    y = restorer(name, scale=1).sample(x, steps=3, noise=Noise(0), operator="identity")
    assert (y - x).abs().max() < 2e-6


@pytest.mark.parametrize("operator", ["bicubic x2", "average x2 odd", "mask", "grey and average"])
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_gives_a_finite_picture(name, operator):
    built = OPERATORS[operator]()
    x = small(built)
    for preset in SOLVERS[name].presets:
        method = restorer(name, preset=preset)
        for sigma in (0.0, 0.08) if name in NOISY else (0.0,):
            if preset == "likelihood" and sigma == 0.0:
                with pytest.raises(UsageError, match="steep"):
                    method.sample(x, steps=2, noise=Noise(0), operator=built)
                continue
            y = method.sample(x, steps=2, noise=Noise(0), operator=built, sigma=sigma)
            assert y.shape == (1, 3, *built.shape_in) and bool(torch.isfinite(y).all()), (preset, sigma)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOISY])
def test_what_pastes_the_measurement_refuses_noise(name):
    with pytest.raises(UsageError, match="5 grey levels"):
        restorer(name).sample(pixels(1, 3, 4, 4), steps=2, noise=Noise(0), sigma=10 / 255)


def test_a_correction_with_little_noise_is_the_projection():
    for operator in ("bicubic x3", "mask", "grey"):
        built = OPERATORS[operator]()
        x, y = small(built).double(), pixels(1, 3, *built.shape_in, seed=3, dtype=F64)
        exact = Measurement(built, x).project(y)
        assert (Measurement(built, x, 1e-7).correct(y, variance=0.3) - exact).abs().max() < 1e-9
        assert (Measurement(built, x).correct(y, variance=0.3) - exact).abs().max() < 1e-12


# -- without a measurement -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Nothing(LinearOperator):
    """A = 0."""

    height: int
    width: int

    @property
    def norm(self):
        return 0.0

    @property
    def has_svd(self):
        return True

    @property
    def shape_in(self):
        return self.height, self.width

    @property
    def shape_out(self):
        return self.height, self.width

    def svd(self):
        return SVD(torch.zeros(1, self.height, self.width, dtype=F64), *(torch.zeros_like,) * 4)

    def _forward(self, y):
        return 0.0 * y

    def _adjoint(self, x):
        return 0.0 * x

    def _pinv(self, x):
        return 0.0 * x

    def _solve(self, x, rho):
        return x / rho


PLAIN = {
    "repaint": ancestral, "ilvr": ancestral, "ccdf": ancestral, "dps": ancestral, "gdp": ancestral, "mcg": ancestral,
    "ddrm": kernel("ddrm", eta=0.85), "ddnm": kernel("ddrm", eta=0.85), "pigdm": kernel("ddim", eta=1.0),
    "diffpir": kernel("ddrm", eta=0.5),
}  # fmt: skip
"""The reverse step that a solver takes where there is nothing to correct; the others own their loop."""
PLAINLY = {"diffpir": {"clip": False}}


def unconditional(name, solver, shape, steps=4):
    """The sample of the prior under the same noise, from the solver's own start."""
    denoise = prior().of(BRIDGE, like=torch.empty(shape))
    known = Measurement(Nothing(*shape[-2:]), torch.zeros(shape))
    plan = solver.plan(Problem(denoise, BRIDGE, known), solver.grid(BRIDGE, steps))
    a, _, s = BRIDGE.coefficients(plan.walk[0])
    size = s if name in ("ccdf", "ddrm") else (a**2 + s**2) ** 0.5
    field = Noise(3).normal("start", 0, shape, dtype=F64)
    if plan.fields != 1:
        raise AssertionError("the start of this solver is made of several fields")
    return sample(denoise, bridge=BRIDGE, noise=Noise(3), grid=plan.walk, step=PLAIN[name], start=size * field), known


@pytest.mark.parametrize("name", PLAIN)
def test_nothing_measured_is_the_prior_alone(name):
    shape, solver = (2, 3, 6, 8), build(name, **PLAINLY.get(name, {}))
    wanted, known = unconditional(name, solver, shape)
    problem = Problem(prior().of(BRIDGE, like=torch.empty(shape)), BRIDGE, known)
    found = restore(solver, problem, noise=Noise(3), steps=4)
    assert (found - wanted).abs().max() < 1e-11 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("name", "changes"),
    [("dps", {"zeta": 0.0}), ("gdp", {"strength": 0.0}), ("pigdm", {"strength": 0.0}),
     ("gdp", {"strength": 0.0, "at": "state"})],
)  # fmt: skip
def test_a_pull_of_strength_0_is_the_prior_alone(name, changes):
    built = OPERATORS["bicubic x2"]()
    shape, solver = (1, 3, *built.shape_in), build(name, **changes)
    wanted, _ = unconditional(name, solver, shape)
    problem = Problem(prior().of(BRIDGE, like=torch.empty(shape)), BRIDGE, Measurement(built, small(built), 0.1))
    found = restore(solver, problem, noise=Noise(3), steps=4)
    assert (found - wanted).abs().max() < 1e-11 * max(1.0, float(wanted.abs().max()))


def test_mcg_without_a_gradient_is_ilvr():
    built = OPERATORS["bicubic x2"]()
    denoise = prior().of(BRIDGE, like=torch.empty(1, 3, *built.shape_in))
    problem = Problem(denoise, BRIDGE, Measurement(built, small(built)))
    first, second = (
        restore(solver, problem, noise=Noise(0), steps=5) for solver in (build("mcg", alpha=0.0), build("ilvr"))
    )
    assert (first - second).abs().max() < 1e-11
    assert (restore(build("mcg"), problem, noise=Noise(0), steps=5) - second).abs().max() > 1e-4


def test_pigdm_is_ddnm_for_the_prior_that_it_assumes():
    """For N(0, I) the estimate is a z, its Jacobian a, its variance s^2: (s^2 / a) J v is the projection's change."""
    built = OPERATORS["average x2"]()

    def denoise(z, t):
        return Estimate(BRIDGE.coefficients(t)[0] * z)

    problem = Problem(denoise, BRIDGE, Measurement(built, small(built).double()))
    first = restore(build("pigdm", form="theory", kernel="ddpm"), problem, noise=Noise(0), grid=BRIDGE.grid(6))
    second = restore(DDNM.paper(), problem, noise=Noise(0), grid=BRIDGE.grid(6))
    assert (first - second).abs().max() < 1e-11


# -- gradients -------------------------------------------------------------------------------------------------------


def double_problem(operator, batch=1, sigma=0.0):
    known = Measurement(operator, small(operator, batch).double(), sigma)
    shape = (batch, 3, *operator.shape_in)
    return Problem(prior().double().of(BRIDGE, like=torch.empty(shape, dtype=F64)), BRIDGE, known)


@pytest.fixture
def in_double():
    yield
    prior().float()


@pytest.mark.parametrize(("name", "square"), [("dps", False), ("mcg", True)])
def test_the_gradient_of_the_residual_is_that_of_differences(name, square, in_double):
    built, t = OPERATORS["bicubic x2"](), 0.4
    problem = double_problem(built)
    plan = build(name).plan(problem, BRIDGE.grid(4))
    z = pixels(1, 3, *built.shape_in, seed=4, dtype=F64)
    gradient = plan.denoise(z, t).gradient  # pyright: ignore[reportAttributeAccessIssue]

    def height(z):
        norm = problem.measurement.residual(problem.denoise(z, t).y).norm()
        return float(norm**2 if square else norm)

    for seed in range(3):
        way = pixels(*z.shape, seed=10 + seed, dtype=F64)
        slope = (height(z + 1e-5 * way) - height(z - 1e-5 * way)) / 2e-5
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", ["dps", "mcg"])
def test_the_norm_is_that_of_each_picture(name, in_double):
    built = OPERATORS["average x2"]()
    problem, z = double_problem(built, batch=3), pixels(3, 3, *built.shape_in, seed=4, dtype=F64)
    whole = build(name).plan(problem, BRIDGE.grid(4)).denoise(z, 0.5).gradient  # pyright: ignore
    for i in range(3):
        known = Measurement(built, problem.measurement.x[i : i + 1])
        alone = Problem(prior().of(BRIDGE, like=z[:1]), BRIDGE, known)
        part = build(name).plan(alone, BRIDGE.grid(4)).denoise(z[i : i + 1], 0.5).gradient  # pyright: ignore
        assert (part - whole[i : i + 1]).abs().max() < 1e-10


def test_the_length_of_dps_is_that_of_64_pixels_a_side_and_1000_steps():
    """zeta sqrt(m / m0) 1000 / steps, m0 = 3 x 64 x 64 numbers of the measurement."""
    built = OPERATORS["bicubic x3"]()
    problem = Problem(
        prior().of(BRIDGE, like=torch.empty(1, 3, *built.shape_in)), BRIDGE, Measurement(built, small(built), 0.1)
    )
    share = (3 * 5 * 3 / (3 * 64 * 64)) ** 0.5 * 1000 / 3
    found = [restore(solver, problem, noise=Noise(0), steps=3) for solver in (
        build("dps", zeta=2.0), build("dps", zeta=2.0 * share, absolute=True), build("dps", zeta=2.0, absolute=True))]
    assert (found[0] - found[1]).abs().max() < 1e-12
    assert (found[0] - found[2]).abs().max() > 1e-2


def test_a_longer_step_of_dps_leaves_less():
    """With the best denoiser of N(0, 0.25 I)."""
    built = OPERATORS["average x2"]()
    like = torch.empty(1, 3, *built.shape_in)
    problem = Problem(prior(std=0.0).of(BRIDGE, like=like), BRIDGE, Measurement(built, 0.5 * small(built), 0.05))
    left = []
    for zeta in (0.0, 0.5, 1.0):
        y = restore(build("dps", zeta=zeta), problem, noise=Noise(0), steps=100)
        left.append(float(problem.measurement.residual(y).norm()))
    assert left[1] < 0.6 * left[0] and left[2] < 0.3 * left[1]


def test_red_diff_finds_the_same_picture_for_every_seed():
    built = OPERATORS["average x2"]()
    denoise = prior(std=0.0).of(BRIDGE, like=torch.empty(1, 3, *built.shape_in))
    problem = Problem(denoise, BRIDGE, Measurement(built, 0.5 * small(built)))
    solver = build("red-diff", rate=0.01)
    drawn = torch.stack([restore(solver, problem, noise=Noise(seed), steps=100) for seed in range(3)])
    assert float(drawn.std(0).mean()) < 0.15 * 0.5
    free = torch.stack([restore(build("ddnm", kernel="ddim", eta=0.0), problem, noise=Noise(seed), steps=20)
                        for seed in range(3)])  # fmt: skip
    assert float(free.std(0).mean()) > 0.5 * 0.5


# -- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("operator", ["bicubic x2", "mask"])
def test_units_of_the_measurement_do_not_matter(name, operator):
    built, noise = OPERATORS[operator](), 0.04 if name in NOISY else 0.0
    u = (pixels(1, 3, *built.shape_in, dtype=F64) + 1) / 2
    one = Measurement.of_unit(built.A(u), built, noise=noise)
    grey = Measurement.of_unit(built.A(u), built, noise=255 * noise, noise_range=255)
    own = Measurement(built, built.A(2 * u - 1), 2 * noise)
    denoise = prior().of(BRIDGE, like=torch.empty(1, 3, *built.shape_in))
    problems = [Problem(denoise, BRIDGE, known, prior().spectrum) for known in (one, grey, own)]
    found = [restore(build(name), problem, noise=Noise(0), steps=3) for problem in problems]
    assert off(found[0], found[2]) < 1e-5
    assert off(found[1], found[2]) < 1e-5


def test_a_restorer_takes_pictures_as_they_are_in_files():
    """Black where a mask knows nothing; three equal channels, or one, for grey."""
    u = pixels(2, 3, 9, 11, dtype=F64) / 2 + 0.5
    known, method = mask(9, 11), restorer("ddnm", scale=1)
    assert (method.measured(known.A(u) * 2 - 1, known) - known.A(2 * u - 1)).abs().max() < 1e-12
    spoilt = torch.where(known.values > 0, u, torch.rand_like(u))
    assert (method.measured(spoilt * 2 - 1, known) - known.A(2 * u - 1)).abs().max() < 1e-12
    half = Mask(0.25 + 0.75 * known.values)
    assert (method.measured(half.A(u) * 2 - 1, half) - half.A(2 * u - 1)).abs().max() < 1e-12
    for weights in ((0.299, 0.587, 0.114), (0.2, 0.2, 0.2)):
        grey = Grey(height=9, width=11, weights=weights)
        wanted, x = grey.A(2 * u - 1), grey.A(u) * 2 - 1
        assert (method.measured(x, grey) - wanted).abs().max() < 1e-12
        assert (method.measured(x.expand(-1, 3, -1, -1), grey) - wanted).abs().max() < 1e-12
        assert (method.measured(u * 2 - 1, grey) - wanted).abs().max() < 1e-12
    both = chain(Average(height=9, width=9, scale=3), Grey(height=3, width=3))
    v = pixels(2, 3, 9, 9, dtype=F64)
    assert (method.measured(Average(height=9, width=9, scale=3).A(v), both) - both.A(v)).abs().max() < 1e-12


# -- each by itself --------------------------------------------------------------------------------------------------


def test_repaint_asks_2410_times_and_goes_up_2160_levels():
    method = restorer("repaint")
    solver = method.solver
    plan = solver.plan(
        Problem(lambda z, t: Estimate(z), BRIDGE, Measurement(Identity(height=1, width=1), torch.zeros(1, 3, 1, 1))),
        solver.grid(BRIDGE, 250),
    )
    assert plan.evaluations == method.evaluations() == 2410
    up = [round((r - t) * 250) for t, r in zip(plan.walk, plan.walk[1:], strict=False) if r > t]
    assert sum(up) == 2160 and set(up) == {10}
    assert method.moves() == 2410 + len(up)


def test_diffpir_clips_what_it_corrects_and_walks_as_the_release_does():
    built = OPERATORS["average x2"]()
    x = small(built)
    known, y = Measurement(built, x, noise=0.2), 3 * pixels(1, 3, *built.shape_in)
    problem = Problem(lambda z, t: Estimate(y), BRIDGE, known)
    for clip, wanted in ((True, y.clamp(-1, 1)), (False, y)):
        solver = build("diffpir", clip=clip)
        found = solver.plan(problem, solver.grid(BRIDGE, 10)).denoise(y, 0.5).y
        assert torch.equal(found, known.correct(wanted, variance=problem.level(0.5) ** 2))
    assert float(y.abs().max()) > 1.0
    # 1000 (1 - sqrt(i / 3)), and the first node in place of none.
    assert build("diffpir").grid(BRIDGE, 4) == (1.0, 0.423, 0.184, 0.001, 0.0)
    for steps in (1, 2, 20, 999, 1000):
        grid = build("diffpir").grid(BRIDGE, steps)
        assert len(grid) == steps + 1 and all(r < t for t, r in zip(grid, grid[1:], strict=False))
    with pytest.raises(UsageError, match="1001 steps on a table of 1000"):
        build("diffpir").grid(BRIDGE, 1001)


def test_time_travel_of_ddnm_asks_280_times_in_100_steps():
    """Travel length 10, 3 repeats: 280 evaluations and 180 levels of re-noising; and it still fits."""
    built = OPERATORS["average x2"]()
    denoise = prior().of(BRIDGE, like=torch.empty(1, 3, *built.shape_in))
    problem, solver = Problem(denoise, BRIDGE, Measurement(built, small(built))), DDNM(travel=(10, 3))
    plan = solver.plan(problem, solver.grid(BRIDGE, 100))
    up = [round((r - t) * 100) for t, r in zip(plan.walk, plan.walk[1:], strict=False) if r > t]
    assert (plan.evaluations, sum(up)) == (280, 180)
    travelled = restore(DDNM(travel=(2, 3)), problem, noise=Noise(0), steps=8)
    assert problem.measurement.residual(travelled).abs().max() < 1e-5 * max(1.0, float(travelled.abs().max()))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.sampled_from(["bicubic", "average", "gaussian:0.8"]))
def test_a_picture_of_any_size_is_met(height, width, scale, operator):
    x = pixels(1, 3, height, width)
    y = restorer("ddnm", scale=scale).sample(x, steps=2, noise=Noise(0), operator=operator)
    built = named_operator(operator, scale=scale).for_large(scale * height, scale * width)
    assert y.shape == (1, 3, *built.shape_in)
    assert float((built.A(y) - x).abs().max()) <= 3e-5 * max(1.0, float(y.abs().max()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 4])
def test_what_a_walk_costs_is_what_it_asks(name, steps):
    method, asked, seen = restorer(name), 0, []
    network = prior().network.forward

    def counted(*arguments):
        nonlocal asked
        asked += 1
        return network(*arguments)

    prior().network.forward = counted
    try:
        method.sample(pixels(1, 3, 3, 2), steps=steps, noise=Noise(0), callback=seen.append)
    finally:
        del prior().network.forward
    assert asked == method.evaluations(steps)
    assert len(seen) == method.moves(steps)


def test_snips_stands_still_where_its_noise_is_the_level():
    bridge = VE(geometric(2, low=0.5, high=1.0))
    t = 0.5
    a, _, s = bridge.coefficients(t)
    x = pixels(1, 3, 4, 4, dtype=F64)
    problem = Problem(
        prior().of(bridge, like=torch.empty(1, 3, 4, 4)), bridge, Measurement(Identity(height=4, width=4), x, s / a)
    )
    found = restore(build("snips", rate=0.1), problem, noise=Noise(0), grid=(t, 0.0))
    start = (a**2 + s**2) ** 0.5 * Noise(0).normal("start", 0, (1, 3, 4, 4), dtype=F64) / a
    assert torch.equal(found, start)
    near = Problem(problem.denoise, bridge, Measurement(Identity(height=4, width=4), x, s / a * 1.001))
    assert torch.isfinite(restore(build("snips", rate=0.1), near, noise=Noise(0), grid=(t, 0.0))).all()


def test_ddrm_ends_at_a_measurement_that_is_as_good_as_exact():
    """The published rule jumps at noise 0; noise below the last level of the walk counts as none, above it does not."""
    built = OPERATORS["average x2"]()
    denoise = prior().of(BRIDGE, like=torch.empty(1, 3, *built.shape_in))
    grid = DDRM().grid(BRIDGE, 20)
    a, _, s = BRIDGE.coefficients(grid[-2])
    limit = s / a * built.norm
    x = small(built).double()

    def missing(solver, noise):
        known = Measurement(built, x, noise)
        y = restore(solver, Problem(denoise, BRIDGE, known), noise=Noise(0), grid=grid)
        return float(known.residual(y).abs().max())

    assert missing(DDRM(), 0.0) < 1e-6
    assert missing(DDRM(), 0.999 * limit) < 1e-6
    assert missing(DDRM(), 1.001 * limit) > 1e-3
    assert missing(DDRM(quiet=0.0), 1e-9) > 1e-3
    assert missing(DDRM(quiet=0.0), 0.0) < 1e-6
    assert missing(DDRM(strict=True), 0.0) > 1e-3
    with pytest.raises(UsageError, match="quiet"):
        DDRM(quiet=-1.0)


@pytest.mark.parametrize(("c", "f", "m"), [(0.8, 0.6, -0.1), (-0.5, 1.4, 0.3)])
def test_blind_gdp_recovers_factor_and_map_of_a_constant_picture(c, f, m):
    """x = f c + m. From 1 and 0 the plain steps stay on the line factor - 1 : map = c : 1 / n, n numbers a map, so that
    of the pairs that explain x the one on it is found: factor = 1 + c (x - c) / (c^2 + 1 / n)."""
    n, x = 3 * 4 * 4, f * c + m
    known = Measurement(Identity(height=4, width=4), torch.full((1, 3, 4, 4), x, dtype=F64))
    y = torch.full((1, 3, 4, 4), c, dtype=F64)
    plan = GDP(blind=True).plan(Problem(lambda z, t: Estimate(y), BRIDGE, known), BRIDGE.grid(400))
    z, carry = torch.zeros_like(y), None
    for t, r in zip(plan.walk, plan.walk[1:], strict=False):
        z, carry = plan.step(BRIDGE, z, Estimate(y), None, t, r, torch.zeros_like(y), carry)
    assert carry is not None
    share = (x - c) / (c**2 + 1 / n)
    assert float(carry.factor) == pytest.approx(1 + c * share, abs=1e-6)
    assert carry.offset == pytest.approx(torch.full_like(y, share / n), abs=1e-6)
    assert (carry.factor * y + carry.offset - x).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["ddnm", "diffpir", "pigdm"])
def test_several_small_pictures_of_one_scene(name):
    shifts = ((0.0, 0.0), (0.5, 1.0), (-0.7, 0.3))
    members = tuple(gaussian(height=10, width=8, scale=2, sigma=0.7, shift=shift) for shift in shifts)
    stack, y = Stack(members), pixels(1, 3, 10, 8, dtype=F64)
    x = stack.A(y).float()
    found = restorer(name).sample(x, steps=6 if name == "pigdm" else 3, noise=Noise(0), operator=stack)
    assert found.shape == (1, 3, 10, 8) and bool(torch.isfinite(found).all())
    if name != "pigdm":
        assert float((stack.A(found) - x).abs().max()) < 1e-4
    # All of them say more than one alone: what A^+ A keeps of the scene is larger.
    kept = [float(operator.project_range(y).square().sum()) for operator in (members[0], stack)]
    assert kept[1] > 1.2 * kept[0]
