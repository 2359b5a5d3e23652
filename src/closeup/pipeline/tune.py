"""``--finetune``: train the whole backbone, and use it like a frozen one where that is better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import TrainConfig
from closeup.core.errors import UsageError
from closeup.crops.view import views_of
from closeup.dataset.folds import grouped_folds
from closeup.dataset.split import folds
from closeup.evaluate.compare import Candidate
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import Difference, paired_difference
from closeup.learn import heads
from closeup.learn.finetune import (
    Diverged,
    FinetuneConfig,
    Finetuned,
    TrainingPart,
    closeups_of,
    finetune,
)
from closeup.learn.heads.head import Dense, softmax
from closeup.networks import Network, find
from closeup.networks.convert.rebuild import require_origin
from closeup.networks.join import SIGN, join
from closeup.pipeline.features import TrainingSet, features_stage
from closeup.pipeline.fit import Fit
from closeup.pipeline.stages import Job

FOLDER = "finetune"


def check_tuning(config: TrainConfig) -> None:
    """Refuse what fine-tuning cannot do.

    Raises UsageError where the first backbone is a variant or joined, or the view is the whole
    photo alone; NetworkError where only the backbone's graph is here.
    """
    name = config.backbone[0]
    if "@" in name or SIGN in name:
        raise UsageError(
            f"--finetune trains the first backbone, and {name} is not a plain one; name that first"
        )
    if config.view == ("photo",):
        raise UsageError("--finetune trains on close-ups; leave --view out")
    require_origin(find(name, "backbone"))


def tune(job: Job, data: TrainingSet, network: Network, frozen: Fit) -> Fit:
    """Fine-tune on the training part; keep what answers best: frozen, fine-tuned, or together.

    They are compared by their answers for the folds that were held out while fine-tuning; all else
    is fitted to the predictions for them. What was decided, and why, is noted.

    - `network`: the backbone to train
    - `frozen`: the best without training, cross-validated on the same training part

    Raises UsageError and NetworkError as :func:`check_tuning`.
    """
    check_tuning(job.config.train)
    numbers = folds(data.side("train").examples)
    if frozen.predictions is None or not np.ptp(numbers):
        job.notes.append("nothing was fine-tuned: there are too few photos to hold any out and "
                         "see whether that helps; the backbone stays frozen")  # fmt: skip
        return frozen
    try:
        found = _finetuned(job, data, network, numbers)
    except Diverged as err:
        job.notes.append(f"{err}. The frozen backbone was kept")
        return frozen
    return _best(job, frozen, _fit(job, data, found), found.log["members"])


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


def _best(job: Job, frozen: Fit, tuned: Fit, members: int) -> Fit:
    """What answers best for the close-ups that were held out while `tuned` was trained."""
    before = _on_rows(frozen, tuned.rows)
    assert tuned.predictions is not None
    found = {"fine-tuned": _compared(job, before, tuned.predictions)}
    linear = all(len(fit.fitted.head.layers) == 1 for fit in (frozen, tuned))
    if linear and frozen.candidate.view != "photo":
        together = _averaged(before, tuned.predictions, members)
        found["both together"] = _compared(job, before, together)
    best = max(found, key=lambda name: found[name].delta.value)
    helped = found[best].delta.value > 0
    told = [f"{name} {one.b:.3f} ({one.delta.value:+.3f}, 95 % interval {one.delta.low:+.3f} to "
            f"{one.delta.high:+.3f})" for name, one in found.items()]  # fmt: skip
    kept = {"fine-tuned": "the fine-tuned backbone was kept",
            "both together": "both were kept and answer together"}  # fmt: skip
    job.notes.append(
        f"fine-tuning {'helped' if helped else 'did not help'}: macro-F1 on the "
        f"{len(before.truth)} training close-ups that were held out is {found[best].a:.3f} frozen, "
        f"{', '.join(told)}; {kept[best] if helped else 'the frozen backbone was kept'}"
    )
    if not helped:
        return frozen
    return tuned if best == "fine-tuned" else _together(job, frozen, tuned, members)


def _on_rows(fit: Fit, rows: NDArray[np.int64]) -> Predictions:
    """The out-of-fold predictions of `fit` for some rows of the training part."""
    found = fit.predictions
    assert found is not None
    place = {int(row): number for number, row in enumerate(fit.rows)}
    mine = [place[int(row)] for row in rows]
    return Predictions(found.probabilities[mine], found.labels, [found.truth[i] for i in mine],
                       [found.groups[i] for i in mine])  # fmt: skip


def _averaged(frozen: Predictions, tuned: Predictions | None, members: int) -> Predictions:
    """The mean log-probability of all networks, of which `tuned` counts `members`."""
    assert tuned is not None
    one, other = (np.log(np.maximum(p.probabilities, 1e-30)) for p in (frozen, tuned))
    mean = softmax((one + members * other) / (1 + members))
    return Predictions(mean, tuned.labels, tuned.truth, tuned.groups)


def _compared(job: Job, before: Predictions, after: Predictions) -> Difference:
    one, other = ([p.labels[answer] for answer in p.answer] for p in (before, after))
    return paired_difference(after.truth, one, other, after.groups, seed=job.config.split.seed)


def _together(job: Job, frozen: Fit, tuned: Fit, members: int) -> Fit:
    """One network and one head that answer by the mean of the logits.

    That is the mean of the log-probabilities, but for what the softmax takes out again.
    """
    network = join((frozen.backbone, tuned.backbone), job.project.place(FOLDER))
    view = frozen.candidate.view
    features = features_stage(job, frozen.data, network, view)
    (one,), (other,) = frozen.fitted.head.layers, tuned.fitted.head.layers
    dim = sum(tuned.features.blocks)
    # Each view has the numbers of both; the fine-tuned head looks at the close-up alone.
    parts = np.split(one.weights, len(views_of(view)), axis=1)
    weights = [parts[0], members * other.weights]
    weights += [block for part in parts[1:]
                for block in (part, np.zeros((len(part), dim), np.float32))]  # fmt: skip
    total = 1 + members
    layer = Dense((np.concatenate(weights, axis=1) / total).astype(np.float32),
                  ((one.bias + members * other.bias) / total).astype(np.float32))  # fmt: skip
    labels = tuned.fitted.head.labels
    head = heads.Head("logistic", labels, (layer,), {**tuned.fitted.head.chosen})
    together = _averaged(_on_rows(frozen, tuned.rows), tuned.predictions, members)
    return replace(
        tuned,
        candidate=Candidate(network.card.name, view, head.kind),
        backbone=network,
        features=features,
        fitted=replace(tuned.fitted, head=head),
        predictions=together,
    )
