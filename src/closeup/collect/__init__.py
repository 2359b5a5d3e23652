"""Photos from the web: a list of addresses becomes a folder of photos, with origin and rights.

``closeup.collect.collect(LIST, PHOTOS, contact=...)`` is ``closeup collect LIST --out PHOTOS``.
"""

from closeup.collect.address import Address
from closeup.collect.collecting import collect
from closeup.collect.limits import Limits
from closeup.collect.result import CollectResult

__all__ = ["Address", "CollectResult", "Limits", "collect"]
