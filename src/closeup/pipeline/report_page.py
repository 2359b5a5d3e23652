"""Gather what the page shows from the tables of a project, and write it."""

from __future__ import annotations

import platform
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from closeup._version import __version__
from closeup.core.config import RunConfig, to_toml
from closeup.core.flags import flags_of
from closeup.core.parallel import ordered_map
from closeup.core.project import Table, key_of
from closeup.core.serialization import to_json
from closeup.core.types import Crop, CropState, Example, Photo, PhotoState, Result
from closeup.crops.cut import cut, cut_out, too_small
from closeup.dataset.duplicates import Pair
from closeup.decisions import REVIEW_URL
from closeup.evaluate.checks import counted
from closeup.evaluate.explain import occlusion_map, overlay
from closeup.evaluate.scores import worst_mistakes
from closeup.model.history import Training, read_history
from closeup.model.model import load_model
from closeup.photos.reading import read_picture_again
from closeup.photos.thumbnail import thumbnail
from closeup.pipeline.stages import Job
from closeup.report.data import (
    MAX_COPIES,
    MAX_EXPLAINED,
    MAX_LABEL_ISSUES,
    CopyPair,
    Mistake,
    ReportData,
    Sample,
    Skipped,
    pick_samples,
)
from closeup.report.page import render_report
from closeup.report.result import RunResult

VERSION = 13
REPORT_FILE = "report.html"

Tables = tuple[Table[Photo], Table[Crop], Table[Example]]


def write_report(job: Job, tables: Tables, pairs: Table[Pair], result: RunResult) -> None:
    """Write ``result.report``, unless it was already written from these very tables.

    The seconds on the page are those of the run that wrote it.
    """
    reviewed = to_json(result.reviewed) if result.reviewed else None
    rights = to_json(result.rights) if result.rights else None
    keys = [table.key for table in (*tables, pairs)]
    past = read_history(job.project)
    rows = [(row.number, row.key, row.used, row.why, bool(row.restored)) for row in past.trainings]
    training = to_json(_undated(result.training)) if result.training else None
    told = [past.in_use, rows, training]
    key = key_of("report", VERSION, told, keys, result.key, job.config.model_dump(), result.notes,
                 __version__, reviewed, rights, result.findings.label_issue_crops)  # fmt: skip
    mark = f"<!-- closeup {key} -->\n".encode()
    if not (result.report.is_file() and result.report.read_bytes().endswith(mark)):
        data = replace(_gather(job, tables, pairs.rows, result), history=past)
        page = render_report(data)
        job.project.write_bytes(REPORT_FILE, page.encode() + b"\n" + mark)


def _undated(training: Training) -> Training:
    return replace(training, date="", seconds=0.0, restored="")


def _gather(job: Job, tables: Tables, pairs: Sequence[Pair], result: RunResult) -> ReportData:
    photos, crops, examples = tables[0].rows, tables[1].rows, tables[2].rows
    photo_of, crop_of = {p.id: p for p in photos}, {crop.id: crop for crop in crops}
    worst, samples, findings = worst_mistakes(result.results), pick_samples(crops), result.findings
    names = findings.label_issue_crops[:MAX_LABEL_ISSUES]
    issues = findings.label_issues.rows[:MAX_LABEL_ISSUES] if findings.label_issues else ()
    shown = dict.fromkeys(
        [
            *(crop.id for crop in samples),
            *(row.crop_id for row in worst),
            *names,
            *(name for some in findings.alike.values() for name in some),
        ]
    )
    pictures = _pictures(photo_of, [crop_of[name] for name in shown])
    explained = _explained(job, photo_of, crop_of, worst, result)
    different = [pair for pair in pairs if photo_of[pair.a].sha256 != photo_of[pair.b].sha256]
    folder = shlex.quote(str(job.project.folder))

    def similar(name: str) -> list[tuple[str, str]]:
        return [(crop_of[one].label, pictures[one][1]) for one in findings.alike.get(name, ())]

    return ReportData(
        title=job.project.folder.absolute().name,
        result=result,
        label_issues=[
            Mistake(photo_of[crop_of[name].photo_id].path, row.given, row.suggested, row.score,
                    True, *pictures[name], review=review_link(name))
            for row, name in zip(issues, names, strict=True)
        ],
        copies=_copies(photo_of, different),
        copies_total=len(different),
        samples=[Sample(photo_of[c.photo_id].path, c.label, *pictures[c.id]) for c in samples],
        mistakes=[
            Mistake(photo_of[r.photo_id].path, r.truth, r.answer, r.confidence, r.found,
                    *pictures[r.crop_id], similar(r.crop_id), explained.get(r.crop_id, ""),
                    review_link(r.crop_id))
            for r in worst
        ],
        skipped=_skipped(photos, crops, examples),
        facts=_facts(crops, examples, result),
        commands=[
            ("to run it again", command_of(job.config, job.project.folder)),
            ("to predict new photos", f"closeup predict {shlex.quote(str(result.model))} PHOTO…"),
            ("to review the close-ups, fix what is wrong, and train again",
             f"closeup review {folder} && closeup train {folder}"),
        ],
        config_toml=to_toml(job.config),
        made=f"Closeup {__version__}, Python {platform.python_version()} on "
        f"{platform.system()} {platform.machine()}",
    )  # fmt: skip


