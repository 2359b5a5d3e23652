"""``closeup review``: go through a project's close-ups in a browser and decide."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import say
from closeup.core.text import visible

if TYPE_CHECKING:
    from closeup.core.project import Project

MOST_PLACES = 5
"""Folders of photos that are named; a project's photos are mostly in one."""


def review(
    folder: opt.ProjectFolder,
    host: opt.Host = "127.0.0.1",
    port: opt.Port = 8100,  # decisions.REVIEW_PORT, whose import would slow --help down
    token: opt.Token = "",
    allow_host: opt.AllowHost = None,
    who: Annotated[
        str,
        typer.Option(help="Your name, saved with every decision.", show_default="your login name"),
    ] = "",
    from_crops: Annotated[
        bool,
        typer.Option(
            "--from-crops",
            help="Take over the labels of close-ups that you moved from one folder of crops/ to "
            "another, and exit.",
        ),
    ] = False,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = False,
) -> None:
    """Look through the close-ups in a browser and fix what is wrong.

    `closeup train` then applies your decisions.
    """
    from closeup.core.project import Project
    from closeup.core.types import Photo
    from closeup.pipeline.suggested import read_suggested

    if from_crops:
        _relabel_moved(Project(folder), who or login_name())
        return
    with opt.serve_extra("review"):
        from closeup.cli.sharing import invite, open_access
        from closeup.web.review.app import ReviewConfig, make_review_app
        from closeup.web.review.data import photo_folders
        from closeup.web.run import Address, serve_app
    access = open_access("review", host, token, allow_host or ())
    project = Project(folder)
    photos = project.read("photos", Photo)
    waiting = [row.photo for row in read_suggested(project)]
    places = photo_folders([*(photos.rows if photos else ()), *waiting])[:MOST_PLACES]
    app = make_review_app(ReviewConfig(folder, access, who or login_name()))

    def announce(urls: list[str]) -> None:
        say(f"review {folder} at {urls[0]} (press Ctrl-C to stop; decisions are saved at once)")
        for place in places:
            say(f"photos: {place}")
        link = invite(access, urls)
        if browser:
            webbrowser.open(link or urls[0])

    serve_app(app, Address(host, port), announce=announce)


def _relabel_moved(project: Project, who: str) -> None:
    from closeup.core.types import Crop
    from closeup.decisions.log import Decisions, read_decisions
    from closeup.decisions.moved import find_moved

    project.config()
    table = project.read("crops", Crop)
    moved = find_moved(project.folder, table.rows if table else (), read_decisions(project.folder))
    if moved.crops:
        with project.held(), contextlib.closing(Decisions(project.folder)) as log:
            log.append(who, moved.decisions())
    for crop, label in zip(moved.crops, moved.labels, strict=True):
        print(visible(f"{crop.id}: {crop.label} -> {label}"))
    n, folder = len(moved.crops), shlex.quote(str(project.folder))
    print(f"{n} relabelled; `closeup train {folder}` uses them, and they can be undone in review"
          if n else "no close-up was moved to another label's folder")  # fmt: skip
    for name in moved.copied:
        say(f"in the folders of several labels, and left as it is: {name}")


def login_name() -> str:
    """The name of whoever runs this, ``"somebody"`` where the system knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without an entry, or without a name
        return os.environ.get("USER") or "somebody"
