"""Very many photos by Ray: ``closeup predict --ray``, ``closeup crop --ray``, ``closeup embed``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say, show
from closeup.core.config import EngineConfig, TrainConfig, ViewName
from closeup.core.errors import UsageError

if TYPE_CHECKING:
    from closeup.batch import Summary

_MOST_LABELS = 20


def predict_by_ray(
    model: Path,
    paths: Sequence[str],
    out: str | None,
    address: str,
    *,
    json: bool,
    always: bool,
    engine: EngineConfig,
) -> None:
    """Run it and print the summary; exit with code 1 where photos are left without an answer."""
    from closeup.batch import predict

    if not out:
        raise UsageError("--ray needs --out DIR, a folder for the answers")
    if len(paths) != 1:
        raise UsageError("--ray takes one folder, pattern (in quotes) or list of photos")

    def verb(**more: Any) -> Summary:
        return predict(model, paths[0], out=out, always=always, engine=engine, **more)

    _run(verb, out, address, json)


def crop_by_ray(
    photos: str | None, out: str, address: str, json: bool, options: Mapping[str, Any]
) -> None:
    """``closeup crop --ray``; as :func:`predict_by_ray`."""
    from closeup.batch import crop

    if photos is None:
        raise UsageError("--ray needs PHOTOS: a folder, pattern (in quotes) or list of photos")
    _run(lambda **more: crop(photos, out=out, **options, **more), out, address, json)


@opt.takes("detect.detector", "detect.threshold", "crop", "engine")
def embed(
    photos: Annotated[
        str,
        typer.Argument(
            metavar="PHOTOS",
            help="A folder, pattern (in quotes) or list (CSV, Parquet) of photos, on a disk or a "
            "URL such as s3://bucket/photos.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="DIR", show_default=False,
            help="Folder or URL for the embeddings; the same command again resumes.",
        ),
    ],
    parent: Annotated[
        str,
        typer.Option(
            help="Parent category: what the detector calls your object ('clock' for a watch), A,B "
            "or 'any'; for a detector of any words, the words.",
            show_default=False,
        ),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            help="Backbone that makes the embeddings (see `closeup models list`), a variant of one "
            "(NAME@cov), or two joined (NAME+OTHER)."
        ),
    ] = TrainConfig.model_fields["backbone"].default[0],
    view: Annotated[
        ViewName, typer.Option(help="What the backbone sees: closeup, photo (all of it) or both.")
    ] = "closeup",
    json: opt.Json = False,
    address: opt.Address = "local",
    **options: Any,
) -> None:  # fmt: skip
    """Find the object in each of very many photos and embed its close-up, by Ray.

    Each row of the Parquet files has a box, its score and the close-up's embedding: for searching,
    clustering, or finding photos that are like each other. No labels are needed.
    """
    from closeup.batch import embed as verb

    options |= {"parent": parent, "backbone": backbone, "view": view}
    _run(lambda **more: verb(photos, out=out, **options, **more), out, address, json)


def _run(verb: Callable[..., Summary], out: str, address: str, json: bool) -> None:
    """Run it and print the summary; exit with code 1 where photos are left, or none can be read."""
    from closeup.batch.parts import UNREADABLE
    from closeup.core.serialization import to_json

    # Ray prints lines of its own, such as that a node is lost, among what a program would read.
    with redirect_stdout(sys.stderr), progress_on_stderr() as progress:
        found = verb(address=address, progress=progress, notice=say)
    if json:
        print_json(to_json(found))
    else:
        show(*_lines(found))
    say(f"written: {out}/answers ({found.photos:,} photos)")
    if found.left:
        say(f"{found.left:,} photos have no answer yet: {found.failures[0]}; run the same command "
            "again")  # fmt: skip
    if found.left or set(found.counts) == {UNREADABLE}:
        raise typer.Exit(1)


def _lines(found: Summary) -> Iterator[str]:
    """What the run did, then how many objects have each label and what changed."""
    rate = f" at {found.answered / found.seconds:.1f} a second" if found.answered else ""
    yield (f"{found.listed:,} photos: {found.answered:,} answered now{rate}, "
           f"{found.known:,} before")  # fmt: skip
    changes = found.changes if found.before else {}
    for label, count in list(found.counts.items())[:_MOST_LABELS]:
        since = f"  ({changes[label]:+,})" if label in changes else ""
        yield f"{count:>12,}  {label}{since}"
    if (more := len(found.counts) - _MOST_LABELS) > 0:
        yield f"{'':>12}  and {more} more labels"
