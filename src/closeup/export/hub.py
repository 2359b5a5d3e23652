"""A model folder as a hub wants it: with a model card that says what was measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.errors import NetworkError, UsageError
from closeup.core.serialization import from_json
from closeup.core.text import markdown
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.rights import RightsCount
from closeup.evaluate.scores import Scores
from closeup.export.folder import files_in
from closeup.model.card import CARD_FILE, ModelCard, check_files, read_card
from closeup.model.parts import read_parts
from closeup.networks.card import Card
from closeup.networks.names import HUB
from closeup.report.attribution import ATTRIBUTION_FILE

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

README = "README.md"
OTHER, UNKNOWN = "other", "unknown"
_LICENCES = frozenset({
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-4.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "gpl-3.0", "agpl-3.0", UNKNOWN,
})  # fmt: skip
"""Licences by the hub's names for them; others it knows as ``other``."""


def write_hub_folder(
    source: Path, card: ModelCard, folder: Path, name: str, rights: RightsCount | None = None
) -> None:
    """The files of a model and a README.md, the model card.

    `name` is what to call it: ``OWNER/NAME`` where its repository is known already. `rights` are
    those of the training photos, None where nothing is known of them. Raises ModelError where the
    model's parts do not fit its card.
    """
    for file in (CARD_FILE, *card.files):
        place = folder / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, place)
    parts = read_parts(source, card)
    networks = {"detector": parts.detector, "backbone": parts.backbone}
    cards = {role: network.card for role, network in networks.items() if network is not None}
    (folder / README).write_text(_readme(card, cards, name, rights), encoding="utf8", newline="")


def _readme(
    card: ModelCard, networks: dict[str, Card], title: str, rights: RightsCount | None
) -> str:
    try:
        scores = from_json(Scores, card.scores) if card.scores else None
    except ValueError:
        scores = None  # an earlier version's, which stay in model.json
    repo, name = title if "/" in title else "", title.rpartition("/")[2]
    head = _header(card, networks, scores, name).to_yaml()
    blocks = [f"---\n{head}\n---\n\n# {markdown(name)}\n", _about(card), _example(repo)]
    blocks += _measured(scores) if scores else ["## Scores\n\nNo photos were held out for testing."]
    blocks += [
        "## Labels\n\n" + ", ".join(map(markdown, card.labels)),
        "## Networks\n\n" + _table(
            ("", "name", "licence", "source", "trained on"),
            ((role, one.name, one.licence, one.source, ", ".join(one.trained_on))
             for role, one in networks.items()),
        ),
        *(_training_photos(rights) if rights else ()),
        "## What is in it\n\nNo photos. `references.json` holds the ids and labels of training "
        "close-ups, `unknown.safetensors` reduced embeddings of them, by which photos unlike "
        "anything trained on are recognised. There is no pickle.",
    ]  # fmt: skip
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _header(
    card: ModelCard, networks: dict[str, Card], scores: Scores | None, name: str
) -> ModelCardData:
    """The hub's metadata."""
    from huggingface_hub import EvalResult, ModelCardData

    measured = {} if scores is None else {
        ("accuracy", "accuracy"): scores.accuracy.value, ("f1", "macro-F1"): scores.macro_f1.value,
        ("f1", "macro-F1, end to end"): scores.macro_f1_end_to_end.value,
    }  # fmt: skip
    about: dict[str, str] = {
        "task_type": "image-classification", "task_name": "Image classification",
        "dataset_type": "held-out", "dataset_name": "photos held out from training",
        "dataset_split": "test",
    }  # fmt: skip
    rows = [EvalResult(**about, metric_type=kind, metric_name=title, metric_value=round(value, 4))
            for (kind, title), value in measured.items()]  # fmt: skip
    found = {part.strip() for one in networks.values() for part in one.licence.split(";")}
    licence = found.pop().lower() if len(found) == 1 else OTHER
    licence = licence if licence in _LICENCES else OTHER
    named = {"license_name": "those-of-the-networks", "license_link": README}
    return ModelCardData(
        license=licence, library_name="closeup", pipeline_tag="image-classification",
        tags=["closeup", "onnx", "fine-grained"], model_name=name, eval_results=rows or None,
        **(named if licence == OTHER else {}),
    )  # fmt: skip


