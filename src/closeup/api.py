"""The verbs with plain keyword arguments: what ``closeup.run(...)`` and its siblings are.

The examples go on from ``closeup demo``, whose photos lie in ``closeup-demo/photos``, whose project
is ``closeup-demo/watches``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from closeup.core.config import (
    CONFIG_FILE,
    EngineConfig,
    Options,
    RunConfig,
    flag_of,
    option_fields,
    resolve,
)
from closeup.core.errors import UsageError
from closeup.core.progress import Progress, silent

if TYPE_CHECKING:
    from closeup.detect.scouting import Scouting
    from closeup.model.history import History
    from closeup.model.model import Model
    from closeup.photos.frames import Frame
    from closeup.pipeline.suggesting import SuggestResult
    from closeup.pipeline.verbs import CropResult
    from closeup.report.result import RunResult

    Photos = Path | str | Frame


def _did_you_mean(name: str) -> str:
    """The option that an unknown keyword may stand for, also by its name on the command line."""
    meant = {flag_of(one, field)[2:].replace("-", "_"): one
             for one, (_, field) in option_fields().items()}  # fmt: skip
    near = get_close_matches(name, meant, 1)
    return f" (did you mean {meant[near[0]]!r}?)" if near else ""


def settings(
    out: Path | None, options: Mapping[str, object], photos: Path | str | None = None
) -> RunConfig:
    """The resolved configuration: `options` over ``out/closeup.toml`` over the defaults.

    Parameters
    ----------
    options
        Any of :class:`~closeup.core.config.Options`; None means "not given".
    photos
        Where the photos are; None for those that the project remembers.

    Raises
    ------
    UsageError
        For an unknown option or a value out of range.
    """
    known = {name: where for name, where in option_fields().items() if name != "source"}
    flags: dict[str, dict[str, object]] = {}
    if photos is not None:
        if not str(photos):
            raise UsageError("the name of the photos' folder is empty; give PHOTOS")
        flags["photos"] = {"source": str(Path(photos).absolute())}
    for name, value in options.items():
        if name not in known:
            raise UsageError(
                f"unknown option {name!r}{_did_you_mean(name)}; known are "
                f"{', '.join(sorted(known))}"
            )
        if name in ("test", "boxes") and value:
            value = str(Path(str(value)).absolute())
        flags.setdefault(known[name][0], {})[name] = value
    file = out / CONFIG_FILE if out is not None else None
    if photos is None and (file is None or not file.exists()):
        raise UsageError(
            f"no photos are named and {out} is not a project that remembers any; give PHOTOS, a "
            "folder with one sub-folder per label"
        )
    return resolve(flags, file)


def scout(
    photos: Photos, *, sample: int = 0, progress: Progress = silent, **options: Unpack[Options]
) -> Scouting:
    """Which of the detector's categories are seen in these photos: which parent to choose.

    Parameters
    ----------
    photos
        As for :func:`run`.
    sample
        Look at this many photos, drawn evenly from the labels; 0 for all.
    options
        As on the command line (``closeup scout --help``).

    Raises
    ------
    UsageError
        For an unknown option or a value out of range.
    PhotosError
        Where there are no photos.
    NetworkError
        Where the detector cannot be had.

    Examples
    --------
    >>> found = closeup.scout("closeup-demo/photos", detector="nano-clock", sample=20)
    >>> found.recommended, found.coverage
    (('clock',), 1.0)
    """
    from closeup.pipeline import scout as verb

    if not isinstance(sample, int) or sample < 0:
        raise UsageError(f"sample: expected a number of photos, 0 for all, got {sample!r}")

    if isinstance(photos, str | Path):
        return verb(settings(None, options, photos), sample=sample, progress=progress)
    from closeup.pipeline.given import as_table

    with as_table(photos) as table:
        return verb(settings(None, options, table), sample=sample, progress=progress)


def crop(
    photos: Photos | None = None,
    *,
    out: Path | str,
    progress: Progress = silent,
    **options: Unpack[Options],
) -> CropResult:
    """Find the object in every photo and cut out the close-ups, without training.

    Parameters, and what is raised, as for :func:`run`; the options are those of ``closeup crop
    --help``. Training later goes on from here.

    Examples
    --------
    >>> result = closeup.crop("closeup-demo/photos", out="cut", parent="clock",
    ...                       detector="nano-clock")
    >>> result.counts.cropped, result.folder.name
    (200, 'crops')
    """
    from closeup.pipeline import crop as verb

    place = _place(photos, Path(out))
    return verb(settings(Path(out), options, place), Path(out), progress=progress)


def train(
    out: Path | str,
    *,
    restore: int = 0,
    new_split: bool = False,
    progress: Progress = silent,
    **options: Unpack[Options],
) -> RunResult:
    """Train on a project's close-ups; see ``closeup train --help``.

    The stages before it are brought up to date first, which costs nothing where they are.

    Parameters
    ----------
    restore
        The number of an earlier training: it is put to use again, with its options. 0 for none.

    Raises
    ------
    UsageError
        For options beside `restore`.
    ProjectError
        Where there is no training of this number, or its model is no longer kept.

    Examples
    --------
    >>> result = closeup.train("closeup-demo/watches", head="prototype")
    >>> result.training.number, result.training.changes.options
    (2, {'train.head': ([], ['prototype'])})
    """
    from closeup.pipeline import run as verb

    config = to_restore(Path(out), restore, options) if restore else settings(Path(out), options)
    return verb(config, Path(out), restore=restore, new_split=new_split, progress=progress)


def to_restore(out: Path, number: int, options: Mapping[str, object]) -> RunConfig:
    """The configuration with which a training is restored; `options` must all be None.

    Raises as :func:`train`.
    """
    from closeup.pipeline import restored_config

    if given := sorted(name for name, value in options.items() if value is not None):
        raise UsageError(
            f"a restored training brings its own options, got {', '.join(given)} as well; restore "
            "it first, then train again with them"
        )
    return restored_config(out, number)


def history(out: Path | str) -> History:
    """The trainings of a project, in their order.

    Raises ProjectError where `out` is not a project.

    Examples
    --------
    >>> trainings = closeup.history("closeup-demo/watches").trainings
    >>> trainings[0].number, trainings[0].test
    (1, 40)
    """
    from closeup.core.project import Project
    from closeup.model.history import read_history

    project = Project(Path(out))
    project.config()
    return read_history(project)


def run(
    photos: Photos | None = None,
    *,
    out: Path | str,
    new_split: bool = False,
    progress: Progress = silent,
    **options: Unpack[Options],
) -> RunResult:
    """The whole job, from labelled photos to a model and a report.

    Parameters
    ----------
    photos
        A folder with one sub-folder per label, a table (CSV, Parquet, JSON lines) with
        ``path,label``, or a data frame with these columns (pandas, polars), of which the project
        keeps a copy; None for those of the project `out`.
    out
        The project folder, made where it does not exist.
    new_split
        Draw anew which photos are tested; otherwise photos stay in their part of the split, as
        long as `seed`, `test_fraction` and `folds` are the same.
    options
        As on the command line (``closeup run --help``), such as ``parent="clock"``; what is not
        given comes from ``out/closeup.toml``, else it has its default.

    Raises
    ------
    UsageError
        For an unknown option or a value out of range.
    PhotosError
        Where there are no photos, or their labels cannot be told. A single photo that cannot be
        read is a row of the tables and a line of the report.
    DatasetError
        Where there are fewer than two labels.
    NetworkError
        Where a detector or backbone cannot be had.
    ProjectError
        Where `out` holds something else, or cannot be written.

    Examples
    --------
    >>> result = closeup.run("closeup-demo/photos", out="watches", parent="clock",
    ...                      detector="nano-clock", backbone="nano-embed")
    >>> result.counts.photos, result.counts.cropped
    (200, 200)
    >>> print(result.scores.macro_f1)  # on the test part, with its 95 % interval
    0.975 (0.906 to 1.000)
    >>> [check.code for check in result.checks if check.state == "issue"]
    ['CU103']
    """
    from closeup.pipeline import run as verb

    config = settings(Path(out), options, _place(photos, Path(out)))
    return verb(config, Path(out), new_split=new_split, progress=progress)


def suggest(
    out: Path | str,
    pool: Path | str | Iterable[Path | str],
    *,
    count: int = 100,
    progress: Progress = silent,
) -> SuggestResult:
    """Which photos of a pool without labels to label next.

    Parameters
    ----------
    pool
        A folder, photo or pattern, or several.
    count
        How many photos to name at most.

    Raises
    ------
    UsageError
        Where `count` is less than 1, or the project uses boxes of its own or every object.
    ProjectError
        Where `out` is no project, or has not been trained.

    Examples
    --------
    >>> found = closeup.suggest("closeup-demo/watches", "closeup-demo/fresh.jpg", count=5)
    >>> [Path(row.path).name for row in found.suggested]
    ['fresh.jpg']
    """
    from closeup.pipeline import suggest as verb

    several = [pool] if isinstance(pool, str | Path) else pool
    return verb(Path(out), several, count=count, progress=progress)


def _place(photos: Photos | None, out: Path) -> Path | str | None:
    """Where the photos are listed: a data frame is kept in the project."""
    if photos is None or isinstance(photos, str | Path):
        return photos
    from closeup.pipeline.given import keep

    return keep(photos, out)


def load(model: Path | str, *, engine: EngineConfig | None = None) -> Model:
    """Load a model folder; ``load(folder).predict(photo)`` answers for a photo.

    Parameters
    ----------
    model
        A model folder, such as ``watches/model``. ``hf:OWNER/NAME`` (or
        ``hf:OWNER/NAME@REVISION``) is a model on the hub, which is downloaded.
    engine
        How networks run; None for the defaults.

    Raises
    ------
    ModelError
        Where the folder is no model, damaged, or of a later format; the file is named.

    Examples
    --------
    >>> model = closeup.load("closeup-demo/watches/model")
    >>> model.labels
    ('Averlund', 'Brisandt', 'Corvelle', 'Dornwick', 'Estrame')
    >>> model.predict("closeup-demo/fresh.jpg").label
    'Averlund'
    """
    from closeup.model.fetch import model_at
    from closeup.model.model import load_model

    return load_model(model_at(model), engine)
