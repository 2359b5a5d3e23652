"""What can be done with very many photos: predict, crop, embed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from closeup.batch.asks import Predict
from closeup.batch.cluster import LOCAL
from closeup.batch.looking import Look
from closeup.batch.run import Told, run
from closeup.batch.summary import Summary
from closeup.core.config import EngineConfig, Options, RunConfig, option_fields, resolve
from closeup.core.errors import UsageError
from closeup.core.progress import Progress, Say, say_nothing, silent
from closeup.core.types import ANY
from closeup.detect import resolve_categories
from closeup.networks import find

FOR_CROP = ("detector", "parent", "threshold", "which", "pad", "on_miss", "min_size", "quality",
            "engine", "precision", "threads")  # fmt: skip
"""Options of a crop without a project."""
FOR_EMBED = (*(name for name in FOR_CROP if name != "quality"), "backbone", "view")


def predict(
    model: Path | str,
    source: Path | str,
    *,
    out: Path | str,
    address: str = LOCAL,
    always: bool = False,
    engine: EngineConfig | None = None,
    progress: Progress = silent,
    notice: Say = say_nothing,
) -> Summary:
    """Answer for many photos on a Ray cluster; what earlier runs have answered is left out.

    Parameters
    ----------
    model
        A model folder.
    source
        A folder, pattern or list (CSV, TSV, Parquet or JSON lines with a column ``path``), on a
        disk or as a URL that pyarrow knows (``s3://…``). On a cluster of several machines, local
        paths must lead to the same files everywhere.
    out
        A folder for the answers, a path or a URL: ``answers/*.parquet`` have the columns of
        ``closeup predict --parquet``, then `source` and `id`.
    address
        ``"local"`` for the processors of this machine, ``"auto"`` for the cluster that this machine
        belongs to, or a cluster's address.
    engine
        How networks run; its `threads` are the processors of each worker, 0 for one.
    notice
        Called now and then with a sentence on photos that cannot be read.

    Raises
    ------
    UsageError
        Where Ray is missing or a URL is of no known kind.
    PhotosError
        Where `source` yields no photo.
    ProjectError
        Where `out` is not an earlier run's folder, holds other answers, or cannot be used; a photo
        that cannot be read is a row of the answers.
    """
    told = Told(progress, notice)
    asked = Predict(Path(model), always)
    return run(asked, str(source), str(out), address, engine or EngineConfig(), told)


def crop(
    source: Path | str,
    *,
    out: Path | str,
    address: str = LOCAL,
    progress: Progress = silent,
    notice: Say = say_nothing,
    **options: Unpack[Options],
) -> Summary:
    """Cut the close-ups of many photos without labels, on a Ray cluster.

    The parts have the columns `photo` to `parent_score` of ``closeup predict``, `reason`,
    `error_code`, `error_message`, and `closeup`: the bytes of the JPEG file that ``closeup crop``
    saves on one machine, null where there is none.

    `options` are those of :data:`FOR_CROP`; a parent has to be named. Everything else is as for
    :func:`predict`. Raises NetworkMissing where the detector cannot be had.
    """
    config = _config(FOR_CROP, options)
    told = Told(progress, notice)
    return run(_look(config, progress), str(source), str(out), address, config.engine, told)


def embed(
    source: Path | str,
    *,
    out: Path | str,
    address: str = LOCAL,
    progress: Progress = silent,
    notice: Say = say_nothing,
    **options: Unpack[Options],
) -> Summary:
    """Embed the objects of many photos without labels, on a Ray cluster.

    As :func:`crop`, with `embedding` in place of `closeup`: a list of float32, of the backbone's
    length, or twice that where `view` is ``"both"``: the close-up's, then the photo's. `options`
    are those of :data:`FOR_EMBED`, with one backbone and one view.
    """
    config = _config(FOR_EMBED, options)
    told = Told(progress, notice)
    asked = _look(config, progress, embeds=True)
    return run(asked, str(source), str(out), address, config.engine, told)


def _config(known: tuple[str, ...], options: Mapping[str, Any]) -> RunConfig:
    """The options over the defaults; UsageError for one that has no meaning here."""
    sections = option_fields()
    flags: dict[str, dict[str, object]] = {"photos": {"source": "."}}
    for name, value in options.items():
        if value is None:
            continue
        if name not in known:
            raise UsageError(f"{name} has no meaning without a project; give any of "
                             f"{', '.join(known)}")  # fmt: skip
        flags.setdefault(sections[name][0], {})[name] = value
    return resolve(flags)


def _look(config: RunConfig, progress: Progress, *, embeds: bool = False) -> Look:
    """What is asked, once the networks are here and know what is looked for."""
    detect, backbones, views = config.detect, config.train.backbone, config.train.view
    if not detect.parent:
        raise UsageError(
            "no parent category is named; give --parent what the detector calls your object, or "
            "any (`closeup scout` finds it out from some of the photos)"
        )
    if embeds and (len(backbones) > 1 or len(views) > 1):
        raise UsageError(
            "embeddings are made by one --backbone of one --view; A+B is one backbone joined of two"
        )
    detector = find(detect.detector, "detector", words=detect.parent, progress=progress)
    if ANY not in detect.parent:
        known = resolve_categories(detector.card, detect.parent)
        detect = detect.model_copy(update={"parent": known})
    backbone = find(backbones[0], "backbone", progress=progress) if embeds else None
    return Look(detector, detect, config.crop, backbone, views[0] if views else "closeup")
