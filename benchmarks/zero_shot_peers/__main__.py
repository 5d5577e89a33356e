"""Our zero-shot solvers beside those of deepinv: the same prior, measurements, operators and evaluations.

    python -m benchmarks.zero_shot_peers FOLDER --prior FOLDER --cache FOLDER [--pictures 3]

FOLDER holds the benchmarks Set14 and BSD100, of whose fixed crops of 128x128 pixels --pictures in colour are taken. An
environment with deepinv, torch and torchvision, all pinned, is made in --cache the first time and stays there (up to 6
GB); both sides run in it, in one process, and take turns. Seconds are those of a machine with nothing else running, on
which the command takes less than five minutes with three pictures and two threads. Results go to
benchmarks/results/deepinv.json, the page to docs/zero-shot-peers.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.peers.archives import NotInstalled
from benchmarks.peers.running import ROOT, describe, write
from benchmarks.zero_shot_peers.environment import python_of, run_worker
from benchmarks.zero_shot_peers.page import write_page

from mezzotint import images, weights
from mezzotint.errors import MezzotintError, UsageError
from mezzotint.quality.crops import load_crops
from mezzotint.quality.published import user_folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zero_shot_peers", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, nargs="?", help="the folder that holds Set14 and BSD100")
    parser.add_argument("--prior", type=Path, help="the folder of a prior's run, or its file of weights")
    parser.add_argument("--cache", type=Path, default=user_folder().parent / "peers", help="where deepinv is kept")
    parser.add_argument("--pip-args", default="", help="further options of pip, for example an index of CPU builds")
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--only", default="", help="the cases whose name has this in it; no result is written")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page-only", action="store_true", help="write the page out of the results that are there")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "deepinv.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "zero-shot-peers.md")
    options = parser.parse_args(arguments)
    try:
        if not options.page_only:
            results = _measure(options)
            if options.only:
                return 0
            write(results, options.output)
        write_page(json.loads(options.output.read_text(encoding="utf-8")), options.page)
    except (MezzotintError, NotInstalled) as error:
        print(f"benchmarks.zero_shot_peers: {error}", file=sys.stderr)
        return 2
    return 0


def choose(folder: Path, count: int) -> tuple[list[str], np.ndarray]:
    """Return names and pixels, uint8 (count, 128, 128, 3), of crops in colour, evenly spread over the list.

    UsageError for more than there are.
    """
    found = [
        (name, pixels)
        for name, pixels in load_crops(folder, read=lambda path: images.read_plain(path).pixels)
        if pixels.shape[-1] == 3
    ]
    if not 1 <= count <= len(found):
        raise UsageError(f"--pictures {count} is not from 1 to {len(found)}, the crops in colour")
    # Each from the middle of its part of the list.
    places = [(2 * i + 1) * len(found) // (2 * count) for i in range(count)]
    return [found[place][0] for place in places], np.stack([found[place][1] for place in places])


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    if options.folder is None or options.prior is None:
        raise UsageError("what is compared needs FOLDER, which holds Set14 and BSD100, and --prior")
    if options.threads < 1:
        raise UsageError(f"--threads {options.threads} is below 1")
    prior = weights.resolve(options.prior)
    names, pixels = choose(options.folder, options.pictures)
    python = python_of(options.cache, options=shlex.split(options.pip_args))
    results: dict[str, Any] = {"runs": [], "outside": {}}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "pictures.npy"
        np.save(file, pixels)
        # Absolute: the worker has a working folder of its own.
        arguments = [str(prior.resolve()), str(file), "--only", options.only]
        worker = run_worker(python, arguments, threads=options.threads)
        assert worker.stdout is not None
        for line in worker.stdout:
            told = json.loads(line)
            if "agreement" in told:
                results |= told
            elif "outside" in told:
                results["outside"][told["outside"]] = told["milliseconds"]
            else:
                results["runs"].append(told)
                print(
                    f"{told['case']:26s} {told['settings']:46s} {told['side']:10s} {told['psnr']:6.2f} dB"
                    f" {told['seconds']:7.2f} s",
                    flush=True,
                )
        if worker.wait() != 0:
            raise NotInstalled(f"the worker ended with {worker.returncode}, its errors are above")
    results["pictures"] = names
    results["prior"] = {"sha256": weights.sha256(prior)}
    results["machine"] = {**describe(), **versions(python), "threads": options.threads}
    results["measured"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return results


def versions(python: Path) -> dict[str, str]:
    """Return the versions of the environment that the figures depend on."""
    import subprocess

    code = "import json; from importlib.metadata import version as v; "
    code += "print(json.dumps({n: v(n) for n in ('deepinv', 'torch', 'torchvision', 'numpy')}))"
    done = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
