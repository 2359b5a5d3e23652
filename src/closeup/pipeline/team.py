"""Frozen and fine-tuned backbones that answer together, as one network with one head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from closeup.core.text import enumerated
from closeup.crops.view import views_of
from closeup.evaluate.compare import Candidate
from closeup.evaluate.predictions import Predictions
from closeup.evaluate.scores import Difference, paired_difference
from closeup.learn import heads
from closeup.learn.finetune import mean_log
from closeup.learn.heads.head import Dense, softmax
from closeup.networks.join import join
from closeup.pipeline.features import features_stage
from closeup.pipeline.fit import Fit
from closeup.pipeline.stages import Job


@dataclass(frozen=True, eq=False)
class Team:
    """Fits that answer by the mean log-probability of their networks.

    - `fits`: the last is a fine-tuned one; the frozen one is the first, if it is among them
    - `name`: as it is told
    """

    fits: tuple[Fit, ...]
    name: str

    @property
    def weights(self) -> list[int]:
        """How many networks each fit counts as: those that were trained for it, a frozen one 1."""
        return [1 if fit.refits else fit.fitted.log["members"] for fit in self.fits]

    @cached_property
    def predictions(self) -> Predictions:
        """For the close-ups that were held out while fine-tuning."""
        every = [_on_rows(fit, self.fits[-1].rows) for fit in self.fits]
        logs = [np.log(np.maximum(one.probabilities, 1e-30)) for one in every]
        mean = np.average(logs, axis=0, weights=self.weights)
        return replace(every[-1], probabilities=softmax(mean))


def best_of(job: Job, frozen: Fit, tuned: Sequence[Fit], place: Path) -> Fit:
    """What answers best for the close-ups that were held out while fine-tuning, and note why.

    - `frozen`: the best without fine-tuning, cross-validated on the same training part
    - `tuned`: one or more, which held out the same close-ups
    - `place`: the folder for a network of several
    """
    before = _on_rows(frozen, tuned[0].rows)
    found = {team: _compared(job, before, team.predictions) for team in teams(frozen, tuned)}
    # Of equals, up to the order of summing, the smallest.
    best = max(found, key=lambda team: round(found[team].delta.value, 12))
    helped = round(found[best].delta.value, 12) > 0
    *_, largest = found
    told = [f"{found[team].b:.3f} {team.name}" for team in found
            if len(team.fits) == 1 or team in (best, largest)]  # fmt: skip
    told = [f"{found[best].a:.3f} frozen", *told]
    delta = found[best].delta
    gain = f"{delta.value:+.3f}, 95 % interval {delta.low:+.3f} to {delta.high:+.3f}"
    if not helped:
        kept = "the frozen backbone was kept"
        gain = f"best of the others {gain}" if len(found) > 1 else gain
    elif len(best.fits) > 1:
        kept = f"{best.name.removesuffix(' together')} were kept and answer together"
    else:
        kept = f"{'the fine-tuned backbone' if len(tuned) == 1 else best.name} was kept"
    job.notes.append(
        f"fine-tuning {'helped' if helped else 'did not help'}: macro-F1 on the "
        f"{len(before.truth)} training close-ups that were held out is {enumerated(told)}; "
        f"{kept} ({gain})"
    )
    return together(job, best, place) if helped else frozen


def teams(frozen: Fit, tuned: Sequence[Fit]) -> Iterator[Team]:
    """Whatever could answer instead of `frozen` alone, the smallest first and all of it last."""
    fits = list(tuned)
    names = [f"fine-tuned {fit.candidate.backbone}" for fit in tuned]
    if len(tuned) == 1:
        names = ["fine-tuned"]
    if frozen.candidate.view != "photo" and len(frozen.fitted.head.layers) == 1:
        fits, names = [frozen, *fits], ["frozen", *names]
    for count in range(1, len(fits) + 1):
        for places in combinations(range(len(fits)), count):
            team = tuple(fits[place] for place in places)
            if team[-1] is frozen:
                continue
            name = enumerated([names[place] for place in places])
            if count == len(fits) > 1:
                name = "all" if count > 2 else "both" if len(tuned) == 1 else name
            yield Team(team, f"{name} together" if count > 1 else name)


def together(job: Job, team: Team, place: Path) -> Fit:
    """One network and one head that answer by the mean of the logits.

    That is the mean of the log-probabilities, but for what the softmax takes out again.

    - `place`: the folder for the network
    """
    first, *others = team.fits
    if not others:
        return first
    network = join([fit.backbone for fit in team.fits], place)
    view = first.candidate.view
    features = features_stage(job, first.data, network, view)
    tuned, total = team.fits[-1], sum(team.weights)
    weights = [
        weight / total * _weights(fit, number)
        for number in range(len(views_of(view)))
        for fit, weight in zip(team.fits, team.weights, strict=True)
    ]
    bias = np.average([fit.fitted.head.layers[0].bias for fit in team.fits], axis=0,
                      weights=team.weights)  # fmt: skip
    layer = Dense(np.concatenate(weights, axis=1).astype(np.float32), bias.astype(np.float32))
    log = mean_log([fit.fitted.log for fit in team.fits if not fit.refits])
    if first.refits:
        log["frozen"] = first.candidate.backbone
    chosen = {"best_epoch": log["best_epoch"]}
    head = heads.Head("logistic", tuned.fitted.head.labels, (layer,), chosen)
    return replace(
        tuned,
        candidate=Candidate(network.card.name, view, head.kind),
        backbone=network,
        features=features,
        fitted=replace(tuned.fitted, head=head, log=log),
        predictions=team.predictions,
    )


def _weights(fit: Fit, number: int) -> NDArray[np.float32]:
    """Those for the view of this number; 0 for one that the fit does not see."""
    (layer,) = fit.fitted.head.layers
    parts = np.split(layer.weights, len(views_of(fit.candidate.view)), axis=1)
    return parts[number] if number < len(parts) else np.zeros_like(parts[0])


def _on_rows(fit: Fit, rows: NDArray[np.int64]) -> Predictions:
    """The predictions of `fit` for some of the rows of the training part that it held out."""
    found = fit.predictions
    assert found is not None
    place = {int(row): number for number, row in enumerate(fit.rows)}
    mine = [place[int(row)] for row in rows]
    return Predictions(found.probabilities[mine], found.labels, [found.truth[i] for i in mine],
                       [found.groups[i] for i in mine])  # fmt: skip


def _compared(job: Job, before: Predictions, after: Predictions) -> Difference:
    one, other = ([p.labels[answer] for answer in p.answer] for p in (before, after))
    return paired_difference(after.truth, one, other, after.groups, seed=job.config.split.seed)
