"""Detectors of any words at their real size, with random weights: what they cost.

``python -m bench.words`` builds OmDet-Turbo (640 px) and OWLv2 (960 px) as transformers configures
them, bakes two words in, and prints for each: seconds to export, the graph's size, the largest
difference between graph and PyTorch among the 20 best boxes of three noise photos, and seconds a
photo beside D-FINE-N's. The weights being random, nothing is said about what they find.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.networks import add
from closeup.core.config import EngineConfig
from closeup.detect import Detector
from closeup.networks import Network, find
from closeup.networks.cache import measured
from closeup.networks.card import GRAPH_FILE, Card
from closeup.networks.convert.onnx_export import write_graph
from closeup.networks.convert.open_vocabulary import with_words
from closeup.networks.engine import open_graph
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from closeup.networks.convert.onnx_export import Converted

WORDS = ("compass", "pocket watch")
PHOTOS = 6


def build(name: str) -> Converted:
    """The detector with random weights, its words random tokens."""
    import torch
    from transformers import (
        OmDetTurboConfig,
        OmDetTurboForObjectDetection,
        Owlv2Config,
        Owlv2ForObjectDetection,
    )

    torch.manual_seed(0)
    model: Any
    if name == "omdet-turbo":
        model = OmDetTurboForObjectDetection(OmDetTurboConfig())
        side, room = 640, 77
    else:
        model = Owlv2ForObjectDetection(Owlv2Config(vision_config={"image_size": 960}))
        side, room = 960, 16
    with torch.no_grad():  # else hardly anything of the picture reaches the heads
        for key, weight in model.named_parameters():
            if weight.ndim >= 2 and not weight.any():
                weight.normal_(0, 0.02)
            elif weight.ndim == 4 and "backbone" not in key and "vision_model" not in key:
                torch.nn.init.kaiming_normal_(weight)
    ids = torch.randint(3, 40_000, (len(WORDS), room))
    ids[:, -1] = model.config.text_config.eos_token_id
    texts = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    texts |= {"classes_input_ids": ids, "classes_attention_mask": torch.ones_like(ids)}
    texts |= {"tasks_input_ids": ids[:1, -12:], "tasks_attention_mask": torch.ones(1, 12).long()}
    texts["classes_structure"] = torch.tensor([len(WORDS)])
    spec = InputSpec(width=side, height=side, resize="stretch")
    return with_words(model.eval(), texts, spec, WORDS)


def difference(converted: Converted, file: Path) -> tuple[float, float, int]:
    """Largest gap of box (pixels) and score among the best, and how many boxes were compared."""
    import torch

    graph, boxes, scores, count = open_graph(file, EngineConfig(engine="onnxruntime")), 0.0, 0.0, 0
    for seed in range(3):
        shape = (1, 3, converted.spec.height, converted.spec.width)
        values = np.random.default_rng(seed).random(shape, np.float32)
        with torch.no_grad():
            wanted = [value.numpy() for value in converted.module(torch.from_numpy(values))]
        found = graph.run({"images": values})
        for box, label, score in zip(*(value[:20] for value in wanted), strict=True):
            # Nearly equal scores may change places, so the nearest box of the word is compared.
            mine = found["labels"] == label
            gaps = np.abs(found["boxes"][mine] - box).max(1)
            nearest = int(gaps.argmin())
            boxes = max(boxes, float(gaps[nearest]))
            scores = max(scores, abs(float(found["scores"][mine][nearest] - score)))
            count += 1
    return boxes, scores, count


def seconds_a_photo(network: Network) -> float:
    """For one photo, after the first."""
    detector, rng = Detector(network, EngineConfig()), np.random.default_rng(0)
    photos = [rng.integers(0, 256, (600, 800, 3), dtype=np.uint8) for _ in range(PHOTOS + 1)]
    found = detector.detect(photos)
    next(found)
    start = time.perf_counter()
    for _ in found:
        pass
    return (time.perf_counter() - start) / PHOTOS


def main() -> None:
    """Measure them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["omdet-turbo", "owlv2"])
    names = parser.parse_args().names
    base = seconds_a_photo(find(add("d-fine-n"), "detector"))
    print(f"d-fine-n: {base:.3f} s a photo", flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as work:
            converted, file = build(name), Path(work) / GRAPH_FILE
            start = time.perf_counter()
            write_graph(name, converted, file)
            taken = time.perf_counter() - start
            card = Card(name=name, kind="detector", family=converted.family, **measured(file),
                        input=converted.spec, batch=1, classes=WORDS)  # fmt: skip
            boxes, scores, count = difference(converted, file)
            each = seconds_a_photo(Network(card, Path(work)))
            print(f"{name}: export {taken:.0f} s, {card.bytes / 1e6:.0f} MB, {count} boxes within "
                  f"{boxes:.2g} px and {scores:.2g}, {each:.2f} s a photo, {each / base:.0f} times "
                  "d-fine-n's", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
