"""Open-vocabulary detectors of transformers: with the words in the graph, or run by PyTorch.

OmDet-Turbo (Zhao et al. 2024, https://arxiv.org/abs/2403.06892) and OWLv2 (Minderer et al. 2023,
https://arxiv.org/abs/2306.09683) read the words by themselves and meet the picture late, so what
they make of the words is a constant of the graph. Grounding DINO (Liu et al. 2023,
https://arxiv.org/abs/2303.05499) reads both together and cannot be exported.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closeup.core.errors import NetworkDamaged, UsageError
from closeup.core.progress import Progress, silent
from closeup.core.types import Box
from closeup.networks.cache import measured
from closeup.networks.card import GRAPH_FILE, Card
from closeup.networks.convert.onnx_export import (
    LEAST_SCORE,
    Converted,
    made_with,
    need_torch,
    write_graph,
)
from closeup.networks.convert.transformers_detectors import (
    FILES,
    WEIGHTS_FILE,
    input_spec,
    quiet,
    read_checkpoint,
)
from closeup.networks.download import download
from closeup.networks.layouts import CONFIG_FILE, PREPROCESSOR_FILE
from closeup.networks.preprocess import InputSpec
from closeup.networks.words import OPEN_VOCABULARY, name_with_words, tidy_words

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

NMS_IOU = 0.5
"""Overlap above which the weaker of two boxes of one word is dropped; OmDet-Turbo's own."""
MOST_BOXES = 300


def export_with_words(
    name: str, words: Sequence[str], target: Path, progress: Progress, offline: bool | None
) -> Card:
    """Write ``graph.onnx`` of a detector that looks for `words` into `target`; return its card.

    Raises
    ------
    UsageError
        Where there are no words, or one is longer than the network reads.
    NetworkError
        Where the checkpoint or PyTorch is absent (NetworkMissing), the checkpoint is damaged
        (NetworkDamaged), or the export fails.
    """
    recipe, words = OPEN_VOCABULARY[name], tidy_words(name, words)
    need_torch(f"putting words into {name}")
    files = fetch(name, progress, offline)
    converted = read_converted(name, files, words)
    write_graph(name, converted, target / GRAPH_FILE)
    return Card(
        name=name_with_words(name, words),
        kind="detector",
        family=converted.family,
        **measured(target / GRAPH_FILE),
        input=converted.spec,
        batch=1,
        classes=converted.classes,
        description=f"{recipe.repo}, looking for {', '.join(words)}",
        licence=recipe.licence,
        source=recipe.page,
        trained_on=recipe.trained_on,
        made_with={**made_with("transformers"), "prompt": recipe.prompt},
    )


def fetch(name: str, progress: Progress = silent, offline: bool | None = None) -> dict[str, Path]:
    """The files of an open-vocabulary detector's checkpoint by name, downloaded where needed."""
    recipe = OPEN_VOCABULARY[name]
    more: dict[str, Any] = {"revision": recipe.revision, "progress": progress, "offline": offline}
    return {
        file: download(
            recipe.repo, file, sha256=recipe.sha256 if file == WEIGHTS_FILE else None, **more
        )
        for file in (*FILES, *recipe.tokenizer)
    }


def read_converted(name: str, files: Mapping[str, Path], words: tuple[str, ...]) -> Converted:
    """A checkpoint as a module that looks for `words`, ready for export; see :func:`with_words`."""
    with tempfile.TemporaryDirectory() as work:
        model, processor = _read(name, files, Path(work))
        prompts = [OPEN_VOCABULARY[name].prompt.format(word) for word in words]
        texts = _read_words(name, model, processor, prompts)
    spec = input_spec(files[PREPROCESSOR_FILE])
    if model.config.model_type == "owlv2":
        # Made square with black below or to the right, and made smaller then.
        spec = spec.model_copy(update={"resize": "letterbox", "pad": (0, 0, 0)})
    return with_words(model, texts, spec, words)


