"""How much the presets gain over plain frozen features, and what they take.

    python -m bench.presets PHOTOS --parent clock --detector picodet_s --backbone mobilenetv2_tv \
        --best mobilenetv2_tv,efflite0 --out DIR [--presets balanced,best] [--seeds 5]

For each seed of the split: the plain way (``--preset quick``: `--backbone` as it is, the close-up,
a ridge head) and the other presets, all on the same test part; the gain is paired. ``best`` may use
all backbones of `--best`; ``best+finetune`` is ``best`` with ``--finetune``, and ``finetune`` the
default preset with it. Each preset has a project of its own, so the seconds of the first seed are
those of a run from nothing; the others find photos, close-ups and embeddings done.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import closeup
from bench.machine import describe
from closeup.core.project import Project
from closeup.core.types import Example, Result
from closeup.evaluate.scores import paired_difference
from closeup.model.card import read_card

Answers = dict[str, tuple[str, str, str]]
"""Truth, answer and group of each test close-up."""


def answers(out: Path) -> Answers:
    """Those of the last run."""
    project = Project(out)
    results, rows = project.read("results", Result), project.read("dataset", Example)
    if results is None or rows is None:
        raise SystemExit(f"{out} holds no results")
    group = {row.crop_id: row.group for row in rows.rows}
    return {r.crop_id: (r.truth, r.answer, group[r.crop_id]) for r in results.rows}


def run(args: argparse.Namespace, preset: str, seed: int) -> tuple[dict[str, Any], Answers]:
    """One run of a preset: macro-F1 with its interval, the candidate taken, and its answers."""
    out = args.out / preset
    tuned = preset.endswith("finetune")
    tried = preset.removesuffix("finetune").rstrip("+") or "balanced"
    backbone = args.best if tried == "best" and args.best else args.backbone
    start = time.perf_counter()
    result = closeup.run(args.photos, out=out, parent=args.parent, detector=args.detector,
                         backbone=backbone, preset=tried, finetune=tuned, seed=seed)  # fmt: skip
    taken = time.perf_counter() - start
    if result.scores is None:
        raise SystemExit("there are too few photos to hold any out")
    card = read_card(result.model)
    name = f"{card.backbone}, {card.view}, {card.head}"
    facts = {"f1": result.scores.macro_f1, "taken": name, "seconds": taken}
    return facts, answers(out)


def main() -> None:
    """Run every seed and print the table."""
    parser = argparse.ArgumentParser(description="Presets against plain frozen features.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--parent", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--best", default="")
    parser.add_argument("--presets", default="balanced,best")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    print(f"{describe()}\n")
    print("| seed | preset | taken | macro-F1 (95 %) | gain over plain (95 %) | seconds |\n"
          "| --- | --- | --- | --- | --- | --- |")  # fmt: skip
    scores: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        plain: Answers = {}
        for preset in ("quick", *args.presets.split(",")):
            facts, found = run(args, preset, seed)
            plain = plain or found
            if plain.keys() != found.keys():
                raise SystemExit("the presets were not measured on the same photos")
            truth, _, groups = zip(*plain.values(), strict=True)
            before, after = ([many[name][1] for name in plain] for many in (plain, found))
            gain = paired_difference(truth, before, after, groups, seed=seed).delta
            scores.setdefault(preset, []).append(facts["f1"].value)
            shown = (
                "" if found is plain else f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
            )
            print(f"| {seed} | {preset} | {facts['taken']} | {facts['f1']} | {shown} | "
                  f"{facts['seconds']:.0f} |", flush=True)  # fmt: skip
    base = np.array(scores["quick"])
    for preset, values in scores.items():
        gains = np.array(values) - base
        print(f"\n{preset}: mean {np.mean(values):.3f}, gain {gains.mean():+.3f}, "
              f"least {gains.min():+.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
