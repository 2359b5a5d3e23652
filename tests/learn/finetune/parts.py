"""A tiny backbone with PyTorch weights, and close-ups that it can learn to tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from closeup.core.types import Pixels
from closeup.learn.finetune import Closeup, TrainingPart
from closeup.networks import InputOverrides, Network
from closeup.networks.add import add_backbone

TINY = "test_efficientnet"  # timm's own network for tests
SIZE = 48


def make_network(folder: Path) -> Network:
    """A backbone of random weights in the cache, for pictures of :data:`SIZE` pixels."""
    torch = pytest.importorskip("torch", reason="fine-tuning needs the torch extra")
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    file = folder / "tiny.safetensors"
    save_file(timm.create_model(TINY, pretrained=False).state_dict(), file)
    overrides = InputOverrides(size=(SIZE, SIZE), color="bgr")
    return add_backbone(file, name="tiny", timm=TINY, overrides=overrides)


def closeup(label: int, number: int) -> Closeup:
    """Noise with a bright square whose channel tells the label, of a size between 40 and 90."""

    def make() -> Pixels:
        rng = np.random.default_rng([label, number])
        side = int(rng.integers(40, 90))
        pixels = rng.integers(40, 180, (side, side, 3), dtype=np.uint8)
        pixels[side // 4 : -side // 4, side // 4 : -side // 4, label] = 250
        return pixels

    return make


def make_part(per_label: int = 12, labels: int = 3, folds: int = 4) -> TrainingPart:
    """Close-ups of labels ``a``, ``b``, ``c``, evenly over the folds."""
    rows = [(label, n) for n in range(per_label) for label in range(labels)]
    return TrainingPart(
        [closeup(label, n) for label, n in rows],
        ["abc"[label] for label, _ in rows],
        np.array([n % folds for _, n in rows], np.int64),
    )
