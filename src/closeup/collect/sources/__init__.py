"""Openly licensed photos by words: Openverse, Wikimedia Commons, iNaturalist and GBIF.

Each source is a module with `service` (its address and what it allows) and `find` (what it lists,
page by page); `searching` holds what they share. None of them has been asked by the tests, which
play their documented answers.
"""

from closeup.collect.sources.searching import SOURCES, search

__all__ = ["SOURCES", "search"]
