"""Licences: what people and sources write, as one record.

One source says `CC BY-SA 4.0`, another `cc-by-sa`, a third gives an address. All three are read as
the code `by-sa`; the codes are those that Openverse uses. A text is recognised as a whole or not at
all: reading a licence into a sentence that only mentions one would give rights that nobody gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from closeup.core.errors import UsageError
from closeup.core.text import visible

#: The codes that a source can be asked for, from the freest to the strictest.
CODES = ("cc0", "pdm", "by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
#: Asked for unless others are named: changes and commercial use are allowed.
DEFAULT_CODES = ("by", "by-sa", "cc0", "pdm")


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence of a photo.

    `code` is one of :data:`CODES` (`pdm` is the public domain), a retired one of Creative Commons,
    `all-rights-reserved`, another such as `mit`, or "" where the licence is unknown. `version` and
    `url` are "" where they are not known. `name` is for people; of an unknown licence it is what
    was written, on one line.
    """

    code: str = ""
    version: str = ""
    url: str = ""
    name: str = ""

    @property
    def known(self) -> bool:
        """Whether the licence was recognised; `all-rights-reserved` is known, too."""
        return bool(self.code)


def read_licence(text: str, url: str = "") -> Licence:
    """The licence that `text` and `url` name; each may be empty, and either may hold an address.

    The address counts, as the more exact of the two; where they contradict each other, the licence
    is unknown.

    >>> read_licence("Creative Commons Attribution-Share Alike 2.0 Generic").url
    'https://creativecommons.org/licenses/by-sa/2.0/'
    >>> read_licence("cc-by", "https://creativecommons.org/licenses/by/4.0/legalcode.de").name
    'CC BY 4.0'
    >>> read_licence("CC BY 4.0", "https://creativecommons.org/licenses/by-nc/4.0/").known
    False
    """
    said, linked = _read(text), _read(url)
    if not linked.known:
        return said if text.strip() else linked
    if not text.strip() or {said.code, linked.code} <= {"cc0", "pdm"}:
        return linked
    if said.code == linked.code:
        return said if said.version and not linked.version else linked
    return Licence(name=_one_line(f"{text} ({url})"))


def licence_codes(written: str | Iterable[str]) -> tuple[str, ...]:
    """The codes of the licences asked for (`by,by-sa,cc0`), each once, in the order given.

    Raises `UsageError` where one is none of :data:`CODES`, or none is given.

    >>> licence_codes("by, CC BY-SA 4.0, by")
    ('by', 'by-sa')
    """
    names = written.split(",") if isinstance(written, str) else written
    codes: dict[str, None] = {}
    for name in names:
        code = read_licence(name).code
        if name.strip() and code not in CODES:
            raise UsageError(
                f"cannot ask for the licence '{_one_line(name)}'; choose from {', '.join(CODES)}"
            )
        if code:
            codes[code] = None
    if not codes:
        raise UsageError(f"name at least one licence: {', '.join(CODES)}")
    return tuple(codes)


