"""The verbs that make a classifier: scout, run, crop, train, report."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from closeup.api import settings, to_restore
from closeup.cli import options as opt
from closeup.cli.history import training_lines
from closeup.cli.output import print_json, progress_on_stderr, say, show
from closeup.core.config import CONFIG_FILE, PhotosConfig
from closeup.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from closeup.core.config import RunConfig
    from closeup.core.progress import Progress
    from closeup.detect.scouting import Scouting
    from closeup.evaluate.compare import Compared
    from closeup.pipeline.planning import Plan
    from closeup.pipeline.verbs import CropResult
    from closeup.report.result import Counts, Reviewed, RunResult

R = TypeVar("R", "RunResult", "CropResult")
LONG = 500
"""From so many photos on, the time of a first run is told beforehand."""
PHOTOS_HELP = PhotosConfig.model_fields["source"].description

Photos = Annotated[str, typer.Argument(metavar="PHOTOS", help=PHOTOS_HELP, show_default=False)]
PhotosOrProject = Annotated[
    str | None,
    typer.Argument(
        metavar="PHOTOS",
        help=f"{PHOTOS_HELP} If not given: the photos of the project at --out.",
        show_default=False,
    ),
]


@opt.takes("detect.detector", "detect.parent", "engine")
def scout(
    photos: Photos,
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
            f"--threshold {scouting.threshold:g} --detector {best} "
            f"--out {shlex.quote(Path(photos).resolve().stem)}-closeup",
        )


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
    out: opt.Out, photos: PhotosOrProject = None, json: opt.Json = False, **options: object
) -> None:
    """Find the object in every photo and cut out the close-ups, into DIR/crops/LABEL/."""
    from closeup import pipeline

    def verb(config: RunConfig, out: Path, **more: Any) -> CropResult:
        _say_how_long_to_look(config, out, more["progress"])
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
    print(_counts_line(counts))
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
    config = to_restore(out, restore, options) if restore else settings(out, options, photos)
    given = {"source": photos, **options}
    _say_where(config, given, out)
    _require_places(config, given, out)
    more = {"restore": restore} if restore else {}
    with progress_on_stderr() as progress:
        result = verb(config, out, progress=progress, **more)
    for note in result.notes:
        say(f"note: {note}")
    return result


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
        _say_how_long(config, out, more["progress"])
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

    config = settings(out, options, photos)
    given = {"source": photos, **options}
    _say_where(config, given, out)
    _require_places(config, given, out)
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
    yield f"{len(entries)} files, {len(found.collection.labels)} labels, {share}"
    for step in found.steps:
        known = f"{step.total - step.left} known, " if step.left < step.total else ""
        yield f"  {step.stage:<15} {step.what}: {known}{step.left or 'none'} left"
    yield f"  {'train':<15} --preset {config.train.preset}, then the report"
    if found.missing:
        yield f"not here yet: closeup models pull {' '.join(map(shlex.quote, found.missing))}"
    elif found.seconds:
        times = [f"--preset {preset} about {_time(s)}" for preset, s in found.seconds.items()]
        yield f"time for what is left, measured on this machine: {', '.join(times)}"
    else:
        yield "time: a moment for the photos; only training is left, where it is not known"


def _say_how_long(config: RunConfig, out: Path, progress: Progress) -> None:
    """Tell before a long first run what each preset takes."""
    from closeup.core.project import Project
    from closeup.pipeline.forecast import forecast
    from closeup.pipeline.own_boxes import collected

    if (Project(out).folder / "crops.parquet").exists():
        return
    count = len(collected(config).entries)
    if count < LONG:
        _say_how_long_to_look(config, out, progress)
        return
    seconds = forecast(config, count)
    times = [f"{preset} about {_time(s)}" for preset, s in seconds.items()]
    say(f"{count} photos; measured on this machine, --preset {', '.join(times)}; this run: "
        f"{config.train.preset}{' and fine-tuning' if config.train.finetune else ''}")  # fmt: skip


def _say_how_long_to_look(config: RunConfig, out: Path, progress: Progress) -> None:
    """Tell before a first look what a detector of any words takes, which are slow on a CPU."""
    from closeup.core.project import Project
    from closeup.networks.words import OPEN_VOCABULARY
    from closeup.pipeline.forecast import look_seconds
    from closeup.pipeline.own_boxes import collected

    by = config.detect.boxes_by or config.detect.detector
    if by.partition("@")[0] not in OPEN_VOCABULARY:
        return
    if (Project(out).folder / "crops.parquet").exists():
        return
    count, each = len(collected(config).entries), look_seconds(config, progress)
    say(f"{by} takes {each:.2g} s a photo on this machine: about {_time(count * each)} for the "
        f"{count} photos")  # fmt: skip


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _counts_line(counts: Counts) -> str:
    rejected = f", {counts.rejected} rejected in review" if counts.rejected else ""
    return (
        f"{counts.photos} photos: {counts.cropped} with the object found "
        f"({counts.detection_rate:.1%}), {counts.not_found} without, "
        f"{counts.unreadable} unreadable{rejected}{_objects(counts)}"
    )


def _objects(counts: Counts) -> str:
    """The objects by label, where photos have several."""
    total = sum(counts.objects.values())
    if total <= counts.cropped:
        return ""
    return f"\n{total} objects: {', '.join(f'{name} {n}' for name, n in counts.objects.items())}"


def print_result(result: RunResult) -> None:
    """The counts and scores of a run, for people."""
    print(_counts_line(result.counts))
    if len(result.compared) > 1:
        _print_compared(result.compared)
    _print_scores(result)
    if result.training is not None:
        show(*training_lines(result.training))
    for row in result.findings.pads:
        print(f"  pad {row.pad:<7g} {row.mean:.3f} ± {row.error:.3f}   (cross-validation)")
    if result.reviewed is not None:
        print(f"  review      {_decided(result.reviewed)}")
    for check in result.checks:
        if check.state == "issue":
            show(f"{check.code}: {check.title}: {check.detail}")
    if result.findings.curve is not None:
        show(f"more photos? {result.findings.curve.sentence}")
    taken = ", ".join(f"{stage} {s:.1f}" for stage, s in result.seconds.items() if s >= 0.05)
    print(f"seconds: {taken or 'nothing to do'}")
    training = result.training
    still = training.against if training is not None and not training.used else None
    show(
        f"model:   {result.model}{f'   (still of training {still.number})' if still else ''}",
        f"report:  {result.report}",
    )


def _print_scores(result: RunResult) -> None:
    s, trust, gain = result.scores, result.trust, result.crop_gain
    if s is None:
        print("test part: none; there are too few photos to measure the model")
    else:
        print(
            f"test part: {s.n} close-ups{_in_photos(result)} of {len(s.labels)} classes\n"
            f"  macro-F1    {s.macro_f1}   (95 % interval, resampled by group)\n"
            f"  accuracy    {s.accuracy}\n"
            f"  end to end  {s.macro_f1_end_to_end}   "
            "(macro-F1; a missed detection counts as wrong)"
        )
    if (none := result.none) is not None:
        print(
            f"  none        {none.recall:.0%} of {none.support} left alone   (objects that are "
            f"none of the classes; {none.precision:.0%} of all that were left alone)"
        )
    if trust is not None:
        print(
            f"  answered    {trust.answered.value:.0%}, with an accuracy of "
            f"{trust.accuracy_answered.value:.3f}   (withheld: {trust.unsure} not confident, "
            f"{trust.out_of_distribution} unlike the training photos)\n"
            f"  calibration {trust.calibration.ece}   (expected calibration error)"
        )
        show(f"in practice: {result.usefulness}")
    if gain is not None:
        print(
            f"  whole photo {gain.a:.3f}   (macro-F1 without cropping; close-ups gain "
            f"{gain.delta.value:+.3f}, {gain.delta.low:+.3f} to {gain.delta.high:+.3f})"
        )


def _in_photos(result: RunResult) -> str:
    """In how many photos they are, where some hold several."""
    right, photos = result.by_photo
    if photos == len(result.results):
        return ""
    return f" in {photos} photos (all answers right in {right / photos:.0%} of these)"


def _decided(done: Reviewed) -> str:
    decisions = ", ".join(f"{n} {kind.past}" for kind, n in done.kinds.items() if n)
    before = done.before.macro_f1 if done.before else None
    return f"{decisions}   (macro-F1 before: {before})" if before else decisions


def _print_compared(rows: Sequence[Compared]) -> None:
    names = [str(row.candidate) for row in rows]
    width = max(map(len, names))
    print("cross-validation on the training part (mean and standard error over the folds):")
    for name, row in zip(names, rows, strict=True):
        speed = f"{row.rate:.0f}" if row.rate else "-"  # not measured where embedded in the pass
        print(
            f"  {name:<{width}}  {row.mean:.3f} ± {row.error:.3f}  {row.megabytes:6.1f} MB  "
            f"{speed:>5}/s  cost {row.work:5.1f}{'   <- selected' if row.picked else ''}"
        )
    print("  selected: the best, where twice the cost has to gain half a point")
