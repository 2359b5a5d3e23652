"""Who asks: what every request says of itself."""

from __future__ import annotations

import re

from closeup._version import __version__
from closeup.core.errors import UsageError

_CONTACT = re.compile(
    r"(mailto:)?[^@/()<>]+@[^@/()<>]+|https?://[^/@()<>]+\.[^()<>]*", re.IGNORECASE
)


def checked_contact(contact: str) -> str:
    """A mail or web address, as it is sent to the sites; UsageError where it is none."""
    contact = contact.strip()
    if re.fullmatch(r"[!-~]{1,200}", contact) and _CONTACT.fullmatch(contact):
        return contact
    given = f"got {contact!r}" if contact else "none is given"
    raise UsageError(
        "contact: expected a mail or web address of yours (--contact you@example.org), "
        f"{given}; it is sent to every site, so that its owner can reach you before blocking you"
    )


def user_agent(contact: str) -> str:
    """What we call ourselves: the tool, its version, and whom to write to."""
    return f"closeup/{__version__} ({contact})"
