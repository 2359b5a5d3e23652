"""Train nano-embed, the small backbone that ships with the package, and write it with its card.

    python tools/train_nano_embed.py --caltech caltech101_144.zip --grocery grocery_144.zip \
        --teachers WEIGHTS --work WORK --out src/closeup/networks/builtin/nano-embed

WEIGHTS is a folder with two MobileNetV2 checkpoints (``mobilenetv2_100.tfslim_in1k.safetensors``
and ``mobilenet_v2.torchvision_in1k.features.safetensors``); WORK keeps what is made once. The
network starts from random weights: the teachers only say what they see in each view.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from closeup.networks import Card, Network
from closeup.networks.add import add_backbone
from closeup.networks.cache import measured
from closeup.networks.convert.onnx_export import export_onnx
from closeup.networks.preprocess import InputOverrides, InputSpec
from closeup.networks.variants import mirror

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.nano import together
from tools.nano.embed_data import NONE, Views, make_views, read_views
from tools.nano.embed_model import DIM, NanoEmbed, Pupil
from tools.nano.graphs import halve, round_weights
from tools.render.designs import ATTRIBUTES

INPUT = 176
"""Side of the shipped network's input: that of the watches in training."""
SMALL, LARGE = 96, 128
"""Sides of the photos in the first three quarters of the steps, and in the last."""
WATCH = 176
"""Side of the watches."""
WEIGHTS = "nano-embed.safetensors"
BATCH = 32
"""Photos in a step, and as many watches."""
RATE = 3e-3
WEIGHT_DECAY = 0.02


@dataclass(frozen=True, slots=True)
class Options:
    """How to train, and the folder that the views are read from and the weights are left in."""

    work: Path
    steps: int
    seed: int
    workers: int


def losses(pupil: Pupil, views: Views, side: int, each: int, rng: np.random.Generator) -> Tensor:
    """The loss of `each` random photos and as many random watches.

    Of photos the distance (one less the cosine) to the teachers' embeddings, and the cross-entropy
    of the category where it is known; of watches the mean cross-entropy of their details.
    """
    rows = np.sort(rng.integers(0, len(views.photos), each))
    imitated, named = pupil.photos(to_input(views.photos[rows], side, rng))
    teacher = torch.from_numpy(views.teacher[rows].astype(np.float32))
    loss = (1 - functional.cosine_similarity(imitated.float(), teacher)).mean()
    loss = loss + 0.15 * known_entropy(named, torch.from_numpy(views.category[rows]), 0.1)
    rows = np.sort(rng.integers(0, len(views.watches), each))
    scores = pupil.details(to_input(views.watches[rows], WATCH, rng))
    truth = torch.from_numpy(views.details[rows])
    entropies = [known_entropy(scores[name], truth[:, i]) for i, name in enumerate(ATTRIBUTES)]
    return loss + torch.stack(entropies).mean()


