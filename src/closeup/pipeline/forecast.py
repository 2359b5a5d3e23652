"""How long a first run will take with each preset, from a moment's measurement on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable

from PIL import Image

from closeup.core.config import Preset, RunConfig
from closeup.core.progress import Progress, silent
from closeup.core.types import Pixels
from closeup.detect import Detector
from closeup.learn.embed import Embedder
from closeup.networks.engine.choice import probe
from closeup.networks.words import tidy_words
from closeup.photos.picture import Picture
from closeup.pipeline.search import LARGER, first_backbones
from closeup.pipeline.written_boxes import find_detector, require_writer

PROBES = 24
PATIENCE = 3.0
"""Seconds after which a slow network has been measured for long enough."""
RICHER_COST = 1.6
"""Of an embedding with covariances, against a plain one (``python -m bench.presets``)."""
LEARNING = 0.012
"""Seconds a photo for near duplicates, heads, checks and the report."""


def forecast(config: RunConfig, count: int, progress: Progress = silent) -> dict[Preset, float]:
    """About how many seconds a run from scratch over `count` photos takes, by preset.

    Networks are found as by :func:`closeup.networks.find`. Reading photos and fine-tuning are not
    counted.
    """
    pictures = [probe(seed) for seed in range(PROBES)]
    look = look_seconds(config, progress)
    plain = config.train.model_copy(update={"preset": "quick"})
    networks = first_backbones(plain, progress)
    each = [_embedding(Embedder(network, config.engine), pictures) for network in networks]
    both = RICHER_COST * sum(each) * (len(config.train.view) or 2)
    sizes = both * (1 + LARGER**2)
    # Both sizes as they are, then the whole and the middle of each picture.
    more = 3 * sizes + (both if len(networks) > 1 else 0)
    seconds: dict[Preset, float] = {"quick": sum(each), "balanced": both, "best": both + more}
    return {name: count * (look + taken + LEARNING) for name, taken in seconds.items()}


def look_seconds(config: RunConfig, progress: Progress = silent) -> float:
    """About how many seconds it takes to find the object in a photo, without reading it.

    0 where the boxes are the user's own.
    """
    detect = config.detect
    if detect.boxes or not (detect.boxes_by or detect.detector):
        return 0.0
    pictures = [probe(seed) for seed in range(PROBES)]
    if detect.boxes_by:
        from closeup.networks.convert.open_vocabulary import Grounded

        require_writer(detect.boxes_by)
        grounded = Grounded(detect.boxes_by, tidy_words(detect.boxes_by, detect.parent), progress)
        return _seconds(map(grounded.find, map(Image.fromarray, pictures)))
    detector = Detector(find_detector(detect, progress), config.engine)
    return _seconds(detector.detect(map(Picture.of, pictures)))


def _embedding(embedder: Embedder, pictures: list[Pixels]) -> float:
    return _seconds(embedder.embed(pictures))


def _seconds(answers: Iterable[object]) -> float:
    """For one answer, the first few not counted: they open the network."""
    found, began = iter(answers), time.perf_counter()
    for _ in range(PROBES // 3):
        next(found)
        if time.perf_counter() - began > PATIENCE:
            break
    start, count = time.perf_counter(), 0
    for count, _ in enumerate(found, 1):  # noqa: B007 (counted)
        if time.perf_counter() - start > PATIENCE:
            break
    return (time.perf_counter() - start) / count
