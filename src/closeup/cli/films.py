"""Films and cameras on the command line: ``closeup frames``, and ``closeup predict`` of a film."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import columns, print_json, progress_on_stderr, say, show
from closeup.core.errors import PhotosError, UsageError
from closeup.core.progress import silent

if TYPE_CHECKING:
    from closeup.cli.predict import Wanted
    from closeup.core.config import EngineConfig
    from closeup.core.types import Answer
    from closeup.model.model import Model
    from closeup.model.tracks import Track
    from closeup.model.video import Still

_PERIOD = re.compile(r"(\d+\.?\d*|\.\d+)\s*(ms|s|min)?")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, None: 1.0}


def _require_free(films: Sequence[str], wanted: Wanted) -> list[Path]:
    """The annotated films, one for each of `films`; raises UsageError as `require_free` does."""
    from closeup.model import answers as out
    from closeup.model.outputs import all_free, names_for, require_free_table
    from closeup.model.video import is_drawn_film

    originals = [Path(film) for film in films]
    for target, is_ours in (
        (wanted.csv, out.is_csv_of_tracks),
        (wanted.parquet, out.is_parquet_of_tracks),
    ):
        require_free_table(target, originals, is_ours, overwrite=wanted.overwrite)
    if wanted.draw is None:
        return []
    stems = (re.sub(r"[^\w.-]+", "-", film if "://" in film else Path(film).stem).strip("-")
             for film in films)  # fmt: skip
    drawn = [wanted.draw / name for name in names_for(stems, ".mp4")]
    taken = {file.resolve() for file in originals}
    if file := next((file for file in drawn if file.resolve() in taken), None):
        raise UsageError(f"{file} is one of the films to look at; name another folder for --draw")
    all_free(drawn, is_drawn_film, overwrite=wanted.overwrite)
    return drawn


def predict_films(folder: Path, films: Sequence[str], wanted: Wanted, config: EngineConfig) -> None:
    """Print or write an answer for each object of each film; exit with 1 if none can be read."""
    from closeup.model import answers as out
    from closeup.model.model import load_model
    from closeup.model.outputs import descriptor

    drawn = _require_free(films, wanted)
    model = load_model(folder, config)
    tracks: list[Track] = []
    errors: dict[str, str] = {}
    for place, name in enumerate(films):
        try:
            for track in _tracks(model, name, wanted, drawn[place] if drawn else None):
                tracks.append(track)
                if wanted.json:
                    print_json(track.to_dict())
        except PhotosError as err:
            errors[name] = str(err)
            say(f"closeup: {err}")
            if wanted.json:
                print_json({"film": name, "error": str(err)})
    if wanted.csv is not None:
        out.write_csv_of_tracks(tracks, errors, wanted.csv)
    if wanted.parquet is not None:
        out.write_parquet_of_tracks(tracks, errors, wanted.parquet)
    if not wanted.json and 1 not in map(descriptor, wanted.tables):
        _print_tracks(sorted(tracks, key=lambda one: (films.index(one.film), one.number)))
    for file in [*wanted.tables, *(file for file in drawn if file.exists())]:
        say(f"written: {file}")
    if errors.keys() >= set(films):
        raise typer.Exit(1)


def _tracks(model: Model, name: str, wanted: Wanted, drawn: Path | None) -> Iterator[Track]:
    """The tracks of one film, each as soon as it has ended; the film is drawn beside."""
    from closeup.model.video import Film, drawing, follow

    with ExitStack() as stack:
        film = stack.enter_context(Film(name))
        made = None if drawn is None else stack.enter_context(drawing(drawn, wanted.fps))
        length = min(film.seconds, wanted.seconds) if wanted.seconds else film.seconds
        if film.live:
            say(f"looking at {name}; Ctrl-C ends it")
        progress = silent if film.live else stack.enter_context(progress_on_stderr())

        def seen(still: Still, objects: list[tuple[Track, Answer]]) -> None:
            progress("film", min(math.ceil(still.time), math.floor(length)), math.ceil(length))
            if made is not None:
                made.add(still, objects)

        yield from follow(model, film, fps=wanted.fps, seconds=wanted.seconds,
                          always=wanted.always, seen=seen)  # fmt: skip
        if length:
            progress("film", math.ceil(length), math.ceil(length))
        if film.damaged:
            say(f"{name}: damaged in {film.damaged} places, which were left out")


def _print_tracks(tracks: Iterable[Track]) -> None:
    rows = [["object", "from", "to", "label", "frames", "confidence", "film"]]
    rows += [
        [str(one.number), clock(one.start), clock(one.end),
         f"{one.label} ({one.reason})" if one.reason else one.label,
         f"{one.votes} of {len(one.sightings)}", f"{one.confidence:.2f}", one.film]
        for one in tracks
    ]  # fmt: skip
    show(*(columns(rows) if len(rows) > 1 else ["no object found"]))


def clock(seconds: float) -> str:
    """Seconds as on a player's clock.

    >>> clock(3.25), clock(75), clock(3723)
    ('0:03.2', '1:15.0', '1:02:03.0')
    """
    minutes, rest = divmod(math.floor(seconds * 10) / 10, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def frames(
    films: Annotated[
        list[Path], typer.Argument(metavar="FILM…", help="Films, or folders of films per label.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the frames.")],
    every: Annotated[
        str, typer.Option(help="How far frames are apart, such as 2s, 500ms or 1min.")
    ] = "2s",
    label: Annotated[
        str, typer.Option(help="Label of every film; otherwise its folder's name.")
    ] = "",
    json: opt.Json = False,
) -> None:
    """Write frames of films as photos to train on, each film a group that no split divides."""
    from closeup.model.stills import films_below, write_frames

    found = _PERIOD.fullmatch(every.strip())
    period = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if period <= 0:
        raise UsageError(f"--every {every}: expected a time such as 2s, 500ms or 1min")
    with progress_on_stderr() as progress:
        done = write_frames(films_below(films, label), out, every=period, progress=progress)
    for film, why in done.failed.items():
        say(f"left out: {film}: {why}")
    if json:
        print_json({"folder": str(done.folder), "labels": done.labels, "films": done.films,
                    "failed": done.failed})  # fmt: skip
        return
    labels = ", ".join(f"{name} {n}" for name, n in done.labels.items())
    show(f"{sum(done.labels.values())} frames of {done.films} films ({labels}): {done.folder}")
    say(f"next: closeup run {shlex.quote(str(out))} --out PROJECT")
