"""``--finetune``: train the whole backbone, and use it like a frozen one where that is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import TrainConfig
from closeup.core.errors import UsageError
from closeup.dataset.folds import grouped_folds
from closeup.dataset.split import folds
from closeup.evaluate.compare import Candidate
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import paired_difference
from closeup.learn import heads
from closeup.learn.finetune import (
    Diverged,
    FinetuneConfig,
    Finetuned,
    TrainingPart,
    closeups_of,
    finetune,
)
from closeup.networks import Network
from closeup.pipeline.features import TrainingSet, features_stage
from closeup.pipeline.fit import Fit, fit_candidate
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
    if config.view not in ((), ("closeup",)):
        raise UsageError("--finetune trains on close-ups alone; leave --view out")


def tune(job: Job, data: TrainingSet, network: Network, frozen: Fit | None = None) -> Fit:
    """Fine-tune on the training part; the frozen backbone's fit where that is not better.

    Both are compared by their answers for the folds that were held out while fine-tuning; all else
    is fitted to the fine-tuned predictions for them. What was decided, and why, is noted.

    - `frozen`: what to compare with, cross-validated on the same training part; None to fit the
      first of the configured heads on the backbone's close-ups

    Raises UsageError as :func:`check_tuning`.
    """
    config = job.config.train
    check_tuning(config)
    if config.compare_photo:
        job.notes.append(
            "close-ups were not compared with whole photos: that needs a frozen backbone"
        )
    numbers = folds(data.side("train").examples)
    if len(numbers) and not np.ptp(numbers):
        job.notes.append("nothing was fine-tuned: there are too few photos to hold any out and "
                         "see whether that helps; the backbone stays frozen")  # fmt: skip
        return frozen or _frozen(job, data, network, numbers)
    try:
        found = _finetuned(job, data, network, numbers)
    except Diverged as err:
        job.notes.append(f"{err}. The frozen backbone was kept")
        return frozen or _frozen(job, data, network, numbers)
    frozen = frozen or _frozen(job, data, network, numbers)
    tuned = _fit(job, data, found)
    return tuned if _is_better(job, tuned, frozen) else frozen


def _finetuned(
    job: Job, data: TrainingSet, network: Network, numbers: NDArray[np.int64]
) -> Finetuned:
    config, train = job.config.train, data.side("train")
    settings = {"seed": job.config.split.seed, "flip": config.flip,
                "threads": job.config.engine.threads}  # fmt: skip
    if config.epochs:
        settings["epochs"] = config.epochs
    part = TrainingPart(
        closeups_of(data.photo_of, train.crops), [e.label for e in train.examples], numbers
    )
    with job.timed("finetune"):
        return finetune(
            network, part, FinetuneConfig.model_validate(settings),
            job.project.place(FOLDER), progress=job.progress,
        )  # fmt: skip


def _fit(job: Job, data: TrainingSet, found: Finetuned) -> Fit:
    """The fine-tuned network, used like a frozen one."""
    config, split = job.config.train, job.config.split
    features = features_stage(job, data, found.network, "closeup")
    train = data.side("train").examples
    held = [train[row] for row in found.held]
    labels, groups = [e.label for e in held], [e.group for e in held]
    numbers = grouped_folds(labels, groups, split.folds, split.seed)
    return Fit(
        data,
        Candidate(config.backbone[0], "closeup", found.head.kind),
        found.network,
        features,
        heads.Fitted(found.head, found.log),
        Predictions(found.probabilities, found.head.labels, labels, groups),
        found.held,
        numbers,
        refits=False,
    )


def _frozen(job: Job, data: TrainingSet, network: Network, numbers: NDArray[np.int64]) -> Fit:
    """The first of the configured heads on the close-ups' embeddings as they are."""
    config = job.config.train
    head = config.head[0] if config.head else "ridge"
    features = features_stage(job, data, network, "closeup")
    candidate = Candidate(config.backbone[0], "closeup", head)
    with job.timed("train"):
        return fit_candidate(
            data, candidate, network, features, numbers, job.config.split.seed
        )[0]  # fmt: skip


def _is_better(job: Job, tuned: Fit, frozen: Fit) -> bool:
    """Whether `tuned` answers better for the close-ups that were held out while it was trained."""
    mine, other = tuned.predictions, frozen.predictions
    if mine is None or other is None:
        return False
    place = {int(row): number for number, row in enumerate(frozen.rows)}
    theirs = [other.labels[other.answer[place[int(row)]]] for row in tuned.rows]
    ours = [mine.labels[answer] for answer in mine.answer]
    seed = job.config.split.seed
    difference = paired_difference(mine.truth, theirs, ours, mine.groups, seed=seed)
    better = difference.delta.value > 0
    did, kept = ("helped", "fine-tuned") if better else ("did not help", "frozen")
    job.notes.append(
        f"fine-tuning {did}: on the {len(ours)} training close-ups that were held out, macro-F1 is "
        f"{difference.b:.3f} fine-tuned and {difference.a:.3f} frozen (difference "
        f"{difference.delta.value:+.3f}, 95 % interval {difference.delta.low:+.3f} to "
        f"{difference.delta.high:+.3f}); the {kept} backbone was kept"
    )
    return better
