"""Photos are counted by licence, and what limits their use is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from closeup.core.types import Rights
from closeup.evaluate.checks import CheckState
from closeup.evaluate.rights import RightsCount, check_rights, count_rights
from closeup.photos.rights import NOTHING


def under(licence: str, **more: str) -> Rights:
    return replace(NOTHING, licence=licence, **more)


def counted(*licences: str | None) -> RightsCount:
    photos = [(f"{n}.jpg", None if one is None else under(one)) for n, one in enumerate(licences)]
    found = count_rights(photos)
    assert found is not None
    return found


@pytest.mark.parametrize("rights", [None, replace(NOTHING, creator="me")])
def test_ones_own_photos_are_no_question(rights: Rights | None) -> None:
    assert count_rights([("a.jpg", rights), ("b.jpg", None)]) is None
    assert count_rights([]) is None
    check = check_rights(None)
    assert (check.code, check.state) == ("CU105", CheckState.NOT_APPLICABLE)


@pytest.mark.parametrize("known", [{"url": "https://a.example/1.jpg"}, {"licence_url": "x"},
                                   {"landing_page": "https://a.example"}])  # fmt: skip
def test_a_photo_from_elsewhere_is(known: dict[str, str]) -> None:
    found = count_rights([("a.jpg", replace(NOTHING, **known)), ("b.jpg", None)])
    assert found == RightsCount(2, (), ("a.jpg", "b.jpg"))


def test_photos_are_counted_by_licence_the_most_frequent_first() -> None:
    found = counted("CC0", "cc-by-4.0", None, "CC BY 4.0", "© me", "CC BY-NC-SA 2.0", "GFDL")
    assert [(row.name, row.photos, str(row)) for row in found.licences] == [
        ("CC BY 4.0", 2, "attribution"),
        ("CC BY-NC-SA 2.0", 1, "attribution, no commercial use, share alike"),
        ("CC0 1.0", 1, "nothing"),
        ("GFDL", 1, "see the licence"),
    ]
    assert found.unknown == ("2.jpg", "4.jpg")
    assert found.photos == 7
    assert sum(row.photos for row in found.licences) + len(found.unknown) == found.photos


def test_open_licences_pass() -> None:
    check = check_rights(counted("CC0", "CC BY 4.0", "CC BY-SA 4.0"))
    assert check.state is CheckState.PASSED
    assert "each of 3 photos" in check.detail
    assert not check.advice


def test_unknown_ones_are_named() -> None:
    check = check_rights(counted("CC0", None, *[""] * 9))
    assert check.state is CheckState.ISSUE
    assert check.detail == (
        "11 photos: 10 without a known licence (1.jpg, 10.jpg, 2.jpg and 7 more)"
    )
    assert "leave them out" in check.advice
    assert "read these licences" not in check.advice


def test_what_limits_the_use_is_counted() -> None:
    check = check_rights(counted("CC BY-NC 4.0", "CC BY-NC-ND 4.0", "all rights reserved", "CC0"))
    assert check.state is CheckState.ISSUE
    assert check.detail == (
        "4 photos: 2 not for commercial use (CC BY-NC 4.0, CC BY-NC-ND 4.0); "
        "1 not to be shared in a changed form (CC BY-NC-ND 4.0); "
        "1 only with permission (All rights reserved)"
    )
    assert check.advice == "read these licences before you share the photos, close-ups or model"
