"""Backbone -> embeddings, computed once and cached by what went in.

Close-ups are cut from the original photos, never read back from the saved JPEG files, so training
and prediction see the same pixels. An embedding is known by its *content key* (photo bytes and
cut-out window), so new photos cost only themselves.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from PIL import Image

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged
from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress, silent, track
from closeup.core.project import key_of
from closeup.core.types import Crop, Floats, Photo, Pixels
from closeup.crops.view import View
from closeup.networks import Network
from closeup.networks.engine import Feeds, Graph, Results, open_graph, precision_for, read_signature
from closeup.networks.preprocess import prepare
from closeup.photos.reading import read_picture_again

VERSION = 4
LEAST_FOR_RATE = 16  # with fewer close-ups at once, their number a second says nothing


class Embedder:
    """A backbone ready to run: close-ups in, embeddings out.

    - `network`: a network of kind ``backbone``
    - `config`: how its graph runs. It is opened when first needed, in each process.
    - `many`: whether it is for many close-ups or for a few soon
    """

    def __init__(self, network: Network, config: EngineConfig, *, many: bool = True) -> None:
        self.card = network.card
        self._made_of = network, config, many
        self._open = partial(open_graph, network.file, config, many=many, spec=self.card.input)
        self._precision = precision_for(network.file, config, self.card.input)
        self._input = next(iter(read_signature(network.file).inputs))

    def __reduce__(self) -> tuple[Callable[..., Embedder], tuple[object, ...]]:
        network, config, many = self._made_of
        return partial(Embedder, many=many), (network, config)

    @cached_property
    def graph(self) -> Graph:
        """Its graph; see :meth:`feed` and :meth:`read`."""
        return self._open()

    @property
    def key(self) -> str:
        """Changes with anything that changes the embedding of a given close-up."""
        return key_of("embed", VERSION, self.card.sha256, self.card.input.model_dump(),
                      self._precision)  # fmt: skip

    def embed(self, closeups: Iterable[Pixels | Image.Image]) -> Iterator[Floats]:
        """One ``(dim,)`` float32 embedding per close-up, in order.

        Every close-up runs as a batch of one, so its embedding never depends on its neighbours.
        """
        return self.run(prepare(pixels, self.card.input)[0] for pixels in closeups)

    def run(self, inputs: Iterable[Floats]) -> Iterator[Floats]:
        """As :meth:`embed`, from ``(3, height, width)`` inputs that are prepared already."""
        return map(self.read, self.graph.stream(map(self.feed, inputs)))

    def feed(self, values: Floats) -> Feeds:
        """What the graph is to be given for a close-up's prepared input."""
        return {self._input: values[None]}

    def read(self, outputs: Results) -> Floats:
        """The ``(dim,)`` embedding, from what the graph gave."""
        vector = np.asarray(next(iter(outputs.values())), np.float32).reshape(-1)
        if vector.size != self.card.dim or not np.isfinite(vector).all():
            raise NetworkDamaged(
                f"{self.card.name} gave {vector.size} values (some perhaps not finite), "
                f"expected {self.card.dim} finite ones; add the network again"
            )
        return vector


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Cached vectors: ``vectors[i]`` is the ``(dim,)`` embedding of the close-up ``keys[i]``.

    `rate` is how many were made a second when they last were, decoding included; 0 where that is
    not known.
    """

    keys: tuple[str, ...]
    vectors: Floats
    rate: float = 0.0

    def as_mapping(self) -> dict[str, Floats]:
        """Content key to embedding."""
        return dict(zip(self.keys, self.vectors, strict=True))

    def to_bytes(self) -> bytes:
        """As a safetensors file; the keys are JSON in its metadata."""
        from safetensors.numpy import save

        data: bytes = save(
            {"embeddings": self.vectors},
            {"keys": json.dumps(self.keys), "rate": f"{self.rate:.1f}"},
        )
        return data

    @classmethod
    def read(cls, file: Path) -> Embeddings | None:
        """Read what :meth:`to_bytes` wrote; None where it is absent or damaged: it is a cache."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="numpy") as stored:
                vectors = stored.get_tensor("embeddings")
                facts = stored.metadata()
                keys, rate = tuple(json.loads(facts["keys"])), float(facts.get("rate", 0))
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            return None
        whole = vectors.ndim == 2 and len(keys) == len(vectors) and vectors.dtype == np.float32
        return cls(keys, vectors, rate) if whole else None


def embed_crops(
    photos: Mapping[str, Photo],
    crops: Sequence[Crop],
    embedder: Embedder,
    known: Mapping[str, Floats],
    progress: Progress = silent,
    view: View = View(),  # noqa: B008 (frozen)
) -> Embeddings:
    """The embeddings of all `crops`, reusing the `known` ones; each photo is decoded once.

    - `photos`: by id; every crop's photo is among them
    - `crops`: those with pixels (``side > 0``)
    - `view`: what is embedded of a photo for a crop of it

    Raises ProjectError where a photo has changed or vanished since it was listed.
    """
    wanted: dict[str, dict[str, Crop]] = {}
    for crop in crops:
        key = view.key(photos[crop.photo_id], crop)
        if key not in known:
            wanted.setdefault(crop.photo_id, {}).setdefault(key, crop)
    missing = {key: None for by_key in wanted.values() for key in by_key}

    def inputs_of(photo_id: str) -> list[Floats]:
        picture = read_picture_again(photos[photo_id])
        spec = embedder.card.input
        closeups = (view.show(picture, crop, spec) for crop in wanted[photo_id].values())
        return [prepare(closeup, spec)[0] for closeup in closeups]

    stream = (values for many in ordered_map(inputs_of, wanted) for values in many)
    start = time.perf_counter()
    vectors = list(track(embedder.run(stream), "embed", sum(map(len, wanted.values())), progress))
    taken = max(time.perf_counter() - start, 1e-9)
    rate = len(vectors) / taken if len(vectors) >= LEAST_FOR_RATE else 0.0
    fresh = dict(zip((key for by_key in wanted.values() for key in by_key), vectors, strict=True))
    keys = [view.key(photos[crop.photo_id], crop) for crop in crops]
    ordered = tuple(dict.fromkeys(keys))
    matrix = np.stack([fresh[k] if k in missing else known[k] for k in ordered]) if ordered else (
        np.zeros((0, embedder.card.dim), np.float32)
    )  # fmt: skip
    return Embeddings(ordered, matrix, rate)
