"""``closeup demo``: the whole job on photos that the package makes, without any download."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say
from closeup.core.errors import UsageError

DETECTOR = "nano-clock"
BACKBONE = "nano-embed"


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to put it.")] = Path(
        "closeup-demo"
    ),
    per_maker: Annotated[int, typer.Option(help="Photos for each of the five makers.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the photos and of the split.")] = 0,
    json: opt.Json = False,
) -> None:
    """See the whole job done in a minute: photos made, found, cut, told apart, and reported."""
    from closeup import api
    from closeup.core.lock import only_writer, sweep
    from closeup.demo.photos import write_fresh_photo, write_photos
    from closeup.demo.scenes import MAKERS
    from closeup.model.answers import draw_prediction, to_json

    if (
        out.is_dir()
        and not (out / "photos").is_dir()
        and any(not file.name.startswith(".") for file in out.iterdir())
    ):
        raise UsageError(f"{out} holds files that are not the demo's; give a new folder to --out")
    start = time.perf_counter()
    say(
        f"Making {per_maker} photos each of wrist watches by five invented makers "
        f"({', '.join(MAKERS)}). Their designs differ in details only."
    )
    with only_writer(out), progress_on_stderr() as progress:
        sweep(out, deep=False)
        sweep(out / "photos")
        write_photos(
            out / "photos",
            per_maker=per_maker,
            seed=seed,
            progress=lambda _, done, total: progress("render", done, total),
        )
        result = api.run(
            out / "photos", out=out / "watches", parent="clock", detector=DETECTOR,
            backbone=BACKBONE, compare_photo=True, seed=seed, progress=progress,
        )  # fmt: skip
        fresh = out / "fresh.jpg"
        maker = MAKERS[seed % len(MAKERS)]
        write_fresh_photo(fresh, maker=maker, seed=seed)
        answer = api.load(result.model).predict(fresh)
        draw_prediction(answer, out / "fresh-answer.jpg")
    seconds = round(time.perf_counter() - start, 1)
    if json:
        print_json(result.to_json() | {"fresh": to_json(answer) | {"truth": maker},
                                       "total_seconds": seconds})  # fmt: skip
        return
    from closeup.cli.project import print_result

    print_result(result)
    best = answer.objects[0] if answer.objects else None
    said = "nothing found"
    if best is not None:
        guess = best.top[0][0]
        said = f"{guess}, {best.confidence:.0%} sure"
        if best.reason:
            said = f"{best.label} ({best.reason}; its best guess is {said})"
    print(
        f"\nA fresh photo of a watch by {maker}: {said} (drawn in {out / 'fresh-answer.jpg'})\n"
        f"All in {seconds} s. Open the report: {result.report}\n\n"
        "Next, with a folder of your own photos, one sub-folder per label:\n"
        "  closeup models pull d-fine-n dinov2-s    # once; needs pip install 'closeup[torch]'\n"
        "  closeup scout PHOTOS                     # which parent category suits them?\n"
        f"Or look through these: closeup review {shlex.quote(str(out / 'watches'))}\n"
        f"Or ask this model: closeup predict {shlex.quote(str(result.model))} PHOTO…"
    )
