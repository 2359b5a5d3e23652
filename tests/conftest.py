"""Where the tests find real photos and networks, and small pictures of their own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def shared_folder() -> Path | None:
    """The folder of real photos and networks, or None."""
    named = os.environ.get("CLOSEUP_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared"
    return folder if (folder / "weights").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and networks; skips the test where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("real photos and networks are absent: set CLOSEUP_SHARED to their folder")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, and none reaches a model hub."""
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def save_photo(path: Path, size: tuple[int, int] = (64, 48), seed: int = 0) -> Path:
    """Write a small picture of smooth colours, different for each `seed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path
