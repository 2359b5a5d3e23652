"""The verbs with plain keyword arguments: what ``closeup.run(...)`` and its siblings are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from closeup.core.config import (
    CONFIG_FILE,
    EngineConfig,
    Options,
    RunConfig,
    option_fields,
    resolve,
)
from closeup.core.errors import UsageError
from closeup.core.progress import Progress, silent

if TYPE_CHECKING:
    from closeup.detect.scouting import Scouting
    from closeup.model.model import Model
    from closeup.pipeline.verbs import CropResult
    from closeup.report.result import RunResult


def settings(out: Path | None, options: Mapping[str, object]) -> RunConfig:
    """The resolved configuration: `options` over ``out/closeup.toml`` over the defaults.

    Parameters
    ----------
    options
        The photos as `source`, and any of :class:`~closeup.core.config.Options`; None means "not
        given".

    Raises
    ------
    UsageError
        For an unknown option or a value out of range.
    """
    known = option_fields()
    flags: dict[str, dict[str, object]] = {}
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"unknown option {name!r}; known are {', '.join(sorted(known))}")
        if name in ("source", "test", "boxes") and value:
            value = str(Path(str(value)).absolute())
        flags.setdefault(known[name][0], {})[name] = value
    file = out / CONFIG_FILE if out is not None else None
    if not flags.get("photos", {}).get("source") and (file is None or not file.exists()):
        raise UsageError(
            f"no photos are named and {out} is not a project that remembers any; give PHOTOS, a "
            "folder with one sub-folder per label"
        )
    return resolve(flags, file)


def scout(
    photos: Path | str, *, sample: int = 0, progress: Progress = silent, **options: Unpack[Options]
) -> Scouting:
    """Which of the detector's categories fire on these photos; see ``closeup scout --help``."""
    from closeup.pipeline import scout as verb

    return verb(settings(None, {"source": photos, **options}), sample=sample, progress=progress)


def crop(
    photos: Path | str | None = None,
    *,
    out: Path | str,
    progress: Progress = silent,
    **options: Unpack[Options],
) -> CropResult:
    """Cut the close-ups; see :func:`run` and ``closeup crop --help``."""
    from closeup.pipeline import crop as verb

    return verb(settings(Path(out), {"source": photos, **options}), Path(out), progress=progress)


def train(out: Path | str, *, progress: Progress = silent, **options: Unpack[Options]) -> RunResult:
    """Train on a project's close-ups; see ``closeup train --help``.

    The stages before it are brought up to date first, which costs nothing where they are.
    """
    from closeup.pipeline import run as verb

    return verb(settings(Path(out), options), Path(out), progress=progress)


def run(
    photos: Path | str | None = None,
    *,
    out: Path | str,
    progress: Progress = silent,
    **options: Unpack[Options],
) -> RunResult:
    """The whole job, from labelled photos to a model and a report.

    Parameters
    ----------
    photos
        A folder with one sub-folder per label, or a CSV or Parquet file with ``path,label``;
        None for those of the project `out`.
    out
        The project folder, made where it does not exist.
    options
        As on the command line (``closeup run --help``), such as ``parent="clock"``; what is not
        given comes from ``out/closeup.toml``, else it has its default.

    Raises
    ------
    UsageError
        For an unknown option or a value out of range.
    """
    from closeup.pipeline import run as verb

    return verb(settings(Path(out), {"source": photos, **options}), Path(out), progress=progress)


def load(model: Path | str, *, engine: EngineConfig | None = None) -> Model:
    """Load a model folder; ``load(folder).predict(photo)`` answers for a photo."""
    from closeup.model.model import load_model

    return load_model(model, engine)
