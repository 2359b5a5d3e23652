"""The `closeup` command: its verbs, its exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. The module of a verb is imported when
the verb is used, and heavy libraries where it needs them, so ``closeup --help`` is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from closeup._version import __version__
from closeup.cli.output import say
from closeup.core.errors import CloseupError, UsageError

INTERRUPTED = 130
VERBS = {
    "collect": ("collect", "Fetch photos from a list of web addresses."),
    "scout": ("scout", "Find out which parent category fits your photos."),
    "run": ("project", "Do the whole job: crop, train, report."),
    "crop": ("project", "Find the object in every photo and cut out the close-ups."),
    "train": ("project", "Train a classifier on a project's close-ups and measure it."),
    "report": ("project", "Bring a project up to date and rewrite its report."),
    "history": ("history", "List a project's trainings and their scores."),
    "predict": ("predict", "Classify photos with a model."),
    "embed": ("batch", "Embed the objects of very many photos, for search and clustering."),
    "frames": ("films", "Write frames of films as photos to train on."),
    "review": ("review", "Look through the close-ups in a browser and fix what is wrong."),
    "suggest": ("suggest", "Name the unlabelled photos that are best labelled next."),
    "serve": ("serve", "Serve a model over HTTP, with a web page to try it."),
    "export": ("export", "Write a project's photos, or its model, in another tool's format."),
    "demo": ("demo", "Run the whole job on sample photos, offline."),
    "doctor": ("doctor", "Show processors, engines, libraries and networks."),
    "models": ("models", "List, fetch, add and remove networks: detectors, backbones."),
}
"""The module of each verb, and what it does."""


def load(verb: str) -> Any:
    """The command of a verb, by importing its module."""
    module, summary = VERBS[verb]
    found = getattr(import_module(f"closeup.cli.{module}"), verb)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False, rich_markup_mode=None)
        found.command(verb)(function)
    command = typer.main.get_command(found)
    command.short_help = summary
    return command


class _Verbs(TyperGroup):
    """The verbs by name and summary; the one that is used is loaded."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for verb, (_, summary) in VERBS.items():
            self.add_command(TyperCommand(verb, short_help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        verb, _, rest = super().resolve_command(ctx, args)
        return verb, verb and load(verb), rest


app = typer.Typer(
    name="closeup",
    cls=_Verbs,
    help="Turn a few hundred labelled photos into a fine-grained image classifier.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"closeup {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app(prog_name="closeup")
    except CloseupError as err:
        say(f"closeup: {err}")
        for note in getattr(err, "__notes__", ()):
            say(note)
        sys.exit(2 if isinstance(err, UsageError) else 1)
    except SystemExit as done:
        if done.code == INTERRUPTED:  # typer has turned Ctrl-C into this, without a word
            say("closeup: interrupted; run the same command again to resume")
        raise
