"""The page of credits says what is known, and nothing on it acts."""

from __future__ import annotations

from dataclasses import replace

from closeup.photos.rights import NOTHING
from closeup.report.attribution import attribution

ADA = replace(
    NOTHING, licence="CC BY 4.0", creator="Ada", title="An ash", source="commons",
    landing_page="https://photos.example/1",
)  # fmt: skip
BY = "[CC BY 4.0](<https://creativecommons.org/licenses/by/4.0/>)"


def test_each_photo_stands_below_its_licence() -> None:
    page = attribution(
        [("1.jpg", ADA), ("2.jpg", replace(NOTHING, licence="cc0")),
         ("3.jpg", replace(ADA, title="", creator="Bea", source="")),
         ("4.jpg", replace(NOTHING, url="https://b.example/4.jpg"))],
        "These are cropped.",
    )  # fmt: skip
    zero = "[CC0 1.0](<https://creativecommons.org/publicdomain/zero/1.0/>)"
    assert page.split("\n\n") == [
        "# Attribution",
        "These are cropped.",
        "Creators and licences are as the list of photos gives them.",
        f"## {BY}",
        f"- 1.jpg: “An ash” by Ada, {BY}, [source](<https://photos.example/1>), commons\n"
        f"- 3.jpg: untitled by Bea, {BY}, [source](<https://photos.example/1>)",
        f"## {zero}",
        f"- 2.jpg: untitled by an unknown creator, {zero}",
        "## No known licence",
        "- 4.jpg: untitled by an unknown creator, [source](<https://b.example/4.jpg>)\n",
    ]


def test_a_ready_credit_line_is_kept() -> None:
    page = attribution([("1.jpg", replace(ADA, attribution="“An ash” by Ada, CC BY"))], "")
    assert f"- 1.jpg: “An ash” by Ada, CC BY, {BY}, " in page


def test_what_strangers_wrote_is_shown_as_text() -> None:
    evil = replace(
        NOTHING, licence="mine\n# Heading", creator="<script>alert(1)</script>\u202e",
        title="[a](javascript:x)", landing_page="javascript:alert(1)", source="`x`",
    )  # fmt: skip
    page = attribution([("a_b.jpg", evil), ("c.jpg", replace(evil, landing_page="http://a b>"))],
                       "")  # fmt: skip
    assert "<script>" not in page
    assert "\u202e" not in page
    assert "](<" not in page
    assert "\n# Heading" not in page
    assert "a\\_b.jpg: “\\[a\\](javascript:x)”" in page


def test_a_long_list_is_one_line_a_photo() -> None:
    page = attribution([(f"{n}.jpg", ADA) for n in range(2000)], "")
    assert page.count("\n- ") == 2000
