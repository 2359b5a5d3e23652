"""The model folder: one self-sufficient folder that answers for a whole photo.

::

    model/
      model.json           the card: labels, crop recipe, head, measured scores, file hashes
      head.safetensors     the head's arrays
      unknown.safetensors  what the rule for unknown photos compares with (absent without one)
      detector/            card.json and graph.onnx (absent where boxes were the user's own)
      backbone/            card.json and graph.onnx

Prediction goes through the very functions that training used: the same decoding, the same choice
of box, the same cut, the same preparation, the same graphs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from closeup.config import CropConfig, DetectConfig, EngineConfig, View
from closeup.conformal import Conformal, prediction_sets
from closeup.crops import bounded, cut, find_crops, whole_photo
from closeup.detect import Detector
from closeup.detect.stage import FLOOR, as_rows
from closeup.embed import Embedder
from closeup.errors import ModelError, NetworkError, PhotoError
from closeup.heads import Head, restore
from closeup.images import read_photo
from closeup.parallel import ordered_map
from closeup.project import write_atomically
from closeup.types import (
    UNKNOWN,
    Answer,
    Box,
    Crop,
    CropState,
    Detection,
    Floats,
    Photo,
    PhotoState,
    Pixels,
    Prediction,
)
from closeup.unknown import UnknownRule, restore_rule
from closeup.zoo import Network, load

FORMAT = 2
CARD_FILE = "model.json"
HEAD_FILE = "head.safetensors"
UNKNOWN_FILE = "unknown.safetensors"
CHUNK = 16
"""Photos held in memory at once while predicting on many."""

Source = Path | str | bytes | Image.Image | NDArray[np.uint8]


class ModelCard(BaseModel):
    """What a model folder says of itself, in ``model.json``.

    Attributes
    ----------
    labels
        The classes, in the order of the head's probabilities.
    detect, crop
        The recipe by which the close-up is found and cut.
    detector
        Name of the detector, ``""`` where the model has none and takes every photo whole.
    view
        What the backbone looks at: the close-up, the whole photo, or both beside each other.
    head, head_settings
        Kind of head and its settings that are not arrays.
    unknown
        Thresholds of the rule for unknown photos; None where there were too few photos for one.
    likely
        The rule for sets of labels, ``Conformal.to_json()``; None likewise.
    scores, counts
        What was measured on the test part when the model was made, and from how many photos.
    files
        sha256 of every other file of the folder, by relative name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    closeup: str
    key: str
    labels: tuple[str, ...]
    detect: DetectConfig
    crop: CropConfig
    detector: str
    backbone: str
    view: View = "closeup"
    head: str
    head_settings: dict[str, Any]
    unknown: dict[str, float] | None = None
    likely: dict[str, Any] | None = None
    scores: dict[str, Any]
    counts: dict[str, int]
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a model is made of."""

    detector: Network | None
    backbone: Network
    head: Head
    rule: UnknownRule | None = None


def save_model(folder: Path, card: ModelCard, parts: Parts) -> Path:
    """Write a model folder; `card.files` is filled in here. The card is written last.

    Raises
    ------
    ProjectError
        Where the folder cannot be written.
    """
    from safetensors.numpy import save

    contents = {HEAD_FILE: save(parts.head.arrays())}
    if parts.rule is not None:
        contents[UNKNOWN_FILE] = save(parts.rule.arrays())
    for name, network in (("detector", parts.detector), ("backbone", parts.backbone)):
        if network is None:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            continue
        card_text = network.card.model_copy(update={"graph": "graph.onnx"}).model_dump_json(
            indent=1
        )
        contents[f"{name}/card.json"] = card_text.encode()
        contents[f"{name}/graph.onnx"] = network.file.read_bytes()
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    for name, data in contents.items():
        write_atomically(folder / name, data)
    full = card.model_copy(update={"files": hashes})
    write_atomically(folder / CARD_FILE, (full.model_dump_json(indent=1) + "\n").encode())
    return folder


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder.

    Raises
    ------
    ModelError
        Where `folder` is no model folder, or of a later format.
    """
    file = folder / CARD_FILE
    if not file.is_file():
        hint = f"; did you mean {folder / 'model'}?" if (folder / "model").is_dir() else ""
        raise ModelError(f"{folder} is no model folder (no {CARD_FILE}){hint}")
    try:
        value = json.loads(file.read_text(encoding="utf8"))
        found = value.get("format") if isinstance(value, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise ModelError(f"{file} has format {found}, this version reads {FORMAT}; upgrade")
        return ModelCard.model_validate(value)
    except (ValueError, ValidationError) as err:
        raise ModelError(f"{file} is damaged: {err}; train the model again") from err


class Model:
    """A trained model, ready to answer.

    Use :func:`load` to get one. `predict` takes a path, the bytes of a file, a PIL image, or an
    array (``(h, w, 3)`` uint8 RGB, upright).

    Attributes
    ----------
    card
        What the folder says of itself.
    """

    def __init__(
        self, card: ModelCard, parts: Parts, engine: EngineConfig, *, many: bool = True
    ) -> None:
        self.card = card
        self._head = parts.head
        self._rule = parts.rule
        self._likely = None if card.likely is None else Conformal.from_json(card.likely)
        self._embedder = Embedder(parts.backbone, engine, many=many)
        self._detector = (
            None if parts.detector is None else Detector(parts.detector, engine, many=many)
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.card.labels

    def predict(self, photo: Source, *, top_k: int = 5, always: bool = False) -> Prediction:
        """The answer for one photo; a broken one gives a Prediction with an error, no exception.

        Parameters
        ----------
        top_k
            How many labels :attr:`Answer.top` holds at most.
        always
            Give the most probable label also where the rule for unknown photos withholds it.
        """
        return next(self.predict_many([photo], top_k=top_k, always=always))

    def predict_many(
        self, photos: Iterable[Source], *, top_k: int = 5, always: bool = False
    ) -> Iterator[Prediction]:
        """One answer per photo, in order; memory does not grow with their number."""
        sources = iter(photos)
        while chunk := list(islice(sources, CHUNK)):
            yield from self._predict_chunk(chunk, top_k, always)

    def _predict_chunk(
        self, chunk: Sequence[Source], top_k: int, always: bool
    ) -> Iterator[Prediction]:
        read = list(ordered_map(_read, chunk))
        rows = [_row(place, item) for place, item in enumerate(read)]
        pixels = {row.id: item for row, item in zip(rows, read, strict=True)
                  if not isinstance(item, PhotoError)}  # fmt: skip
        crops = find_crops(rows, self._detections(pixels), self.card.crop, self.card.detect)
        by_photo: dict[str, list[Crop]] = {row.id: [] for row in rows}
        for crop in crops:
            by_photo[crop.photo_id].append(crop)
        cuts = [crop for crop in crops if crop.side > 0]
        vectors = self._features(cuts, {row.id: row for row in rows}, pixels)
        given = (self._answer(crop, vector, top_k, always)
                 for crop, vector in zip(cuts, vectors, strict=True))  # fmt: skip
        answers = {crop.id: answer for crop, answer in zip(cuts, given, strict=True)}
        for source, row, item in zip(chunk, rows, read, strict=True):
            name = str(source) if isinstance(source, str | Path) else ""
            if isinstance(item, PhotoError):
                yield Prediction(name, False, (), item.code, item.message)
                continue
            mine = [crop for crop in by_photo[row.id] if crop.side > 0]
            found = any(crop.state is CropState.CROPPED for crop in mine)
            yield Prediction(name, found, tuple(answers[c.id] for c in mine))

    def answers_for(
        self, photo: Pixels, label: str
    ) -> Callable[[Iterable[Pixels]], NDArray[np.float64]]:
        """From close-ups of `photo`, changed at will, to the ``(n,)`` probabilities of `label`.

        Where the model looks at the whole photo too, that stays as it is.
        """
        place = self.labels.index(label)
        whole = []
        if self.card.view != "closeup":
            height, width = photo.shape[:2]
            everything = Box(0, 0, width, height)
            square = cut(photo, everything, bounded(everything, max(height, width)))
            whole = list(self._embedder.embed([square]))

        def answer(closeups: Iterable[Pixels]) -> NDArray[np.float64]:
            seen = list(self._embedder.embed(closeups)) if self.card.view != "photo" else [
                np.zeros(0, np.float32) for _ in closeups]  # fmt: skip
            rows = np.stack([np.concatenate([vector, *whole]) for vector in seen])
            return self._head.probabilities(rows)[:, place]

        return answer

    def _features(
        self, crops: Sequence[Crop], rows: dict[str, Photo], pixels: dict[str, Pixels]
    ) -> Iterator[Floats]:
        """The features of each crop, as training made them; a whole photo is embedded once."""
        wanted: dict[tuple[str, ...], Crop] = {}
        for crop in crops:
            if self.card.view != "photo":
                wanted[crop.id, "closeup"] = crop
            if self.card.view != "closeup":
                wanted[crop.photo_id, "photo"] = whole_photo(rows[crop.photo_id], crop)
        vectors = self._embedder.embed(
            cut(pixels[crop.photo_id], crop.window, crop.side) for crop in wanted.values()
        )
        found = dict(zip(wanted, vectors, strict=True))
        for crop in crops:
            places = ((crop.id, "closeup"), (crop.photo_id, "photo"))
            yield np.concatenate([found[place] for place in places if place in found])

    def _detections(self, pixels: dict[str, Pixels]) -> dict[str, list[Detection]]:
        if self._detector is None:
            return {}
        found = self._detector.detect(pixels.values(), floor=FLOOR)
        return {name: as_rows(name, many) for name, many in zip(pixels, found, strict=True)}

    def _answer(self, crop: Crop, vector: Floats, top_k: int, always: bool) -> Answer:
        shares = self._head.probabilities(vector[None])
        row = shares[0]
        order = np.argsort(-row, kind="stable")
        top = tuple((self.labels[i], float(row[i])) for i in order[:top_k])
        (reason,) = [""] if self._rule is None else self._rule.reasons(shares, vector[None])
        likely: tuple[str, ...] = ()
        if self._likely is not None:
            among = prediction_sets(shares, self._likely)[0]
            likely = tuple(self.labels[i] for i in order if among[i])
        reason = "" if always else reason
        label = UNKNOWN if reason else top[0][0]
        return Answer(crop.box, crop.category, crop.score, label, float(row[order[0]]), top,
                      reason, likely)  # fmt: skip


def _read(source: Source) -> Pixels | PhotoError:
    try:
        return read_photo(Path(source) if isinstance(source, str) else source)
    except PhotoError as err:
        return err


def _row(place: int, item: Pixels | PhotoError) -> Photo:
    """A photo row for a picture that need not be a file."""
    if isinstance(item, PhotoError):
        state, code, reason, (height, width) = (
            PhotoState.UNREADABLE,
            item.code,
            item.message,
            (0, 0),
        )
    else:
        state, code, reason, (height, width) = PhotoState.READABLE, "", "", item.shape[:2]
    return Photo(str(place), "", "", "", "", "", state, code, reason, width, height, 0, 0, "")


def load_model(
    folder: Path | str, engine: EngineConfig | None = None, *, many: bool = True
) -> Model:
    """Load a model folder, checking every file against the hash on the card.

    Parameters
    ----------
    many
        Whether it is for many photos at once or for a few soon: how its networks are opened. The
        answers are the same but for the last digits.

    Raises
    ------
    ModelError
        Where the folder is no model, damaged, or of a later format; the file is named.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    card = read_card(folder)
    for name, expected in card.files.items():
        _check_file(folder, name, expected)
    try:
        detector = load(folder / "detector", verify=False) if card.detector else None
        backbone = load(folder / "backbone", verify=False)
        head = restore(card.head, card.labels, load_file(folder / HEAD_FILE), card.head_settings)
        rule = (None if card.unknown is None
                else restore_rule(load_file(folder / UNKNOWN_FILE), card.unknown))  # fmt: skip
    except (NetworkError, SafetensorError, OSError) as err:
        raise ModelError(f"{folder} cannot be loaded: {err}") from err
    return Model(card, Parts(detector, backbone, head, rule), engine or EngineConfig(), many=many)


def _check_file(folder: Path, name: str, expected: str) -> None:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{folder / CARD_FILE} names {name}, which lies outside the folder")
    if not file.is_file():
        raise ModelError(f"{file} is missing; copy the whole model folder, or train again")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise ModelError(
            f"{file} is not what {CARD_FILE} says (sha256 {found[:12]}…, expected "
            f"{expected[:12]}…); copy the model folder again, or train again"
        )