# The elements of Creative Commons' licences, in the order in which codes name them.
_ELEMENTS = ("by", "nc", "sa", "nd")
_CURRENT = frozenset({"by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd"})
# Of versions 1.0 and 2.0; given to no new work.
_RETIRED = frozenset({"sa", "nc", "nd", "nc-sa", "nc-nd", "sampling", "sampling+", "nc-sampling+"})
_VERSIONS = frozenset({"1.0", "2.0", "2.1", "2.5", "3.0", "4.0"})
_ADDRESS = re.compile(
    r"(?:(?:https?:)?//)?(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)"
    r"(?:/(\d\.\d))?(?:/(igo|scotland|[a-z]{2}))?(?:/(?:deed|legalcode)[\w.-]*)?/?(?:[?#].*)?"
)
_MARK_URL = "https://creativecommons.org/publicdomain/mark/1.0/"
_ZERO_URL = "https://creativecommons.org/publicdomain/zero/1.0/"
# How the elements are written, in lower case.
_FORMS = tuple(
    (re.compile(pattern), short)
    for pattern, short in (
        (r"\bcreative ?commons\b", "cc"),
        (r"\b(?:cc ?0|(?:cc )?zero)\b", " cc0 "),
        (r"\battribution\b", " by "),
        (r"\bshare ?alike\b", " sa "),
        (r"\bnon ?commercial\b", " nc "),
        (r"\bno ?deriv(?:ative|ate)?s?\b", " nd "),
        (r"\bpublic ?domain\b", " pd "),
        (r"\bsampling plus\b", " sampling+ "),
        (r"\b(?:v|version) ?(?=\d)", " "),
        (r"\b(?:licen[cs]ed?|public license|under|the|a|works?|only)\b", " "),
        (r"\b(?:universal|international|intl|generic|unported|dedication|deed)\b", " "),
    )
)
_PUNCTUATION = re.compile(r"[\s,;:_()\[\]/\u2010-\u2015-]+")
# Jurisdictions that licences up to 3.0 were adapted to.
_ADAPTED = """
ar au at am az be br bg ca ch cl cn co cr cv cz de dk ec ee eg es fi fr ge gr gt hk hr hu ie igo il
in it jp kr lu mk mt mx my nl no nz pe ph pl pr pt ro rs scotland se sg si th tw ug uk us ve vn za
"""
_PORTS = frozenset(_ADAPTED.split())
_COUNTRIES = {"germany": "de", "france": "fr", "japan": "jp", "spain": "es", "austria": "at"}

_RIGHTS = r"https?://rightsstatements\.org/\w+/"
_GNU_SITE = "https://www.gnu.org/licenses/"
_GNU_VERSION = r"(?:[ -]v?\d(?:\.\d)?)?(?:\+|-only|-or-later| or later)?"
_GNU = r"https?://www\.gnu\.org/(?:copyleft|licenses)/"
# Other licences that photos come under: name, address, and how they are written. The code is the
# name in lower case. "Attribution", on Wikimedia Commons, is no licence of Creative Commons.
_OTHERS = tuple(
    (name, url, re.compile(pattern))
    for name, url, pattern in (
        ("All rights reserved", "", r"(?:(?:©|\(c\)|copyright)[^.]{0,100})?all rights reserved"),
        ("All rights reserved", "", rf"in copyright|{_RIGHTS}inc(?:-[\w-]+)?/1\.0/?"),
        (
            "No known copyright",
            "",
            rf"no (?:known )?(?:copyright )?restrictions|{_RIGHTS}nkc/1\.0/?",
        ),
        ("Attribution", "", r"attribution(?: only license)?"),
        ("Copyrighted free use", "", r"copyrighted free use"),
        ("MIT", "https://spdx.org/licenses/MIT", r"(?:the )?(?:mit|expat)(?: licen[cs]e)?"),
        (
            "Apache-2.0",
            "https://www.apache.org/licenses/LICENSE-2.0",
            r"apache(?: licen[cs]e)?,?[ -](?:version |v)?2(?:\.0)?"
            r"|https?://www\.apache\.org/licenses/license-2\.0(?:\.txt|\.html)?",
        ),
        ("BSD", "", r"bsd(?:[ -][023][ -]clause)?(?: licen[cs]e)?"),
        ("GFDL", f"{_GNU_SITE}fdl.html", rf"(?:gnu )?(?:gfdl|fdl){_GNU_VERSION}|{_GNU}fdl[\w.-]*"),
        ("GPL", f"{_GNU_SITE}gpl.html", rf"(?:gnu )?gpl{_GNU_VERSION}|{_GNU}gpl[\w.-]*"),
        ("FAL", "https://artlibre.org/", r"(?:fal|lal)(?:[ -]1\.3)?|free art licen[cs]e"),
        ("OGL", "", r"ogl(?:[ -]uk)?(?:[ -]\d\.0)?|open government licen[cs]e(?: v?\d\.0)?"),
        ("Unsplash", "https://unsplash.com/license", r"unsplash(?: licen[cs]e)?"),
        ("Pexels", "https://www.pexels.com/license/", r"pexels(?: licen[cs]e)?"),
        ("Pixabay", "https://pixabay.com/service/license-summary/", r"pixabay(?: .*)?licen[cs]e"),
    )
)