def with_words(
    model: Any, texts: Mapping[str, Tensor], spec: InputSpec, words: tuple[str, ...]
) -> Converted:
    """A detector with what it makes of the words (`texts`, the processor's) as constants.

    The graph goes from ``images`` to ``boxes, labels, scores``: ``(n, 4)`` XYXY input pixels and
    twice ``(n,)``, best first, the weaker of two that overlap dropped.
    """
    import torch
    from torch import nn
    from torchvision.ops import batched_nms

    constants, find = _PARTS[model.config.model_type](model, texts)

    class Deployed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            for number, value in enumerate(constants):
                self.register_buffer(f"words_{number}", value)

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits, boxes = find(images, *self.buffers(recurse=False))
            classes = logits.shape[-1]
            best, places = logits[0].sigmoid().flatten().topk(min(MOST_BOXES, logits.shape[1]))
            centre, size = boxes[0][places // classes].split(2, -1)
            corners = torch.cat([centre - size / 2, centre + size / 2], -1)
            corners = corners * torch.tensor([spec.width, spec.height] * 2, dtype=corners.dtype)
            found = (best >= LEAST_SCORE).nonzero().flatten()
            corners, best, labels = corners[found], best[found], (places % classes)[found]
            kept = batched_nms(corners, best, labels, NMS_IOU)
            return corners[kept], labels[kept], best[kept]

    outputs = ("boxes", "labels", "scores")
    return Converted(Deployed().eval(), "rcnn", spec, words, ("images",), outputs)


def _omdet_parts(model: Any, texts: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], Any]:
    """OmDet-Turbo: features of the words and of the task, and the task's mask."""
    import torch

    names = ("classes_input_ids", "classes_attention_mask", "tasks_input_ids")
    more = ("tasks_attention_mask", "classes_structure")
    with torch.no_grad():
        constants = model.get_language_embedding(*(texts[name] for name in (*names, *more)))

    def find(images: Tensor, *words: Tensor) -> tuple[Tensor, Tensor]:
        seen = model.encoder(model.vision_backbone(images), return_dict=True).extracted_states
        found = model.decoder(seen, *words, return_dict=True)
        return found.decoder_classes[-1], found.decoder_coords[-1]

    return tuple(constants), find