def _about(card: ModelCard) -> str:
    where = "the whole photo"
    if card.detector:
        parent = " or ".join(map(markdown, card.detect.parent))
        where = f"the {parent} that a detector finds in a photo"
        where += " and by the whole photo" * (card.view == "both")
    known = " It answers `unknown` where it is not sure." if card.unknown else ""
    return (
        f"Tells {len(card.labels)} labels apart by {where}.{known} Trained with Closeup "
        f"{card.closeup} on {card.counts.get('train', 0)} close-ups."
    )


def _example(repo: str) -> str:
    get = "" if repo else "# the name of this folder, or hf:OWNER/NAME where it is on the hub\n"
    place = f"{HUB}{repo}" if repo else "."
    return (
        "## Use\n\nInstall Closeup from a clone of its repository (`pip install -e .`), then:\n\n"
        "```python\nimport closeup\n\n"
        f'{get}model = closeup.load("{place}")\n'
        'for one in model.predict("photo.jpg").objects:\n'
        "    print(one.label, one.confidence, one.box)\n```"
    )


def _measured(scores: Scores) -> list[str]:
    rows = [
        ("accuracy", _interval(scores.accuracy), scores.n),
        ("macro-F1", _interval(scores.macro_f1), scores.n),
        ("macro-F1, end to end", _interval(scores.macro_f1_end_to_end), scores.n_end_to_end),
    ]
    classes = [(row.label, f"{row.precision:.3f}", f"{row.recall:.3f}", _interval(row.f1),
                row.support) for row in scores.per_class]  # fmt: skip
    return [
        "## Scores\n\nMeasured once, on photos that were held out; near duplicates are on one side "
        "of the split. End to end, an object that was not found counts as wrong. In brackets: 95 % "
        "intervals, by a bootstrap over groups.",
        _table(("score", "value", "close-ups"), rows),
        _table(("label", "precision", "recall", "F1", "close-ups"), classes),
    ]


def _training_photos(rights: RightsCount) -> list[str]:
    rows = [(one.name, one.url, one.photos, str(one)) for one in rights.licences]
    unknown = len(rights.unknown)
    return [
        f"## Training photos\n\n{rights.photos - unknown} of {rights.photos} have a known licence. "
        f"{ATTRIBUTION_FILE} names their creators.",
        _table(("licence", "text", "photos", "asks"),
               [*rows, *([("unknown", "", unknown, "")] if unknown else [])]),
    ]  # fmt: skip


def _interval(value: Interval) -> str:
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(markdown(str(v)) for v in line) + " |" for line in lines)


def is_hub_folder(folder: Path, card: ModelCard) -> bool:
    """Whether `folder` holds this very model and a model card, which may have been edited.

    Raises ModelError where it is this model, but one of its files is damaged.
    """
    if not ((folder / README).is_file() and (folder / CARD_FILE).is_file()):
        return False
    if read_card(folder) != card:
        return False
    check_files(folder, card)
    return True


def check_repo(repo: str) -> None:
    """Raise UsageError where `repo` is not ``OWNER/NAME``, as the hub wants it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        if repo.count("/") != 1:
            raise HFValidationError(f"{repo!r} has no owner or too many")
        validate_repo_id(repo)
    except HFValidationError as err:
        raise UsageError(f"--push {repo}: expected OWNER/NAME ({err})") from err


def push(folder: Path, repo: str) -> str:
    """Upload a hub folder in one commit, to a repository that is made (private) where needed.

    Returns the commit's address. The hub keeps what a repository held before in its history.

    Raises NetworkError where the hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HTTPError

    files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(folder / name))
             for name in files_in(folder)]  # fmt: skip
    options: dict[str, Any] = {"repo_id": repo, "repo_type": "model"}
    try:
        # The library reads HF_ENDPOINT only when it is imported.
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
        api.create_repo(**options, private=True, exist_ok=True)
        done = api.create_commit(**options, operations=files, commit_message="Upload the model")
    except (HTTPError, OSError, ValueError) as err:
        reason = (str(err).strip().splitlines() or [type(err).__name__])[0]
        raise NetworkError(
            f"{repo} was not uploaded: {reason}; log in with `hf auth login` (or set HF_TOKEN), "
            "then run the same command again"
        ) from err
    return str(done.commit_url)
