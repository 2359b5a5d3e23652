"""The verbs that make a classifier: scout, run, crop, train, report."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from closeup.api import settings, to_restore
from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say, show
from closeup.cli.result import counts_line, print_result
from closeup.cli.scout import PHOTOS_HELP
from closeup.core.config import CONFIG_FILE
from closeup.core.errors import UsageError
from closeup.core.text import rough_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from closeup.core.config import RunConfig
    from closeup.core.progress import Progress
    from closeup.pipeline.planning import Plan
    from closeup.pipeline.verbs import CropResult
    from closeup.report.result import RunResult

R = TypeVar("R", "RunResult", "CropResult")
LONG = 500
"""From so many photos on, the time of a first run is told beforehand."""
PhotosOrProject = Annotated[
    str | None,
    typer.Argument(
        metavar="PHOTOS",
        help=f"{PHOTOS_HELP} If not given: the photos of the project at --out.",
        show_default=False,
    ),
]


@opt.takes("photos", "detect", "crop", "split", "train", "engine", "history", "report")
def run(
    out: opt.Out,
    photos: PhotosOrProject = None,
    json: opt.Json = False,
    new_split: opt.NewSplit = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show how the photos are understood, what there is to do and how long it takes, "
            "and stop; nothing is written.",
        ),
    ] = False,
    **options: object,
) -> None:
    """Do the whole job: photos -> close-ups -> classifier -> report."""
    if dry_run:
        _plan(out, options, json, photos)
        return
    _run(out, options, json, photos, new_split=new_split)


@opt.takes("split", "train", "engine", "history", "report")
def train(
    out: opt.ProjectFolder,
    restore: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Put training N of `closeup history` to use again, with its options.",
            show_default=False,
        ),
    ] = None,
    json: opt.Json = False,
    new_split: opt.NewSplit = False,
    **options: object,
) -> None:
    """Train a classifier on a project's close-ups and measure it."""
    _require_project(out)
    _run(out, options, json, restore=restore or 0, new_split=new_split)


@opt.takes("report")
def report(out: opt.ProjectFolder, json: opt.Json = False, **options: object) -> None:
    """Bring a project up to date and rewrite its report."""
    _require_project(out)
    _run(out, options, json)


@opt.takes("photos", "detect", "crop", "engine")
def crop(
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", show_default=False,
            help="Project folder; it remembers the options you give. With --ray: folder or URL for "
            "the close-ups; the same command again resumes.",
        ),
    ],
    photos: PhotosOrProject = None,
    json: opt.Json = False,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray",
            help="Cut very many photos without labels by Ray, into Parquet files at --out: PHOTOS "
            "is a folder, pattern or list, on a disk or a URL such as s3://bucket/photos.",
        ),
    ] = False,
    address: opt.Address = "local",
    **options: object,
) -> None:  # fmt: skip
    """Find the object in every photo and cut out the close-ups, into DIR/crops/LABEL/.

    With --ray no labels are needed and no project is made: see `closeup embed` for embeddings.
    """
    if ray:
        from closeup.cli.batch import crop_by_ray

        crop_by_ray(photos, out, address, json, options)
        return
    _crop(Path(out), photos, json, options)


def _crop(out: Path, photos: str | None, json: bool, options: Mapping[str, object]) -> None:
    from closeup import pipeline

    def verb(config: RunConfig, out: Path, **more: Any) -> CropResult:
        _say_how_long(config, out, more["progress"], trains=False)
        return pipeline.crop(config, out, **more)

    result = _do(verb, out, options, photos)
    counts = result.counts
    if json:
        print_json(
            {
                "photos": counts.photos,
                "cropped": counts.cropped,
                "not_found": counts.not_found,
                "unreadable": counts.unreadable,
                "rejected": counts.rejected,
                "labels": counts.labels,
                "objects": counts.objects,
                "detection_rate": round(counts.detection_rate, 6),
                "parent": list(result.parent),
                "seconds": result.seconds,
                "crops": str(result.folder),
            }
        )
        return
    print(counts_line(counts))
    show(f"close-ups: {result.folder}", "", f"Next: closeup train {shlex.quote(str(out))}")


def _require_project(out: Path) -> None:
    from closeup.core.project import Project

    Project(out).config()


def _do(
    verb: Callable[..., R],
    out: Path,
    options: Mapping[str, object],
    photos: str | None,
    restore: int = 0,
) -> R:
    """Run a verb of the pipeline over a project, with progress, and print its notes."""
    config = _config(out, options, photos, restore)
    more = {"restore": restore} if restore else {}
    with progress_on_stderr() as progress:
        result = verb(config, out, progress=progress, **more)
    for note in result.notes:
        say(f"note: {note}")
    return result


def _config(
    out: Path, options: Mapping[str, object], photos: str | None, restore: int = 0
) -> RunConfig:
    """The options of a verb, given and remembered; what is only remembered is named."""
    config = to_restore(out, restore, options) if restore else settings(out, options, photos)
    given = {"source": photos, **options}
    _say_where(config, given, out)
    _require_places(config, given, out)
    return config


