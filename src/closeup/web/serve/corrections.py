"""Photos that the model got wrong, kept with the right label for the project's next training."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from closeup.core.errors import PhotoError, ProjectError
from closeup.core.project import Project
from closeup.core.types import Box
from closeup.model.prediction import Prediction
from closeup.photos.kinds import photo_suffixes
from closeup.photos.reading import read_picture
from closeup.pipeline.suggested import CORRECTED, Suggested, keep_corrected, takes_new
from closeup.web.refusal import Refusal

WHO = "a visitor of closeup serve"
"""Under this name the decisions log has the labels."""
MOST_PHOTOS = 1000
MOST_BYTES = 1_000_000_000
"""What the folder of corrected photos may hold together; visitors cannot fill the disk."""


def takes_corrections(project: Path | None) -> bool:
    """Whether the project of a model can be trained on corrected photos."""
    try:
        return project is not None and takes_new(Project(project).config())
    except ProjectError:  # it cannot be trained at all; that is no reason not to serve its model
        return False


class Corrections:
    """The corrected photos of a project folder; safe to use from any number of threads."""

    def __init__(self, project: Path) -> None:
        self._project = Project(project)
        self._lock = threading.Lock()
        self.place = f"{project.resolve().name}/{CORRECTED}"
        """What the folder is called for people."""

    def keep(self, name: str, data: bytes, answer: Prediction, label: str) -> str:
        """Keep the photo with the right label, and return its id; the same photo has the same one.

        Raises a Refusal: 409 if somebody else has decided about it, 413 if it has more
        pixels than the project takes, 507 if the folder is full; a ProjectError if the project is
        gone or cannot be written.
        """
        sha = hashlib.sha256(data).hexdigest()
        photo_id = f"{CORRECTED}-{sha[:16]}"
        suffix = Path(name).suffix.lower()
        file = f"{photo_id}{suffix if suffix in photo_suffixes() else '.jpg'}"
        most = self._project.config().photos.max_pixels
        try:
            width, height = read_picture(data, max_pixels=most).size
        except PhotoError as err:
            raise Refusal(413, err.code, err.message) from err
        best = answer.objects[0] if answer.objects else None
        row = Suggested(
            photo_id, file, width, height, len(data), 0, sha, answer.found,
            best.parent if best else "", best.parent_score if best else 0.0,
            best.box if best else Box(0, 0, width, height), best.top[0][0] if best else "",
            best.confidence if best else 0.0, best.reason if best else "no object found", 0.0, 0,
        )  # fmt: skip
        with self._lock:
            self._check_room(photo_id, len(data))
            if not keep_corrected(self._project, data, row, WHO, label):
                message = "whoever runs this service has already decided about this photo"
                raise Refusal(409, "decided", message)
        return photo_id

    def _check_room(self, photo_id: str, size: int) -> None:
        others = [
            file.stat().st_size for file in self._project.place(CORRECTED).glob(f"{CORRECTED}-*")
            if file.suffix != ".json" and file.stem != photo_id
        ]  # fmt: skip
        if len(others) >= MOST_PHOTOS or sum(others) + size > MOST_BYTES:
            message = "no more corrected photos can be kept; ask whoever runs this service"
            raise Refusal(507, "full", message)
