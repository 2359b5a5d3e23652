"""The verbs that make a classifier: scout, run, crop, train, report."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closeup.cli import options as opt
from closeup.cli.output import (
    print_json,
    progress_on_stderr,
    say,
    show,
)
from closeup.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closeup.core.config import RunConfig
    from closeup.detect.scouting import Scouting
    from closeup.evaluate.compare import Compared
    from closeup.pipeline.reviewed import Reviewed
    from closeup.pipeline.summary import Counts, RunResult


def scout(
    photos: opt.Photos,
    sample: Annotated[int, typer.Option(min=0, help="Look at this many photos only; 0: all.")] = 0,
    detector: opt.Detector = None,
    engine: opt.EngineName = None,
    precision: opt.PrecisionName = None,
    threads: opt.Threads = None,
    json: opt.Json = False,
) -> None:
    """Which parent category suits these photos? Tabulates what the detector finds, per label."""
    from closeup import pipeline
    from closeup.api import settings

    config = settings(None, dict(source=photos, detector=detector, engine=engine,
                                 precision=precision, threads=threads))  # fmt: skip
    with progress_on_stderr() as progress:
        scouting = pipeline.scout(config, sample=sample, progress=progress)
    if json:
        print_json(scouting.to_json())
    else:
        _print_scouting(scouting, config, photos)


def _print_scouting(scouting: Scouting, config: RunConfig, photos: Path) -> None:
    print(scouting.to_text())
    if scouting.recommended:
        parent = shlex.quote(",".join(scouting.recommended))
        show(
            "",
            f"Next: closeup run {shlex.quote(str(photos))} --parent {parent} "
            f"--threshold {scouting.threshold:g} --detector {config.detect.detector} "
            f"--out {shlex.quote(photos.resolve().stem)}-closeup",
        )


def run(
    out: opt.Out,
    photos: opt.PhotosOrProject = None,
    parent: opt.Parent = None,
    detector: opt.Detector = None,
    backbone: opt.Backbone = None,
    view: opt.View = None,
    head: opt.Head = None,
    compare_photo: opt.ComparePhoto = None,
    pads: opt.Pads = None,
    finetune: opt.Finetune = None,
    epochs: opt.Epochs = None,
    flip: opt.Flip = None,
    augment: opt.Augment = None,
    coverage: opt.Coverage = None,
    explain: opt.Explain = None,
    test: opt.Test = None,
    boxes: opt.Boxes = None,
    threshold: opt.Threshold = None,
    which: opt.WhichBox = None,
    pad: opt.Pad = None,
    on_miss: opt.Miss = None,
    seed: opt.Seed = None,
    test_fraction: opt.TestFraction = None,
    near_duplicates: opt.NearDuplicates = None,
    engine: opt.EngineName = None,
    precision: opt.PrecisionName = None,
    threads: opt.Threads = None,
    json: opt.Json = False,
) -> None:
    """The whole job: photos -> close-ups -> classifier -> report."""
    given = _options(locals())
    _run(out, given, json)


def train(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A project folder.")],
    backbone: opt.Backbone = None,
    view: opt.View = None,
    head: opt.Head = None,
    compare_photo: opt.ComparePhoto = None,
    pads: opt.Pads = None,
    finetune: opt.Finetune = None,
    epochs: opt.Epochs = None,
    flip: opt.Flip = None,
    augment: opt.Augment = None,
    coverage: opt.Coverage = None,
    explain: opt.Explain = None,
    seed: opt.Seed = None,
    test_fraction: opt.TestFraction = None,
    near_duplicates: opt.NearDuplicates = None,
    engine: opt.EngineName = None,
    precision: opt.PrecisionName = None,
    threads: opt.Threads = None,
    json: opt.Json = False,
) -> None:
    """Train (again) on the close-ups of a project, and measure."""
    given = _options(locals())
    _require_project(out)
    _run(out, given, json)


def report(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A project folder.")],
    explain: opt.Explain = None,
    json: opt.Json = False,
) -> None:
    """Bring a project up to date and write its report again."""
    given = _options(locals())
    _require_project(out)
    _run(out, given, json)


def crop(
    out: opt.Out,
    photos: opt.PhotosOrProject = None,
    parent: opt.Parent = None,
    detector: opt.Detector = None,
    test: opt.Test = None,
    boxes: opt.Boxes = None,
    threshold: opt.Threshold = None,
    which: opt.WhichBox = None,
    pad: opt.Pad = None,
    on_miss: opt.Miss = None,
    engine: opt.EngineName = None,
    precision: opt.PrecisionName = None,
    threads: opt.Threads = None,
    json: opt.Json = False,
) -> None:
    """Find the object in every photo and cut the close-ups into DIR/crops/LABEL/."""
    given = _options(locals())
    from closeup import pipeline
    from closeup.api import settings

    config = settings(out, given)
    _say_where(config, given, out)
    _require_places(config, given, out)
    with progress_on_stderr() as progress:
        result = pipeline.crop(config, out, progress=progress)
    for note in result.notes:
        say(f"note: {note}")
    if json:
        counts = result.counts
        print_json({
            "photos": counts.photos, "cropped": counts.cropped, "not_found": counts.not_found,
            "unreadable": counts.unreadable, "labels": counts.labels,
            "detection_rate": round(counts.detection_rate, 6), "seconds": result.seconds,
            "crops": str(result.folder),
        })  # fmt: skip
        return
    print(_counts_line(result.counts))
    show(f"close-ups: {result.folder}", "", f"Next: closeup train {shlex.quote(str(out))}")


def _options(arguments: dict[str, Any]) -> dict[str, Any]:
    """A command's arguments as options of the configuration: all but where and how it answers."""
    given = {name: value for name, value in arguments.items() if name not in ("out", "json")}
    if "photos" in given:
        given["source"] = given.pop("photos")
    return given


