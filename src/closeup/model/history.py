"""Every training of a project: what it was, what it answered, and its model as long as it is kept.

::

    history/
      in-use.json          {"number": 3}: the training whose model lies in model/
      3/training.json      the entry; written last, so an entry is whole or not there
      3/answers.parquet    every close-up with its answer, by content
      3/scores.json, 3/results.parquet, 3/model.json    as in the project and in model/
      files/SHA256         the files of the models, each once; ``files`` of a card names them

A project may come from a stranger: a model's files are checked by their hashes before they are put
to use, and no name leads out of the folders.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from closeup.core.errors import ModelError, ProjectError
from closeup.core.project import SCORES_FILE, Project, file_hash, key_of, write_atomically
from closeup.core.serialization import from_json, to_json
from closeup.core.tables import encode_table
from closeup.core.types import Result
from closeup.evaluate.against import Answered, Comparison
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.findings import Evaluation
from closeup.model.card import CARD_FILE, ModelCard, check_named, read_card
from closeup.model.parts import save_model

FOLDER = "history"
STORE = f"{FOLDER}/files"
IN_USE_FILE = f"{FOLDER}/in-use.json"
TRAINING_FILE = "training.json"
MODEL = "model"
_SHA = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Named:
    """How many photos, and the paths of the first few."""

    count: int = 0
    first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different from the training before.

    - `options`: ``section.name`` to its old and new value
    - `decisions`: kind to how many there were and are
    - `added`, `removed`, `relabelled`: photos that are used, by content: a renamed one is the same
    """

    options: Mapping[str, tuple[Any, Any]]
    decisions: Mapping[str, tuple[int, int]]
    added: Named = Named()
    removed: Named = Named()
    relabelled: Named = Named()

    def __str__(self) -> str:
        parts = [f"{name.split('.')[-1]} {_brief(old)} → {_brief(new)}"
                 for name, (old, new) in self.options.items()]  # fmt: skip
        for what in ("added", "removed", "relabelled"):
            named: Named = getattr(self, what)
            if named.count:
                parts.append(f"{named.count} photo{'s'[: named.count > 1]} {what}")
        decided = sum(new - old for old, new in self.decisions.values())
        if decided:
            parts.append(f"{decided:+d} decision{'s'[: abs(decided) > 1]}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a project.

    Attributes
    ----------
    number, date, closeup
        1, 2, 3 …; UTC as ISO 8601; the version of Closeup.
    key, model
        Of what went into it, and of what came out.
    options, decisions
        Every option by section; how many active decisions of each kind there were.
    changes
        Against the training before; None for the first.
    train, test
        Close-ups in each part.
    macro_f1, end_to_end, out_of_fold
        On the test part, there with missed detections as wrong, and in cross-validation; each None
        where it was not measured.
    seconds
        That the run took up to here.
    split, new_split
        Which split it is, and whether another one than that of the training before.
    same_test
        Whether its test photos are those of the training before.
    looks
        Trainings whose score on the test part of this split has been shown, this one included.
    against
        The comparison with the model that was in use; None where there was nothing to compare.
    used, why
        Whether it was put to use, and why or why not.
    restored
        When it was put to use by hand; ``""`` for never.
    """

    number: int
    date: str
    closeup: str
    key: str
    model: str
    options: Mapping[str, Mapping[str, Any]]
    decisions: Mapping[str, int]
    changes: Changes | None
    train: int
    test: int
    macro_f1: Interval | None
    end_to_end: Interval | None
    out_of_fold: Interval | None
    seconds: float
    split: str
    new_split: bool
    same_test: bool
    looks: int
    against: Comparison | None
    used: bool
    why: str
    restored: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """The trainings of a project in their order.

    - `in_use`: the number of the one whose model is in use; 0 for none
    - `restorable`: the numbers of those whose models are still kept
    - `damaged`: entries that cannot be read
    """

    trainings: tuple[Training, ...]
    in_use: int
    restorable: tuple[int, ...]
    damaged: tuple[str, ...] = ()

    def get(self, number: int) -> Training | None:
        """The training of this number."""
        return next((row for row in self.trainings if row.number == number), None)

    @property
    def used(self) -> Training | None:
        """The training whose model is in use."""
        return self.get(self.in_use)

    def with_key(self, key: str) -> Training | None:
        """The last training of this key."""
        return next((row for row in reversed(self.trainings) if row.key == key), None)

    @property
    def best(self) -> Training | None:
        """The training with the highest score out of fold, the first of equal ones."""
        scored = [(row.out_of_fold.value, -row.number, row) for row in self.trainings
                  if row.out_of_fold is not None]  # fmt: skip
        return max(scored, key=lambda item: item[:2])[2] if scored else None

    def to_json(self) -> dict[str, Any]:
        """The stable object of ``history --json`` (docs/formats.md)."""
        return {
            "in_use": self.in_use,
            "trainings": [
                {**to_json(row), "in_use": row.number == self.in_use,
                 "restorable": row.number in self.restorable}
                for row in self.trainings
            ],
        }  # fmt: skip


def read_history(project: Project) -> History:
    """The history of a project; an empty one where it has none yet.

    Raises ProjectError where a file of it leads outside the project.
    """
    folder = project.place(FOLDER)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = sorted(int(name) for name in names if _NUMBER.fullmatch(name))
    trainings, damaged = [], []
    for number in numbers:
        name = f"{FOLDER}/{number}/{TRAINING_FILE}"
        if not project.place(name).exists():
            continue  # a process was killed while it wrote this one
        try:
            training = from_json(Training, project.read_json(name))
            if training.number != number:
                raise ValueError
            trainings.append(training)
        except ValueError:
            damaged.append(name)
    pointer = (project.read_json(IN_USE_FILE) or {}).get("number")
    there = {row.number for row in trainings}
    in_use = pointer if isinstance(pointer, int) and pointer in there else 0
    kept = tuple(row.number for row in trainings if _is_kept(project, row.number))
    return History(tuple(trainings), in_use, kept, tuple(damaged))


def model_hash(card: ModelCard) -> str:
    """Changes with any file of a model but its card."""
    return key_of("model", 1, card.files)


def next_number(project: Project, past: History) -> int:
    """The number of the next training; that of a damaged entry is not used again."""
    taken = [row.number for row in past.trainings]
    taken += [int(name.split("/")[1]) for name in past.damaged]
    return max(taken, default=0) + 1


@dataclass(frozen=True)
class Outcome:
    """What a training gave: what was measured, and the model's card and `files` by name.

    A file is its contents, or the path of one that holds them and is never changed in place.
    """

    evaluation: Evaluation
    results: Sequence[Result]
    answers: Sequence[Answered]
    card: ModelCard
    files: Mapping[str, Any]


def write_training(project: Project, training: Training, outcome: Outcome) -> None:
    """Keep a training and its model; a process killed meanwhile leaves no entry.

    Raises ProjectError where something cannot be written.
    """
    for name, data in outcome.files.items():
        file = _stored(project, outcome.card.files[name])
        if not (file.is_file() and file_hash(file) == file.name):
            write_atomically(file, data)
    here, key = f"{FOLDER}/{training.number}", training.key
    # Without an entry, what lies here was left by a killed process.
    project.write_bytes(f"{here}/{CARD_FILE}", outcome.card.to_bytes())
    project.write_json(f"{here}/{SCORES_FILE}", to_json(outcome.evaluation))
    project.write_bytes(f"{here}/results.parquet", encode_table(Result, outcome.results, key, {}))
    answers = encode_table(Answered, outcome.answers, key, {})
    project.write_bytes(f"{here}/answers.parquet", answers)
    _write_entry(project, training)


def _write_entry(project: Project, training: Training) -> None:
    project.write_json(f"{FOLDER}/{training.number}/{TRAINING_FILE}", to_json(training))


def read_answers(project: Project, number: int) -> tuple[Answered, ...]:
    """What training `number` answered; empty where that is not kept.

    Raises ProjectError where the table is damaged.
    """
    table = project.read(f"{FOLDER}/{number}/answers", Answered)
    return table.rows if table else ()


def kept_card(project: Project, number: int) -> ModelCard:
    """The card of the model of training `number`.

    Raises ModelError where it is not there or damaged.
    """
    return read_card(project.place(f"{FOLDER}/{number}"))


def stored_file(project: Project, card: ModelCard, name: str) -> Any:
    """The path of one file of a kept model; raises ModelError where it is not there or changed."""
    file = _stored(project, card.files.get(name, ""))
    if not file.is_file() or file_hash(file) != file.name:
        raise ModelError(f"{file} is missing or has changed; train the model again")
    return file


def put_to_use(
    project: Project, training: Training, beside: Mapping[Any, bytes] | None = None
) -> None:
    """Make ``model/``, ``scores.json`` and ``results.parquet`` those of a training.

    The number is written first: whatever is killed after that is finished by the next command. All
    else is written under other names, and renamed together; `beside`, by path, likewise.

    Raises ModelError where the model is not kept or has changed, ProjectError where something
    cannot be written; then the model is as it was.
    """
    here = f"{FOLDER}/{training.number}"
    card = kept_card(project, training.number)
    check_named(project.place(here), card)
    files = {name: stored_file(project, card, name) for name in card.files}
    tables = {
        project.place(name): project.place(f"{here}/{name}").read_bytes()
        for name in (SCORES_FILE, "results.parquet")
    }
    project.write_json(IN_USE_FILE, {"number": training.number})
    save_model(project.place(MODEL), card, files, {**tables, **(beside or {})})


def mark_restored(project: Project, training: Training, date: str) -> None:
    """Say that a person chose a training, whose model is then kept for good."""
    _write_entry(project, replace(training, restored=date))


def mark_in_use(project: Project, number: int) -> None:
    """Say which training's model already lies in ``model/``."""
    project.write_json(IN_USE_FILE, {"number": number})


def prune(project: Project, keep: int) -> None:
    """Remove the models of old trainings, and what killed processes have left.

    Kept are those of the last `keep` trainings, the one in use, the best out of fold, and those
    that a person restored. The entries stay. What cannot be removed stays, too.
    """
    past = read_history(project)
    if not project.place(STORE).is_dir():
        return
    last = [row.number for row in past.trainings][-keep:] if keep else []
    chosen = {*last, past.in_use, *(row.number for row in past.trainings if row.restored)}
    if past.best is not None:
        chosen.add(past.best.number)
    needed: set[str] = set()
    for number in chosen & set(past.restorable):
        needed.update(kept_card(project, number).files.values())
    there = {path.name for path in project.place(STORE).iterdir()}
    for name in sorted(there - needed):
        with contextlib.suppress(OSError):
            (project.place(STORE) / name).unlink()
    entries = {str(row.number) for row in past.trainings}
    entries |= {name.split("/")[1] for name in past.damaged}
    left = {p.name for p in project.place(FOLDER).iterdir() if _NUMBER.fullmatch(p.name)}
    for name in left - entries:
        project.remove_folder(f"{FOLDER}/{name}")


def _is_kept(project: Project, number: int) -> bool:
    """Whether every file of its model is there; what is in them is checked when they are used."""
    try:
        card = kept_card(project, number)
        return all(_stored(project, sha).is_file() for sha in card.files.values())
    except ModelError:
        return False


def _stored(project: Project, sha: str) -> Any:
    if not _SHA.fullmatch(sha):
        raise ModelError(f"{project.folder / FOLDER} names a file by no hash; train again")
    return project.place(f"{STORE}/{sha}")


def _brief(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value)) or "default"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def choose(past: History, number: int, project: Project) -> Training:
    """The training to restore.

    Raises ProjectError where there is no such one or its model is no longer kept; names those that
    are.
    """
    training = past.get(number)
    if training is not None and number in past.restorable:
        return training
    kept = ", ".join(map(str, past.restorable)) or "none"
    what = (f"there is no training {number}" if training is None
            else f"the model of training {number} is no longer kept (see --keep)")  # fmt: skip
    raise ProjectError(f"{project.folder}: {what}; trainings that can be restored: {kept}")
