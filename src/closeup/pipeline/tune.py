"""``--finetune``: train whole backbones, and use them like frozen ones where that is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import TrainConfig
from closeup.core.errors import UsageError
from closeup.core.progress import Progress, share
from closeup.dataset.folds import grouped_folds
from closeup.dataset.split import folds
from closeup.evaluate.compare import Candidate
from closeup.evaluate.predictions import Predictions
from closeup.learn import heads
from closeup.learn.finetune import (
    Diverged,
    FinetuneConfig,
    Finetuned,
    TrainingPart,
    closeups_of,
    finetune,
)
from closeup.networks import Network, find
from closeup.networks.convert.rebuild import require_origin
from closeup.pipeline.features import TrainingSet, features_stage
from closeup.pipeline.fit import Fit
from closeup.pipeline.search import is_plain
from closeup.pipeline.stages import Job
from closeup.pipeline.team import best_of

FOLDER = "finetune"


def check_tuning(config: TrainConfig) -> None:
    """Refuse what fine-tuning cannot do.

    Raises UsageError where the first backbone is a variant or joined, or the view is the whole
    photo alone; NetworkError where only the backbone's graph is here.
    """
    name = config.backbone[0]
    if not is_plain(name):
        raise UsageError(
            f"--finetune trains the first backbone, and {name} is not a plain one; name that first"
        )
    if config.view == ("photo",):
        raise UsageError("--finetune trains on close-ups; leave --view out")
    require_origin(find(name, "backbone"))


def tune(job: Job, data: TrainingSet, named: Sequence[Network], frozen: Fit) -> Fit:
    """Fine-tune on the training part; keep what answers best: frozen, fine-tuned, or together.

    They are compared by their answers for the folds that were held out while fine-tuning; all else
    is fitted to the predictions for them. What was decided, and why, is noted.

    - `named`: the backbones of the configuration. The first is trained; with the preset ``best``,
      so is each of the others where that is possible
    - `frozen`: the best without training, cross-validated on the same training part

    Raises UsageError and NetworkError as :func:`check_tuning`.
    """
    check_tuning(job.config.train)
    numbers = folds(data.side("train").examples)
    if frozen.predictions is None or not np.ptp(numbers):
        job.notes.append("nothing was fine-tuned: there are too few photos to hold any out and "
                         "see whether that helps; the backbone stays frozen")  # fmt: skip
        return frozen
    networks, tuned = _trainable(job, named), list[Fit]()
    for place, network in enumerate(networks):
        progress = share(job.progress, place, len(networks))
        try:
            found = _finetuned(job, data, network, numbers, progress)
        except Diverged as err:
            job.notes.append(f"{network.card.name} was not fine-tuned: {err}")
            continue
        tuned.append(_fit(job, data, network.card.name, found))
    if not tuned:
        job.notes[-1] += ". The frozen backbone was kept"
        return frozen
    return best_of(job, frozen, tuned, job.project.place(FOLDER))


def _trainable(job: Job, named: Sequence[Network]) -> list[Network]:
    """The first, which was checked; with ``best``, also those of the others that can be trained."""
    networks = list(named[:1])
    for network in named[1:] if job.config.train.preset == "best" else ():
        if is_plain(network.card.name) and network.weights is not None:
            networks.append(network)
        else:
            job.notes.append(f"{network.card.name} was not fine-tuned: that takes a plain "
                             "backbone which was made from PyTorch weights")  # fmt: skip
    return networks


def _finetuned(
    job: Job,
    data: TrainingSet,
    network: Network,
    numbers: NDArray[np.int64],
    progress: Progress,
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
            job.project.place(f"{FOLDER}/{network.card.name}"), progress=progress,
        )  # fmt: skip


def _fit(job: Job, data: TrainingSet, name: str, found: Finetuned) -> Fit:
    """The fine-tuned network of the backbone `name`, used like a frozen one."""
    split = job.config.split
    features = features_stage(job, data, found.network, "closeup")
    train = data.side("train").examples
    held = [train[row] for row in found.held]
    labels, groups = [e.label for e in held], [e.group for e in held]
    numbers = grouped_folds(labels, groups, split.folds, split.seed)
    return Fit(
        data,
        Candidate(name, "closeup", found.head.kind),
        found.network,
        features,
        heads.Fitted(found.head, found.log),
        Predictions(found.probabilities, found.head.labels, labels, groups),
        found.held,
        numbers,
        refits=False,
    )