def _require_project(out: Path) -> None:
    from closeup.core.project import Project

    Project(out).config()


def _say_where(config: RunConfig, given: dict[str, Any], out: Path) -> None:
    """Name what is read because the project says so: it may be a stranger's."""
    from closeup.core.config import CONFIG_FILE

    for _, what, place in _remembered(config, given):
        say(f"{what}: {place} (as {out / CONFIG_FILE} says)")


def _require_places(config: RunConfig, given: dict[str, Any], out: Path) -> None:
    """Refuse where what the project remembers has been moved, and say how to go on."""
    for option, what, place in _remembered(config, given):
        if not os.path.exists(place):  # noqa: PTH110 - too long a path is none
            flag = "NEW" if option == "source" else f"--{option} NEW"
            raise UsageError(
                f"there is nothing at {place}, where the {what} of this project were; say where "
                f"they are: closeup run {flag} --out {shlex.quote(str(out))}"
            )


def _remembered(config: RunConfig, given: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Option, meaning and place of what is read and was not named in this call."""
    places = [
        ("source", "photos", config.photos.source),
        ("test", "test photos", config.photos.test),
        ("boxes", "boxes", config.detect.boxes),
    ]
    return [(o, what, place) for o, what, place in places if place and not given.get(o)]


def _run(out: Path, given: dict[str, Any], json: bool) -> None:
    from closeup import pipeline
    from closeup.api import settings

    config = settings(out, given)
    _say_where(config, given, out)
    _require_places(config, given, out)
    with progress_on_stderr() as progress:
        result = pipeline.run(config, out, progress=progress)
    for note in result.notes:
        say(f"note: {note}")
    if json:
        print_json(result.to_json())
    else:
        print_result(result)
        show(
            "",
            f"Next: closeup predict {shlex.quote(str(result.model))} PHOTO…",
            f"      closeup review {shlex.quote(str(result.report.parent))}"
            "    # look through the close-ups, mend what is wrong",
        )


def _counts_line(counts: Counts) -> str:
    rate = f"{counts.detection_rate:.1%}"
    return (
        f"{counts.photos} photos: {counts.cropped} with the object found ({rate}), "
        f"{counts.not_found} without, {counts.unreadable} unreadable"
    )


def print_result(result: RunResult) -> None:
    """The counts and scores of a run, for people."""
    print(_counts_line(result.counts))
    if len(result.compared) > 1:
        _print_compared(result.compared)
    s = result.scores
    if s is None:
        print("test part: none, because there are too few photos: the model is not measured")
    else:
        print(
            f"test part: {s.n} close-ups of {len(s.labels)} classes\n"
            f"  macro-F1    {s.macro_f1}   (95 % interval, resampled by group)\n"
            f"  accuracy    {s.accuracy}\n"
            f"  end to end  {s.macro_f1_end_to_end}   "
            "(macro-F1, an object not found counts as wrong)"
        )
    if result.trust is not None:
        t = result.trust
        print(
            f"  answered    {t.answered.value:.0%}, of these right "
            f"{t.accuracy_answered.value:.3f}   (others: {t.unsure} not confident, "
            f"{t.unlike} unlike the training photos)\n"
            f"  calibrated  {t.calibration.ece}   (expected error of the stated confidence)"
        )
    if result.crop_gain is not None:
        gain = result.crop_gain
        print(
            f"  whole photo {gain.a:.3f}   (macro-F1 without cropping; close-ups gain "
            f"{gain.delta.value:+.3f}, {gain.delta.low:+.3f} to {gain.delta.high:+.3f})"
        )
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
    show(f"model:   {result.model}", f"report:  {result.report}")


def _decided(done: Reviewed) -> str:
    said = ", ".join(f"{n} {kind.past}" for kind, n in done.kinds.items() if n)
    before = done.before.macro_f1 if done.before else None
    return f"{said}" + (f"   (macro-F1 before: {before})" if before else "")


def _print_compared(rows: Sequence[Compared]) -> None:
    names = [str(row.candidate) for row in rows]
    width = max(map(len, names))
    print("cross-validation on the training part (mean and standard error over the folds):")
    for name, row in zip(names, rows, strict=True):
        speed = f"{row.rate:.0f}" if row.rate else "-"  # not measured where embedded in the pass
        print(
            f"  {name:<{width}}  {row.mean:.3f} ± {row.error:.3f}  {row.megabytes:6.1f} MB  "
            f"{speed:>5}/s  cost {row.work:5.1f}{'   <- taken' if row.picked else ''}"
        )
    print("  taken: the cheapest within one standard error of the best")
