"""Gather what the report tells from the tables of a project, and write the page."""

from __future__ import annotations

import platform
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from closeup._version import __version__
from closeup.core.config import RunConfig, to_toml
from closeup.core.parallel import ordered_map
from closeup.core.project import Table, key_of
from closeup.core.types import (
    Crop,
    CropState,
    Example,
    Photo,
    PhotoState,
)
from closeup.crops.cut import cut, cut_out
from closeup.dataset.duplicates import Pair
from closeup.decisions import REVIEW_URL
from closeup.evaluate.checks import Check
from closeup.evaluate.explain import occlusion_map, overlay
from closeup.evaluate.findings import Facts
from closeup.evaluate.scores import worst_mistakes
from closeup.model.model import load_model
from closeup.photos.reading import read_picture_again
from closeup.pipeline.reviewed import Reviewed
from closeup.pipeline.stages import Job
from closeup.pipeline.summary import Counts
from closeup.pipeline.trained import Trained
from closeup.report import (
    LabelRow,
    Mistake,
    NetworkRow,
    PhotoCounts,
    ReportData,
    Sample,
    Skipped,
    pick_samples,
    render_report,
    thumbnail,
)
from closeup.report.data import (
    MAX_COPIES,
    MAX_DOUBTFUL,
    MAX_EXPLAINED,
    CopyPair,
)

VERSION = 8
REPORT_FILE = "report.html"

_FLAGS = {"pads": "compare-pads"}
"""Options whose flag is not their name."""
_UNNAMED = frozenset({"quality", "folds", "miss_rate"})
"""Settings of the configuration file alone."""

