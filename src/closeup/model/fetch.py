"""Models on a hub: ``hf:OWNER/NAME`` is downloaded once, checked and kept in the cache."""

from __future__ import annotations

from pathlib import Path

from closeup.core.progress import Progress, silent
from closeup.core.project import write_atomically
from closeup.model.card import CARD_FILE, check_inside, read_card
from closeup.networks.download import HubFile, look
from closeup.networks.names import HUB, on_hub


def model_at(model: Path | str, progress: Progress = silent) -> Path:
    """The folder of a model: `model` itself, or where ``hf:OWNER/NAME[@REVISION]`` was put.

    Only the files that the card names are fetched; loading the folder checks their hashes.

    Raises
    ------
    UsageError
        Where the name of a repository is none.
    NetworkError
        Where a file cannot be downloaded (NetworkMissing), or is another than the hub states.
    ModelError
        Where what the repository holds is no model.
    """
    name = str(model)
    if not name.startswith(HUB):
        return Path(model)
    repo, revision = on_hub(name)
    card_file = HubFile(repo, CARD_FILE, revision)
    folder = card_file.place.parent
    _fetch([card_file], progress)
    card = read_card(folder)
    for file in card.files:
        check_inside(folder, file)
    # Their hashes are checked when the folder is loaded: here an old one would count as damaged.
    _fetch([HubFile(repo, file, revision) for file in card.files], progress)
    return folder


def _fetch(files: list[HubFile], progress: Progress) -> None:
    for source in look(files):
        path = source.fetch(progress, source.file.name)
        if path != source.file.place:  # another tool's cache has it
            write_atomically(source.file.place, path)