def known_entropy(scores: Tensor, truth: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean cross-entropy over the rows whose truth is known; 0 (with a gradient) for none."""
    entropy = functional.cross_entropy(
        scores, truth, ignore_index=NONE, label_smoothing=smoothing, reduction="sum"
    )
    return entropy / max(1, int((truth != NONE).sum()))


def to_input(pixels: NDArray[np.uint8], side: int, rng: np.random.Generator) -> Tensor:
    """Square ``(n, s, s, 3)`` uint8 as ``(n, 3, side, side)``, brightness and contrast varied."""
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    if side != pixels.shape[1]:
        values = functional.interpolate(values, (side, side), mode="bilinear", antialias=True)
    n = len(pixels)
    gain = torch.from_numpy(rng.uniform(0.75, 1.25, (n, 1, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.15, 0.15, (n, 1, 1, 1)).astype(np.float32))
    return (values * gain + shift).contiguous(memory_format=torch.channels_last)


def train(worker: together.Worker, options: Options) -> None:
    """What each process does, from random weights; the first leaves the averaged weights."""
    views = read_views(options.work)
    pupil = Pupil(views.teacher.shape[1], views.categories)
    pupil = pupil.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = together.adamw(pupil, RATE, WEIGHT_DECAY)
    average = together.Average(pupil, 0.998)
    rng, begun, recent = worker.rng, time.monotonic(), 0.0
    for step in range(options.steps):
        side = SMALL if step < 0.75 * options.steps else LARGE
        for group in optimiser.param_groups:
            group["lr"] = RATE * together.cosine(step, options.steps, 200)
        with torch.autocast("cpu", torch.bfloat16):
            loss = losses(pupil, views, side, BATCH // worker.count, rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        together.share_gradients(pupil.parameters(), worker.count)
        nn.utils.clip_grad_norm_(pupil.parameters(), 5.0)
        optimiser.step()
        average.update(pupil)
        recent += (loss.item() - recent) * (1 if step == 0 else 0.02)
        if worker.rank == 0 and (step + 1) % 50 == 0:
            spent = time.monotonic() - begun
            left = spent / (step + 1) * (options.steps - step - 1)
            print(f"step {step + 1} loss {recent:.3f} {spent:.0f} s, {left:.0f} s left", flush=True)
    pupil.load_state_dict(average.values)
    together.share_buffers(pupil, worker.count)
    if worker.rank == 0:
        state = {key: value.contiguous() for key, value in pupil.backbone.state_dict().items()}
        save_file(state, options.work / WEIGHTS)


def write(network: NanoEmbed, folder: Path, made_with: dict[str, str]) -> Card:
    """Write ``graph.onnx`` and ``card.json`` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "graph.onnx"
    round_weights(network)
    example = torch.zeros(2, 3, INPUT, INPUT)
    export_onnx(
        network.eval(), (example,), file, input_names=("image",), output_names=("embedding",)
    )
    halve(file)
    card = Card(
        name="nano-embed",
        kind="backbone",
        family="embedding",
        **measured(file),
        input=InputSpec(width=INPUT, height=INPUT, anchor="centre", interpolation="bicubic",
                        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        dim=DIM,
        description="A demonstration default that needs no download, trained by "
        "tools/train_nano_embed.py; no rival of the hub's networks. Gives the mean over the "
        "picture and its mirror image.",
        licence="Apache-2.0",
        source="tools/train_nano_embed.py",
        trained_on=(
            "Caltech-101 (Li, Andreeto, Ranzato, Perona 2022, CC BY 4.0)",
            "Grocery Store Dataset without its apples (Klasson 2019, MIT)",
            "generated watches of freely drawn designs, none of the demonstration's five makers'",
            "embeddings of two MobileNetV2 as teachers (Google, Apache-2.0; torchvision, BSD-3)",
        ),
        made_with=made_with,
    )  # fmt: skip
    card = mirror(card, file)
    (folder / "card.json").write_text(card.model_dump_json(indent=1) + "\n", encoding="utf8")
    return card


def teachers(folder: Path) -> list[Network]:
    """The two teachers, converted into the cache that CLOSEUP_CACHE names."""
    half = InputOverrides.model_validate({"mean": 0.5, "std": 0.5})
    return [
        add_backbone(
            folder / "mobilenetv2_100.tfslim_in1k.safetensors", name="teacher-timm",
            timm="mobilenetv2_100", args={"pad_type": "same"}, overrides=half,
            replace=True,
        ),
        add_backbone(
            folder / "mobilenet_v2.torchvision_in1k.features.safetensors",
            name="teacher-torchvision", torchvision="mobilenet_v2", replace=True,
        ),
    ]  # fmt: skip


def main() -> None:
    """Make the training set, train, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--caltech", type=Path, required=True)
    parser.add_argument("--grocery", type=Path, required=True)
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rendered", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CLOSEUP_CACHE"] = cache
        archives = [given.caltech, given.grocery]
        make_views(archives, teachers(given.teachers), given.work, given.rendered)
    options = Options(given.work, given.steps, given.seed, given.workers)
    begun = time.monotonic()
    together.run(train, options.workers, options.seed, options)
    minutes = (time.monotonic() - begun) / 60
    network = NanoEmbed()
    network.load_state_dict(load_file(given.work / WEIGHTS))
    made_with = {
        "command": f"tools/train_nano_embed.py --steps {given.steps} --seed {given.seed} "
        f"--rendered {given.rendered} --workers {given.workers}",
        "torch": torch.__version__,
    }
    card = write(network, given.out, made_with)
    print(f"{card.name}: {card.bytes / 1e6:.2f} MB, trained in {minutes:.1f} min, in {given.out}")


if __name__ == "__main__":
    main()
