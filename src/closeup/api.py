"""The verbs with plain keyword arguments: what ``closeup.run(...)`` and its siblings are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.config import (
    CONFIG_FILE,
    EngineConfig,
    RunConfig,
    resolve,
)
from closeup.core.progress import Progress, silent

if TYPE_CHECKING:
    from closeup.detect.scouting import Scouting
    from closeup.model.model import Model
    from closeup.pipeline.summary import RunResult
    from closeup.pipeline.verbs import CropResult

SECTIONS: dict[str, tuple[str, ...]] = {
    "photos": ("source", "test", "max_pixels"),
    "detect": ("detector", "parent", "threshold", "boxes"),
    "crop": ("which", "pad", "on_miss", "quality"),
    "split": ("test_fraction", "folds", "seed", "near_duplicates"),
    "train": (
        "backbone",
        "view",
        "head",
        "compare_photo",
        "pads",
        "finetune",
        "epochs",
        "flip",
        "augment",
        "coverage",
        "miss_rate",
    ),
    "engine": ("engine", "precision", "threads"),
    "report": ("explain",),
}
"""Which section of ``closeup.toml`` each option belongs to."""


def settings(out: Path | None, options: dict[str, Any]) -> RunConfig:
    """The resolved configuration: `options` over ``out/closeup.toml`` over the defaults.

    Parameters
    ----------
    options
        Flat option names as in :data:`SECTIONS`; None means "not given". `parent` may be a
        comma-separated string.

    Raises
    ------
    UsageError
        For an unknown option or a value out of range.
    """
    from closeup.core.errors import UsageError

    known = {name: section for section, names in SECTIONS.items() for name in names}
    flags: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"unknown option {name!r}; known are {', '.join(sorted(known))}")
        if name == "parent" and isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        if name in ("source", "test", "boxes") and value:
            value = str(Path(value).absolute())
        flags.setdefault(known[name], {})[name] = value
    file = out / CONFIG_FILE if out is not None else None
    if not flags.get("photos", {}).get("source") and (file is None or not file.exists()):
        raise UsageError(
            f"no photos are named and {out} is no project that knows them; give PHOTOS, a folder "
            "with one sub-folder per label"
        )
    return resolve(flags, file)


def scout(
    photos: Path | str, *, sample: int = 0, progress: Progress = silent, **options: Any
) -> Scouting:
    """Which of the detector's categories fire on these photos; see ``closeup scout --help``.

    Options: any of :data:`SECTIONS`.
    """
    from closeup.pipeline import scout as verb

    config = settings(None, {"source": photos, **options})
    return verb(config, sample=sample, progress=progress)


def crop(
    photos: Path | str | None = None,
    *,
    out: Path | str,
    parent: str | Sequence[str] | None = None,
    progress: Progress = silent,
    **options: Any,
) -> CropResult:
    """Cut the close-ups; see ``closeup crop --help``. Options: any of :data:`SECTIONS`."""
    from closeup.pipeline import crop as verb

    config = settings(Path(out), {"source": photos, "parent": parent, **options})
    return verb(config, Path(out), progress=progress)


def train(out: Path | str, *, progress: Progress = silent, **options: Any) -> RunResult:
    """Train on a project's close-ups; see ``closeup train --help``.

    The stages before it are brought up to date first, which costs nothing where they are.
    """
    from closeup.pipeline import run as verb

    return verb(settings(Path(out), options), Path(out), progress=progress)


def run(
    photos: Path | str | None = None,
    *,
    out: Path | str,
    parent: str | Sequence[str] | None = None,
    progress: Progress = silent,
    **options: Any,
) -> RunResult:
    """The whole job, from labelled photos to a model and a report.

    Parameters
    ----------
    photos
        A folder with one sub-folder per label, or a CSV or Parquet file with ``path,label``;
        None for those of the project `out`.
    out
        The project folder, made where it does not exist.
    parent
        Categories of the detector under which the object is found, or ``"any"``.
    options
        Any of :data:`SECTIONS`; what is not given comes from ``out/closeup.toml``, else defaults.
    """
    from closeup.pipeline import run as verb

    config = settings(Path(out), {"source": photos, "parent": parent, **options})
    return verb(config, Path(out), progress=progress)


def load(model: Path | str, *, engine: EngineConfig | None = None) -> Model:
    """Load a model folder; ``load(folder).predict(photo)`` answers for a photo."""
    from closeup.model.model import load_model

    return load_model(model, engine)
