"""A detector's category by the name that a person gives it, or what comes near.

What is near in meaning stands in ``near_words.tsv``, made by ``tools/near_words.py`` from WordNet
and a list of our own; only a word that is not there is compared by its spelling. It is suggested,
never taken: the person decides.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from closeup.core.errors import UsageError
from closeup.core.text import listed
from closeup.core.types import ANY
from closeup.networks import Card
from closeup.networks.coco import class_list

LARGER = "d-fine-s-365"
"""A detector with the categories of Objects365."""

# Spelt in another way by some networks: Pascal VOC's names in checkpoints of transformers, and
# what is misspelt in Objects365.
_SPELLINGS = {
    "aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle",
    "pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv",
    "bakset": "basket", "ballon": "balloon", "billards": "billiards", "buttefly": "butterfly",
    "campel": "camel", "dinningtable": "dining table", "extentioncord": "extension cord",
    "hairdrier": "hair dryer", "hotairballon": "hot-air balloon", "moniter": "monitor",
    "mushroon": "mushroom", "noddles": "noodles", "tableteniispaddle": "table tennis paddle",
    "tapemeasur": "tape measure",
}  # fmt: skip
_IRREGULAR = {"geese": "goose", "men": "person", "mice": "mouse", "people": "person"}
_RELATIONS = ("same", "kind", "wide", "like")  # the closest first
_MOST = 3  # suggestions of one relation; of the kinds of a wide word, all


def resolve_categories(card: Card, names: Sequence[str]) -> tuple[str, ...]:
    """A detector's own spelling of `names`, without duplicates; `any` gives them all.

    Case, plural, spaces, hyphens and slashes make no difference: ``tv``, ``Monitors`` and
    ``monitor/TV`` all find ``Monitor/TV``. Numbers are never accepted, because they mean different
    things in different networks.

    Raises
    ------
    UsageError
        Where `names` is empty or a name is unknown, with what comes near in meaning.
    """
    known = [name for name in card.classes if name]
    found: dict[str, None] = {}
    for name in names:
        if mine := matching(known, name):
            found.update(dict.fromkeys(mine))
        elif _key(name) == ANY:
            found.update(dict.fromkeys(known))
        else:
            raise UsageError(_unknown(card, name, known))
    if not found:
        raise UsageError(f"no category was given; name one of {card.name}'s, or `{ANY}`")
    return tuple(found)


def matching(known: Iterable[str], name: str) -> list[str]:
    """The categories among `known` that are called `name`: as a whole, else by one of the parts."""
    wanted = _forms(name)
    whole, parts = [], []
    for category in known:
        if _forms(category) & wanted:
            whole.append(category)
        elif any(_forms(part) & wanted for part in _parts(category)):
            parts.append(category)
    return whole or parts


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _parts(category: str) -> list[str]:
    """The names of a category that has several: ``Cutting/chopping Board``."""
    first, *others = (part.strip() for part in category.split("/"))
    if not others or not all(others):
        return []
    return [first, *others, f"{first} {others[-1].split()[-1]}"]


@cache
def _forms(name: str) -> frozenset[str]:
    """What a name may be written as, without spaces: itself, and what it is the plural of."""
    key = _key(name)
    found = {key, _IRREGULAR.get(key, key)}
    if key != "glasses":
        for end, instead in (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("s", "")):
            if key.endswith(end) and not key.endswith("ss"):
                found.add(key[: -len(end)] + instead)
        if re.search(r"(s|x|z|ch|sh)es$", key):
            found.add(key[:-2])
    return frozenset(_key(_SPELLINGS.get(form, form)) for form in found if form)


@dataclass(frozen=True, slots=True)
class Near:
    """Categories near a word: how they are related to it, and by what; see ``near_words.tsv``."""

    relation: str
    why: str
    categories: tuple[str, ...]

    def reason(self, word: str) -> str:
        """Why they are suggested."""
        names = _listed(self.categories)
        if self.relation == "same":
            return f"another word for {word}"
        if self.relation == "wide":
            return f"{_a(self.categories[0])} is a kind of {word}" if len(
                self.categories) == 1 else f"each is a kind of {word}"  # fmt: skip
        return f"{_a(word)} is {_a(self.why or names.casefold())}"


def near(known: Sequence[str], word: str) -> list[Near]:
    """The categories among `known` that are near a word in meaning, the nearest relation alone."""
    rows: dict[tuple[str, str], dict[str, None]] = {}
    for form in sorted(_forms(word)):
        for relation, category, why in _near_words().get(form, ()):
            if mine := matching(known, category):
                rows.setdefault((relation, why), {}).update(dict.fromkeys(mine))
    for relation in _RELATIONS:
        most = None if relation == "wide" else _MOST
        found = [Near(relation, why, tuple(names)[:most])
                 for (its, why), names in rows.items() if its == relation]  # fmt: skip
        if found:
            return found
    return []


@cache
def _near_words() -> Mapping[str, tuple[tuple[str, str, str], ...]]:
    """Relation, category and why, by the key of the word."""
    rows: dict[str, list[tuple[str, str, str]]] = {}
    table = (Path(__file__).parent / "near_words.tsv").read_text(encoding="utf8")
    for line in table.splitlines():
        if not line.startswith("#"):
            relation, category, why, words = line.split("\t")
            for word in words.split(","):
                rows.setdefault(_key(word), []).append((relation, category, why))
    return {word: tuple(mine) for word, mine in rows.items()}


def _unknown(card: Card, name: str, known: Sequence[str]) -> str:
    suggested = near(known, name)
    alike = [] if suggested else _spelt_like(known, name)
    scouting = "`closeup scout PHOTOS` shows what it finds in your photos"
    if suggested:
        guesses = " or ".join(
            f"{_listed(tuple(map(repr, one.categories)))}"
            f" ({one.reason(name.strip().casefold())})" for one in suggested[:_MOST])  # fmt: skip
        said = f"; did you mean {guesses}?"
    elif alike:
        said = f"; did you mean {_listed(tuple(map(repr, alike)))}?"
    else:
        said = ", nor one that is near in meaning"
    sentences = [f"{card.name} has no category {name!r}{said}"]
    if larger := _in_larger(known, name):
        sentences.append(f"{LARGER} has {larger!r} (`closeup models pull {LARGER}`, then "
                         f"`--detector {LARGER}`)")  # fmt: skip
    if suggested or alike:
        sentences.append(scouting)
    else:
        sentences.append(
            f"{scouting}; else accept every category with `--parent {ANY}`, or give your own boxes "
            f"with `--boxes`. It knows {listed(known, 100)}"
        )
    return ". ".join(sentences).replace("?. ", "? ")


def _spelt_like(known: Sequence[str], name: str) -> list[str]:
    """What may have been meant by a word with a slip of the pen ("clok", but not "bolt")."""
    key = _key(name)
    keys = {_key(category): category for category in known if _key(category)[:1] == key[:1]}
    return [keys[close] for close in difflib.get_close_matches(key, keys, n=2, cutoff=0.82)]


def _in_larger(known: Sequence[str], name: str) -> str:
    """What a larger vocabulary calls it, where that is not this detector's own."""
    larger = class_list("objects365")
    found = matching(larger, name) or [
        category for one in near(larger, name) if one.relation in ("same", "kind")
        for category in one.categories]  # fmt: skip
    new = [category for category in found if not matching(known, category)]
    return new[0] if new and len(known) < len(larger) else ""


def _listed(names: Sequence[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


def _a(word: str) -> str:
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word
    return f"{'an' if word[:1].casefold() in 'aeiou' else 'a'} {word}"
