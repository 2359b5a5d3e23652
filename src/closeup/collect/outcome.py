"""What came of asking for one address."""

from __future__ import annotations

from dataclasses import dataclass

from closeup.collect.record import Status


class NotFetched(Exception):
    """An address gives no photo; `again` tells whether asking once more may help.

    `wait`: seconds that the site asks to wait before; 0 where it says nothing.
    """

    def __init__(
        self, reason: str, status: Status = Status.FAILED, *, again: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.reason, self.status, self.again, self.wait = reason, status, again, wait

    def copy(self) -> NotFetched:
        """The same to raise once more, for another address of the same site."""
        return NotFetched(self.reason, self.status, again=self.again, wait=self.wait)


@dataclass(slots=True)
class Outcome:
    """An answer: the bytes of a photo, or why there are none.

    `status` is SAVED where `data` is to be saved.
    """

    final_url: str
    status: Status = Status.FAILED
    http_status: int | None = None
    reason: str = ""
    robots: str = ""
    data: bytes = b""
    again: bool = False
    wait: float = 0.0
