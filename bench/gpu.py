"""A model on an NVIDIA GPU against the CPU: ``python -m bench.gpu MODEL PHOTOS``.

Needs ONNX Runtime's build for CUDA (``pip install onnxruntime-gpu`` in place of ``onnxruntime``).
Prints the card's name, the rates of both, and how far the answers differ: labels that are not the
same, the largest difference of a confidence, of a box in pixels. Run twice: the first photos, which
open the networks, are not timed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.machine import describe
from closeup.core.config import EngineConfig
from closeup.model.model import load_model
from closeup.model.prediction import Prediction
from closeup.networks.engine.onnxruntime_backend import has_cuda
from closeup.photos.listing import list_paths

WARM = 16


def card() -> str:
    """What ``nvidia-smi`` calls the GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown card (no nvidia-smi)"
    words = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def timed(
    model: Path, files: Sequence[Path], config: EngineConfig
) -> tuple[list[Prediction], float, str]:
    """The answers, the photos a second, and the engine that the backbone ran on in fact."""
    loaded = load_model(model, config)
    list(loaded.predict_many(files[:WARM]))
    start = time.perf_counter()
    answers = list(loaded.predict_many(files))
    rate = len(files) / (time.perf_counter() - start)
    return answers, rate, loaded._embedder.graph.engine


def differences(one: Sequence[Prediction], other: Sequence[Prediction]) -> tuple[int, float, float]:
    """Photos with other labels or another number of objects; largest difference of confidence and
    of a box's edge, in pixels, among the others."""
    changed, confidence, edge = 0, 0.0, 0.0
    for a, b in zip(one, other, strict=True):
        if [x.label for x in a.objects] != [x.label for x in b.objects]:
            changed += 1
            continue
        for x, y in zip(a.objects, b.objects, strict=True):
            confidence = max(confidence, abs(x.confidence - y.confidence))
            edge = max(edge, *(abs(p - q) for p, q in zip(x.box, y.box, strict=True)))
    return changed, confidence, edge


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("photos")
    given = parser.parse_args()
    if not has_cuda():
        sys.exit("bench.gpu: this ONNX Runtime has no CUDA provider; install onnxruntime-gpu on a "
                 "machine with an NVIDIA GPU")  # fmt: skip
    files = list_paths([given.photos])
    on_gpu, rate, engine = timed(given.model, files, EngineConfig(engine="onnxruntime"))
    if engine != "onnxruntime-cuda":
        sys.exit(f"bench.gpu: the CUDA provider did not start, the networks ran on {engine}; check "
                 "the versions of CUDA and cuDNN that this ONNX Runtime needs")  # fmt: skip
    on_cpu, slow, name = timed(given.model, files, EngineConfig(engine="openvino"))
    changed, confidence, edge = differences(on_gpu, on_cpu)
    print(f"{describe()}; {card()}\n")
    print("| | photos a second |\n| --- | --- |")
    print(f"| {engine} | {rate:.1f} |\n| {name} | {slow:.1f} |")
    print(f"\n{len(files)} photos: other labels for {changed}; among the rest confidences differ "
          f"by at most {confidence:.2g}, edges of boxes by {edge:.2g} pixels.")  # fmt: skip


if __name__ == "__main__":
    main()
