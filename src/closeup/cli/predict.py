"""``closeup predict``: a model's answers for files, folders and globs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import columns, print_json, progress_on_stderr, say, show
from closeup.core.errors import UsageError

if TYPE_CHECKING:
    from closeup.core.config import EngineConfig
    from closeup.model.prediction import Prediction

FEW = 4
"""Up to so many photos, the networks are opened for a quick first answer, not for throughput."""
STDOUT = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``closeup predict`` was asked for: where answers go, how often films are looked at."""

    json: bool
    csv: Path | None
    parquet: Path | None
    draw: Path | None
    overwrite: bool
    always: bool
    fps: float
    seconds: float

    @property
    def tables(self) -> list[Path]:
        """The tables that are written."""
        return [file for file in (self.csv, self.parquet) if file is not None]


@opt.takes("engine")
def predict(
    model: opt.ModelFolder,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH…", help="Photos, folders, globs; or films, cameras."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per photo.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the answers to this CSV file.")] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Write the answers to this Parquet file.")
    ] = None,
    draw: Annotated[Path | None, typer.Option(help="Save annotated photos to this folder.")] = None,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray",
            help="Answer for very many photos by Ray, into --out: PATH is one folder, pattern or "
            "list (CSV, Parquet), on a disk or a URL such as s3://bucket/photos.",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="With --ray: folder or URL for the answers; the same command again resumes.",
        ),
    ] = None,
    address: opt.Address = "local",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace existing files that are not earlier answers."),
    ] = False,
    always: Annotated[
        bool, typer.Option("--always", help="Always give the best guess, never 'unknown'.")
    ] = False,
    fps: Annotated[
        float, typer.Option(min=0, help="Frames a second to look at in a film; 0: every frame.")
    ] = 5.0,
    seconds: Annotated[
        float, typer.Option(min=0, help="Stop after so many seconds of a film or camera; 0: never.")
    ] = 0.0,
    **options: object,
) -> None:
    """Find the object in each photo and classify it; exit with code 1 if none can be answered.

    In films (clip.mp4) and cameras (rtsp://…, /dev/video0), an object gets one answer by a vote of
    the frames in which it is seen.
    """
    from closeup.cli.films import predict_films
    from closeup.core.config import EngineConfig, validated
    from closeup.model.card import read_card
    from closeup.photos.films import is_film

    config = validated(EngineConfig, options)
    if ray or out is not None:
        from closeup.cli.batch import predict_by_ray

        if csv or parquet or draw or not ray:
            raise UsageError("--ray and --out go together, without --csv, --parquet and --draw")
        predict_by_ray(model, paths, out, address, json=json, always=always, engine=config)
        return
    read_card(model)  # a wrong folder is reported before the photos are listed
    films = [path for path in paths if is_film(path)]
    if films and len(films) < len(paths):
        raise UsageError("films and photos have answers of different kinds; name them apart")
    wanted = Wanted(json, csv, parquet, draw, overwrite, always, fps, seconds)
    (predict_films if films else _predict_photos)(model, paths, wanted, config)


def _predict_photos(
    model: Path, paths: Sequence[str], wanted: Wanted, config: EngineConfig
) -> None:
    """Print or write the answers for photos; exit with 1 if none can be answered."""
    from closeup.core.progress import track
    from closeup.model import answers as tables
    from closeup.model.model import load_model
    from closeup.model.outputs import all_free, descriptor, names_for, require_free_table
    from closeup.photos.listing import list_paths

    files, draw = list_paths(paths), wanted.draw
    for target, is_ours in ((wanted.csv, tables.is_csv), (wanted.parquet, tables.is_parquet)):
        require_free_table(target, files, is_ours, overwrite=wanted.overwrite)
    drawn: list[Path] = []
    if draw is not None:
        if draw.resolve() in {folder.resolve() for folder in {file.parent for file in files}}:
            raise UsageError(f"--draw {draw} contains photos to classify; name another folder")
        drawn = [draw / name for name in names_for((file.stem for file in files), ".jpg")]
    all_free(drawn, tables.is_drawn, overwrite=wanted.overwrite)
    loaded = load_model(model, config, many=len(files) > FEW)
    if not loaded.card.detector:
        say("this model has no detector; it treats every photo as a close-up")
    answers: list[Prediction] = []
    with progress_on_stderr() as progress:
        stream = loaded.predict_many(files, always=wanted.always)
        for place, answer in enumerate(track(stream, "predict", len(files), progress)):
            answers.append(answer)
            if wanted.json:
                print_json(answer.to_dict())
            if drawn and not answer.error_code:
                tables.draw_prediction(answer, drawn[place])
    if wanted.csv is not None:
        tables.write_csv(answers, wanted.csv)
    if wanted.parquet is not None:
        tables.write_parquet(answers, wanted.parquet)
    if not wanted.json and STDOUT not in map(descriptor, wanted.tables):
        _print_table(answers)
    for written in filter(None, (*wanted.tables, draw)):
        say(f"written: {written}")
    if all(answer.error_code for answer in answers):
        raise typer.Exit(1)


def _print_table(answers: Sequence[Prediction]) -> None:
    """A line for each object; the photo's name comes last, where it can be as long as it is."""
    from closeup.model.prediction import attributes_in

    names = attributes_in(answers)
    rows = [["label", "confidence", "other guesses", "found as", *names, "photo"]]
    for answer in answers:
        if answer.error_code:
            blank = [""] * (len(names) + 3)
            rows.append(["error", *blank, f"{answer.photo}: {answer.error_message}"])
        elif not answer.objects:
            rows.append(["nothing found", *[""] * (len(names) + 3), answer.photo])
        for one in answer.objects:
            label = f"{one.label} ({one.reason})" if one.reason else one.label
            guesses = one.top[:1] if one.reason else one.top[1:2]
            others = ", ".join(f"{label} {p:.2f}" for label, p in guesses)
            found = f"{one.parent} {one.parent_score:.2f}" if answer.found else "(whole photo)"
            values = [f"{value} {p:.2f}" for _, value, p in one.attributes]
            values += [""] * (len(names) - len(values))
            rows.append([label, f"{one.confidence:.2f}", others, found, *values, answer.photo])
    show(*columns(rows))
    objects = Counter(one.label for answer in answers for one in answer.objects)
    if objects.total() > sum(bool(answer.objects) for answer in answers):
        counted = ", ".join(f"{label} {n}" for label, n in objects.most_common())
        show(f"{len(answers)} photos, {objects.total()} objects: {counted}")
