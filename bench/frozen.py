"""How much the best frozen configuration gains over plain frozen features.

    python -m bench.frozen PHOTOS --parent clock --detector picodet_s --base mobilenetv2_tv \
        --out DIR [--backbones a,b] [--views closeup,both] [--heads ridge] [--seeds 5]

For each seed of the split: the plain way (`--base` at its own size, the close-up, logistic
regression) and the best of all combinations by cross-validation inside the training part. Both
answer the same test part once; the gain is paired. DIR keeps embeddings, so a second run is quick.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import closeup
from bench.machine import describe
from closeup.core.project import Project
from closeup.core.types import Example, Result
from closeup.evaluate.scores import paired_difference
from closeup.report.result import RunResult


def answers(out: Path) -> tuple[list[str], list[str], list[str], list[str]]:
    """Crop ids, truth, answers and groups on the test part of the last run."""
    project = Project(out)
    results, rows = project.read("results", Result), project.read("dataset", Example)
    if results is None or rows is None:
        raise SystemExit(f"{out} holds no results")
    group = {row.crop_id: row.group for row in rows.rows}
    ids = [row.crop_id for row in results.rows]
    return (ids, [r.truth for r in results.rows], [r.answer for r in results.rows],
            [group[name] for name in ids])  # fmt: skip


def scored(result: RunResult) -> str:
    """Macro-F1 on the test part with its interval."""
    if result.scores is None:
        raise SystemExit("there are too few photos to hold any out")
    return str(result.scores.macro_f1)


def main() -> None:
    """Run every seed and print the table."""
    parser = argparse.ArgumentParser(description="Best frozen configuration against plain.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--parent", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--backbones", default="")
    parser.add_argument("--views", default="closeup,both")
    parser.add_argument("--heads", default="ridge")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = dict(parent=args.parent, detector=args.detector)
    backbones = args.backbones or f"{args.base},{args.base}@stages,{args.base}@stages-320"
    print(f"{describe()}\n")
    print("| seed | plain (95 %) | taken | macro-F1 (95 %) | gain (95 %) | calibration error | "
          "gain at 70 % |\n| --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
    for seed in range(args.seeds):
        plain = closeup.run(args.photos, out=args.out, backbone=args.base, view="closeup",
                            head="logistic", seed=seed, **found)  # fmt: skip
        ids, truth, before, groups = answers(args.out)
        best = closeup.run(args.photos, out=args.out, backbone=backbones, view=args.views,
                           head=args.heads, seed=seed, **found)  # fmt: skip
        again, _, after, _ = answers(args.out)
        if ids != again or best.trust is None:
            raise SystemExit("the two ways were not measured on the same photos")
        gain = paired_difference(truth, before, after, groups, seed=seed).delta
        taken = next(row.candidate for row in best.compared if row.picked)
        trust = best.trust
        print(f"| {seed} | {scored(plain)} | {taken} | {scored(best)} | {gain.value:+.3f} "
              f"({gain.low:+.3f} to {gain.high:+.3f}) | {trust.calibration.ece} | "
              f"{trust.selective.gain_70.value:+.3f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
