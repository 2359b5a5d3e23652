"""What is asked of each photo; :mod:`closeup.batch.looking` asks for close-ups and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from closeup.core.config import EngineConfig
from closeup.core.errors import PhotoError
from closeup.core.project import key_of
from closeup.model.answers import to_table
from closeup.model.card import CARD_FILE, check_files, read_card
from closeup.model.model import load_model
from closeup.model.prediction import Prediction
from closeup.photos.picture import Picture


@dataclass(frozen=True, slots=True)
class Rows:
    """What was found out about some photos.

    - `table`: an Arrow table with at least one row for each photo, those of one photo together
    - `counts`: how many rows each photo has, in their order
    - `errors`: how many photos cannot be read
    """

    table: Any
    counts: Sequence[int]
    errors: int


Answerer = Callable[[Sequence[str], Iterable[Picture | PhotoError]], Rows]
"""From photos' names and what was read of each, in the same order, to their rows."""


class Ask(Protocol):
    """A question about photos; it is pickled for the workers."""

    @property
    def verb(self) -> str:
        """The command that asks it."""

    @property
    def shard(self) -> int:
        """Photos of a part, at most: what one kill costs a worker."""

    def about(self) -> dict[str, Any]:
        """What decides the rows, for ``batch.json``: a folder holds the answers to one question."""

    def files(self) -> dict[str, bytes]:
        """The files that a worker needs, by relative name; they are sent to each node."""

    def open(self, folder: Path, engine: EngineConfig) -> Answerer:
        """Be ready to answer, with the files in `folder`."""


@dataclass(frozen=True, slots=True)
class Predict:
    """The answers of the model in a folder; `always`: never "unknown"."""

    model: Path
    always: bool

    verb = "predict"
    shard = 500

    def about(self) -> dict[str, Any]:
        """Raises ModelError where the folder is no model, or damaged."""
        check_files(self.model, read_card(self.model))
        card = (self.model / CARD_FILE).read_text(encoding="utf8")
        return {"model": key_of("batch", 1, card), "always": self.always}

    def files(self) -> dict[str, bytes]:
        """Those of the model folder."""
        return {
            file.relative_to(self.model).as_posix(): file.read_bytes()
            for file in sorted(self.model.rglob("*")) if file.is_file()
        }  # fmt: skip

    def open(self, folder: Path, engine: EngineConfig) -> Answerer:
        """Load the model."""
        model = load_model(folder, engine)
        attributes = sorted(model.card.attributes)

        def answer(names: Sequence[str], read: Iterable[Picture | PhotoError]) -> Rows:
            found = model.predict_many(read, always=self.always)
            named = [replace(one, photo=name) for one, name in zip(found, names, strict=True)]
            return rows_of(named, attributes)

        return answer


def rows_of(answers: Sequence[Prediction], attributes: Sequence[str] = ()) -> Rows:
    """The rows of ``closeup predict --parquet``, with the columns of all the `attributes`."""
    counts = [max(1, len(one.objects)) for one in answers]
    errors = sum(bool(one.error_code) for one in answers)
    return Rows(to_table(answers, attributes), counts, errors)
