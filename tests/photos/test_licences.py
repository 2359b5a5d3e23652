"""Licences are read from whatever people and sources write, and never from a mere mention."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closeup.core.errors import UsageError
from closeup.photos.licences import CODES, DEFAULT_CODES, Licence, licence_codes, read_licence

CC = "https://creativecommons.org/licenses/"
ZERO = "https://creativecommons.org/publicdomain/zero/1.0/"
MARK = "https://creativecommons.org/publicdomain/mark/1.0/"


def cc(code: str, version: str, port: str = "") -> Licence:
    url = f"{CC}{code}/{version}/" + (f"{port}/" if port else "")
    return Licence(code, version, url, f"CC {code.upper()} {version} {port.upper()}".strip())


BY_SA_4, BY_NC_4 = cc("by-sa", "4.0"), cc("by-nc", "4.0")
CC0 = Licence("cc0", "1.0", ZERO, "CC0 1.0")
PUBLIC_DOMAIN = Licence("pdm", name="Public domain")
MARKED = Licence("pdm", "1.0", MARK, "Public Domain Mark 1.0")
RESERVED = Licence("all-rights-reserved", name="All rights reserved")
WRITTEN = {
    # As Wikimedia Commons writes them: LicenseShortName, License, UsageTerms, LicenseUrl.
    "CC BY-SA 4.0": BY_SA_4,
    "cc-by-sa-4.0": BY_SA_4,
    "CC BY-SA 4.0-3.0-2.5-2.0-1.0": BY_SA_4,
    "CC BY-SA 3.0 de": cc("by-sa", "3.0", "de"),
    "CC BY 3.0 igo": cc("by", "3.0", "igo"),
    "Creative Commons Attribution-Share Alike 2.0 Generic": cc("by-sa", "2.0"),
    "Public domain": PUBLIC_DOMAIN,
    "pd": PUBLIC_DOMAIN,
    "PD-USGov-NASA": PUBLIC_DOMAIN,
    "CC-PD-Mark": MARKED,
    "CC0": CC0,
    "cc-zero": CC0,
    "http://creativecommons.org/publicdomain/zero/1.0/deed.en": CC0,
    "GFDL 1.2": Licence("gfdl", url="https://www.gnu.org/licenses/fdl.html", name="GFDL"),
    "Attribution": Licence("attribution", name="Attribution"),
    "No restrictions": Licence("no-known-copyright", name="No known copyright"),
    # As Openverse, iNaturalist and GBIF write them.
    "by-nc-nd": Licence("by-nc-nd", name="CC BY-NC-ND"),
    "pdm": MARKED,
    "cc0": CC0,
    "cc-by-nc": Licence("by-nc", name="CC BY-NC"),
    "CC-BY-NC-SA": Licence("by-nc-sa", name="CC BY-NC-SA"),
    "http://creativecommons.org/licenses/by-nc/4.0/legalcode": BY_NC_4,
    "Attribution-NonCommercial 4.0 International": BY_NC_4,
    "© 2019 Ana Lima, all rights reserved": RESERVED,
    "http://rightsstatements.org/vocab/InC/1.0/": RESERVED,
    # As people do.
    "https://creativecommons.org/licenses/by-sa/4.0/legalcode.de": BY_SA_4,
    "CC BY\u2011SA 4.0": BY_SA_4,
    "  cc  by-sa\tv4.0 ": BY_SA_4,
    "creativecommons.org/licenses/by/2.0": cc("by", "2.0"),
    "(CC BY 2.0)": cc("by", "2.0"),
    "CC-BY-4.0": cc("by", "4.0"),
    "CC BY 4.0 NC": BY_NC_4,
    "4.0 SA BY": BY_SA_4,
    "//creativecommons.org/licenses/by/2.5/au/deed.en_GB?x=1#y": cc("by", "2.5", "au"),
    "https://creativecommons.org/licenses/by-nd-nc/1.0/": Licence(
        "by-nc-nd", "1.0", f"{CC}by-nd-nc/1.0/", "CC BY-NC-ND 1.0"
    ),
    "Creative Commons Attribution-NonCommercial-NoDerivs 3.0 Unported License.": cc(
        "by-nc-nd", "3.0"
    ),
    "Creative Commons Attribution 3.0 Germany": cc("by", "3.0", "de"),
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": CC0,
    "Creative Commons Zero, Public Domain Dedication": CC0,
    "NC-Sampling+ 1.0": Licence(
        "nc-sampling+", "1.0", f"{CC}nc-sampling+/1.0/", "CC NC-Sampling+ 1.0"
    ),
    "MIT": Licence("mit", url="https://spdx.org/licenses/MIT", name="MIT"),
    "Apache License, Version 2.0": Licence(
        "apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0", name="Apache-2.0"
    ),
    "All Rights Reserved.": RESERVED,
    "": Licence(),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_what_is_written_becomes_one_record(text: str) -> None:
    licence = read_licence(text)
    assert licence == WRITTEN[text]
    assert licence.known is bool(text)


@pytest.mark.parametrize(
    "text",
    [
        "Courtesy of the museum",
        "All photos CC BY 4.0 except where noted",
        "not CC BY 4.0",
        "CC BY 4.0 or",
        "CC BY 4.0 xx",
        "CC BY 4.0 or all rights reserved",
        "CC BY 9.0",
        "https://creativecommons.org/licenses/by/9.0/",
        "https://example.org/creativecommons.org/licenses/by/4.0/",
        "https://creativecommons.org.example.org/licenses/by/4.0/",
        "https://creativecommons.org/about/",
        "by-sa-nd",
        "public domain in the USA",
        "4.0",
        "cc",
        "license",
        "domain",
    ],
)
def test_a_mere_mention_gives_no_licence(text: str) -> None:
    licence = read_licence(text)
    assert not licence.known
    assert licence.name == text


def test_the_address_counts_and_a_contradiction_gives_no_licence() -> None:
    assert read_licence("CC BY-SA", CC + "by-sa/2.0/").version == "2.0"
    assert read_licence("CC BY-SA 2.0", CC + "by-sa/").version == "2.0"
    assert read_licence("Public domain", MARK).url == MARK
    assert read_licence("Public domain", ZERO).code == "cc0"
    assert read_licence("CC BY 4.0", "https://example.org/terms").code == "by"
    assert read_licence("", "https://example.org/terms").name == "https://example.org/terms"
    for text in ("CC BY 4.0", "All rights reserved", "see website"):
        contradicted = read_licence(text, CC + "by-nc/4.0/")
        assert not contradicted.known
        assert contradicted.name == f"{text} ({CC}by-nc/4.0/)"


def test_what_was_written_is_safe_to_display() -> None:
    assert read_licence("see\nhere \x1b[31m").name == "see here \\x1b[31m"
    assert len(read_licence("x" * 10_000).name) == 200


def test_codes_are_asked_for_in_any_form() -> None:
    assert licence_codes("by, CC BY-SA 4.0,,by,Public Domain") == ("by", "by-sa", "pdm")
    assert licence_codes(DEFAULT_CODES) == DEFAULT_CODES
    assert licence_codes(CODES) == CODES
    for wrong in ("gfdl", "by,whatever", "all rights reserved"):
        with pytest.raises(UsageError, match="choose from cc0, pdm, by, "):
            licence_codes(wrong)
    with pytest.raises(UsageError, match="at least one licence"):
        licence_codes(" , ")


@given(st.text(max_size=60))
def test_any_text_is_read_and_a_name_reads_as_itself(text: str) -> None:
    licence = read_licence(text)
    if licence.code in CODES:
        again = read_licence(licence.name, licence.url)
        assert (again.code, again.url) == (licence.code, licence.url)


@given(st.permutations(["CC", "BY", "4.0", "NC", "de"]), st.sampled_from([" ", "-", ", "]))
def test_no_order_of_words_loses_a_condition(words: list[str], between: str) -> None:
    licence = read_licence(between.join(words))
    assert licence.code in {"by-nc", ""}


@pytest.mark.parametrize("code", CODES)
def test_name_and_address_of_every_code_read_as_itself(code: str) -> None:
    for text in (code, f"cc-{code}", f"{code} 1.0" if code in ("cc0", "pdm") else f"{code} 4.0"):
        licence = read_licence(text)
        assert licence.code == code
        assert read_licence(licence.name).code == code
        assert not licence.url or read_licence(licence.url).code == code
