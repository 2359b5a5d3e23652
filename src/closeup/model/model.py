"""The model folder: one self-sufficient folder that answers for a whole photo.

::

    model/
      model.json           the card: labels, crop recipe, head, measured scores, file hashes
      head.safetensors     the head's arrays
      unknown.safetensors  what the rule for unknown photos compares with (absent without one)
      attributes.safetensors  the arrays of the attributes' heads (absent without any)
      references.json      which training close-ups these are
      detector/            card.json and graph.onnx (absent where boxes were the user's own)
      backbone/            card.json and graph.onnx

Prediction goes through the very functions that training used: the same decoding, the same choice
of box, the same cut, the same preparation, the same graphs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from closeup.core.config import EngineConfig
from closeup.core.errors import ModelError, PhotoError, UsageError
from closeup.core.parallel import one_blas_thread, ordered_map
from closeup.core.serialization import from_json
from closeup.core.types import (
    UNKNOWN,
    Answer,
    Crop,
    CropState,
    Detection,
    Floats,
    Neighbour,
    Pixels,
)
from closeup.crops.cut import closeups_of
from closeup.crops.view import View, views_of
from closeup.detect import Detector
from closeup.detect.detector import FLOOR, as_rows
from closeup.evaluate.conformal import Conformal, prediction_sets
from closeup.evaluate.neighbours import neighbours
from closeup.evaluate.unknown import NONE_OF_THEM
from closeup.learn.embed import Embedder
from closeup.model.card import ModelCard, check_files, read_card
from closeup.model.parts import Parts, attribute, loading, read_parts
from closeup.model.prediction import Prediction, PredictionList
from closeup.photos.picture import Picture
from closeup.photos.sources import Source, Sources, is_one_photo, is_path, open_source

CHUNK = 16  # photos held in memory at once while predicting on many
Given = Source | PhotoError
"""A photo, or why the caller could not read it, which becomes the error of its answer."""


class Model:
    """A trained model, ready to answer.

    Use :func:`load` to get one. `predict` takes a path, the bytes of a file, an open or uploaded
    file, a PIL image, or an array or tensor (RGB, uint8 or floats between 0 and 1); see
    :func:`closeup.photos.sources.open_source`.

    It can be pickled and used in forked processes: what is pickled is the folder's path, and the
    networks are opened again in each process.

    Attributes
    ----------
    card
        What the folder says of itself.
    parts
        What it is made of.
    """

    def __init__(
        self,
        card: ModelCard,
        parts: Parts,
        engine: EngineConfig,
        folder: Path,
        *,
        many: bool = True,
    ) -> None:
        self.card, self.parts = card, parts
        self._origin = folder, engine, many
        self._head = parts.head
        self._rule, self._known = parts.rule, parts.known
        self._attributes = sorted(parts.attributes.items())
        self._likely = None if card.likely is None else from_json(Conformal, card.likely)
        self._embedder = Embedder(parts.backbone, engine, many=many)
        self._spec, self._views = parts.backbone.card.input, views_of(card.view)
        self._detector = (
            None if parts.detector is None else Detector(parts.detector, engine, many=many)
        )

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[object, ...]]:
        return _load_again, (*self._origin, self.card)

    def __repr__(self) -> str:
        detector = self.parts.detector.card.name if self.parts.detector else "no detector"
        return (f"<closeup model {str(self._origin[1])!r}: {len(self.labels)} labels, {detector}, "
                f"{self.parts.backbone.card.name}, {self.card.view}>")  # fmt: skip

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.card.labels

    @overload
    def predict(
        self, photo: Source, *, top_k: int = 5, always: bool = False, nearest: int = 0
    ) -> Prediction: ...
    @overload
    def predict(
        self, photo: Sources, *, top_k: int = 5, always: bool = False, nearest: int = 0
    ) -> PredictionList: ...
    def predict(
        self, photo: Source | Sources, *, top_k: int = 5, always: bool = False, nearest: int = 0
    ) -> Prediction | PredictionList:
        """The answer for one photo, or those for a list of photos, as :meth:`predict_many` gives.

        Parameters
        ----------
        top_k
            How many labels :attr:`Answer.top` holds at most.
        always
            Give the most probable label also where the rule for unknown photos withholds it.
        nearest
            How many training close-ups :attr:`Answer.alike` names at most.

        Raises
        ------
        PhotoError
            Where one photo is given and cannot be read. In a list it has a Prediction with an
            :attr:`~Prediction.error`.

        Examples
        --------
        >>> model = closeup.load("closeup-demo/watches/model")
        >>> answer = model.predict("closeup-demo/fresh.jpg")
        >>> one = answer.objects[0]
        >>> one.label, one.parent, one.confidence > 0.9
        ('Averlund', 'clock', True)
        >>> [round(value) for value in one.box]  # x1, y1, x2, y2 in pixels of the upright photo
        [322, 80, 476, 283]
        """
        given = photo if isinstance(photo, list | tuple) else [photo]
        answers = PredictionList(self._predict_all(given, top_k, always, nearest))
        if given is photo:
            return answers
        (answer,) = answers
        if answer.error is not None:
            raise answer.error
        return answer

    def predict_many(
        self,
        photos: Iterable[Given],
        *,
        top_k: int = 5,
        always: bool = False,
        nearest: int = 0,
    ) -> Iterator[Prediction]:
        """One answer per photo, in order; memory does not grow with their number.

        A photo that cannot be read gives a Prediction with an :attr:`~Prediction.error`. Parameters
        as for :meth:`predict`. Raises UsageError where `photos` is a single photo.

        Examples
        --------
        >>> model = closeup.load("closeup-demo/watches/model")
        >>> photos = ["closeup-demo/fresh.jpg", "closeup-demo/watches/closeup.toml"]
        >>> for answer in model.predict_many(photos):
        ...     print(answer.label or answer.error_code)
        Averlund
        not_an_image
        """
        if is_one_photo(photos):
            raise UsageError(
                f"predict_many takes a list of photos, got one ({type(photos).__name__}); use "
                "predict for one photo, and sorted(Path(FOLDER).rglob('*.jpg')) for a folder"
            )
        return self._predict_all(photos, top_k, always, nearest)

    def _predict_all(
        self, photos: Iterable[Given], top_k: int, always: bool, nearest: int
    ) -> Iterator[Prediction]:
        sources = iter(photos)
        while chunk := list(islice(sources, CHUNK)):
            with one_blas_thread():
                answers = list(self._predict_chunk(chunk, top_k, always, nearest))
            yield from answers

    def _predict_chunk(
        self, chunk: Sequence[Given], top_k: int, always: bool, nearest: int
    ) -> Iterator[Prediction]:
        read = dict(enumerate(ordered_map(_read, chunk)))
        pictures = {n: item for n, item in read.items() if isinstance(item, Picture)}
        crops = {n: self._closeups(str(n), pictures[n], found)
                 for n, found in self._detections(pictures).items()}  # fmt: skip
        vectors = self._features([(pictures[n], mine) for n, mine in crops.items()])
        asked = top_k, always, nearest
        answers = {n: tuple(self._answer(crop, next(vectors), *asked) for crop in mine)
                   for n, mine in crops.items()}  # fmt: skip
        for place, source in enumerate(chunk):
            name, item = (
                os.fspath(source) if is_path(source) else "",
                read[place],
            )
            if isinstance(item, PhotoError):
                yield Prediction(name, False, (), item.code, item.message)
            else:
                found = any(crop.state is CropState.CROPPED for crop in crops[place])
                yield Prediction(name, found, answers[place])

    def _closeups(self, name: str, picture: Picture, found: Sequence[Detection]) -> list[Crop]:
        crops = closeups_of((name, ""), picture.size, found, self.card.crop, self.card.detect)
        return [crop for crop in crops if crop.side > 0]

    def answers_for(
        self, photo: Picture, crop: Crop, label: str
    ) -> Callable[[Iterable[Pixels]], NDArray[np.float64]]:
        """From changed close-ups of `crop` to the ``(n,)`` probabilities of `label`.

        Where the model looks at the whole photo too, that stays as it is.
        """
        place = self.labels.index(label)
        pictures = (view.show(photo, crop, self._spec)
                    for view in self._views if view.name == "photo")  # fmt: skip
        whole = list(self._embedder.embed(pictures))

        def answer(closeups: Iterable[Pixels]) -> NDArray[np.float64]:
            seen = list(self._embedder.embed(closeups)) if self.card.view != "photo" else [
                np.zeros(0, np.float32) for _ in closeups]  # fmt: skip
            rows = np.stack([np.concatenate([vector, *whole]) for vector in seen])
            return self._head.probabilities(rows)[:, place]

        return answer

    def _features(self, photos: Sequence[tuple[Picture, Sequence[Crop]]]) -> Iterator[Floats]:
        """The features of each crop, as training made them; a whole photo is embedded once."""
        wanted: dict[tuple[int, str, View], tuple[Picture, Crop]] = {}
        places = []
        for number, (picture, crops) in enumerate(photos):
            for crop in crops:
                mine = [(number, "" if view.name == "photo" else crop.id, view)
                        for view in self._views]  # fmt: skip
                wanted.update((place, (picture, crop)) for place in mine if place not in wanted)
                places.append(mine)
        shown = (view.show(*wanted[number, name, view], self._spec)
                 for number, name, view in wanted)  # fmt: skip
        found = dict(zip(wanted, self._embedder.embed(shown), strict=True))
        for mine in places:
            yield np.concatenate([found[place] for place in mine])

    def _detections(self, pictures: dict[int, Picture]) -> dict[int, list[Detection]]:
        if self._detector is None:
            return {place: [] for place in pictures}
        found = self._detector.detect(pictures.values(), floor=FLOOR)
        return {n: as_rows(str(n), many) for n, many in zip(pictures, found, strict=True)}

    def _answer(self, crop: Crop, vector: Floats, top_k: int, always: bool, nearest: int) -> Answer:
        shares = self._head.probabilities(vector[None])
        row = shares[0]
        order = np.argsort(-row, kind="stable")
        top = tuple((self.labels[i], float(row[i])) for i in order[:top_k])
        (reason,) = [""] if self._rule is None else self._rule.reasons(shares, vector[None])
        likely: tuple[str, ...] = ()
        if self._likely is not None:
            among = prediction_sets(shares, self._likely)[0]
            likely = tuple(self.labels[i] for i in order if among[i])
        alike: tuple[Neighbour, ...] = ()
        if nearest and self._rule is not None and self._known is not None:
            alike = neighbours(self._rule, self._known, vector, nearest)
        if top[0][0] == self.card.none:
            reason = NONE_OF_THEM
        reason = "" if always else reason
        label = UNKNOWN if reason else top[0][0]
        attributes = tuple(attribute(name, head, vector) for name, head in self._attributes)
        return Answer(crop.box, crop.category, crop.score, label, float(row[order[0]]), top,
                      reason, likely, alike, attributes)  # fmt: skip


def _read(source: Given) -> Picture | PhotoError:
    try:
        return source if isinstance(source, PhotoError) else open_source(source)
    except PhotoError as err:
        return err


def load_model(
    folder: Path | str, engine: EngineConfig | None = None, *, many: bool = True
) -> Model:
    """Load a model folder, checking every file against the hash on the card.

    Raises ModelError where the folder is no model, damaged, or of a later format; the file is
    named.

    Parameters
    ----------
    many
        Whether it is for many photos at once or for a few soon: how its networks are opened. The
        answers are the same but for the last digits.
    """
    folder = Path(folder)
    card = read_card(folder)
    check_files(folder, card)
    place = folder.absolute()  # graphs are opened later, perhaps in another working folder
    parts = read_parts(place, card)
    with loading(folder):
        return Model(card, parts, engine or EngineConfig(), place, many=many)


def _load_again(folder: Path, engine: EngineConfig, many: bool, card: ModelCard) -> Model:
    """A model that was pickled; ModelError where its folder is gone or holds another one."""
    if not folder.is_dir():
        raise ModelError(
            f"{folder} is gone: a pickled model is only the path of its folder; put the folder "
            "back, or load the model from where it is now"
        )
    model = load_model(folder, engine, many=many)
    if model.card != card:
        raise ModelError(f"{folder} holds another model than the one pickled; load it anew")
    return model
