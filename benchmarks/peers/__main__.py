"""Mezzotint beside what people run on a CPU: quality, speed and memory, in one run on one machine.

    python -m benchmarks.peers FOLDER [--cache FOLDER] [--sets Set5,Set14] [--peers span-ch52,dat-light]

FOLDER holds the sets. The peers are fetched as pinned files into --cache and stay there; one that cannot be had is
named in the results and on the page. Quality: the small pictures are made once by protocol y-modern; PSNR, SSIM,
LPIPS-AlexNet, LPIPS-VGG16, DISTS, NIQE and LR-PSNR by `evaluate`. Speed and memory: each size in a process of its
own, median of --runs, beside the matrix product; run it with nothing else running. What is there already is kept unless
--again. Results go to benchmarks/results/peers.json after every picture, the page to docs/peers.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import running, speed
from benchmarks.peers.archives import NotInstalled
from benchmarks.peers.page import SETS, write_page
from benchmarks.peers.table import PEERS, find

from mezzotint.errors import MezzotintError, UsageError
from mezzotint.quality.published import user_folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="the folder that holds the sets")
    parser.add_argument("--cache", type=Path, default=user_folder().parent / "peers", help="where peers are kept")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--peers", default=",".join(PEERS), metavar="A,B", help="of " + ", ".join(PEERS))
    parser.add_argument("--limit", type=int, help="the first pictures of each set only")
    parser.add_argument("--sizes", default=",".join(speed.SIZES), help="of small pictures, for speed and memory")
    parser.add_argument("--runs", type=int, default=speed.RUNS)
    parser.add_argument("--threads", type=int, default=2)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--quality-only", action="store_true")
    only.add_argument("--speed-only", action="store_true")
    only.add_argument("--page-only", action="store_true", help="write the page out of the results that are there")
    parser.add_argument("--again", action="store_true", help="measure again what is there")
    parser.add_argument("-o", "--output", type=Path, default=running.ROOT / "benchmarks" / "results" / "peers.json")
    parser.add_argument("--page", type=Path, default=running.ROOT / "docs" / "peers.md")
    options = parser.parse_args(arguments)
    try:
        _run(options)
    except MezzotintError as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    results = running.read(options.output)
    if not options.page_only:
        wanted = find(options.peers.split(","))
        _check(options)
        names = options.sets.split(",")
        chosen = []
        for peer in wanted:
            entry = results["peers"].setdefault(peer.name, {})
            entry.pop("missing", None)
            try:
                chosen.append(running.installed(peer, cache=options.cache))
            except NotInstalled as error:
                entry["missing"] = str(error)
                print(f"{peer.name} cannot be had: {error}", file=sys.stderr)
        running.write(results, options.output)
        if not options.quality_only:
            speed.measure_speed(
                chosen, results, output=options.output, sizes=options.sizes.split(","), runs=options.runs,
                threads=options.threads, again=options.again,
            )  # fmt: skip
        if not options.speed_only:
            import torch
            from benchmarks.peers import figures

            torch.set_num_threads(options.threads)
            results["missing_measures"] = figures.get_weights(options.cache)
            measures = [name for name in figures.MEASURES if name not in results["missing_measures"]]
            for name in names:
                figures.measure_set(
                    options.folder / name, chosen, results, cache=options.cache, output=options.output,
                    limit=options.limit, threads=options.threads, measures=measures, again=options.again,
                )  # fmt: skip
        running.write(results, options.output)
    write_page(results, options.page)
    print(f"wrote {options.output} and {options.page}")


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be run before anything is fetched."""
    for name in ("threads", "runs", "limit"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value} is below the smallest, 1: use 1 or more")
    for size in options.sizes.split(","):
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", size):
            raise UsageError(f"--sizes {size!r} is no size: give WIDTHxHEIGHT of a small picture, for example 128x128")
    if options.speed_only:
        return
    if options.folder is None:
        raise UsageError("quality needs FOLDER, which holds the sets: name it, or use --speed-only")
    for name in options.sets.split(","):
        if not (options.folder / name).is_dir():
            found = options.folder.iterdir() if options.folder.is_dir() else ()
            there = ", ".join(sorted(path.name for path in found if path.is_dir()))
            raise UsageError(f"set {name!r} is not in {options.folder}: use {there or 'another folder'}")


if __name__ == "__main__":
    sys.exit(main())
