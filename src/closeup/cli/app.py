"""The `closeup` command: its verbs, its exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Heavy modules are imported by the
verb that needs them, so ``closeup --help`` is quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from closeup._version import __version__
from closeup.cli import (
    demo,
    doctor,
    models,
    predict,
    project,
    review,
    serve,
)
from closeup.cli.output import say
from closeup.core.errors import CloseupError, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="closeup",
    help="Turn a small pile of labelled photos into a fine-grained image classifier.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("scout")(project.scout)
app.command("run")(project.run)
app.command("crop")(project.crop)
app.command("train")(project.train)
app.command("report")(project.report)
app.command("predict")(predict.predict)
app.command("review")(review.review)
app.command("serve")(serve.serve)
app.add_typer(models.app, name="models")
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


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
    except UsageError as err:
        say(f"closeup: {err}")
        sys.exit(2)
    except CloseupError as err:
        say(f"closeup: {err}")
        sys.exit(1)
    except SystemExit as done:
        if done.code == INTERRUPTED:  # typer has turned Ctrl-C into this, without a word
            say("closeup: interrupted; run the same command again to go on from here")
        raise
