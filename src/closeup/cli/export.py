"""``closeup export``: a project in another tool's format, a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say, show
from closeup.core.errors import UsageError
from closeup.export import Format, ModelFormat

AnyFormat = Literal[Format, ModelFormat]


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A project folder made by `closeup run`; for onnx, openvino and hub, its model in "
            "use, or a model folder.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder to write to.")],
    to: Annotated[AnyFormat, typer.Option("--to", help="Format of the export.")],
    link: Annotated[
        bool, typer.Option("--link", help="Link to the photos instead of copying them.")
    ] = False,
    push: Annotated[
        str,
        typer.Option(
            metavar="OWNER/NAME",
            show_default=False,
            help="With --to hub: show what would be uploaded to this repository.",
        ),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="With --push: upload it. A new repository is private.")
    ] = False,
    json: opt.Json = False,
) -> None:
    """Write a project's photos, boxes, labels, split and answers in another tool's format.

    Or write its model for other programs: as ONNX or OpenVINO graphs with a program that runs them,
    or as a folder for the model hub.
    """
    if push and to != "hub":
        raise UsageError(f"--push uploads what --to hub writes, not --to {to}")
    if yes and not push:
        raise UsageError("--yes uploads to a repository; name it with --push OWNER/NAME")
    if to == "onnx" or to == "openvino" or to == "hub":  # noqa: PLR1714 (mypy narrows only these)
        if link:
            raise UsageError(f"--link is for photos; --to {to} writes none")
        _export_model(folder, to, out, push, yes, json)
    else:
        _export_project(folder, to, out, link, json)


def _export_project(folder: Path, to: Format, out: Path, link: bool, json: bool) -> None:
    from closeup.core.serialization import to_json
    from closeup.export.write import export_project
    from closeup.model.card import CARD_FILE

    if (folder / CARD_FILE).is_file():
        raise UsageError(f"{folder} is a model; --to {to} exports the photos of a project folder")
    with progress_on_stderr() as progress:
        done = export_project(folder, to, out, link=link, progress=progress)
    if json:
        print_json({**to_json(done), "folder": str(done.folder)})
        return
    parts = ", ".join(f"{n} {part}" for part, n in done.parts.items())
    show(f"{done.photos} photos ({parts}), {done.boxes} boxes: {done.folder}")
    for why, n in done.left_out.items():
        say(f"left out: {n} photos {why}")


def _export_model(
    folder: Path, to: ModelFormat, out: Path, repo: str, yes: bool, json: bool
) -> None:
    from closeup.core.serialization import to_json
    from closeup.export.hub import check_repo, push
    from closeup.export.model import export_model

    if repo:
        check_repo(repo)
    with progress_on_stderr() as progress:
        done = export_model(folder, to, out, repo=repo, progress=progress)
    address = push(done.folder, repo) if yes else ""
    if json:
        print_json({**to_json(done), "folder": str(done.folder), "pushed": address})
        return
    size = sum(done.files.values()) / 1e6
    show(f"{len(done.labels)} labels, {len(done.files)} files, {size:.1f} MB: {done.folder}")
    if address:
        show(f"uploaded: {address}")
    elif repo:
        say(f"dry run, nothing was uploaded; --yes uploads these to {repo} (edit README.md first, "
            "if you like):")  # fmt: skip
        for name, length in done.files.items():
            say(f"  {name}  {length / 1e3:,.0f} kB")
    elif to != "hub":
        say(f"try it: python {done.folder / 'run.py'} PHOTO…")
