"""Every option of a run: its type, default, range, choices and help sentence.

The command line's options, the keywords of ``closeup.run(...)``, ``closeup.toml`` and the command
on the report are made from the models below. ``closeup.toml`` in a project folder holds exactly
:class:`RunConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from closeup.core.errors import UsageError
from closeup.core.toml import read_toml

CONFIG_FILE = "closeup.toml"
M = TypeVar("M", bound=BaseModel)


def _split(value: Any) -> Any:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return tuple(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


LIST = BeforeValidator(_split)
"""Several values, given as a sequence or as text with commas, each once."""
WhichBox = Literal["best", "largest", "all"]
OnMiss = Literal["photo", "drop"]
LabelsFrom = Literal["auto", "photos", "boxes"]
BoxesFrame = Literal["auto", "upright", "stored"]
ViewName = Literal["closeup", "photo", "both"]
Pad = Annotated[float, Field(ge=0, le=4)]
HeadKind = Literal["ridge", "logistic", "mlp", "prototype"]
Preset = Literal["quick", "balanced", "best"]
Engine = Literal["auto", "openvino", "onnxruntime"]
Precision = Literal["auto", "fp32", "bf16"]


def _option(default: Any, help: str, *, flag: str | None = None, **limits: Any) -> Any:
    """An option; `flag` is its name on the command line where it has another, ``""`` for none."""
    extra: dict[str, JsonValue] = {} if flag is None else {"flag": flag}
    return Field(default=default, description=help, json_schema_extra=extra, **limits)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PhotosConfig(_Section):
    """Where the photos are."""

    source: str = _option(
        ...,
        "A folder with one sub-folder per label, or a table (CSV, Parquet, JSON lines) with the "
        "columns path and label.",
        flag="",
    )
    test: str = _option(
        "", "Your own test photos, laid out like PHOTOS; '' holds out part of PHOTOS again."
    )
    ignore_split: bool = _option(
        False, "Draw a new split where folders called train, val and test, or a column, give one."
    )
    label_level: int = _option(
        0,
        "Which level of folders names the labels: 1 for PHOTOS/LABEL/…, 2 for PHOTOS/…/LABEL/…; "
        "0: find out.",
        ge=0,
        le=20,
    )
    attributes: Annotated[tuple[str, ...], LIST] = _option(
        (), "Columns of PHOTOS, a table, with further things to tell apart (strap,dial)."
    )
    max_pixels: int = _option(200_000_000, "Photos with more pixels are not read.", flag="", ge=1)


class DetectConfig(_Section):
    """How the object is found.

    The default `threshold` is low on purpose: in labelled photos the object is known to be there,
    so a weak box of the right category beats none. Where `boxes` are given, or written by
    `boxes_by`, no detector is used unless one is named too. A run without a `parent` chooses it, or
    with `boxes` accepts any.
    """

    detector: str = _option(
        "d-fine-n", "Detector that finds the object (see `closeup models list`)."
    )
    parent: Annotated[tuple[str, ...], LIST] = _option(
        (),
        "Parent category: what the detector calls your object ('clock' for a watch), A,B or 'any'; "
        "for a detector of any words, the words. By default what `closeup scout` recommends for a "
        "sample of the photos ('': anew).",
    )
    threshold: float = _option(0.05, "Lowest detection score to accept.", ge=0, le=1)
    boxes: str = _option(
        "",
        "Your own boxes instead of the detector's, in any common format; '' goes back to the "
        "detector. With --detector, the model uses that detector on new photos.",
    )
    boxes_frame: BoxesFrame = _option(
        "auto", "Were --boxes drawn on upright photos, or as stored (EXIF ignored)? auto: by size."
    )
    labels_from: LabelsFrom = _option(
        "auto", "What has the labels: photos, or boxes, each then an example; auto asks photos."
    )
    boxes_by: str = _option(
        "",
        "A detector that only runs in PyTorch (grounding-dino): it writes boxes for the words of "
        "--parent once, which are then used like your own; '' goes back to the detector.",
    )

    @model_validator(mode="before")
    @classmethod
    def _boxes_need_no_detector(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = values.get("boxes") or values.get("boxes_by")
        if given and "detector" not in values:
            return {**values, "detector": ""}
        if not given and values.get("detector") == "":
            return {name: value for name, value in values.items() if name != "detector"}
        return values

    @property
    def has_boxes(self) -> bool:
        """Whether the boxes of the photos come from a file, not from the detector."""
        return bool(self.boxes or self.boxes_by)


class CropConfig(_Section):
    """How the close-up is cut out.

    `min_size` is off by default: how few pixels are too few depends on the photos. A pencil that is
    12 pixels wide, or an apple in a photo of 64 pixels, is found rightly. The check CU203 names the
    small ones.
    """

    which: WhichBox = _option("best", "Which box of a photo to use.")
    pad: Pad = _option(0.1, "Padding around the box, as a fraction of its longer side.")
    on_miss: OnMiss = _option("photo", "If no object is found, use the whole photo or drop it.")
    min_size: int = _option(
        0,
        "Smallest box to accept: pixels of its shorter side. A smaller one counts as not found; "
        "0: any.",
        ge=0,
        le=16_384,
    )
    quality: int = _option(95, "JPEG quality of the close-ups.", flag="", ge=1, le=100)


class SplitConfig(_Section):
    """The hold-out, and the folds of cross-validation in the training part.

    Without `near_duplicates`, only byte-identical photos are kept on one side.
    """

    near_duplicates: bool = _option(
        True,
        "Keep near duplicates (re-encoded, cropped, recoloured) in the same part of the split.",
    )
    test_fraction: float = _option(0.2, "Fraction of the photos held out for testing.", gt=0, lt=1)
    folds: int = _option(5, "Cross-validation folds in the training part.", flag="", ge=2, le=20)
    seed: int = _option(0, "Random seed of the split and the head.", ge=0, le=2**31 - 1)


class TrainConfig(_Section):
    """Backbone, view and head; several of each are compared by cross-validation.

    The `preset` chooses what is left open, see :mod:`closeup.pipeline.search`.

    The model keeps the padding of the crop section, whatever `pads` are compared. A `coverage` of
    1 withholds no answer. With an `accuracy`, `coverage` only decides which photos are too unlike
    the training photos.
    """

    preset: Preset = _option(
        "balanced",
        "How much time to spend on a good model: quick (the backbone as it is), balanced (richer "
        "features, close-up and whole photo) or best (also larger input, its middle, and several "
        "backbones joined). What --backbone, --view and --head name is left to you.",
    )
    backbone: Annotated[tuple[str, ...], LIST] = _option(
        ("dinov2-s",),
        "Backbone that turns close-ups into embeddings (see `closeup models list`). Several, "
        "separated by commas, are compared, and joined by --preset best. NAME@cov-320-flip is a "
        "variant (covariances of all stages, input of 320 pixels, mirrored views), NAME+OTHER is "
        "two joined; both are used as they are.",
        min_length=1,
    )
    view: Annotated[tuple[ViewName, ...], LIST] = _option(
        (),
        "What the backbone sees: closeup, photo (the whole photo) or both. Several, separated by "
        "commas, are compared. By default the preset decides.",
    )
    head: Annotated[tuple[HeadKind, ...], LIST] = _option(
        (),
        "Classifier to train on the embeddings: ridge, logistic, mlp or prototype. Several, "
        "separated by commas, are compared. By default ridge.",
    )
    compare_photo: bool = _option(False, "Also train on whole photos, to measure what crops gain.")
    pads: Annotated[tuple[Pad, ...], LIST] = _option(
        (),
        "Paddings to compare by cross-validation, separated by commas (0,0.25,0.5).",
        flag="--compare-pads",
    )
    finetune: bool = _option(
        False, "Fine-tune the first backbone, all with --preset best (extra torch; takes minutes)."
    )
    epochs: int = _option(0, "Epochs of fine-tuning; 0: the default.", ge=0, le=1000)
    flip: bool = _option(
        True, "Mirror close-ups while fine-tuning; turn it off if text or left and right matter."
    )
    augment: int = _option(0, "Augmented copies of each training close-up to use.", ge=0, le=50)
    coverage: float = _option(
        0.95,
        "Fraction of photos, of the kind trained on, that get an answer rather than 'unknown'.",
        gt=0,
        le=1,
    )
    accuracy: float = _option(
        0.0,
        "How often the answers that are given should be right (0.95); less certain ones become "
        "'unknown'. Replaces --coverage; 0: off.",
        ge=0,
        lt=1,
    )
    miss_rate: float = _option(
        0.1, "How often the set of likely labels may miss the true one.", flag="", gt=0, lt=1
    )


class HistoryConfig(_Section):
    """What is kept of earlier trainings: of each its entry, of the last `keep` the model too.

    The models in use, the best by out-of-fold answers and any restored one are always kept.
    """

    keep: int = _option(10, "Earlier models to keep for --restore.", ge=0, le=1_000_000)


class ReportConfig(_Section):
    """What the report shows."""

    explain: bool = _option(
        False, "Show in the report which parts of a close-up led to the worst mistakes."
    )


class EngineConfig(_Section):
    """How networks run."""

    engine: Engine = _option("auto", "Inference engine that runs the networks.")
    precision: Precision = _option("auto", "Numerical precision of the networks.")
    threads: int = _option(0, "Processors to use; 0: all available.", ge=0, le=1024)


class RunConfig(_Section):
    """Everything that decides a run's result."""

    photos: PhotosConfig
    detect: DetectConfig = DetectConfig()
    crop: CropConfig = CropConfig()
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    engine: EngineConfig = EngineConfig()
    history: HistoryConfig = HistoryConfig()
    report: ReportConfig = ReportConfig()


