"""Which parent fits the photos: ``closeup scout``, and what a run without ``--parent`` takes."""

from __future__ import annotations

from collections.abc import Sequence

from closeup.core.config import RunConfig
from closeup.core.errors import PhotosError
from closeup.core.progress import Progress, silent, track
from closeup.core.project import Project
from closeup.core.serialization import from_json, to_json
from closeup.core.types import ANY, Detection, Photo, PhotoState
from closeup.detect import Detector, resolve_categories
from closeup.detect.scouting import Scouted, Scouting
from closeup.detect.scouting import scout as tabulate
from closeup.networks import Network
from closeup.photos.listing import Entry, collect
from closeup.pipeline.one_pass import Known, Steps, look_at
from closeup.pipeline.resume import Observed
from closeup.pipeline.stages import Job, Wanted, known_of
from closeup.pipeline.written_boxes import find_detector

SCOUTED_FILE = "scouted.json"
SAMPLE = 200
"""Photos that a run looks at to choose the parent: from here on another draw chooses the same, see
``python -m bench.parents``."""


def scout(config: RunConfig, *, sample: int = 0, progress: Progress = silent) -> Scouting:
    """Which of the detector's categories fire on these photos, per label.

    Raises PhotosError where no photo can be read.

    Parameters
    ----------
    sample
        Look at this many photos only, drawn evenly from every label; 0 for all.
    """
    entries = collect(config.photos, labels_elsewhere=True).entries
    chosen = sampled(entries, sample) if sample else entries
    network = find_detector(config.detect, progress)
    seen = _seen(config, network, chosen, Known(), progress)
    if why := unreadable(seen.photos):
        raise PhotosError(why)
    return _tabulated(seen)


def settle_parent(job: Job, entries: Sequence[Entry], network: Network | None) -> Scouted | None:
    """Bring the parent into the detector's own spelling, or choose it where none is named.

    Raises UsageError for a parent that the detector does not know.
    """
    detect = job.config.detect
    if network is None or ANY in detect.parent or (detect.has_boxes and not detect.parent):
        return None
    scouted = None if detect.parent else _choose(job, entries, network)
    parent = scouted.parent if scouted else resolve_categories(network.card, detect.parent)
    job.change_detect(parent=parent)
    return scouted


def _choose(job: Job, entries: Sequence[Entry], network: Network) -> Scouted:
    """The parent for photos of which nobody has named one.

    A sample is looked at, without the user's own test photos. What is found goes to ``job.seen``,
    so that no photo is given to the detector twice.
    """
    with job.timed("scout"):
        config = job.config
        mine = [entry for entry in entries if entry.split != "test"] or list(entries)
        chosen = sampled(mine, SAMPLE)
        known = known_of(job, Wanted(detector=network), Observed(), ())
        job.seen = _seen(config, network, chosen, known, job.progress)
        scouting = _tabulated(job.seen)
        parent = scouting.recommended or (ANY,)
        found = {
            row.photo_id for row in _rows(job.seen)
            if row.score >= config.detect.threshold and (ANY in parent or row.category in parent)
        }  # fmt: skip
        return Scouted(
            parent=parent,
            detector=config.detect.detector,
            photos=len(chosen),
            of=len(entries),
            found=len(found) / max(1, scouting.photos - scouting.unreadable),
            warnings=scouting.warnings,
        )


def read_scouted(project: Project, config: RunConfig) -> Scouted | None:
    """How the parent of a project was chosen; None where a person named it."""
    try:
        found = from_json(Scouted, project.read_json(SCOUTED_FILE) or {})
    except ValueError:
        return None
    detect = config.detect
    same = (found.parent, found.detector) == (detect.parent, detect.detector)
    return found if same and not detect.has_boxes else None


def write_config(job: Job, given: RunConfig, scouted: Scouted | None) -> None:
    """Write the configuration, and how a parent that is not `given` was chosen.

    That is said in this run and in every later one. After a kill in between the choice is made
    again.
    """
    if scouted is not None:
        job.project.write_config(given)
        job.project.write_json(SCOUTED_FILE, to_json(scouted))
    job.project.write_config(job.config)
    if kept := read_scouted(job.project, job.config):
        job.notes.extend((kept.sentence(), *kept.warnings))


def _seen(
    config: RunConfig, network: Network, entries: Sequence[Entry], known: Known, progress: Progress
) -> Observed:
    steps = Steps(config.photos.max_pixels, Detector(network, config.engine))
    seen = Observed()
    for item in track(look_at(entries, known, steps, {}), "scout", len(entries), progress):
        seen.photos.append(item.photo)
        if item.detections is not None:
            seen.detections[item.photo.id] = item.detections
    return seen


def _tabulated(seen: Observed) -> Scouting:
    return tabulate(seen.photos, _rows(seen))


def _rows(seen: Observed) -> list[Detection]:
    return [row for rows in seen.detections.values() for row in rows]


def unreadable(photos: Sequence[Photo]) -> str:
    """Why no photo can be read; ``""`` where one can."""
    if any(p.state is PhotoState.READABLE for p in photos):
        return ""
    first = next((p for p in photos if p.reason), None)
    why = f"; the first: {first.path}: {first.reason}" if first else ""
    return f"none of the {len(photos)} photos can be read{why}"


def sampled(photos: Sequence[Entry], sample: int) -> list[Entry]:
    """Evenly spaced photos of every label: the same ones each time."""
    by_label: dict[str, list[Entry]] = {}
    for photo in photos:
        by_label.setdefault(photo.label, []).append(photo)
    chosen: list[Entry] = []
    for rest, mine in enumerate(sorted(by_label.values(), key=len)):
        share = -(-(sample - len(chosen)) // (len(by_label) - rest))
        step = max(1.0, len(mine) / max(1, share))
        chosen.extend(mine[int(i * step)] for i in range(min(share, len(mine))))
    order = {photo.id: place for place, photo in enumerate(photos)}
    return sorted(chosen, key=lambda photo: order[photo.id])
