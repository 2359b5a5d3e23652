"""A local hub that holds the small checkpoints of :mod:`tests.networks.convert.tiny_words`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from closeup.networks import file_hash
from closeup.networks.words import OPEN_VOCABULARY
from tests.networks.convert.tiny_words import save_checkpoint
from tests.networks.hub_server import Hub, hub_server

_READERS = ("words", "lookup", "names", "convert.open_vocabulary")


@contextmanager
def words_hub(folder: Path, *names: str) -> Iterator[Hub]:
    """Serve the checkpoints, under the pinned revisions; the pinned hashes are those of the small.

    Checkpoints are written to ``folder/NAME``, unless they are there; the cache is beside them.
    """
    from huggingface_hub import constants

    recipes = dict(OPEN_VOCABULARY)
    with hub_server() as hub, pytest.MonkeyPatch.context() as patch:
        for name in names:
            place, recipe = folder / name, recipes[name]
            if not place.is_dir():
                save_checkpoint(name, place)
            recipes[name] = replace(recipe, sha256=file_hash(place / "model.safetensors"))
            for file in place.iterdir():
                hub.files[f"{recipe.repo}/resolve/{recipe.revision}/{file.name}"] = (
                    file.read_bytes()
                )
        for module in _READERS:
            patch.setattr(f"closeup.networks.{module}.OPEN_VOCABULARY", recipes)
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HUB_OFFLINE", "0")
        patch.setenv("CLOSEUP_CACHE", str(folder / "cache"))
        # huggingface_hub reads its own settings when it is imported.
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        yield hub
