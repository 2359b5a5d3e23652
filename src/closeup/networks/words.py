"""Open-vocabulary detectors: a network for the words that are looked for, by name.

The words are baked into the graph (:mod:`closeup.networks.convert.open_vocabulary`), so that it is
a detector like any other, whose categories are the words.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from closeup.core.errors import UsageError
from closeup.core.types import ANY
from closeup.networks.download import page_of

_CLIP = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
_BERT = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_LONGEST = 40  # characters of the words in a network's name


@dataclass(frozen=True, slots=True)
class OpenVocabulary:
    """Where an open-vocabulary detector comes from, and how it is asked.

    `repo`, `revision` and `sha256` (of its weights) are the hub's, `tokenizer` the files that turn
    words into its input. `prompt` is what a word is put into. `exports`: whether it can become an
    ONNX graph; one that cannot runs in PyTorch and writes boxes.
    """

    repo: str
    revision: str
    sha256: str
    tokenizer: tuple[str, ...]
    trained_on: tuple[str, ...]
    prompt: str = "{}"
    exports: bool = True
    licence: str = "Apache-2.0"

    @property
    def page(self) -> str:
        """The hub's page of this revision."""
        return f"{page_of(self.repo)}/tree/{self.revision}"


OPEN_VOCABULARY: Mapping[str, OpenVocabulary] = MappingProxyType(
    {
        "omdet-turbo": OpenVocabulary(
            "omlab/omdet-turbo-swin-tiny-hf",
            "7fe93cecfb770c4d76cf71163956221249cab566",
            "439d1575d7e237ad565ed6969ea2a2dfcedf2086155e9ca3ac96cd6180a48cfd",
            _CLIP,
            ("Objects365", "GoldG"),
        ),
        "owlv2": OpenVocabulary(
            "google/owlv2-base-patch16-ensemble",
            "cfd3195ba4ea9592eec887ded089f4c08eff231d",
            "e1e130b9e404cf91a75ad45644c1da9d7fa5284085eecc864266a6923efb99e7",
            _CLIP,
            ("WebLI",),
            prompt="a photo of a {}",
        ),
        "grounding-dino": OpenVocabulary(
            "IDEA-Research/grounding-dino-tiny",
            "a2bb814dd30d776dcf7e30523b00659f4f141c71",
            "1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3",
            _BERT,
            ("Objects365", "GoldG", "Cap4M"),
            exports=False,
        ),
    }
)
"""The detectors that look for any words."""


def tidy_words(name: str, words: Sequence[str]) -> tuple[str, ...]:
    """The words in one order, each once, with single spaces; case is of no account.

    Raises UsageError where there are none: `name` finds nothing by itself.
    """
    plain = {" ".join(word.split()).casefold(): None for word in words}
    plain.pop("", None)
    if not plain or ANY in plain:
        raise UsageError(
            f"{name} finds what you name, in words of your own; name it, such as "
            '--parent "pocket watch, compass"'
        )
    return tuple(sorted(plain))


def name_with_words(name: str, words: Sequence[str]) -> str:
    """The name of the network that looks for these words, such as ``owlv2@compass-1b9c52d6``.

    Raises as :func:`tidy_words`.
    """
    found, recipe = tidy_words(name, words), OPEN_VOCABULARY[name]
    made_of = json.dumps([recipe.repo, recipe.revision, recipe.prompt, found])
    mark = hashlib.sha256(made_of.encode()).hexdigest()[:8]
    shown = re.sub(r"[^a-z0-9]+", "-", "-".join(found))[:_LONGEST].strip("-")
    return f"{name}@{shown}-{mark}" if shown else f"{name}@{mark}"
