"""How much is asked of a site, of this machine, and of one photo."""

from __future__ import annotations

from dataclasses import dataclass

from closeup.core.errors import UsageError
from closeup.photos.reading import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Limits:
    """How politely photos are fetched, and what a photo may be.

    - `jobs`: photos fetched at the same time; at most `jobs` x `max_bytes` are held in memory
    - `per_host`, `rate`: requests to one host at the same time, and how many a second
    - `connect`, `read`, `total`: seconds to connect, between two pieces of an answer, and for one
      answer in all
    - `max_bytes`, `max_pixels`: of one photo
    - `redirects`: of one address
    - `attempts`: requests for one address in a run; `backoff`: mean seconds before the second,
      twice as long before each further one
    - `longest_wait`: seconds that a site may ask to wait; where it asks for more, its photos are
      left for another run
    """

    jobs: int = 16
    per_host: int = 2
    rate: float = 2.0
    connect: float = 10.0
    read: float = 20.0
    total: float = 120.0
    max_bytes: int = 30_000_000
    max_pixels: int = MAX_PIXELS
    redirects: int = 5
    attempts: int = 4
    backoff: float = 1.0
    longest_wait: float = 300.0

    def __post_init__(self) -> None:
        for name in ("jobs", "per_host", "max_bytes", "max_pixels", "attempts"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("rate", "connect", "read", "total"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("redirects", "backoff", "longest_wait"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name}: expected 0 or more, got {getattr(self, name)}")
