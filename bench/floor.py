"""The pass against its own floor: ``python -m bench.floor PHOTOS --detector A --backbone B``.

What the pass over the photos achieves (decode, detect, cut, save, embed), beside what each network
alone does in the same engine on the same processors when it is fed the same values again and again:
the slower network's rate, and the rate both would share if nothing else cost anything. Their
arithmetic is set against the processors' largest matrix product. Rounds take turns; medians are
printed as Markdown.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.machine import describe
from closeup.config import EngineConfig, RunConfig
from closeup.detect import Detector
from closeup.embed import Embedder
from closeup.engine import Graph
from closeup.images import read_photo
from closeup.photos import list_entries
from closeup.pipeline.onepass import Wanted, one_pass
from closeup.pipeline.stages import Job
from closeup.project import Project
from closeup.zoo import Network, find

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


def operations(network: Network) -> float:
    """Floating-point operations of one run: two for each multiplication of layers and products."""
    import onnx

    model = onnx.load(network.file)
    shape = model.graph.input[0].type.tensor_type.shape.dim
    shape[0].dim_value = 1
    model = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output, *model.graph.input)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    total = 0.0
    for node in model.graph.node:
        out = shapes.get(node.output[0], [])
        if node.op_type == "Conv":
            total += 2 * math.prod(out) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul"):
            total += 2 * math.prod(out) * (shapes.get(node.input[0]) or [0])[-1]
    return total


def peak() -> float:
    """Floating-point operations a second of a large matrix product, the best of several."""
    side = 3072
    left = np.random.default_rng(0).random((side, side), np.float32)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        left @ left
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def pass_rate(photos: Path, detector: Network, backbone: Network, engine: EngineConfig) -> float:
    """Photos a second of the whole pass, from an empty project."""
    config = RunConfig.model_validate({
        "photos": {"source": str(photos)}, "engine": engine.model_dump(),
        "detect": {"detector": detector.card.name, "parent": ["any"], "threshold": 0},
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "project")
        project.write_config(config)
        wanted = Wanted(detector, backbone, ("closeup",), signatures=True)
        return one_pass(Job(project, config), list_entries(config.photos), wanted).rate


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
    rounds = []
    for _ in range(given.rounds):
        raw = (raw_rate(finder.graph, finder.feed(photo)[0]),
               raw_rate(embedder.graph, embedder.feed(ones)))  # fmt: skip
        rounds.append((*raw, pass_rate(given.photos, detector, backbone, engine)))
    one, other, whole = (median(column) for column in zip(*rounds, strict=True))
    slower = median(got / min(a, b) for a, b, got in rounds)
    shared = median(got * (1 / a + 1 / b) for a, b, got in rounds)
    work = one * operations(detector), other * operations(backbone)
    print(describe(), end="\n\n")
    print("| detector alone, /s | backbone alone, /s | pass, photos/s | of the slower one | "
          "of both together | detector, of the peak | backbone, of the peak |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    top = peak()
    print(f"| {one:.0f} | {other:.0f} | {whole:.0f} | {slower:.0%} | {shared:.0%} | "
          f"{work[0] / top:.0%} | {work[1] / top:.0%} |")  # fmt: skip
    print(f"\n{given.detector} and {given.backbone}; peak {top / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
