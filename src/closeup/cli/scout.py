"""``closeup scout``: which parent category fits the photos, by one detector or several."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from closeup.api import settings
from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, show
from closeup.core.config import PhotosConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closeup.detect.scouting import Scouting


PHOTOS_HELP = PhotosConfig.model_fields["source"].description


@opt.takes("detect.detector", "detect.parent", "engine")
def scout(
    photos: Annotated[str, typer.Argument(metavar="PHOTOS", help=PHOTOS_HELP, show_default=False)],
    sample: Annotated[int, typer.Option(min=0, help="Use only this many photos; 0: all.")] = 0,
    json: opt.Json = False,
    **options: object,
) -> None:
    """Find out which parent category fits your photos, from what the detector finds per label.

    Several detectors, separated by commas, are compared; --parent is for those of any words.
    """
    from closeup import pipeline
    from closeup.pipeline.forecast import look_seconds

    config = settings(None, options, photos)
    names = [name.strip() for name in config.detect.detector.split(",") if name.strip()]
    found: dict[str, Scouting] = {}
    seconds: dict[str, float] = {}
    for name in names:
        detect = config.detect.model_copy(update={"detector": name})
        with progress_on_stderr() as progress:
            found[name] = pipeline.scout(config.model_copy(update={"detect": detect}),
                                         sample=sample, progress=progress)  # fmt: skip
        if len(names) > 1:
            seconds[name] = look_seconds(config.model_copy(update={"detect": detect}))
    if json:
        one = next(iter(found.values())).to_json()
        several = {"detectors": {name: its.to_json() for name, its in found.items()}}
        print_json(one if len(found) == 1 else several)
    else:
        _print_scouting(found, photos, seconds)


def _print_scouting(
    found: Mapping[str, Scouting], photos: str, seconds: Mapping[str, float]
) -> None:
    from closeup.detect.scouting import coverage_table

    for name, scouting in found.items():
        if len(found) > 1:
            show(f"{name}:")
        print(scouting.to_text())
        if len(found) > 1:
            show("")
    best, scouting = max(found.items(), key=lambda item: item[1].coverage)
    if len(found) > 1:
        choices = {f"{name}: {','.join(its.recommended)}": its.choices[0]
                   for name, its in found.items() if its.recommended}  # fmt: skip
        show(*coverage_table(choices, "detector: parent"))
        show("seconds a photo: " + ", ".join(f"{name} {s:.2g}" for name, s in seconds.items()))
    if scouting.recommended:
        parent = shlex.quote(",".join(scouting.recommended))
        show(
            "",
            f"Next: closeup run {shlex.quote(photos)} --parent {parent} "
            f"--detector {best} --out {shlex.quote(Path(photos).resolve().stem)}-closeup",
        )
