"""How long a first run will take with each preset, from a moment's measurement on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable

from closeup.core.config import Preset, RunConfig
from closeup.core.types import Pixels
from closeup.detect import Detector
from closeup.learn.embed import Embedder
from closeup.networks import find
from closeup.networks.engine.choice import probe
from closeup.photos.picture import Picture
from closeup.pipeline.search import LARGER, first_backbones

PROBES = 24
RICHER_COST = 1.6
"""Of an embedding with covariances, against a plain one (``python -m bench.presets``)."""
LEARNING = 0.012
"""Seconds a photo for near duplicates, heads, checks and the report."""


def forecast(config: RunConfig, count: int) -> dict[Preset, float]:
    """About how many seconds a run from scratch over `count` photos takes, by preset.

    Networks must be available, see :func:`closeup.networks.find`. Reading photos and fine-tuning
    are not counted.
    """
    pictures = [probe(seed) for seed in range(PROBES)]
    look = 0.0
    if config.detect.detector:
        detector = Detector(find(config.detect.detector, "detector"), config.engine)
        look = _seconds(detector.detect(map(Picture.of, pictures)))
    plain = config.train.model_copy(update={"preset": "quick"})
    networks = first_backbones(plain)
    each = [_embedding(Embedder(network, config.engine), pictures) for network in networks]
    both = RICHER_COST * sum(each) * (len(config.train.view) or 2)
    more = both * (1 + LARGER**2) + (both if len(networks) > 1 else 0)
    seconds: dict[Preset, float] = {"quick": sum(each), "balanced": both, "best": both + more}
    return {name: count * (look + taken + LEARNING) for name, taken in seconds.items()}


def _embedding(embedder: Embedder, pictures: list[Pixels]) -> float:
    return _seconds(embedder.embed(pictures))


def _seconds(answers: Iterable[object]) -> float:
    """For one answer, the first few not counted: they open the network."""
    found = iter(answers)
    for _ in range(PROBES // 3):
        next(found)
    start = time.perf_counter()
    rest = sum(1 for _ in found)
    return (time.perf_counter() - start) / rest
