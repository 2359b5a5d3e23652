"""The rights of a project's photos as a table of their own, so that no stage depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from closeup.core.project import Table, key_of
from closeup.core.types import Photo, PhotoState, Rights
from closeup.photos.listing import Entry
from closeup.photos.rights import TABLE
from closeup.pipeline.stages import Job
from closeup.report.attribution import ATTRIBUTION_FILE, attribution

VERSION = 1


def rights_stage(job: Job, photos: Table[Photo], entries: Sequence[Entry]) -> None:
    """Keep what is known of the photos' rights, and the page that credits their creators.

    Where nothing is known of any, there is neither.
    """
    known = {e.id: replace(e.rights, photo_id=e.id) for e in entries if e.rights is not None}
    read = [photo for photo in photos.rows if photo.state is PhotoState.READABLE]
    rows = [known[photo.id] for photo in read if photo.id in known]
    if not rows:
        job.project.remove([f"{TABLE}.parquet", ATTRIBUTION_FILE])
        return
    key, old = key_of("rights", VERSION, rows), job.project.read(TABLE, Rights)
    if old is None or old.key != key or not job.project.place(ATTRIBUTION_FILE).is_file():
        text = attribution([(row.photo_id, row) for row in rows], CLOSEUPS)
        job.project.write_bytes(ATTRIBUTION_FILE, text.encode())
        job.project.write(TABLE, Rights, rows, key)


CLOSEUPS = (
    "The close-ups in `crops/` are cut out of these photos. A close-up's name begins with that of "
    "its photo below."
)
