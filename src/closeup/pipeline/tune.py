"""``--finetune``: train the whole backbone on the training part, then use it like a frozen one."""

from __future__ import annotations

import numpy as np

from closeup.core.config import TrainConfig
from closeup.core.errors import UsageError
from closeup.dataset.folds import grouped_folds
from closeup.dataset.split import folds
from closeup.evaluate.compare import Candidate
from closeup.evaluate.predictions import Predictions
from closeup.learn import heads
from closeup.learn.finetune import FinetuneConfig, TrainingPart, closeups_of, finetune
from closeup.networks import Network
from closeup.pipeline.features import TrainingSet, features_stage
from closeup.pipeline.fit import Fit
from closeup.pipeline.stages import Job

FOLDER = "finetune"


def check_tuning(config: TrainConfig) -> None:
    """Refuse what fine-tuning cannot do.

    Raises UsageError where several backbones are named, a variant of one, or another view than the
    close-up.
    """
    name, *others = config.backbone
    if others or "@" in name:
        raise UsageError(
            f"--finetune trains one plain backbone, got {','.join(config.backbone)}; name one"
        )
    if config.view != ("closeup",):
        raise UsageError("--finetune trains on close-ups alone; leave --view out")


def tune(job: Job, data: TrainingSet, network: Network) -> Fit:
    """Fine-tune on the training part; one fold, held out, decides when to stop.

    Everything else is fitted to the predictions for that fold.

    Raises UsageError as :func:`check_tuning`.
    """
    config, split = job.config.train, job.config.split
    check_tuning(config)
    train = data.side("train")
    settings = {"seed": split.seed, "flip": config.flip, "threads": job.config.engine.threads}
    if config.epochs:
        settings["epochs"] = config.epochs
    part = TrainingPart(
        closeups_of(data.photo_of, train.crops),
        [example.label for example in train.examples],
        folds(train.examples),
    )
    with job.timed("finetune"):
        found = finetune(
            network, part, FinetuneConfig.model_validate(settings),
            job.project.place(FOLDER), progress=job.progress,
        )  # fmt: skip
    features = features_stage(job, data, found.network, "closeup")
    held = [train.examples[row] for row in found.held]
    labels, groups = [e.label for e in held], [e.group for e in held]
    numbers = np.zeros(0, np.int64)
    predictions = None
    if held:
        numbers = grouped_folds(labels, groups, split.folds, split.seed)
        if np.ptp(numbers):
            predictions = Predictions(found.probabilities, found.head.labels, labels, groups)
    if config.compare_photo:
        job.notes.append(
            "close-ups were not compared with whole photos: that needs a frozen backbone"
        )
    return Fit(
        data,
        Candidate(config.backbone[0], "closeup", found.head.kind),
        found.network,
        features,
        heads.Fitted(found.head, found.log),
        predictions,
        found.held,
        numbers,
        refits=False,
    )