class Options(TypedDict, total=False):
    """The options as keywords of the Python API.

    A static signature cannot be made from the models, so names and types stand here once more; a
    test compares them.
    """

    test: str | Path
    ignore_split: bool
    label_level: int
    attributes: str | Sequence[str]
    max_pixels: int
    detector: str
    parent: str | Sequence[str]
    threshold: float
    boxes: str | Path
    boxes_frame: BoxesFrame
    labels_from: LabelsFrom
    boxes_by: str
    which: WhichBox
    pad: float
    on_miss: OnMiss
    min_size: int
    quality: int
    near_duplicates: bool
    test_fraction: float
    folds: int
    seed: int
    preset: Preset
    backbone: str | Sequence[str]
    view: str | Sequence[ViewName]
    head: str | Sequence[HeadKind]
    compare_photo: bool
    pads: str | Sequence[float]
    finetune: bool
    epochs: int
    flip: bool
    augment: int
    coverage: float
    accuracy: float
    miss_rate: float
    engine: Engine
    precision: Precision
    threads: int
    keep: int
    explain: bool


def option_fields() -> dict[str, tuple[str, FieldInfo]]:
    """The section and the field of every option, by the option's name."""
    return {
        name: (section, field)
        for section, model in RunConfig.model_fields.items()
        for name, field in model.annotation.model_fields.items()  # type: ignore[union-attr]
    }