Tables = tuple[Table[Photo], Table[Crop], Table[Example]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the photos, what may be wrong, and what people decided (None: nothing)."""

    counts: Counts
    checks: Sequence[Check]
    review: Reviewed | None = None


def write_report(
    job: Job, tables: Tables, pairs: Table[Pair], verdict: Verdict, trained: Trained
) -> Path:
    """Write ``report.html``, unless it stands there already for just these tables.

    The seconds on the page are those of the run that wrote it.
    """
    file = job.project.place(REPORT_FILE)
    keys = [table.key for table in (*tables, pairs)]
    key = key_of("report", VERSION, keys, trained.key, job.config.model_dump(), job.notes,
                 __version__, verdict.review.to_json() if verdict.review else None,
                 trained.findings.suspect_crops)  # fmt: skip
    mark = f"<!-- closeup {key} -->\n".encode()
    if not (file.is_file() and file.read_bytes().endswith(mark)):
        page = render_report(_gather(job, tables, pairs.rows, verdict, trained))
        job.project.write_bytes(REPORT_FILE, page.encode() + b"\n" + mark)
    return file


def _gather(
    job: Job, tables: Tables, pairs_found: Sequence[Pair], verdict: Verdict, trained: Trained
) -> ReportData:
    photos, crops, examples = tables[0].rows, tables[1].rows, tables[2].rows
    by_id = {crop.id: crop for crop in crops}
    worst = worst_mistakes(trained.results)
    pictured = [by_id[result.crop_id] for result in worst]
    pairs = _pictures({p.id: p for p in photos}, [*pick_samples(crops), *pictured])
    samples, mistakes = pairs[: len(pairs) - len(worst)], pairs[len(pairs) - len(worst) :]
    findings = trained.findings
    counts = verdict.counts
    hinges = _hinges(job, {p.id: p for p in photos}, [(by_id[r.crop_id], r.answer) for r in worst],
                     trained.model)  # fmt: skip
    seen = _seen({p.id: p for p in photos}, by_id, findings.alike)
    doubtful = findings.suspect_crops[:MAX_DOUBTFUL]
    suspected = findings.suspects.rows[:MAX_DOUBTFUL] if findings.suspects else ()
    doubted = _pictures({p.id: p for p in photos}, [by_id[name] for name in doubtful])
    names = {p.id: p.path for p in photos}
    folder = shlex.quote(str(job.project.folder))
    return ReportData(
        title=job.project.folder.absolute().name,
        scores=trained.scores,
        counts=PhotoCounts(counts.photos, counts.cropped, counts.not_found, counts.unreadable,
                           counts.rejected),
        review=verdict.review,
        labels=[LabelRow(label, n, counts.found_per_label[label])
                for label, n in counts.labels.items()],
        head_log=trained.log,
        compared=trained.compared,
        trust=trained.trust,
        checks=list(verdict.checks),
        doubtful=[Mistake(names[crop.photo_id], row.given, row.suggested, row.score, True, photo,
                          cut_, review=review_link(crop.id))
                  for row, (crop, photo, cut_) in zip(suspected, doubted, strict=True)],
        doubtful_total=len(findings.suspect_crops),
        curve=findings.curve,
        pads=findings.pads,
        copies=_copies({p.id: p for p in photos}, pairs_found),
        copies_total=len(_unlike({p.id: p for p in photos}, pairs_found)),
        samples=[Sample(names[crop.photo_id], crop.label, photo, closeup_)
                 for crop, photo, closeup_ in samples],
        mistakes=[Mistake(names[r.photo_id], r.truth, r.answer, r.confidence, r.found, photo, cut_,
                          [seen[name] for name in findings.alike.get(r.crop_id, ())],
                          hinges.get(r.crop_id, ""), review_link(r.crop_id))
                  for r, (_, photo, cut_) in zip(worst, mistakes, strict=True)],
        mistakes_total=sum(r.answer != r.truth for r in trained.results),
        skipped=_skipped(photos, crops, examples),
        networks=[
            NetworkRow(n.card.kind, n.card.name, n.card.licence, n.card.source, n.card.sha256)
            for n in (trained.networks.detector, trained.networks.backbone)
            if n is not None
        ],
        facts=_facts(photos, examples, trained),
        notes=tuple(job.notes),
        seconds=job.seconds,
        commands=[
            ("the same run again", command_of(job.config, job.project.folder)),
            ("answers for new photos", f"closeup predict {shlex.quote(str(trained.model))} PHOTO…"),
            ("go through the close-ups, mend what is wrong, train again",
             f"closeup review {folder} && closeup train {folder}"),
        ],
        config_toml=to_toml(job.config),
        made=f"Closeup {__version__}, Python {platform.python_version()} on "
        f"{platform.system()} {platform.machine()}",
    )  # fmt: skip


def _seen(
    photos: dict[str, Photo], crops: dict[str, Crop], alike: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, str]]:
    """Label and picture of every training close-up that is shown beside a mistake."""
    wanted = dict.fromkeys(name for names in alike.values() for name in names)
    pictures = _pictures(photos, [crops[name] for name in wanted])
    return {crop.id: (crop.label, small) for crop, _, small in pictures}


def _hinges(
    job: Job, photos: dict[str, Photo], mistakes: Sequence[tuple[Crop, str]], folder: Path
) -> dict[str, str]:
    """By crop id, the close-ups of the worst mistakes lit where the answer hangs on them."""
    if not job.config.report.explain or not mistakes:
        return {}
    model = load_model(folder, job.config.engine)
    found = {}
    for place, (crop, label) in enumerate(mistakes[:MAX_EXPLAINED]):
        seen = read_picture_again(photos[crop.photo_id])
        closeup_ = cut(seen, crop.window, crop.side)
        drops = occlusion_map(model.answers_for(seen, crop, label), closeup_)
        found[crop.id] = thumbnail(overlay(closeup_, drops))
        job.progress("explain", place + 1, min(len(mistakes), MAX_EXPLAINED))
    return found


def _unlike(photos: dict[str, Photo], pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs of different files."""
    return [pair for pair in pairs if photos[pair.a].sha256 != photos[pair.b].sha256]


def _copies(photos: dict[str, Photo], pairs: Sequence[Pair]) -> list[CopyPair]:
    """The pairs that are not identical, the least alike first, so that a wrong one is seen."""
    some = sorted(_unlike(photos, pairs), key=lambda p: (p.similarity, p.a, p.b))

    def picture(pair: Pair) -> CopyPair:
        one, other = photos[pair.a], photos[pair.b]
        shown = [thumbnail(read_picture_again(photo)) for photo in (one, other)]
        return CopyPair(one.path, other.path, one.label, other.label, pair.similarity, *shown)

    return list(ordered_map(picture, some[:MAX_COPIES]))


def review_link(crop_id: str) -> str:
    """Where `closeup review` shows a close-up while it runs on this machine."""
    return f"{REVIEW_URL}/?at={quote(crop_id, safe='')}"


def facts_of(
    config: RunConfig, tables: Tables, pairs: Sequence[tuple[str, str]], trained: Trained
) -> Facts:
    """What the checks look at; `pairs` of photos show one picture."""
    photos, crops, examples = tables
    return Facts(
        photos.rows, crops.rows, examples.rows, trained.scores, trained.trust, trained.crop_gain,
        not config.detect.boxes, bool(config.photos.test), pairs,
    )  # fmt: skip


def _pictures(photos: dict[str, Photo], crops: Sequence[Crop]) -> list[tuple[Crop, str, str]]:
    """Each crop with its photo (the box drawn) and its close-up as small pictures."""

    def picture(crop: Crop) -> tuple[Crop, str, str]:
        seen = read_picture_again(photos[crop.photo_id])
        box = crop.box if crop.state is CropState.CROPPED else None
        return crop, thumbnail(seen, box), thumbnail(cut_out(seen, crop.window, crop.side))

    return list(ordered_map(picture, crops))


def _skipped(
    photos: Sequence[Photo], crops: Sequence[Crop], examples: Sequence[Example]
) -> list[Skipped]:
    """Files that could not be read, objects not found, and rows left out of the dataset."""
    names = {p.id: p.path for p in photos}
    rows = [Skipped(p.path, p.code, p.reason) for p in photos if p.state is PhotoState.UNREADABLE]
    rows += [
        Skipped(names[c.photo_id], "not_found", c.reason
                + (" (the whole photo stands in)" if c.stand_in else ""))
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
    photos: Sequence[Photo], examples: Sequence[Example], trained: Trained
) -> list[tuple[str, str]]:
    sizes = Counter(e.split for e in examples if e.split)
    groups = Counter(e.group for e in examples)
    together = [n for n in groups.values() if n > 1]
    facts = [
        ("training part", f"{sizes['train']} close-ups"),
        ("test part", f"{sizes['test']} close-ups, never seen in training"
         if sizes["test"] else "none: too few photos"),
        ("photos that belong together", f"{sum(together)} in {len(together)} groups, the largest "
         f"of {max(together, default=0)}: copies and groups of your own; a group never stands on "
         "two sides of the split"),
    ]  # fmt: skip
    if trained.crop_gain is not None:
        gain = trained.crop_gain
        facts.append(
            ("does cropping help?", f"macro-F1 {gain.b:.3f} on close-ups, {gain.a:.3f} on whole "
             f"photos: {gain.delta.value:+.3f} ({gain.delta.low:+.3f} to {gain.delta.high:+.3f}), "
             "same photos, split, backbone and head")
        )  # fmt: skip
    return facts


def command_of(config: RunConfig, out: Path) -> str:
    """The command that makes this run, with every option that differs from its default."""
    words = ["closeup", "run", config.photos.source]
    plain = RunConfig(photos=config.photos)
    for section in ("detect", "crop", "split", "train", "engine", "report"):
        given, default = getattr(config, section), getattr(plain, section)
        for name in type(given).model_fields:
            value = getattr(given, name)
            if value != getattr(default, name) and (value or not isinstance(value, str)):
                words += _option(name, value)
    if config.photos.test:
        words += ["--test", config.photos.test]
    return shlex.join([*words, "--out", str(out)])


def _option(name: str, value: object) -> list[str]:
    if name in _UNNAMED:
        return []
    flag = f"--{_FLAGS.get(name, name.replace('_', '-'))}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    return [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
