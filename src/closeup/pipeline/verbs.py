"""crop, train, run: what the command line and the Python API call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from closeup.core.config import RunConfig
from closeup.core.errors import PhotosError, UsageError
from closeup.core.progress import Progress, silent
from closeup.core.project import Project, Table
from closeup.core.types import Crop, Photo
from closeup.dataset.kept import take_over
from closeup.decisions.apply import decided_pairs
from closeup.decisions.log import read_decisions
from closeup.detect.given import GivenBoxes
from closeup.evaluate.findings import Facts, run_checks, without_settled
from closeup.evaluate.rights import count_rights, rights_in_use
from closeup.networks import Network
from closeup.photos.listing import Collection
from closeup.photos.rights import read_rights
from closeup.pipeline.history import progress_checks, settle
from closeup.pipeline.own_boxes import collected, may_bring_labels, take_boxes
from closeup.pipeline.past import restore as put_back
from closeup.pipeline.report_page import REPORT_FILE, write_report
from closeup.pipeline.resume import FOLDER
from closeup.pipeline.reviewed import remember_before, reviewed
from closeup.pipeline.rights import rights_stage
from closeup.pipeline.scouting import read_scouted, settle_parent, unreadable, write_config
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
from closeup.pipeline.suggested import with_suggested
from closeup.pipeline.train import train_stage
from closeup.pipeline.tune import check_tuning
from closeup.pipeline.written_boxes import BoxesWriter, find_detector
from closeup.report.result import Counts, RunResult, count

NO_DETECTOR = (
    "with boxes of your own alone, the model has no detector: it takes every photo that it is "
    "asked about whole, so give it close-ups, or name a --detector and its --parent beside --boxes"
)
NO_DETECTOR_BY = (
    "{by} needs PyTorch and stays behind, so the model has no detector: it takes every photo that "
    "it is asked about whole. Give it close-ups (`closeup crop NEW --boxes-by {by} --parent …` "
    "cuts them), or name a detector of any words beside it, --detector omdet-turbo"
)


@dataclass(frozen=True, slots=True)
class CropResult:
    """What ``closeup crop`` gives."""

    counts: Counts
    folder: Path
    seconds: dict[str, float]
    notes: tuple[str, ...]
    parent: tuple[str, ...]


def crop(config: RunConfig, out: Path, *, progress: Progress = silent) -> CropResult:
    """Photos -> close-ups in ``out/crops/LABEL/``, with their provenance in the tables."""
    with _job(config, out, progress) as job:
        collection = with_suggested(collected(config), job.project, job.decisions)
        photos, crops, _ = _crop(job, collection, lambda _: Wanted())
    counts = count(photos.rows, crops.rows)
    return CropResult(counts, out / "crops", job.seconds, tuple(job.notes),
                          job.config.detect.parent)  # fmt: skip


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


def require_classes(job: Job, collection: Collection) -> None:
    """Raise PhotosError where there is nothing to tell apart, before any network runs.

    Where boxes may bring the labels, that is known once they are read.
    """
    if may_bring_labels(job.config.detect):
        return
    decided = {v.label for mine in job.decisions.verdicts.values() for v in mine.values()} - {""}
    if len(decided.union(collection.labels)) < 2:
        only = ", ".join(collection.labels)
        raise PhotosError(
            f"a classifier needs photos of at least 2 labels, {job.config.photos.source} has one "
            f"({only}); make one sub-folder per label, or say which level of folders names them "
            "with --label-level",
            collection.tree,
        )


def _crop(
    job: Job, collection: Collection, wanted: Callable[[Job], Wanted]
) -> tuple[Table[Photo], Table[Crop], Network | None]:
    """Up to the close-ups, in one pass over the photos that also sees to what else is `wanted`.

    Whatever can be wrong with the call is found before anything is written: a mistake must not be
    remembered, and repeated by every later one.
    """
    entries, detect = collection.entries, job.config.detect
    if not detect.detector and not detect.has_boxes:
        raise UsageError("neither a detector nor a boxes file is named; give one of the two")
    network = find_detector(detect, job.progress) if detect.detector else None
    writer = BoxesWriter(job) if detect.boxes_by else None
    needed, boxes = wanted(job), None
    if detect.boxes:
        boxes = GivenBoxes(Path(detect.boxes), entries, detect.boxes_frame)
        entries = take_boxes(job, boxes, entries, network)
    by_box = job.config.detect.labels_from == "boxes"
    job.notes.extend(n for n in collection.notes if not (by_box and n.endswith("have no label")))
    given = job.config
    scouted = None if detect.boxes else settle_parent(job, entries, network)
    # The first file of all: a folder without it would be taken for somebody else's.
    write_config(job, given, scouted)
    if writer is not None:
        boxes = GivenBoxes(writer.write(entries), entries)
    look(job, entries, replace(needed, detector=network, boxes=boxes))
    photos = photos_stage(job)
    rights_stage(job, photos, collection.entries)
    if photos.rows and (why := unreadable(photos.rows)):
        job.notes.append(why)
    detections = detections_stage(job, photos, network)
    if network is None:
        by = detect.boxes_by
        job.notes.append(NO_DETECTOR_BY.format(by=by) if by else NO_DETECTOR)
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
        collection = with_suggested(collected(config), job.project, job.decisions)
        require_classes(job, collection)
        photos, crops, detector = _crop(job, collection, _frozen)
        pairs = duplicates_stage(job, photos)
        examples = dataset_stage(job, photos, crops, pairs)
        tables = (photos, crops, examples)
        trained = train_stage(job, tables, detector, restored)
        findings = without_settled(trained.findings, job.decisions.settled)
        trained = replace(trained, findings=findings)
        with job.timed("report"):
            same = decided_pairs([(pair.a, pair.b) for pair in pairs.rows], job.decisions)
            own_test = any(photo.split == "test" for photo in photos.rows)
            known = read_rights(job.project)
            rights = count_rights(rights_in_use(photos.rows, crops.rows, known))
            facts = Facts(photos.rows, crops.rows, examples.rows, not config.detect.boxes,
                          own_test, same, rights)  # fmt: skip
            result = RunResult(
                **vars(trained),
                counts=count(photos.rows, crops.rows),
                checks=(*run_checks(facts, trained), *progress_checks(trained.training)),
                seconds=job.seconds,
                notes=tuple(job.notes),
                report=job.project.place(REPORT_FILE),
                reviewed=reviewed(job, tables, trained),
                parent=job.config.detect.parent,
                scouted=read_scouted(job.project, job.config),
                rights=rights,
            )
            write_report(job, tables, pairs, result)
    return result
