"""Time that the sampling loop spends outside the network, beside the network's own: 20 steps at 128x128.

    python benchmarks/loop_overhead.py [--steps 20] [--size 128] [--repeat 5] [--threads 2] [-o FILE.json]

A network of about 5 million parameters is asked once a step by each sampler of one evaluation. Its time is taken
inside the walk, around each call, so that overhead = (whole - network) / network; the median of the repeats. Noise is
drawn and the state kept in float64, as in use. The budget is 2 %. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from mezzotint.bridges import VP, ResShift
from mezzotint.noise import Noise
from mezzotint.samplers import SAMPLERS, Estimate, sample
from mezzotint.schedules import LinearSDE

BUDGET = 0.02
SAMPLED = ("ancestral", "ddim", "dpm++2m", "dpm++3m", "dpm++2m-sde", "unipc2", "unipc3", "reverse-diffusion")
BRIDGES = {"vp": VP(LinearSDE()), "resshift": ResShift()}


def network(width: int = 192, depth: int = 15) -> nn.Module:
    """Residual 3x3 convolutions, 5.0 million parameters, which see the state and the lifted small picture."""
    layers: list[nn.Module] = [nn.Conv2d(6, width, 3, padding=1)]
    for _ in range(depth):
        layers += [nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)]
    return nn.Sequential(*layers, nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1)).eval()


def measure(name: str, bridge_name: str, net: nn.Module, *, steps: int, size: int) -> tuple[float, float]:
    """Seconds of one walk, and of the network inside it."""
    bridge, inside = BRIDGES[bridge_name], 0.0
    x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def denoise(z: Tensor, t: float) -> Estimate:
        nonlocal inside
        began = time.perf_counter()
        y = net(torch.cat([z.to(x.dtype), x], dim=1))
        inside += time.perf_counter() - began
        return Estimate(y)

    began = time.perf_counter()
    sample(denoise, bridge=bridge, noise=Noise(0), grid=bridge.grid(steps), x_state=x, step=SAMPLERS[name].build())
    return time.perf_counter() - began, inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net = network()
    parameters = sum(p.numel() for p in net.parameters())
    rows = {}
    for bridge in BRIDGES:
        for name in SAMPLED:
            measure(name, bridge, net, steps=2, size=options.size)
            runs = [measure(name, bridge, net, steps=options.steps, size=options.size) for _ in range(options.repeat)]
            overhead = statistics.median((whole - inside) / inside for whole, inside in runs)
            rows[f"{name} on {bridge}"] = {
                "seconds": statistics.median(whole for whole, _ in runs),
                "overhead": overhead,
                "within_budget": overhead < BUDGET,
            }
            print(f"{name:18} {bridge:9} {overhead:7.2%} outside the network", file=sys.stderr)
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    report = json.dumps({"settings": settings, "parameters": parameters, "budget": BUDGET, "samplers": rows}, indent=1)
    if options.output is None:
        print(report)
    else:
        options.output.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
