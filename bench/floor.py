"""The pass against its own floor: ``python -m bench.floor PHOTOS --detector A --backbone B``.

What the pass over the photos achieves (decode, detect, cut, save, embed), beside what each network
alone does in the same engine on the same processors when it is fed the same values again and again:
the slower network's rate, and the rate both would share if nothing else cost anything; and the
arithmetic of both networks in the pass beside what large matrix products reach in the same engine.
Rounds take turns; medians are printed as Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.arithmetic import operations, peak
from bench.machine import describe
from closeup.core.config import EngineConfig, RunConfig
from closeup.core.project import Project
from closeup.crops.view import View
from closeup.detect import Detector
from closeup.learn.embed import Embedder
from closeup.networks import Network, find
from closeup.networks.engine import Graph
from closeup.photos.listing import collect
from closeup.photos.reading import read_photo
from closeup.pipeline.stages import Job, Wanted, look

SECONDS = 4.0


def raw_rate(graph: Graph, feed: Any) -> float:
    """Runs a second, the same feed over and over."""
    start, count = time.perf_counter(), 0

    def feeds() -> Any:
        nonlocal count
        while time.perf_counter() - start < SECONDS:
            count += 1
            yield feed

    for _ in graph.stream(feeds()):
        pass
    return count / (time.perf_counter() - start)


def pass_rate(photos: Path, detector: Network, backbone: Network, engine: EngineConfig) -> float:
    """Photos a second of the whole pass, from an empty project."""
    config = RunConfig.model_validate({
        "photos": {"source": str(photos)}, "engine": engine.model_dump(),
        "detect": {"detector": detector.card.name, "parent": ["any"], "threshold": 0},
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "project")
        project.write_config(config)
        wanted = Wanted(detector, None, backbone, (View(),), signatures=True)
        entries, job = collect(config.photos).entries, Job(project, config)
        start = time.perf_counter()
        look(job, entries, wanted)
        return len(entries) / (time.perf_counter() - start)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    engine = EngineConfig(precision=given.precision)
    detector, backbone = find(given.detector, "detector"), find(given.backbone, "backbone")
    finder, embedder = Detector(detector, engine), Embedder(backbone, engine)
    photo = read_photo(next(file for file in given.photos.rglob("*.jpg")))
    spec = backbone.card.input
    ones = np.zeros((3, spec.height, spec.width), np.float32)
    feed, view = finder.feed(photo)[0], embedder.feed(ones)
    work = operations(detector.file, feed) + operations(backbone.file, view)
    rounds = []
    for _ in range(given.rounds):
        raw = raw_rate(finder.graph, feed), raw_rate(embedder.graph, view)
        rounds.append((*raw, pass_rate(given.photos, detector, backbone, engine), peak(engine)))
    one, other, whole, most = (median(column) for column in zip(*rounds, strict=True))
    slower = median(got / min(a, b) for a, b, got, _ in rounds)
    shared = median(got * (1 / a + 1 / b) for a, b, got, _ in rounds)
    used = median(got * work / top for _, _, got, top in rounds)
    print(describe(), end="\n\n")
    print("| detector, backbone | detector alone, /s | backbone alone, /s | pass, photos/s | "
          "of the slower one | of both together | GFLOP a photo | peak, GFLOP/s | of the peak |"
          )  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    print(f"| {given.detector}, {given.backbone} | {one:.0f} | {other:.0f} | {whole:.0f} | "
          f"{slower:.0%} | {shared:.0%} | {work / 1e9:.2f} | {most / 1e9:.0f} | {used:.0%} |"
          )  # fmt: skip


if __name__ == "__main__":
    main()
