"""`mezzotint degrade`: large pictures in, small test pictures out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import exits, options, outputs
from mezzotint.cli.messages import Messages
from mezzotint.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


def degrade(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, or folders of pictures.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write NAME.png of each input.")
    ],
    scale: Annotated[str, typer.Option(metavar="NUMBER", help="How many times smaller.")] = "4",
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="bicubic, bd, gaussian8, bsrgan or real-esrgan, in place of what follows."),
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="bicubic (MATLAB's, to the bit; the default), lanczos, average, gaussian:SIGMA, mask:FILE, grey, "
            "identity or FILE.toml.",
        ),
    ] = None,
    noise: Annotated[
        str | None, typer.Option(metavar="SIGMA", help="Standard deviation of added noise in grey levels.")
    ] = None,
    jpeg: Annotated[str | None, typer.Option(metavar="Q", help="Compress as JPEG of this quality, 1 to 100.")] = None,
    seed: Annotated[str, typer.Option(metavar="N", help="The same seed adds the same noise.")] = "0",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> int:
    """Make small pictures of large ones, as tests of super-resolution do. The settings go into each file."""
    replaced = {"--operator": operator, "--noise": noise, "--jpeg": jpeg}
    if preset is not None and any(value is not None for value in replaced.values()):
        given = next(option for option, value in replaced.items() if value is not None)
        raise UsageError(f"--preset {preset} has its own operator, noise and JPEG: leave out {given}, or the preset")
    settings: dict[str, Any] = {
        "preset": preset,
        "operator": operator or "bicubic",
        "scale": options.real(scale, option="--scale", low=1, high=1024),
        "noise": options.real(noise or "0", option="--noise", low=0, high=1000),
        "jpeg": None if jpeg is None else options.integer(jpeg, option="--jpeg", low=1, high=100),
        "seed": options.seed(seed),
    }
    from mezzotint import images
    from mezzotint.operators.degradation import reduction
    from mezzotint.operators.presets import preset as preset_named

    if preset is not None:
        preset_named(preset).check_scale(settings["scale"])
    else:
        reduction(settings["operator"], scale=settings["scale"], read_mask=_read_mask)
    sources = outputs.expand(inputs, output=output)
    folder = Path(output)
    if output == "" or (folder.suffix.lower() in images.WRITABLE and not folder.is_dir()):
        raise UsageError(f"-o {output!r} is not the name of a folder: name one")
    jobs = [outputs.Job(source, (folder / f"{source.stem}.png",)) for source in sources]
    images.check_collisions([(job.source, job.targets[0]) for job in jobs])
    outputs.make_folder(folder)
    messages = Messages(quiet=quiet)

    def work(job: outputs.Job) -> None:
        _degrade_one(job, settings=settings, overwrite=overwrite, messages=messages)

    return exits.do_all(jobs, work, source=lambda job: job.source, messages=messages)


def _read_mask(path: str) -> Tensor:
    """The picture of a mask, (h, w): 0 where every channel is black."""
    import torch

    from mezzotint import images

    return torch.from_numpy(images.read_plain(path).pixels).amax(-1)


def _degrade_one(job: outputs.Job, *, settings: dict[str, Any], overwrite: bool, messages: Messages) -> None:
    import torch

    from mezzotint import images
    from mezzotint.noise import picture_id
    from mezzotint.operators.degradation import degrade

    target = job.targets[0]
    images.check_output(target, inputs=[job.source], overwrite=overwrite)
    picture = images.read_plain(job.source)
    y = torch.from_numpy(picture.pixels).permute(2, 0, 1)[None]
    x, record = degrade(y, **settings, pictures=(picture_id(picture.pixels),), read_mask=_read_mask)
    pixels = x[0].permute(1, 2, 0).contiguous().numpy()
    text = json.dumps({"degradation": record, "notes": list(picture.notes)})
    images.write(images.Picture(pixels, icc=picture.icc), target, overwrite=overwrite, record=text)
    messages.say(f"{job.source} -> {target} ({pixels.shape[1]}x{pixels.shape[0]})")
