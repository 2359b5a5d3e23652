"""``--finetune``: train the whole backbone on the training part, then use it like a frozen one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import TrainConfig
from closeup.core.errors import UsageError
from closeup.core.project import Table
from closeup.core.types import Crop, Example, Photo
from closeup.dataset.folds import grouped_folds
from closeup.dataset.split import folds
from closeup.learn import heads
from closeup.learn.finetune import (
    FinetuneConfig,
    TrainingPart,
    closeups_of,
    finetune,
)
from closeup.networks import Network
from closeup.pipeline.features import Features, features_stage
from closeup.pipeline.stages import Job

FOLDER = "finetune"


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fine-tuned backbone with its head.

    Attributes
    ----------
    features
        Of all crops, by the fine-tuned backbone.
    rows, out_of_fold
        The training rows that were held out, ``(m,)``, and what was said of them, ``(m, k)``.
    folds
        ``(m,)`` folds among the held rows, groups kept whole.
    """

    network: Network
    features: Features
    fitted: heads.Fitted
    rows: NDArray[np.int64]
    out_of_fold: NDArray[np.float64]
    folds: NDArray[np.int64]


def check_tuning(config: TrainConfig) -> None:
    """Refuse what fine-tuning cannot do.

    Raises
    ------
    UsageError
        Where several backbones are named, a variant of one, or another view than the close-up.
    """
    name, *others = config.backbone
    if others or "@" in name:
        raise UsageError(
            f"--finetune trains one plain backbone, got {','.join(config.backbone)}; name one"
        )
    if config.view != ("closeup",):
        raise UsageError("--finetune looks at the close-up alone; leave --view out")


def tune(
    job: Job,
    photos: Table[Photo],
    crops: Sequence[Crop],
    used: Sequence[Example],
    network: Network,
) -> Tuned:
    """Fine-tune on the training part, one fold of which decides when to stop.

    Parameters
    ----------
    crops, used
        The close-ups of both parts and their examples, one for one.
    """  # fmt: skip
    config = job.config.train
    photo_of = {photo.id: photo for photo in photos.rows}
    pairs = [(c, e) for c, e in zip(crops, used, strict=True) if e.split == "train"]
    train = [example for _, example in pairs]
    settings = {"seed": job.config.split.seed, "flip": config.flip,
                "threads": job.config.engine.threads}  # fmt: skip
    if config.epochs:
        settings["epochs"] = config.epochs
    part = TrainingPart(
        closeups_of(photo_of, [crop for crop, _ in pairs]),
        [example.label for example in train],
        folds(train, job.config.split),
    )
    with job.timed("finetune"):
        found = finetune(
            network, part, FinetuneConfig.model_validate(settings),
            job.project.place(FOLDER), progress=job.progress,
        )  # fmt: skip
    features = features_stage(job, photos, crops, found.network, "closeup")
    held = [train[row] for row in found.held]
    numbers = np.zeros(0, np.int64)
    if held:
        numbers = grouped_folds([e.label for e in held], [e.group for e in held],
                                job.config.split.folds, job.config.split.seed)  # fmt: skip
    fitted = heads.Fitted(found.head, found.log)
    return Tuned(found.network, features, fitted, found.held, found.probabilities, numbers)
