"""The photos that a project's model was trained on, and their rights."""

from __future__ import annotations

from pathlib import Path

from closeup.core.config import CONFIG_FILE
from closeup.core.project import Project
from closeup.core.types import Photo, Rights
from closeup.model.card import ModelCard
from closeup.model.history import MODEL, model_hash, read_answers, read_history
from closeup.photos.rights import read_rights

TRAINED_ON = (
    "The model was trained on close-ups that were cut out of these photos. None of them is in this "
    "folder."
)


def training_photos(model: Path, card: ModelCard) -> list[tuple[str, Rights | None]]:
    """The path of each photo that a model was trained on, and what is known of its rights now.

    Empty where the model does not lie in its project. Raises ProjectError where that is damaged.
    """
    folder = model.absolute().parent
    if model.absolute().name != MODEL or not (folder / CONFIG_FILE).is_file():
        return []
    project = Project(folder)
    used, rights = read_history(project).used, read_rights(project)
    if not rights or used is None or used.model != model_hash(card):
        return []
    photos = project.read("photos", Photo)
    of_content = {photo.sha256: rights[photo.id] for photo in (photos.rows if photos else ())
                  if photo.id in rights}  # fmt: skip
    trained = {row.photo: row.path for row in read_answers(project, used.number)
               if row.split == "train"}  # fmt: skip
    return [(path, of_content.get(sha256)) for sha256, path in trained.items()]
