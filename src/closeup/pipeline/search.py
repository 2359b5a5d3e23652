"""Which backbone, view and head: candidates tried in the order of their cost.

``quick`` fits what is named as it is. ``balanced`` pools richer features from the same backbone
(``NAME@cov``) and tries them on the close-up, and on close-up and whole photo. ``best`` goes on
from there: all backbones joined, then larger pictures beside the small ones, then the middle of
each picture too, then a logistic head, each kept while it scores higher. Whatever the user names is
not changed. All choices are made by out-of-fold answers of the training part; the test part is not
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import TrainConfig, ViewName
from closeup.core.errors import DatasetError, UsageError
from closeup.core.progress import Progress, silent
from closeup.crops.view import View, views_of
from closeup.dataset.split import folds
from closeup.evaluate.compare import Candidate, Compared, pick
from closeup.networks import Network, find
from closeup.networks.join import SIGN
from closeup.networks.variants import has_feature_maps
from closeup.pipeline.features import Features, TrainingSet, features_stage
from closeup.pipeline.fit import Fit, fit_candidate
from closeup.pipeline.stages import Job

RICHER = "cov"
LOOKS = "zoom"
LARGER = 10 / 7
"""The larger input's side, as a multiple of the network's own (320 for 224), in steps of 32."""


def first_backbones(config: TrainConfig, progress: Progress = silent) -> list[Network]:
    """The backbones to begin with: those named, made richer where the preset says so and they can.

    Raises CloseupError where one cannot be had.
    """
    named = [find(name, "backbone", progress=progress) for name in config.backbone]
    return named if config.preset == "quick" else [_richer(network) for network in named]


def views_to_try(config: TrainConfig) -> tuple[ViewName, ...]:
    """The user's, or the preset's."""
    return config.view or (("closeup",) if config.preset == "quick" else ("closeup", "both"))


def views_to_embed(config: TrainConfig) -> tuple[View, ...]:
    """What a backbone has to be shown for all of :func:`views_to_try`."""
    wanted = [view for choice in views_to_try(config) for view in views_of(choice)]
    return tuple(dict.fromkeys(wanted))


def is_plain(name: str) -> bool:
    """Whether a backbone is neither a variant of one nor joined of several."""
    return "@" not in name and SIGN not in name


def _richer(network: Network) -> Network:
    """Its variant of richer features; itself where there is none, or the user chose a variant."""
    name = network.card.name
    if is_plain(name) and has_feature_maps(network):
        return find(f"{name}@{RICHER}", "backbone")
    return network


def search(job: Job, data: TrainingSet) -> tuple[Fit, list[Compared]]:
    """The fit of the chosen candidate, and all that were compared, in the order tried.

    Raises DatasetError where the training part is empty.
    """
    config = job.config.train
    numbers = folds(data.examples)
    if not len(numbers):
        raise DatasetError(
            "the training part holds no photo with a close-up; check the photos with "
            "`closeup scout`, or keep misses with `--on-miss photo`"
        )
    trial = _Trial(job, data, numbers)
    networks = first_backbones(config)
    heads = config.head or ("ridge",)
    rung = list(product((n.card.name for n in networks), views_to_try(config), heads))
    trial.run([Candidate(*three) for three in rung])
    if config.preset == "best" and trial.rows:
        for candidates in _rungs(config, trial, networks):
            trial.run([one for one in candidates if _can_be_had(job, one.backbone)])
    if not trial.rows:
        if len(rung) > 1:
            job.notes.append(
                "too few photos to compare backbones, views or heads: the first of each was chosen"
            )
        return trial.fits[0], []
    place, least = pick(trial.rows), min(row.work for row in trial.rows)
    return trial.fits[place], [
        replace(row, work=round(row.work / least, 2), picked=number == place)
        for number, row in enumerate(trial.rows)
    ]


def _rungs(
    config: TrainConfig, trial: _Trial, networks: Sequence[Network]
) -> Iterator[list[Candidate]]:
    """What to try next, each rung from the best so far."""
    names = [network.card.name for network in networks]
    if len(names) > 1:
        joined = SIGN.join(names)
        yield [replace(trial.winner, backbone=joined, view=view) for view in views_to_try(config)]
    if all(map(is_plain, config.backbone)):
        larger = [_larger(name) for name in trial.winner.backbone.split(SIGN)]
        joined = SIGN.join([trial.winner.backbone, *larger])
        yield [replace(trial.winner, backbone=joined)]
        looks = (_with(name, LOOKS) for name in trial.winner.backbone.split(SIGN))
        yield [replace(trial.winner, backbone=SIGN.join(looks))]
    if not config.head:
        yield [replace(trial.winner, head="logistic")]


def _can_be_had(job: Job, name: str) -> bool:
    """Whether this variant can be made; if not, the reason is noted."""
    try:
        find(name, "backbone")
    except UsageError as err:
        job.notes.append(f"not tried: {err}")
        return False
    return True


def _larger(name: str) -> str:
    """The variant of a backbone for larger pictures."""
    side = find(name, "backbone").card.input.width
    return _with(name, str(round(side * LARGER / 32) * 32))


def _with(name: str, word: str) -> str:
    """The variant of a backbone, or of one of its variants."""
    return f"{name}-{word}" if "@" in name else f"{name}@{word}"


@dataclass
class _Trial:
    """The candidates tried so far."""

    job: Job
    data: TrainingSet
    numbers: NDArray[np.int64]
    fits: dict[int, Fit] = field(default_factory=dict)
    rows: list[Compared] = field(default_factory=list)
    features: dict[tuple[str, ViewName], Features] = field(default_factory=dict)

    @property
    def winner(self) -> Candidate:
        """The best candidate so far."""
        return self.rows[pick(self.rows)].candidate

    def run(self, candidates: Sequence[Candidate]) -> None:
        """Embed what is needed, fit and cross-validate each."""
        self.job.progress("compare", 0, len(candidates))
        for place, candidate in enumerate(candidates):
            network = find(candidate.backbone, "backbone")
            mine = self._features(network, candidate.view)
            with self.job.timed("train"):
                fit, row = fit_candidate(
                    self.data, candidate, network, mine, self.numbers, self.job.config.split.seed
                )
            self.fits[len(self.fits) and len(self.rows)] = fit
            self.rows += [row] if row else []
            if self.rows:  # what was beaten need not be kept in memory
                self.fits = {pick(self.rows): self.fits[pick(self.rows)]}
            self.job.progress("compare", place + 1, len(candidates))

    def _features(self, network: Network, view: ViewName) -> Features:
        """The features of all close-ups; of training close-ups the augmented ones too."""
        found = self.features.get((network.card.name, view))
        if found is None:
            train = self.data.side("train")
            found = features_stage(self.job, self.data, network, view)
            more = [features_stage(self.job, train, network, view, View(number=number)).of
                    for number in range(1, self.job.config.train.augment + 1)]  # fmt: skip
            found = replace(found, augmented=tuple(more))
            self.features = {(network.card.name, view): found}
        return found
