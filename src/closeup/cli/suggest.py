"""``closeup suggest``: which unlabelled photos to label next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say, show


def suggest(
    folder: opt.ProjectFolder,
    pool: Annotated[
        list[Path],
        typer.Argument(metavar="POOL...", help="Unlabelled photos, folders of them, or patterns."),
    ],
    count: Annotated[int, typer.Option(min=1, help="How many photos to name at most.")] = 100,
    json: opt.Json = False,
) -> None:
    """Name the photos of a pool that would teach the model most.

    They wait in `closeup review`, where you label them by keyboard, look-alikes together. The next
    `closeup train` trains on them, and never tests on them.
    """
    from closeup import pipeline

    with progress_on_stderr() as progress:
        result = pipeline.suggest(folder, pool, count=count, progress=progress)
    if json:
        print_json(result.to_json())
        return
    for note in result.notes:
        say(note)
    show(
        f"{result.photos} photos: {result.found} new with the object found, {result.not_found} "
        f"without, {result.known} known already or copies, {result.unreadable} unreadable"
    )
    groups = len({row.group for row in result.suggested})
    missed = sum(not row.found for row in result.suggested)
    more = f", {missed} of them with a box that is too weak to count" if missed else ""
    show(f"{len(result.suggested)} photos to label in {groups} groups of look-alikes{more}")
    if result.suggested:
        show("", f"Next: closeup review {shlex.quote(str(folder))}    # page To label; then train")
