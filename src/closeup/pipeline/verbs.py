"""scout, crop, train, run: what the command line and the Python API call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from closeup.core.config import RunConfig
from closeup.core.errors import PhotosError, UsageError
from closeup.core.progress import Progress, silent, track
from closeup.core.project import Project, Table
from closeup.core.types import Crop, Photo, PhotoState
from closeup.crops.cut import ANY
from closeup.dataset.kept import take_over
from closeup.decisions.apply import decided_pairs
from closeup.decisions.log import read_decisions
from closeup.detect import Detector, resolve_categories
from closeup.detect.boxes import GivenBoxes
from closeup.detect.scouting import Scouting
from closeup.detect.scouting import scout as scout_tables
from closeup.evaluate.findings import Facts, run_checks, without_settled
from closeup.networks import Network, find
from closeup.photos.listing import Entry, list_entries
from closeup.pipeline.history import progress_checks, settle
from closeup.pipeline.one_pass import Known, Steps, look_at
from closeup.pipeline.past import restore as put_back
from closeup.pipeline.report_page import REPORT_FILE, write_report
from closeup.pipeline.resume import FOLDER
from closeup.pipeline.reviewed import remember_before, reviewed
from closeup.pipeline.search import first_backbones, views_to_embed
from closeup.pipeline.stages import (
    Job,
    Wanted,
    crops_stage,
    dataset_stage,
    detections_stage,
    duplicates_stage,
    look,
    photos_stage,
)
from closeup.pipeline.train import train_stage
from closeup.pipeline.tune import check_tuning
from closeup.report.result import Counts, RunResult, count

NO_DETECTOR = (
    "with boxes of your own alone, the model has no detector: it takes every photo that it is "
    "asked about whole, so give it close-ups, or name a --detector beside --boxes"
)


@dataclass(frozen=True, slots=True)
class CropResult:
    """What ``closeup crop`` gives."""

    counts: Counts
    folder: Path
    seconds: dict[str, float]
    notes: tuple[str, ...]


def scout(config: RunConfig, *, sample: int = 0, progress: Progress = silent) -> Scouting:
    """Which of the detector's categories fire on these photos, per label.

    Raises PhotosError where no photo can be read.

    Parameters
    ----------
    sample
        Look at this many photos only, drawn evenly from every label; 0 for all.
    """
    entries = list_entries(config.photos)
    chosen = _sample(entries, sample) if sample else entries
    network = find(config.detect.detector, "detector", progress=progress)
    steps = Steps(config.photos.max_pixels, Detector(network, config.engine))
    items = track(look_at(chosen, Known(), steps, {}), "detect", len(chosen), progress)
    seen = [(item.photo, item.detections or []) for item in items]
    photos = [photo for photo, _ in seen]
    if why := _unreadable(photos):
        raise PhotosError(why)
    return scout_tables(photos, [row for _, rows in seen for row in rows])


def _unreadable(photos: Sequence[Photo]) -> str:
    """Why no photo can be read; ``""`` where one can."""
    if any(p.state is PhotoState.READABLE for p in photos):
        return ""
    first = next((p for p in photos if p.reason), None)
    why = f"; the first: {first.path}: {first.reason}" if first else ""
    return f"none of the {len(photos)} photos can be read{why}"


def _sample(photos: list[Entry], sample: int) -> list[Entry]:
    """Evenly spaced photos of every label: the same ones each time."""
    by_label: dict[str, list[Entry]] = {}
    for photo in photos:
        by_label.setdefault(photo.label, []).append(photo)
    chosen: list[Entry] = []
    for rest, mine in enumerate(reversed(list(by_label.values()))):
        share = (sample - len(chosen)) // (len(by_label) - rest)
        step = max(1.0, len(mine) / max(1, share))
        chosen.extend(mine[int(i * step)] for i in range(min(share, len(mine))))
    order = {photo.id: place for place, photo in enumerate(photos)}
    return sorted(chosen, key=lambda photo: order[photo.id])


def crop(config: RunConfig, out: Path, *, progress: Progress = silent) -> CropResult:
    """Photos -> close-ups in ``out/crops/LABEL/``, with their provenance in the tables."""
    with _job(config, out, progress) as job:
        photos, crops, _ = _crop(job, lambda _: Wanted())
    counts = count(photos.rows, crops.rows)
    return CropResult(counts, out / "crops", job.seconds, tuple(job.notes))


@contextmanager
def _job(config: RunConfig, out: Path, progress: Progress) -> Iterator[Job]:
    """A run over the project `out` alone, with what people have decided about it."""
    project = Project(out)
    with project.held():
        job = Job(project, config, progress, decisions=read_decisions(out))
        remember_before(job)
        take_over(project)
        settle(job)
        yield job
        project.remove_folder(FOLDER)  # the tables hold everything now


def _crop(
    job: Job, wanted: Callable[[Job], Wanted]
) -> tuple[Table[Photo], Table[Crop], Network | None]:
    """Up to the close-ups, in one pass over the photos that also sees to what else is `wanted`.

    Whatever can be wrong with the call is found before anything is written: a mistake must not be
    remembered, and repeated by every later one.
    """
    entries, detect = list_entries(job.config.photos), job.config.detect
    if not detect.detector and not detect.boxes:
        raise UsageError("neither a detector nor a boxes file is named; give one of the two")
    network = find(detect.detector, "detector", progress=job.progress) if detect.detector else None
    if network is not None and ANY not in detect.parent:
        parent = resolve_categories(network.card, detect.parent)
        changed = detect.model_copy(update={"parent": parent})
        job.config = job.config.model_copy(update={"detect": changed})
    needed = wanted(job)
    boxes = GivenBoxes(Path(detect.boxes), entries) if detect.boxes else None
    # The first file of all: a folder without it would be taken for somebody else's.
    job.project.write_config(job.config)
    look(job, entries, replace(needed, detector=network, boxes=boxes))
    photos = photos_stage(job)
    if photos.rows and (why := _unreadable(photos.rows)):
        job.notes.append(why)
    detections = detections_stage(job, photos, network)
    if network is None:
        job.notes.append(NO_DETECTOR)
    return photos, crops_stage(job, photos, detections), network


def _frozen(job: Job) -> Wanted:
    """What a run needs of each photo beside its close-up."""
    train = job.config.train
    signatures = job.config.split.near_duplicates
    backbone, *others = first_backbones(train, job.progress)
    if train.finetune:
        check_tuning(train)
    if others:
        return Wanted(signatures=signatures)
    return Wanted(backbone=backbone, views=views_to_embed(train), signatures=signatures)


def run(
    config: RunConfig,
    out: Path,
    *,
    restore: int = 0,
    new_split: bool = False,
    progress: Progress = silent,
) -> RunResult:
    """The whole job: photos -> close-ups -> classifier -> report.

    - `restore`: the number of an earlier training to put to use; `config` then has its options, see
      :func:`closeup.pipeline.history.restored_config`. 0 for none.
    - `new_split`: draw anew which photos are tested, instead of keeping it from earlier runs

    Raises CloseupError where a stage cannot be done; what was done before stays and is not done
    again.
    """
    with _job(config, out, progress) as job:
        job.new_split = new_split
        restored = put_back(job, restore) if restore else None
        photos, crops, detector = _crop(job, _frozen)
        pairs = duplicates_stage(job, photos)
        examples = dataset_stage(job, photos, crops, pairs)
        tables = (photos, crops, examples)
        trained = train_stage(job, tables, detector, restored)
        findings = without_settled(trained.findings, job.decisions.settled)
        trained = replace(trained, findings=findings)
        with job.timed("report"):
            same = decided_pairs([(pair.a, pair.b) for pair in pairs.rows], job.decisions)
            facts = Facts(photos.rows, crops.rows, examples.rows, not config.detect.boxes,
                          bool(config.photos.test), same)  # fmt: skip
            result = RunResult(
                **vars(trained),
                counts=count(photos.rows, crops.rows),
                checks=(*run_checks(facts, trained), *progress_checks(trained.training)),
                seconds=job.seconds,
                notes=tuple(job.notes),
                report=job.project.place(REPORT_FILE),
                reviewed=reviewed(job, tables, trained),
            )
            write_report(job, tables, pairs, result)
    return result