def _say_where(config: RunConfig, given: Mapping[str, object], out: Path) -> None:
    """Name what is read only because the project says so: the project may be a stranger's."""
    for _, what, place in _remembered(config, given):
        say(f"{what}: {place} (as {out / CONFIG_FILE} says)")


def _require_places(config: RunConfig, given: Mapping[str, object], out: Path) -> None:
    """Refuse where something that the project remembers has been moved, and say what to do."""
    for option, what, place in _remembered(config, given):
        if not os.path.exists(place):  # noqa: PTH110 - too long a path is none
            flag = "NEW" if option == "source" else f"--{option} NEW"
            raise UsageError(
                f"the {what} of this project were at {place}, where there is nothing now; say "
                f"where they are: closeup run {flag} --out {shlex.quote(str(out))}"
            )


def _remembered(config: RunConfig, given: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """Option, meaning and place of what is read without having been named in this call."""
    places = [
        ("source", "photos", config.photos.source),
        ("test", "test photos", config.photos.test),
        ("boxes", "boxes", config.detect.boxes),
    ]
    return [(o, what, place) for o, what, place in places if place and not given.get(o)]


def _run(
    out: Path,
    options: Mapping[str, object],
    json: bool,
    photos: str | None = None,
    *,
    restore: int = 0,
    new_split: bool = False,
) -> None:
    from closeup import pipeline

    def verb(config: RunConfig, out: Path, **more: Any) -> RunResult:
        _say_how_long(config, out, more["progress"], trains=True)
        return pipeline.run(config, out, new_split=new_split, **more)

    result = _do(verb, out, options, photos, restore)
    if json:
        print_json(result.to_json())
        return
    print_result(result)
    show(
        "",
        f"Next: closeup predict {shlex.quote(str(result.model))} PHOTO…",
        f"      closeup review {shlex.quote(str(result.report.parent))}"
        "    # look through the close-ups and fix what is wrong",
    )


def _plan(out: Path, options: Mapping[str, object], json: bool, photos: str | None) -> None:
    """What `closeup run` would do, without doing it."""
    from closeup.pipeline.planning import plan

    config = _config(out, options, photos)
    found = plan(config, out)
    if json:
        print_json(found.to_json())
        return
    show(*found.collection.tree, *(f"note: {note}" for note in found.collection.notes), "")
    show(*_plan_lines(found, config), "", "Nothing was written; run again without --dry-run.")


def _plan_lines(found: Plan, config: RunConfig) -> Iterator[str]:
    entries = found.collection.entries
    tested = sum(entry.split == "test" for entry in entries)
    share = f"{tested} for testing" if tested else f"{config.split.test_fraction:.0%} held out"
    yield f"{len(entries)} files, {len(found.labels)} labels, {share}"
    for step in found.steps:
        known = f"{step.total - step.left} known, " if step.left < step.total else ""
        yield f"  {step.stage:<15} {step.what}: {known}{step.left or 'none'} left"
    yield f"  {'train':<15} --preset {config.train.preset}, then the report"
    if found.missing:
        yield f"not here yet: closeup models pull {' '.join(map(shlex.quote, found.missing))}"
    elif found.seconds:
        times = [
            f"--preset {preset} about {rough_duration(s)}" for preset, s in found.seconds.items()
        ]
        yield f"time for what is left, measured on this machine: {', '.join(times)}"
    elif any(step.left for step in found.steps):
        yield "time: measured as the run begins"
    else:
        yield "time: a moment for the photos; only training is left, where it is not known"


def _say_how_long(config: RunConfig, out: Path, progress: Progress, *, trains: bool) -> None:
    """Tell before a long first run what each preset takes.

    For fewer photos, or close-ups alone, what a detector of any words does: it is slow on a CPU.
    """
    from closeup.core.project import Project
    from closeup.networks.words import OPEN_VOCABULARY
    from closeup.pipeline.forecast import forecast, look_seconds
    from closeup.pipeline.own_boxes import collected

    by = config.detect.boxes_by or config.detect.detector
    is_slow = by.partition("@")[0] in OPEN_VOCABULARY and not config.detect.boxes
    if not (trains or is_slow) or (Project(out).folder / "crops.parquet").exists():
        return
    count = len(collected(config).entries)
    if trains and count >= LONG:
        seconds = forecast(config, count, progress)
        times = [f"{preset} about {rough_duration(s)}" for preset, s in seconds.items()]
        say(f"{count} photos; measured on this machine, --preset {', '.join(times)}; this run: "
            f"{config.train.preset}{' and fine-tuning' if config.train.finetune else ''}"
            )  # fmt: skip
    elif is_slow:
        each = look_seconds(config, progress)
        say(f"{by} takes {each:.2g} s a photo on this machine: about "
            f"{rough_duration(count * each)} for the {count} photos")  # fmt: skip