def _read(text: str) -> Licence:
    """The licence that one text or address names."""
    written = " ".join(text.split()).strip(" .")
    lower = written.lower()
    if not lower:
        return Licence()
    if address := _ADDRESS.fullmatch(lower):
        found = _of_address(address[1], address[2] or "", address[3] or "")
    else:
        found = _other(lower) or _of_words(lower)
    return found or Licence(name=_one_line(written))


def _of_address(kind: str, version: str, port: str) -> Licence | None:
    """The licence of an address on Creative Commons' site: `by-sa`, `4.0`, `de`."""
    if kind == "zero":
        return Licence("cc0", version or "1.0", _ZERO_URL, f"CC0 {version or '1.0'}")
    if kind == "mark":
        return Licence("pdm", version or "1.0", _MARK_URL, f"Public Domain Mark {version or '1.0'}")
    if kind in {"publicdomain", "certification"}:
        return Licence(
            "pdm", "", "https://creativecommons.org/licenses/publicdomain/", "Public domain"
        )
    return _commons(frozenset(kind.split("-")), version, port)


def _of_words(lower: str) -> Licence | None:
    """The licence that words name, where each of them is understood."""
    if re.fullmatch(r"(?:cc-)?pd(?:-[\w-]+)?", lower) and "mark" not in lower:
        return Licence("pdm", name="Public domain")
    spaced = _PUNCTUATION.sub(" ", lower)
    for form, short in _FORMS:
        spaced = form.sub(short, spaced)
    words = spaced.split()
    port = ""
    if len(words) > 1 and re.fullmatch(r"\d\.\d", words[-2]):
        last = _COUNTRIES.get(words[-1], words[-1])
        port = last if last in _PORTS else ""
        words = words[: -1 if port else None]
    version = next((word for word in words if word in _VERSIONS), "")
    rest = frozenset(words) - _VERSIONS
    if rest and rest <= {"cc", "cc0", "pd"} and "cc0" in rest:
        return Licence("cc0", version or "1.0", _ZERO_URL, f"CC0 {version or '1.0'}")
    if rest and rest <= {"cc", "pd", "pdm", "mark", "owner"} and rest & {"pd", "pdm"}:
        if rest & {"mark", "pdm"}:
            return Licence("pdm", "1.0", _MARK_URL, "Public Domain Mark 1.0")
        return Licence("pdm", name="Public domain")
    return _commons(rest - {"cc"}, version, port)


def _commons(elements: frozenset[str], version: str, port: str) -> Licence | None:
    """The Creative Commons licence of these elements, in whatever order they were written."""
    tail = sorted(elements - set(_ELEMENTS))
    code = "-".join([element for element in _ELEMENTS if element in elements] + tail)
    if code not in _CURRENT | _RETIRED or (version and version not in _VERSIONS):
        return None
    name = " ".join(filter(None, ["CC", code.upper().replace("SAMPLING", "Sampling"), version]))
    if not version:
        return Licence(code, name=name)
    # Version 1.0 named these two elements the other way round.
    path = code.replace("nc-nd", "nd-nc") if version == "1.0" else code
    url = f"https://creativecommons.org/licenses/{path}/{version}/"
    return Licence(
        code, version, url + (f"{port}/" if port else ""), f"{name} {port.upper()}".strip()
    )


def _other(lower: str) -> Licence | None:
    """One of the other licences that photos come under."""
    for name, url, pattern in _OTHERS:
        if pattern.fullmatch(lower):
            return Licence(name.lower().replace(" ", "-"), url=url, name=name)
    return None


def _one_line(text: str, most: int = 200) -> str:
    """What was written, on one line, and not endless."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"
