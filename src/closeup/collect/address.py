"""One line of a list: where a photo lies, what it shows, and what is known of its rights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """Where to fetch one photo.

    - `url`: an ``http`` or ``https`` address
    - `label`: what the photo shows
    - `group`: photos that belong together, such as those of one object; ``""`` for none
    - `licence`, `licence_url`, `creator`, `attribution`: rights as the source states them
    - `landing_page`: the page that shows the photo
    - `title`, `source`: what it is called there, and where it was found
    """

    url: str
    label: str
    group: str = ""
    licence: str = ""
    licence_url: str = ""
    creator: str = ""
    landing_page: str = ""
    title: str = ""
    attribution: str = ""
    source: str = ""