def flag_of(name: str, field: FieldInfo) -> str:
    """An option as on the command line, ``--on-miss``; ``""`` where it has no flag."""
    extra = field.json_schema_extra
    own = extra.get("flag") if isinstance(extra, dict) else None
    return f"--{name.replace('_', '-')}" if own is None else str(own)


def validated(kind: type[M], values: Mapping[str, object], file: Path | None = None) -> M:
    """The configuration, or a section of it; a value of None means "not given".

    Parameters
    ----------
    file
        Where values may come from as well, for the message.

    Raises
    ------
    UsageError
        Naming the key and what was expected of it.
    """
    try:
        return kind.model_validate({k: v for k, v in values.items() if v is not None})
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(part for part in first["loc"] if isinstance(part, str))
        where = f" (from the flags or {file})" if file is not None and file.exists() else ""
        raise UsageError(
            f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}{where}; see `closeup run --help`"
        ) from err


def resolve(flags: Mapping[str, Mapping[str, object]], file: Path | None = None) -> RunConfig:
    """The configuration from flags over `file` over defaults.

    Parameters
    ----------
    flags
        ``{section: {key: value}}``; a value of None means "not given".
    file
        A ``closeup.toml``; None or a path that does not exist counts as empty.

    Raises
    ------
    UsageError
        Naming the key and what was expected of it.
    """
    merged: dict[str, Any] = read_toml(file) if file is not None and file.exists() else {}
    for section, values in flags.items():
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            before = merged.get(section, {})
            merged[section] = {**before, **given} if isinstance(before, dict) else before
    return validated(RunConfig, merged, file)


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML, every key written out."""
    return tomli_w.dumps(config.model_dump(mode="json"))
