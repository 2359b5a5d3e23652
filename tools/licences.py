"""List the licence of every package that Closeup brings along, and fail where one does not suit.

    python tools/licences.py

Looks at what is installed: the packages that Closeup and its extras `serve` and `torch` require,
and those that they require. Where a package's licence is neither stated nor known here, or is not
one of those below, it is named and the exit code is 1.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

# Licences that let a program under Apache-2.0 be passed on together with the package. MPL-2.0 asks
# for changes of its own files only.
SUITABLE = frozenset(
    {"0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0"}
    | {"CNRI-Python", "HPND", "ISC", "MIT", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"}
)
# What PyTorch's builds for NVIDIA GPUs bring along. Not free; Closeup neither needs nor ships them.
PROPRIETARY = re.compile(r"(nvidia|cuda)-[a-z0-9-]+")
_PROJECT = Path(__file__).parent.parent / "pyproject.toml"
_WORDS = {
    "mit": "MIT", "mit license": "MIT", "isc license": "ISC", "isc license (iscl)": "ISC",
    "bsd": "BSD", "bsd license": "BSD", "bsd-3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause", "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0", "apache-2.0": "Apache-2.0", "apache 2.0 license": "Apache-2.0",
    "apache software license": "Apache-2.0", "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "the unlicense (unlicense)": "Unlicense",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Package:
    """A package that is installed, with its licence as an SPDX expression; ``""`` for unknown."""

    name: str
    version: str
    licence: str
    extra: str

    @property
    def suits(self) -> bool:
        """Whether Closeup may be used and passed on together with it."""
        if PROPRIETARY.fullmatch(self.name):
            return self.extra == "torch"
        return suits(self.licence)


def suits(expression: str) -> bool:
    """Whether one of the alternatives of an SPDX expression consists of suitable licences alone.

    >>> suits("MIT"), suits("GPL-3.0-only OR MIT"), suits("MIT AND GPL-3.0-only"), suits("")
    (True, True, False, False)
    """
    plain = re.sub(r"[()]| WITH [\w.-]+", "", expression)
    return any(
        all(part.strip() in SUITABLE for part in choice.split(" AND "))
        for choice in plain.split(" OR ")
    )


def licence_of(facts: metadata.PackageMetadata) -> str:
    """What a package's metadata say, as an SPDX expression; ``""`` where that is not clear.

    The expression counts, else the classifiers, else the free text where it is a known name.
    """
    if stated := facts.get("License-Expression"):
        return str(stated)
    classifiers = [
        str(line).rsplit(" :: ", 1)[1]
        for line in facts.get_all("Classifier") or ()
        if str(line).startswith("License :: ") and not str(line).endswith("OSI Approved")
    ]
    if classifiers:
        return " AND ".join(_WORDS.get(line.lower(), line) for line in classifiers)
    text = str(facts.get("License") or "").strip()
    return _WORDS.get(text.lower(), text if suits(text) else "")


def required(extra: str) -> Iterator[str]:
    """Names of the packages that Closeup with an extra requires, each once."""
    project = tomllib.loads(_PROJECT.read_text(encoding="utf8"))["project"]
    own = [*project["dependencies"], *project["optional-dependencies"].get(extra, ())]
    seen: set[tuple[str, str]] = set()
    todo = [("", "")]
    while todo:
        name, its_extra = todo.pop()
        for line in (metadata.requires(name) or ()) if name else own:
            need = Requirement(line)
            if need.marker is not None and not need.marker.evaluate({"extra": its_extra}):
                continue
            plain = re.sub(r"[-_.]+", "-", need.name).lower()
            for wanted in ("", *need.extras):
                if (plain, wanted) not in seen:
                    seen.add((plain, wanted))
                    todo.append((plain, wanted))
    yield from sorted({name for name, _ in seen})


def packages() -> list[Package]:
    """Every package that Closeup brings along, with the extra that needs it (``""`` for none)."""
    found: dict[str, Package] = {}
    for extra in ("", "serve", "torch"):
        for name in required(extra):
            if name not in found:
                facts = metadata.metadata(name)
                found[name] = Package(name, facts["Version"], licence_of(facts), extra)
    return sorted(found.values(), key=lambda one: (one.extra, one.name))


def main() -> int:
    """Print the table; 1 where a licence does not suit."""
    found = packages()
    for one in found:
        print(f"{one.extra or 'core':<6} {one.name:<24} {one.version:<14} {one.licence or '?'}")
    wrong = [one.name for one in found if not one.suits]
    if wrong:
        print(f"unknown or unsuitable licences: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
