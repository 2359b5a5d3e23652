"""``closeup review``: go through a project's close-ups in a browser and decide."""

from __future__ import annotations

import getpass
import os
import webbrowser
from typing import Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import say

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
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = False,
) -> None:
    """Look through the close-ups in a browser and fix what is wrong.

    `closeup train` then applies your decisions.
    """
    from closeup.core.project import Project
    from closeup.core.types import Photo

    with opt.serve_extra("review"):
        from closeup.web.review.app import ReviewConfig, make_review_app
        from closeup.web.review.data import photo_folders
        from closeup.web.run import Address, make_access_policy, serve_app
    access = make_access_policy("review", host, token, tuple(allow_host or ()))
    photos = Project(folder).read("photos", Photo)
    places = photo_folders(photos.rows if photos else ())[:MOST_PLACES]
    app = make_review_app(ReviewConfig(folder, access, who or login_name()))

    def announce(url: str) -> None:
        say(f"review {folder} at {url} (press Ctrl-C to stop; decisions are saved at once)")
        for place in places:
            say(f"photos: {place}")
        if browser:
            webbrowser.open(url)

    serve_app(app, Address(host, port), announce=announce)


def login_name() -> str:
    """The name of whoever runs this, ``"somebody"`` where the system knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without an entry, or without a name
        return os.environ.get("USER") or "somebody"
