"""Measure the networks that ship with the package, and write the scores on their cards.

    python tools/evaluate_nano.py --shared SHARED --out scores.json [--write-cards]

SHARED holds ``weights`` and ``photos/watches`` (test data only). Without it, only generated
scenes are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from closeup.networks import Card, Network, load
from closeup.networks.add import add_backbone
from closeup.networks.preprocess import InputOverrides

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.nano import measure_clock, measure_embed

BUILTIN = Path(__file__).resolve().parents[1] / "src" / "closeup" / "networks" / "builtin"
Scores = dict[str, float]


def measure_detector(network: Network, shared: Path | None, count: int, size: int) -> Scores:
    """What is measured of nano-clock."""
    scores = measure_clock.measure_scenes(network, count, size)
    return scores | (measure_clock.measure_photos(network, shared) if shared else {})


def measure_backbone(network: Network, shared: Path | None, each: int, size: int) -> Scores:
    """What is measured of nano-embed, beside MobileNetV2 where its weights are at hand."""
    made = measure_embed.made_watches(each, size)
    scores = {}
    for name, pictures in (("closeups", made.closeups), ("photos", made.photos)):
        rows = measure_embed.embed(network, pictures)
        scores[f"makers_macro_f1_{name}"] = measure_embed.held_out(rows, made.labels)
    if shared:
        real = measure_embed.real_watches(shared)
        chance = 1 / len(set(real.labels.tolist()))
        for name, one in (("", network), ("_mobilenetv2", mobilenet(shared))):
            rows = measure_embed.embed(one, real.closeups)
            scores[f"watches_macro_f1{name}"] = measure_embed.cross_validated(
                rows, real.labels, real.groups
            )
        scores["watches_share_of_lead"] = (scores["watches_macro_f1"] - chance) / (
            scores["watches_macro_f1_mobilenetv2"] - chance
        )
    return {name: round(value, 4) for name, value in scores.items()}


def mobilenet(shared: Path) -> Network:
    """MobileNetV2 trained on ImageNet, converted into the cache that CLOSEUP_CACHE names."""
    half = InputOverrides.model_validate({"mean": 0.5, "std": 0.5})
    file = shared / "weights" / "mobilenetv2_100.tfslim_in1k.safetensors"
    return add_backbone(
        file, name="mobilenetv2-test", timm="mobilenetv2_100", args={"pad_type": "same"},
        overrides=half, replace=True,
    )  # fmt: skip


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shared", type=Path, help="folder with weights and test photos")
    parser.add_argument("--networks", type=Path, default=BUILTIN)
    parser.add_argument("--only", choices=("nano-clock", "nano-embed"))
    parser.add_argument("--scenes", type=int, default=500, help="scenes of each style")
    parser.add_argument("--size", type=int, default=640, help="longer side of a scene, pixels")
    parser.add_argument("--out", type=Path, help="JSON file for the scores")
    parser.add_argument("--write-cards", action="store_true", help="put them on the cards")
    args = parser.parse_args()
    results: dict[str, Scores] = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CLOSEUP_CACHE"] = cache
        if args.only != "nano-embed":
            network = load(args.networks / "nano-clock")
            results["nano-clock"] = measure_detector(network, args.shared, args.scenes, args.size)
        if args.only != "nano-clock":
            network = load(args.networks / "nano-embed")
            results["nano-embed"] = measure_backbone(network, args.shared, 40, args.size)
    text = json.dumps(results, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf8")
    if args.write_cards:
        for name, scores in results.items():
            complete(args.networks / name, scores)


def complete(folder: Path, scores: Scores) -> None:
    """Put the scores on a network's card."""
    card = Card.model_validate_json((folder / "card.json").read_bytes())
    card = card.model_copy(update={"scores": scores})
    (folder / "card.json").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
