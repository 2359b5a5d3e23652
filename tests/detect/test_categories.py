"""Categories by the names that people give them, and what is suggested where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from closeup.core.errors import UsageError
from closeup.detect import resolve_categories
from closeup.detect.categories import matching
from closeup.detect.class_lists import class_names
from closeup.networks import Card
from closeup.networks.preprocess import InputSpec
from tools.near_words import OWN, TABLE, own_words

OBJECTS = class_names("objects366")


def card(classes: Sequence[str], name: str = "own") -> Card:
    return Card(name=name, kind="detector", family="detr", sha256="0" * 64, bytes=1,
                input=InputSpec(width=8, height=8), classes=tuple(classes))  # fmt: skip


COCO, LARGER = card(class_names("coco80"), "coco"), card(OBJECTS, "d-fine-s-365")


def message(one: Card, name: str) -> str:
    with pytest.raises(UsageError) as err:
        resolve_categories(one, [name])
    return str(err.value)


def test_spelling_makes_no_difference() -> None:
    one = card(["cat", "", "Cell Phone", "sofa", "wine_glass", "bus", "knife"])
    for names, expected in [
        (["cell_phone", " CAT "], ("Cell Phone", "cat")),
        (["cat", "Cats", "wine-glass", "WineGlasses"], ("cat", "wine_glass")),
        (["couch"], ("sofa",)),
        (["sofas"], ("sofa",)),
        (["buses", "knives"], ("bus", "knife")),
    ]:
        assert resolve_categories(one, names) == expected
    everything = ("cat", "Cell Phone", "sofa", "wine_glass", "bus", "knife")
    assert resolve_categories(one, ["any"]) == resolve_categories(one, ["cat", "Any"]) == everything


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tv", "Monitor/TV"), ("monitors", "Monitor/TV"), ("monitor / tv", "Monitor/TV"),
     ("handbag", "Handbag/Satchel"), ("satchels", "Handbag/Satchel"), ("purse", "Wallet/Purse"),
     ("dining table", "Dinning Table"), ("dinning table", "Dinning Table"), ("watch", "Watch"),
     ("sneaker", "Sneakers"), ("noodles", "Noddles"), ("cutting board", "Cutting/chopping Board"),
     ("chopping board", "Cutting/chopping Board"), ("teapot", "Tea pot"),
     ("headphones", "Head Phone"), ("glasses", "Glasses"),
     ("orange", "Orange/Tangerine"), ("hair drier", "Hair Dryer"), ("mice", "Mouse"),
     ("drying machine", "Washing Machine/Drying Machine")],
)  # fmt: skip
def test_objects365(name: str, expected: str) -> None:
    assert resolve_categories(LARGER, [name]) == (expected,)


@pytest.mark.parametrize("one", [COCO, LARGER])
def test_every_category_is_found_by_its_own_name_alone(one: Card) -> None:
    for name in filter(None, one.classes):
        assert resolve_categories(one, [name]) == (name,)
        assert resolve_categories(one, [f" {name.upper()}"]) == (name,)


def test_a_part_of_several_categories_means_them_all() -> None:
    assert resolve_categories(card(["car/van", "bus", "van/lorry"]), ["van"]) == (
        *("car/van", "van/lorry"),
    )
    assert resolve_categories(card(["car/van", "van"]), ["van"]) == ("van",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("watch", "'clock' (a watch is a timepiece)?"),
     ("wristwatch", "'clock' (a wristwatch is a timepiece)?"),
     ("timepiece", "'clock' (a clock is a kind of timepiece)?"),
     ("bag", "'handbag' or 'suitcase' (another word for bag)?"),
     ("purse", "'handbag' (another word for purse)?"),
     ("phone", "'cell phone' (another word for phone)?"),
     ("mobile", "'cell phone' (another word for mobile)?"),
     ("automobile", "'car' (another word for automobile)?"),
     ("kitten", "'cat' (a kitten is a cat)?"), ("puppy", "'dog' (a puppy is a dog)?"),
     ("sparrow", "'bird' (a sparrow is a bird)?"), ("mugs", "'cup' (another word for mugs)?"),
     ("Braeburn", "'apple' (a braeburn is an apple)?"), ("gala", "'apple' (a gala is an apple)?"),
     ("golf", "'car' (a golf is a car)?"), ("corvette", "'car' (a corvette is a car)?"),
     ("wolf", "'dog' (a wolf is a canine)?"), ("tiger", "'cat' (a tiger is a feline)?"),
     ("fruit", "'apple', 'banana' or 'orange' (each is a kind of fruit)?"),
     ("clok", "'clock'?"), ("bottel", "'bottle'?")],
)  # fmt: skip
def test_near_in_meaning(name: str, expected: str) -> None:
    assert f"coco has no category {name!r}; did you mean {expected} " in message(COCO, name)


@pytest.mark.parametrize(
    "name", ["coin", "bolt", "glass plate", "beetle", "mushroom", "ring", "butterfly", "zzz"]
)
def test_nothing_near(name: str) -> None:
    said = message(COCO, name)
    assert said.startswith(f"coco has no category {name!r}, nor one that is near in meaning. ")
    for way in ("`closeup scout PHOTOS`", "`--parent any`", "`--boxes`", "It knows person, "):
        assert way in said


@pytest.mark.parametrize(
    ("name", "category"),
    [("watch", "Watch"), ("wristwatch", "Watch"), ("mushroom", "Mushroom"), ("ring", "Ring"),
     ("trainers", "Sneakers"), ("sneaker", "Sneakers"), ("butterfly", "Butterfly")],
)  # fmt: skip
def test_the_larger_vocabulary_is_named_where_it_knows_the_word(name: str, category: str) -> None:
    assert f"d-fine-s-365 has {category!r} (`closeup models pull d-fine-s-365`" in (
        message(COCO, name)
    )


def test_the_larger_vocabulary_is_not_named_in_vain() -> None:
    for name in ("kitten", "coin", "automobile"):  # it has no better one than COCO
        assert "d-fine-s-365" not in message(COCO, name)
    assert "models pull" not in message(LARGER, "trainers")


def test_a_detector_of_ones_own_classes() -> None:
    assert "did you mean 'Clocks' (a watch is a timepiece)?" in message(card(["Clocks"]), "watch")
    assert "It knows cat, dog" in message(card(["cat", "dog"]), "coin")


@pytest.mark.parametrize("names", [[], [""], ["1"], ["-"], ["/"]])
def test_no_name(names: list[str]) -> None:
    with pytest.raises(UsageError):
        resolve_categories(COCO, names)


def test_the_table_is_as_its_tool_describes_it() -> None:
    lines = TABLE.read_text(encoding="utf8").splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert "# WordNet 3.1 Copyright 2011 by Princeton University.  All rights reserved." in head
    rows = [line.split("\t") for line in lines[len(head) :]]
    known = [*filter(None, OBJECTS), *COCO.classes]
    for relation, category, why, words in rows:
        assert relation in ("same", "kind", "wide", "like")
        assert (relation == "like") == bool(why)
        assert matching(known, category)
        assert words.split(",") == sorted(set(words.split(",")))
    made = {(relation, category, why): set(words.split(",")) for relation, category, why, words
            in rows}  # fmt: skip
    for row, words in own_words(OWN.read_text(encoding="utf8")).items():
        assert words <= made[row], "run tools/near_words.py"
