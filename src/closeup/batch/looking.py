"""Close-ups and embeddings of photos without a model, made as a project's own are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from closeup.batch.asks import Answerer, Rows
from closeup.core.config import CropConfig, DetectConfig, EngineConfig, ViewName
from closeup.core.errors import PhotoError
from closeup.core.project import key_of
from closeup.core.types import Crop, CropState, Detection, Floats, Photo, PhotoState
from closeup.crops.cut import closeups_of
from closeup.crops.view import views_of
from closeup.detect import Detector
from closeup.learn.embed import Embedder
from closeup.model.answers import as_table
from closeup.model.prediction import COLUMNS
from closeup.networks import Network, load
from closeup.photos.listing import Entry
from closeup.photos.picture import Picture
from closeup.pipeline.one_pass import Known, Steps, look_at

LOOK_COLUMNS = tuple(name for name in COLUMNS if name not in ("label", "confidence"))
"""Those of ``predict`` that are no model's; behind them is what was made of the object."""
CLOSEUP, EMBEDDING = "closeup", "embedding"


@dataclass(frozen=True, slots=True)
class Look:
    """The close-ups of each photo as JPEG files, or with a `backbone` their embeddings.

    `view` says what the backbone is shown; two embeddings are one after the other, as in a model.
    """

    detector: Network
    detect: DetectConfig
    crop: CropConfig
    backbone: Network | None = None
    view: ViewName = "closeup"

    @property
    def verb(self) -> str:
        """As the commands are called."""
        return "embed" if self.backbone else "crop"

    @property
    def shard(self) -> int:
        """Fewer where each row holds a picture."""
        return 500 if self.backbone else 100

    def about(self) -> dict[str, Any]:
        """The hash of the networks and of the options."""
        cards = [one.card for one in (self.detector, self.backbone) if one]
        networks = [(card.sha256, card.input.model_dump()) for card in cards]
        options = self.detect.model_dump(), self.crop.model_dump(), self.view
        return {"ask": self.verb, "key": key_of("look", 1, networks, options)}

    def files(self) -> dict[str, bytes]:
        """Card and graph of each network."""
        found = {f"detector/{name}": data for name, data in self.detector.files().items()}
        if self.backbone is not None:
            found |= {f"backbone/{name}": data for name, data in self.backbone.files().items()}
        return found

    def open(self, folder: Path, engine: EngineConfig) -> Answerer:
        """Load the networks."""
        detector = Detector(load(folder / "detector"), engine)
        embedder = Embedder(load(folder / "backbone"), engine) if self.backbone else None
        return partial(self._answer, detector, embedder)

    def _crops(self, photo: Photo, found: Sequence[Detection]) -> list[Crop]:
        size = photo.width, photo.height
        return closeups_of((photo.id, ""), size, found, self.crop, self.detect)

    def _answer(
        self,
        detector: Detector,
        embedder: Embedder | None,
        names: Sequence[str],
        read: Iterable[Picture | PhotoError],
    ) -> Rows:
        saved: dict[str, bytes] = {}
        views = {str(view): view for view in views_of(self.view)} if embedder else {}
        vectors: dict[str, dict[str, Floats]] = {name: {} for name in views}
        given: dict[str, Picture | PhotoError] = {}
        steps = Steps(
            max_pixels=0,
            look=lambda entry, *_: _as_read(entry, given.pop(entry.id)),
            detector=detector,
            crops_of=lambda photo, found: [c for c in self._crops(photo, found) if c.side > 0],
            save=saved.__setitem__,
            saves=embedder is None,
            quality=self.crop.quality,
            embedder=embedder,
            views=views,
        )

        def made(photo: Photo, crop: Crop) -> bytes | Floats | None:
            if not crop.side:
                return None
            if embedder is None:
                return saved.pop(crop.file)
            return np.concatenate([vectors[n][v.key(photo, crop)] for n, v in views.items()])

        rows: list[tuple[Any, ...]] = []
        counts: list[int] = []
        results: list[bytes | Floats | None] = []
        known = Known(vectors=dict.fromkeys(views, ()))
        items = look_at(_entries(read, given), known, steps, vectors)
        for name, item in zip(names, items, strict=True):
            if item.detections is None:
                rows.append((name, False, *[None] * 4, "", None, "", item.photo.code,
                             item.photo.reason))  # fmt: skip
                counts.append(1)
                results.append(None)
                continue
            crops = self._crops(item.photo, item.detections)
            rows += [_row(name, crop) for crop in crops]
            counts.append(len(crops))
            results += [made(item.photo, crop) for crop in crops]
        dim = embedder.card.dim * len(views) if embedder else 0
        errors = sum(bool(row[LOOK_COLUMNS.index("error_code")]) for row in rows)
        return Rows(_with_results(as_table(LOOK_COLUMNS, rows), results, dim), counts, errors)


def _entries(
    read: Iterable[Picture | PhotoError], given: dict[str, Picture | PhotoError]
) -> Iterator[Entry]:
    """An entry for each photo, what was read of which is among the `given` by then."""
    for number, found in enumerate(read):
        given[str(number)] = found
        yield Entry(str(number), "", "", "", "", "")


def _as_read(entry: Entry, found: Picture | PhotoError) -> tuple[Photo, Picture | None]:
    """The row of a photo that is read already; its id stands for its bytes."""
    picture = None if isinstance(found, PhotoError) else found
    code, reason = (found.code, found.message) if isinstance(found, PhotoError) else ("", "")
    state = PhotoState.READABLE if picture else PhotoState.UNREADABLE
    width, height = picture.size if picture else (0, 0)
    row = Photo(id=entry.id, root="", path="", label="", group="", split="", state=state, code=code,
                reason=reason, width=width, height=height, bytes=0, mtime_ns=0,
                sha256=entry.id)  # fmt: skip
    return row, picture


def _row(name: str, crop: Crop) -> tuple[Any, ...]:
    """The cells of :data:`LOOK_COLUMNS`; boxes as in the answers of a model."""
    box = [round(value, 2) for value in crop.box] if crop.side else [None] * 4
    score = crop.score if crop.side else None
    found = crop.state is CropState.CROPPED
    return (name, found, *box, crop.category, score, crop.reason, "", "")


def _with_results(table: Any, results: Sequence[bytes | Floats | None], dim: int) -> Any:
    """`table` with a column of JPEG files, or of lists of `dim` float32."""
    import pyarrow as pa

    kind = pa.list_(pa.float32(), dim) if dim else pa.binary()
    name = EMBEDDING if dim else CLOSEUP
    return table.append_column(name, pa.array(results, kind))
