"""The user's own boxes, from the files of any common annotation tool -> detections.

``reading`` finds the dialect by what a file holds, one module reads each dialect, ``names`` matches
names to photos, and ``frame`` puts boxes onto the upright photo.
"""

from closeup.detect.given.boxes import GivenBoxes

__all__ = ["GivenBoxes"]