def _owlv2_parts(model: Any, texts: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], Any]:
    """OWLv2: the words' embeddings."""
    import torch

    with torch.no_grad():
        read = model.owlv2.text_model(texts["input_ids"], texts["attention_mask"]).pooler_output
        queries = torch.nn.functional.normalize(model.owlv2.text_projection(read), dim=-1)

    def find(images: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        seen, _ = model.image_embedder(images)
        patches = seen.flatten(1, 2)
        logits, _ = model.class_predictor(patches, words)
        # A patch stands for its best word alone.
        logits = torch.where(logits == logits.max(-1, keepdim=True).values, logits, -1e4)
        return logits, model.box_predictor(patches, seen)

    return (queries[None],), find


_PARTS: Mapping[str, Any] = {"omdet-turbo": _omdet_parts, "owlv2": _owlv2_parts}


def _read(name: str, files: Mapping[str, Path], work: Path) -> tuple[Any, Any]:
    """The model and its processor, from copies of the small files in the folder `work`."""
    from transformers import MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING, AutoProcessor

    for file, place in files.items():
        if file != WEIGHTS_FILE:
            shutil.copyfile(place, work / file)
    _settle_backbone(work / CONFIG_FILE)
    here = {file: place if file == WEIGHTS_FILE else work / file for file, place in files.items()}
    model: Any = read_checkpoint(here, MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING)
    try:
        for place in work.glob("*.json"):  # of one that is none, a plain Exception would be raised
            json.loads(place.read_text(encoding="utf8"))
        with quiet():
            return model, AutoProcessor.from_pretrained(work, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise NetworkDamaged(
            f"the tokenizer of {name} cannot be read from {files[PREPROCESSOR_FILE].parent} "
            f"({str(err).splitlines()[0]}); delete the folder and try again"
        ) from err


def _settle_backbone(config_file: Path) -> None:
    """Say of a backbone given in the older way that it is timm's: else the hub would be asked."""
    try:
        config = json.loads(config_file.read_text(encoding="utf8"))
    except ValueError:
        return  # said by read_checkpoint
    if isinstance(config, dict) and config.get("use_timm_backbone") and config.get("backbone"):
        more = config.pop("backbone_kwargs", None) or {}
        name = {"model_type": "timm_backbone", "backbone": config.pop("backbone")}
        config["backbone_config"] = config.get("backbone_config") or {**name, **more}
        config_file.write_text(json.dumps(config), encoding="utf8")


def _read_words(
    name: str, model: Any, processor: Any, prompts: Sequence[str]
) -> Mapping[str, Tensor]:
    """What the model is given of the words. Raises UsageError where one is too long for it."""
    from PIL import Image

    room = model.config.text_config.max_position_embeddings
    for prompt in prompts:
        length = len(processor.tokenizer(prompt)["input_ids"])
        if length > room:
            raise UsageError(
                f"{prompt!r} is too long for {name}: it reads {room} tokens, not {length}"
            )
    texts: Mapping[str, Tensor] = processor(
        images=Image.new("RGB", (8, 8)),
        text=[list(prompts)],
        return_tensors="pt",
        padding="max_length",
        max_length=room,
        truncation=True,
    )
    return texts


class Grounded:
    """A detector that reads words and picture together, such as Grounding DINO, run by PyTorch.

    Raises
    ------
    UsageError
        Where the words are more than it reads.
    NetworkError
        As :func:`export_with_words`.
    """

    def __init__(self, name: str, words: Sequence[str], progress: Progress = silent) -> None:
        need_torch(f"finding boxes with {name}")
        import torch

        self._words = tuple(words)
        files = fetch(name, progress)
        with tempfile.TemporaryDirectory() as work:
            self._model, self._processor = _read(name, files, Path(work))
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.to(self._device)
        # One sentence a word, as it was trained; a dot within a word would end its sentence.
        plain = [" ".join(word.replace(".", " ").split()).lower() for word in words]
        self._text = " ".join(f"{word}." for word in plain)
        self._tokens = self._tokens_of(plain)
        if not all(self._tokens):
            raise UsageError(f"{name} cannot read {self._text!r}; give words with letters")
        room = self._model.config.max_text_len
        if max(map(max, self._tokens)) >= room:
            raise UsageError(f"{name} reads {room} tokens; give fewer words, or shorter ones")

    def _tokens_of(self, plain: Sequence[str]) -> list[list[int]]:
        """Which of the text's tokens each word consists of."""
        read = self._processor.tokenizer(self._text, return_offsets_mapping=True)
        found, start = [], 0
        for word in plain:
            end = start + len(word)
            found.append(
                [n for n, (a, b) in enumerate(read["offset_mapping"]) if start <= a < b <= end]
            )
            start = end + 2
        return found

    def find(self, photo: Image.Image) -> list[tuple[str, float, Box]]:
        """The objects in an upright photo, best first: word, score and box in the photo's pixels.

        A box has the word, and the score, of its best token, as in transformers' own reading.
        Boxes of a score below :data:`LEAST_SCORE` are left out.
        """
        import torch

        given = self._processor(images=photo, text=self._text, return_tensors="pt")
        with torch.no_grad():
            found = self._model(**given.to(self._device))
        tokens = found.logits[0].sigmoid()
        scores = torch.stack([tokens[:, mine].amax(1) for mine in self._tokens], 1)
        best, words = (value.cpu() for value in scores.max(1))
        centre, size = found.pred_boxes[0].cpu().split(2, -1)
        corners = torch.cat([centre - size / 2, centre + size / 2], -1)
        corners = (corners * torch.tensor(photo.size * 2)).clamp(min=0)
        corners = corners.minimum(torch.tensor(photo.size * 2, dtype=corners.dtype))
        order = [n for n in best.argsort(descending=True).tolist() if best[n] >= LEAST_SCORE]
        return [
            (self._words[int(words[n])], float(best[n]), Box(*corners[n].tolist())) for n in order
        ]
