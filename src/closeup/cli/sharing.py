"""How ``serve`` and ``review`` let other machines in: addresses, and one-time links as QR codes."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from closeup.cli.output import say
from closeup.web.qr import print_qr

if TYPE_CHECKING:
    from closeup.web.guard import AccessPolicy


def open_access(
    name: str, host: str, token: str, allowed: Sequence[str], cors: Sequence[str] = ()
) -> AccessPolicy:
    """The access policy, with a key for one-time links where other machines can reach `host`.

    At a terminal, which is where the links are shown, a token that is missing is made up: it holds
    until the service ends. Not with `allowed` names: a link leads to this machine's address, which
    is then none of them. Raises what :func:`closeup.web.run.make_access_policy` does.
    """
    from closeup.web.guard import OneTimeKey
    from closeup.web.run import is_loopback, make_access_policy

    linked = sys.stderr.isatty() and not is_loopback(host) and not allowed
    if linked and not token:
        token = secrets.token_urlsafe()
    access = make_access_policy(name, host, token, tuple(allowed), tuple(cors))
    return replace(access, key=OneTimeKey()) if linked else access


def invite(access: AccessPolicy, urls: Sequence[str]) -> str:
    """Show the other addresses, and a one-time link with its QR code; returns that link.

    Whenever it has been used, or was too old, the next one is shown. Without a key there is no
    link, and ``""`` comes back.
    """
    key = access.key
    for url in urls[1:]:
        say(f"also at {url}")
    if key is None:
        return ""

    def show(first: str) -> str:
        link = f"{urls[0]}/login#{key.renew()}"
        say(f"{first} within {key.seconds / 60:.0f} minutes (works once):")
        print_qr(link, sys.stderr)
        say(link)
        return link

    def again(used: bool) -> None:
        show("Somebody signed in. For another phone, scan this" if used else
             "That link was too old. Scan this")  # fmt: skip

    key.on_spent = again
    return show("To sign in on a phone in this network, scan this")
