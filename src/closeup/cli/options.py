"""Options that several commands share, each spelled and explained once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Which(StrEnum):
    best = "best"
    largest = "largest"
    all = "all"


class OnMiss(StrEnum):
    photo = "photo"
    drop = "drop"


class Engine(StrEnum):
    auto = "auto"
    openvino = "openvino"
    onnxruntime = "onnxruntime"


class Precision(StrEnum):
    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


PHOTOS_HELP = "A folder with one sub-folder per label, or a CSV or Parquet file with path,label."

Photos = Annotated[Path, typer.Argument(metavar="PHOTOS", help=PHOTOS_HELP, show_default=False)]
PhotosOrProject = Annotated[
    Path | None,
    typer.Argument(
        metavar="PHOTOS",
        help=PHOTOS_HELP + " Without it: those of the project at --out.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="The project folder. It remembers the options given.",
        show_default=False,
    ),
]  # fmt: skip
Test = Annotated[
    str | None,
    typer.Option(
        help="Your own test photos, labelled like PHOTOS; without it ('') 20 % are held out."
    ),
]
Parent = Annotated[
    str | None,
    typer.Option(help="Detector categories of the object, comma-separated, or 'any'. [any]"),
]
Detector = Annotated[
    str | None, typer.Option(help="Detector's name (`closeup models list`). [d-fine-n]")
]
Threshold = Annotated[
    float | None, typer.Option(help="Lowest detection score that counts, 0 to 1. [0.05]")
]
Boxes = Annotated[
    str | None,
    typer.Option(
        help="Your own boxes instead of a detector's: COCO JSON, YOLO folder or CSV; '' for the "
        "detector's. With --detector, the model finds by that."
    ),
]
WhichBox = Annotated[Which | None, typer.Option("--which", help="Which box of a photo. [best]")]
Pad = Annotated[
    float | None, typer.Option(help="Padding as a share of the box's longer side. [0.1]")
]
Miss = Annotated[
    OnMiss | None,
    typer.Option(
        "--on-miss", help="Where nothing is found: whole photo stands in, or drop. [photo]"
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of the split and the head. [0]")]
TestFraction = Annotated[
    float | None, typer.Option(help="Share of the photos held out as test part. [0.2]")
]
NearDuplicates = Annotated[
    bool | None,
    typer.Option(
        "--near-duplicates/--no-near-duplicates",
        help="Keep photos that show one picture on one side of the split. [yes]",
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        help="Backbone's name (`closeup models list`), or several with commas, to compare. A "
        "stronger form: NAME@stages-320-flip (more stages, pixels of its input, mirrored views). "
        "[dinov2-s]"
    ),
]
View = Annotated[
    str | None,
    typer.Option(
        help="What it looks at: closeup, photo (all of it), or both beside each other; several "
        "with commas are compared. [closeup]"
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        help="Head on the embeddings: ridge, logistic, mlp or prototype; several with commas are "
        "compared. [ridge]"
    ),
]
ComparePhoto = Annotated[
    bool | None,
    typer.Option(
        "--compare-photo/--no-compare-photo",
        help="Train on the whole photos too, to see whether cropping helps. [no]",
    ),
]
Pads = Annotated[
    str | None,
    typer.Option(
        "--compare-pads",
        help="Paddings to compare by cross-validation, with commas (0,0.25,0.5). [none]",
    ),
]
Finetune = Annotated[
    bool | None,
    typer.Option(
        "--finetune/--no-finetune",
        help="Train the whole backbone (needs closeup[torch]; minutes, not seconds). [no]",
    ),
]
Epochs = Annotated[
    int | None, typer.Option(help="Epochs of fine-tuning; 0: as the recipe says. [0]")
]
Flip = Annotated[
    bool | None,
    typer.Option(
        "--flip/--no-flip",
        help="Mirror close-ups while fine-tuning; not where text or sides matter. [yes]",
    ),
]
Augment = Annotated[
    int | None,
    typer.Option(help="Augmented views of each training close-up to learn from as well. [0]"),
]
Coverage = Annotated[
    float | None,
    typer.Option(
        help="Share of photos like the training ones to answer, the others being 'unknown'. [0.95]"
    ),
]
Explain = Annotated[
    bool | None,
    typer.Option(
        "--explain/--no-explain",
        help="Show in the report what the worst mistakes hang on, by covering parts. [no]",
    ),
]
EngineName = Annotated[
    Engine | None, typer.Option("--engine", help="What runs the networks. [auto]")
]
PrecisionName = Annotated[
    Precision | None, typer.Option("--precision", help="Arithmetic of the networks. [auto]")
]
Threads = Annotated[int | None, typer.Option(help="Processors to use; 0: all available. [0]")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

Host = Annotated[
    str, typer.Option(help="Where to listen; any but this machine itself needs --token.")
]
Token = Annotated[
    str,
    typer.Option(
        envvar="CLOSEUP_TOKEN",
        show_default=False,
        help="Secret that every request must show, 16 characters or more.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="A further host name to answer for, such as a proxy's; may be repeated."),
]
