"""``closeup predict``: a model's answers for files, folders and globs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say
from closeup.core.errors import UsageError
from closeup.core.text import visible

if TYPE_CHECKING:
    from rich.text import Text

    from closeup.core.types import Answer, Prediction


FEW = 4
"""Photos for which the networks are opened to answer soon instead of many a second."""


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Photos, folders or globs.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object per photo.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the answers to a CSV file.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write them to a Parquet file.")] = None,
    draw: Annotated[Path | None, typer.Option(help="Write annotated pictures here.")] = None,
    always: Annotated[
        bool, typer.Option("--always", help="Give the best guess, never 'unknown'.")
    ] = False,
    engine: opt.EngineName = None,
    precision: opt.PrecisionName = None,
    threads: opt.Threads = None,
) -> None:
    """Where is the object, and what is it? One answer per photo, broken ones included."""
    from closeup.core.config import EngineConfig
    from closeup.core.progress import track
    from closeup.model.answers import (
        draw_prediction,
        to_json,
        write_csv,
        write_parquet,
    )
    from closeup.model.card import read_card
    from closeup.model.model import load_model
    from closeup.photos.listing import list_paths

    given = {"engine": engine, "precision": precision, "threads": threads}
    config = EngineConfig.model_validate({k: v for k, v in given.items() if v is not None})
    read_card(model)  # a wrong folder is named before the photos are looked for
    files = list_paths(paths)
    for target in (csv, parquet):
        if target is not None:
            _check_target(target, files)
    loaded = load_model(model, config, many=len(files) > FEW)
    if not loaded.card.detector:
        say("this model has no detector: it takes every photo for a close-up")
    drawn = _names(files, draw) if draw is not None else []
    answers: list[Prediction] = []
    with progress_on_stderr() as progress:
        stream = loaded.predict_many(files, always=always)
        for place, answer in enumerate(track(stream, "predict", len(files), progress)):
            answers.append(answer)
            if json:
                print_json(to_json(answer))
            if draw is not None and not answer.error_code:
                draw_prediction(answer, draw / drawn[place])
    if csv is not None:
        write_csv(answers, csv)
    if parquet is not None:
        write_parquet(answers, parquet)
    if not json:
        _print_table(answers)
    for written in (csv, parquet, draw):
        if written is not None:
            say(f"written: {written}")


def _check_target(target: Path, files: list[Path]) -> None:
    """Refuse to write a table over a photo or a folder, before the work is done."""
    if str(target) == "-":
        raise UsageError("tables are written to a file; --json prints the answers")
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name a file in it")
    if target.exists() and any(file.exists() and file.samefile(target) for file in files):
        raise UsageError(f"{target} is one of the photos to predict on; name another file")


def _names(files: list[Path], folder: Path) -> list[str]:
    """A file name for each annotated picture; photos of one name in two folders stay apart."""
    held = folder.resolve()
    if any(parent.resolve() == held for parent in {file.parent for file in files}):
        raise UsageError(f"--draw {folder} holds photos to predict on; give another folder")
    taken: set[str] = set()
    names = []
    for file in files:
        name, number = f"{file.stem}.jpg", 1
        while name in taken:
            number += 1
            name = f"{file.stem}-{number}.jpg"
        taken.add(name)
        names.append(name)
    return names


def _print_table(answers: Iterable[Prediction]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "photo", "label", "confidence", "other guesses", "found as", box=None, pad_edge=False
    )
    for answer in answers:
        name = Text(visible(answer.photo), overflow="fold")
        if answer.error_code:
            table.add_row(
                name, Text(visible(f"error: {answer.error_message}"), style="red"), "", "", ""
            )
            continue
        if not answer.objects:
            table.add_row(name, Text("nothing found", style="yellow"), "", "", "")
        for one in answer.objects:
            guesses = one.top[:1] if one.reason else one.top[1:2]
            second = ", ".join(f"{label} {p:.2f}" for label, p in guesses)
            found = f"{one.parent} {one.parent_score:.2f}" if answer.found else "(whole photo)"
            table.add_row(
                name,
                _label(one),
                f"{one.confidence:.2f}",
                Text(visible(second)),
                Text(visible(found)),
            )
    Console(soft_wrap=False).print(table)


def _label(answer: Answer) -> Text:
    from rich.text import Text

    if answer.reason:
        return Text(visible(f"{answer.label} ({answer.reason})"), style="yellow")
    return Text(visible(answer.label))
