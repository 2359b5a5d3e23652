"""The resolved configuration: frozen models, read from flags, then file, then defaults.

``closeup.toml`` in a project folder holds exactly :class:`RunConfig`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from closeup.core.errors import ProjectError, UsageError

CONFIG_FILE = "closeup.toml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PhotosConfig(_Section):
    """Where the photos are. `test` is the user's own test folder, ``""`` for a hold-out."""

    source: str
    test: str = ""
    max_pixels: int = Field(default=200_000_000, ge=1)


class DetectConfig(_Section):
    """How the object is looked for.

    `parent` names COCO-like categories of the detector, or is ``("any",)``. The default
    `threshold` is low on purpose: in labelled photos the object is known to be there, so a weak
    box of the right category beats none. `boxes` is a file of the user's own boxes, ``""`` for
    the detector's; where it is given, no detector is used unless one is named too.
    """

    detector: str = "d-fine-n"
    parent: tuple[str, ...] = ("any",)
    threshold: float = Field(default=0.05, ge=0, le=1)
    boxes: str = ""

    @model_validator(mode="before")
    @classmethod
    def _boxes_need_no_detector(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("boxes") and "detector" not in values:
            return {**values, "detector": ""}
        if isinstance(values, dict) and not values.get("boxes") and values.get("detector") == "":
            return {name: value for name, value in values.items() if name != "detector"}
        return values


class CropConfig(_Section):
    """How the close-up is cut: which box, padding as a share of the longer side, misses."""

    which: Literal["best", "largest", "all"] = "best"
    pad: float = Field(default=0.10, ge=0, le=4)
    on_miss: Literal["photo", "drop"] = "photo"
    quality: int = Field(default=95, ge=1, le=100)


class SplitConfig(_Section):
    """The hold-out: its share, its seed, and the folds of cross-validation in the training part.

    With `near_duplicates`, photos that show one picture (encoded anew, cropped, recoloured …) stay
    on one side; without, only byte-identical ones do.
    """

    near_duplicates: bool = True
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    folds: int = Field(default=5, ge=2, le=20)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)


def _names(value: Any) -> Any:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return tuple(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)]
"""Names, given as a sequence or with commas between them, each once."""
View = Literal["closeup", "photo", "both"]
Pad = Annotated[float, Field(ge=0, le=4)]
HeadKind = Literal["ridge", "logistic", "mlp", "prototype"]


class TrainConfig(_Section):
    """Backbone, what it looks at, and head; several of each are compared by cross-validation.

    `view` is the close-up, the whole photo, or both beside each other. `compare_photo` trains on
    the whole photos as well, to show whether cropping helps. `augment` is how many augmented views
    of each training close-up are learned from beside the plain one. `coverage` is the share of
    photos like the training ones that is to be answered, the others being "unknown"; 1 withholds
    none of them. `miss_rate` is how often the set of likely labels may lack the true one.

    `pads` are paddings of the close-up to compare by cross-validation; the model keeps that of the
    crop section.

    With `finetune` the whole backbone is trained, for so many `epochs` (0: as the recipe says), on
    mirrored close-ups too where `flip` allows it.
    """

    backbone: Names = ("dinov2-s",)
    view: Annotated[tuple[View, ...], BeforeValidator(_names), Field(min_length=1)] = ("closeup",)
    head: Annotated[tuple[HeadKind, ...], BeforeValidator(_names), Field(min_length=1)] = ("ridge",)
    compare_photo: bool = False
    pads: Annotated[tuple[Pad, ...], BeforeValidator(_names)] = ()
    finetune: bool = False
    epochs: int = Field(default=0, ge=0, le=1000)
    flip: bool = True
    augment: int = Field(default=0, ge=0, le=50)
    coverage: float = Field(default=0.95, gt=0, le=1)
    miss_rate: float = Field(default=0.1, gt=0, lt=1)


class ReportConfig(_Section):
    """What the report shows: with `explain`, what in the close-up the worst mistakes hang on."""

    explain: bool = False


class EngineConfig(_Section):
    """How graphs run."""

    engine: Literal["auto", "openvino", "onnxruntime"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int = Field(default=0, ge=0, le=1024, description="0: as many as the process may use")


class RunConfig(_Section):
    """Everything that decides a run's result."""

    photos: PhotosConfig
    detect: DetectConfig = DetectConfig()
    crop: CropConfig = CropConfig()
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    engine: EngineConfig = EngineConfig()
    report: ReportConfig = ReportConfig()


def resolve(flags: dict[str, dict[str, Any]], file: Path | None = None) -> RunConfig:
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
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as err:
        raise UsageError(_explain(err, file)) from err


def _explain(err: ValidationError, file: Path | None) -> str:
    first = err.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = f" (from the flags or {file})" if file is not None and file.exists() else ""
    return f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}{where}; see `closeup run --help`"


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    ProjectError
        Where the file is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf8"))
    except OSError as err:
        raise ProjectError(f"{file} cannot be read: {err.strerror or err}") from err
    except (ValueError, RecursionError) as err:
        raise ProjectError(f"{file} is not valid TOML: {err}; mend or delete it") from err


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML, every key written out."""
    return tomli_w.dumps(config.model_dump(mode="json"))
