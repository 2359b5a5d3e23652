"""Checks of the close-ups: are objects found, does cropping help, are boxes large enough?"""

from __future__ import annotations

from collections.abc import Mapping

from closeup.core.text import listed
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.checks import (
    Check,
    counted,
    issue,
    not_applicable,
    passed,
    rejected_by_holm,
    shortened,
    skipped,
)

MISSED = 0.05
"""CU201 is an issue where the detection rate of a class is lower than the others' by this."""
TINY = 20
"""CU203 names boxes whose shorter side has fewer pixels. On the watches, all 5 boxes below that
were around something else; of the next 19, up to 33 pixels, 16 were around the watch."""


def check_detection(found: Mapping[str, tuple[int, int]] | None) -> Check:
    """CU201, from ``(found, photos)`` for each label; None where all boxes were given.

    A class is named where Fisher's exact test (1935) of its misses against those of the rest
    stays significant after Holm's correction (1979) and the rate is lower by 0.05 or more.
    """
    if found is None:
        return not_applicable("CU201", "the boxes were given; no detector was used")
    if len(found) < 2:
        return not_applicable("CU201", "there are fewer than 2 classes")
    hits, total = (sum(pair[i] for pair in found.values()) for i in (0, 1))
    tables = {
        label: ((hit, count - hit), (hits - hit, total - count - hits + hit))
        for label, (hit, count) in found.items()
    }
    gaps = {
        label: there / max(there + not_there, 1) - hit / max(hit + missed, 1)
        for label, ((hit, missed), (there, not_there)) in tables.items()
    }
    worse = []
    if max(gaps.values()) >= MISSED:
        from scipy.stats import fisher_exact  # takes a moment to import

        chances = {
            label: float(fisher_exact(table, alternative="less").pvalue)
            for label, table in tables.items()
        }
        worse = [label for label in rejected_by_holm(chances) if gaps[label] >= MISSED]
    detail = f"the object was found in {hits} of {total} photos"
    if not worse:
        return passed("CU201", f"{detail}, in no class clearly less often than in the others")
    named = listed([f"{label} ({found[label][0]} of {found[label][1]})" for label in worse])
    return issue(
        "CU201",
        f"{detail}, clearly less often for {named}",
        "lower --threshold, name more categories with --parent, or give boxes for these classes "
        "with --boxes; `closeup scout` shows what is detected in them",
    )


def check_crop(gain: Interval | None) -> Check:
    """CU202, from the gain in macro-F1 of close-ups over whole photos, paired."""
    if gain is None:
        return skipped("CU202", "whole photos were not compared", "run with --compare-photo")
    detail = f"close-ups change macro-F1 by {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    if gain.low > 0:
        return passed("CU202", detail)
    if gain.high < 0:
        advice = "whole photos do better: the background may give the class away (see CU302)"
    else:
        advice = "try a smaller or larger --pad, or more test photos for a clear answer"
    return issue("CU202", detail, advice)


def check_tiny(sides: Mapping[str, tuple[float, float]], too_small: int = 0) -> Check:
    """CU203, from the width and height of the box in each photo, in pixels, by the photo's name.

    `too_small` photos had none but boxes below ``--min-size``.
    """
    tiny = sorted((name for name, side in sides.items() if min(side) < TINY),
                  key=lambda name: min(sides[name]))  # fmt: skip
    left_out = f"; {counted(too_small, 'photo')} with smaller boxes only, by --min-size"
    after = left_out if too_small else ""
    if not sides:
        return not_applicable("CU203", f"the object was found in no photo{after}")
    if not tiny:
        least = min(min(side) for side in sides.values())
        return passed(
            "CU203", f"the shorter side of each box has {least:.0f} pixels or more{after}"
        )
    named = ", ".join(f"{name} ({sides[name][0]:.0f} x {sides[name][1]:.0f})" for name in tiny)
    detail = (
        f"in {len(tiny)} of {counted(len(sides), 'photo')}, the box has a shorter side below "
        f"{TINY} pixels; the smallest first: {shortened(named)}{after}"
    )
    if 2 * len(tiny) > len(sides):
        return issue("CU203", detail, "use larger photos, or photos taken from closer by")
    return issue(
        "CU203", detail,
        "look at them in `closeup review`, sorted by size: such a box is often around the wrong "
        f"thing; --min-size {TINY} takes a larger box of the photo, or none",
    )  # fmt: skip