def _pictures(photo_of: Mapping[str, Photo], crops: Sequence[Crop]) -> dict[str, tuple[str, str]]:
    """By crop id, its photo (the box drawn) and its close-up as small pictures."""

    def picture(crop: Crop) -> tuple[str, str]:
        seen = read_picture_again(photo_of[crop.photo_id])
        box = crop.box if crop.state is CropState.CROPPED else None
        return thumbnail(seen, box), thumbnail(cut_out(seen, crop.window, crop.side))

    found = ordered_map(picture, crops)
    return {crop.id: both for crop, both in zip(crops, found, strict=True)}


def _explained(
    job: Job,
    photo_of: Mapping[str, Photo],
    crop_of: Mapping[str, Crop],
    mistakes: Sequence[Result],
    result: RunResult,
) -> dict[str, str]:
    """By crop id, the close-ups of the worst mistakes, bright where the answer depends on them."""
    if not job.config.report.explain or not mistakes:
        return {}
    if result.training is not None and not result.training.used:
        return {}  # the model in use is another
    model, found = load_model(result.model, job.config.engine), {}
    for place, row in enumerate(mistakes[:MAX_EXPLAINED]):
        crop = crop_of[row.crop_id]
        seen = read_picture_again(photo_of[crop.photo_id])
        closeup_ = cut(seen, crop.window, crop.side)
        drops = occlusion_map(model.answers_for(seen, crop, row.answer), closeup_)
        found[crop.id] = thumbnail(overlay(closeup_, drops))
        job.progress("explain", place + 1, min(len(mistakes), MAX_EXPLAINED))
    return found


def _copies(photo_of: Mapping[str, Photo], pairs: Sequence[Pair]) -> list[CopyPair]:
    """The least similar pairs first, so that a wrong one is seen."""

    def picture(pair: Pair) -> CopyPair:
        one, other = photo_of[pair.a], photo_of[pair.b]
        shown = [thumbnail(read_picture_again(photo)) for photo in (one, other)]
        return CopyPair(one.path, other.path, one.label, other.label, pair.similarity, *shown)

    some = sorted(pairs, key=lambda p: (p.similarity, p.a, p.b))
    return list(ordered_map(picture, some[:MAX_COPIES]))


def review_link(crop_id: str) -> str:
    """Where `closeup review` shows a close-up while it runs on this machine."""
    return f"{REVIEW_URL}/?at={quote(crop_id, safe='')}"


def _skipped(
    photos: Sequence[Photo], crops: Sequence[Crop], examples: Sequence[Example]
) -> list[Skipped]:
    """Files that could not be read, objects not found, and rows left out of the dataset."""
    names = {p.id: p.path for p in photos}
    rows = [Skipped(p.path, p.code, p.reason) for p in photos if p.state is PhotoState.UNREADABLE]
    rows += [
        Skipped(names[c.photo_id], "not_found", c.reason
                + (" (the whole photo is used)" if c.stand_in else ""))
        for c in crops
        if c.state is CropState.NOT_FOUND
    ]  # fmt: skip
    known = {row.file for row in rows}
    rows += [
        Skipped(names[e.photo_id], "left_out", e.reason)
        for e in examples
        if not e.split and e.reason and names[e.photo_id] not in known
    ]
    return rows


def _facts(
    crops: Sequence[Crop], examples: Sequence[Example], result: RunResult
) -> list[tuple[str, str]]:
    sizes = Counter(e.split for e in examples if e.split)
    together = [n for n in Counter(e.group for e in examples).values() if n > 1]
    facts = [
        ("training part", f"{sizes['train']} close-ups"),
        ("test part", f"{sizes['test']} close-ups, never seen in training"
         if sizes["test"] else "none: too few photos"),
        ("grouped photos", f"{sum(together)} in {counted(len(together), 'group')}, the largest of "
         f"{max(together)}: copies, and groups of your own; a group is never split between "
         "training and test" if together else "none"),
    ]  # fmt: skip
    if small := too_small(crops):
        facts.append(("too small", f"{small} photos whose boxes are smaller than --min-size; they "
                      "count as without the object"))  # fmt: skip
    if result.crop_gain is not None:
        gain = result.crop_gain
        facts.append(
            ("does cropping help?", f"macro-F1 {gain.b:.3f} on close-ups, {gain.a:.3f} on whole "
             f"photos: {gain.delta.value:+.3f} ({gain.delta.low:+.3f} to {gain.delta.high:+.3f}), "
             "same photos, split, backbone and head")
        )  # fmt: skip
    return facts


def command_of(config: RunConfig, out: Path) -> str:
    """The command that makes this run, with every option that differs from its default."""
    words = [word for pair in flags_of(config) for word in pair if word]
    return shlex.join(["closeup", "run", config.photos.source, *words, "--out", str(out)])
