"""``closeup demo``: the whole job on photos that ship with the package, without any download."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say
from closeup.core.errors import UsageError
from closeup.demo.photos import MAKERS, PER_MAKER, copy_fresh_photo, copy_photos, is_fresh_photo

DETECTOR = "nano-clock"
BACKBONE = "nano-embed"


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path(
        "closeup-demo"
    ),
    per_maker: Annotated[
        int, typer.Option(min=1, max=PER_MAKER, help="Photos of each of the five makers.")
    ] = PER_MAKER,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the split and the head.")] = 0,
    json: opt.Json = False,
) -> None:
    """Run the whole job on sample photos, offline."""
    from closeup import api
    from closeup.core.lock import only_writer, sweep
    from closeup.model.answers import draw_prediction, is_drawn
    from closeup.model.outputs import require_free

    if (
        out.is_dir()
        and not (out / "photos").is_dir()
        and any(not file.name.startswith(".") for file in out.iterdir())
    ):
        raise UsageError(
            f"{out} contains files that are not the demo's; choose a new folder with --out"
        )
    fresh, answered = out / "fresh.jpg", out / "fresh-answer.jpg"
    require_free(fresh, is_fresh_photo)
    require_free(answered, is_drawn)
    start = time.perf_counter()
    say(
        f"{per_maker * len(MAKERS)} photos of wrist watches, {per_maker} by each of five invented "
        f"makers ({', '.join(MAKERS)}). Their designs differ only in details."
    )
    with only_writer(out), progress_on_stderr() as progress:
        sweep(out, deep=False)
        sweep(out / "photos")
        copy_photos(out / "photos", per_maker=per_maker)
        result = api.run(
            out / "photos", out=out / "watches", parent="clock", detector=DETECTOR,
            backbone=BACKBONE, compare_photo=True, seed=seed, progress=progress,
        )  # fmt: skip
        maker = MAKERS[seed % len(MAKERS)]
        copy_fresh_photo(maker, fresh)
        answer = api.load(result.model).predict(fresh)
        draw_prediction(answer, answered)
    seconds = round(time.perf_counter() - start, 1)
    if json:
        print_json(result.to_json() | {"fresh": answer.to_dict() | {"truth": maker},
                                       "total_seconds": seconds})  # fmt: skip
        return
    from closeup.cli.result import print_result

    print_result(result)
    best = answer.objects[0] if answer.objects else None
    said = "nothing found"
    if best is not None:
        guess = best.top[0][0]
        said = f"{guess}, {best.confidence:.0%} confidence"
        if best.reason:
            said = f"{best.label} ({best.reason}; its best guess: {said})"
    print(
        f"\nA new photo of a watch by {maker}: {said} (annotated: {answered})\n"
        f"Finished in {seconds} s. Open the report: {result.report}\n\n"
        "Next, with a folder of your own photos, one sub-folder per label:\n"
        "  closeup models pull d-fine-n dinov2-s    # once: a detector and a backbone, 104 MB\n"
        "  closeup scout PHOTOS                     # which parent category fits them?\n"
        f"Or review these close-ups: closeup review {shlex.quote(str(out / 'watches'))}\n"
        f"Or try this model: closeup predict {shlex.quote(str(result.model))} PHOTO…"
    )
