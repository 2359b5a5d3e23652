"""``closeup export``: a project in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say, show
from closeup.export import Format


def export(
    folder: opt.ProjectFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder to write to.")],
    to: Annotated[Format, typer.Option("--to", help="Format of the export.")],
    link: Annotated[
        bool, typer.Option("--link", help="Link to the photos instead of copying them.")
    ] = False,
    json: opt.Json = False,
) -> None:
    """Write a project's photos, boxes, labels, split and answers in another tool's format."""
    from closeup.core.serialization import to_json
    from closeup.export.write import export_project

    with progress_on_stderr() as progress:
        done = export_project(folder, to, out, link=link, progress=progress)
    if json:
        print_json({**to_json(done), "folder": str(done.folder)})
        return
    parts = ", ".join(f"{n} {part}" for part, n in done.parts.items())
    show(f"{done.photos} photos ({parts}), {done.boxes} boxes: {done.folder}")
    for why, n in done.left_out.items():
        say(f"left out: {n} photos {why}")
