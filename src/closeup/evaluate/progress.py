"""The checks of a project's trainings against each other; the others are in ``checks``."""

from __future__ import annotations

from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.checks import TITLES, Check, CheckState, skipped

OFTEN = 20
"""CU402 is an issue from this number of trainings scored on one test part on."""


def check_progress(number: int, test: Interval | None, out_of_fold: Interval | None) -> Check:
    """CU401, from the paired differences in macro-F1 from training `number`, then in use.

    An issue where the interval of either lies wholly below 0; None where it was not measured.
    """
    if test is None and out_of_fold is None:
        return skipped("CU401", "there was no other model to compare with on the same photos")
    found = {"out of fold": out_of_fold, "on the same test photos": test}
    known = {where: gap for where, gap in found.items() if gap is not None}
    parts = [f"{where} {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
             for where, gap in known.items()]  # fmt: skip
    detail = f"macro-F1 less that of training {number}: {', '.join(parts)}"
    if all(gap.high >= 0 for gap in known.values()):
        return _verdict("CU401", detail)
    return _verdict(
        "CU401",
        detail,
        "look at what changed with `closeup history`, and take the better one with "
        "`closeup train --restore`",
    )


def check_looks(looks: int) -> Check:
    """CU402, from the number of trainings that were scored on this test part.

    Whoever keeps the best of k equally good models by their test scores is shown the largest of k
    draws. If these are independent, it lies above the truth by E max(Z_1 … Z_k) standard errors,
    about Phi^-1((k - 3/8) / (k + 1/4)) (Blom 1958) and less than sqrt(2 ln k): 0.85 for 3, 1.54 for
    10, and 1.87 for 20, nearly the 1.96 that a 95 % interval reaches to either side. Models that
    are tested on the same photos err alike, so the real bias is smaller; from 20 on it may be as
    large as the interval.
    """
    if not looks:
        return skipped("CU402", "nothing was held out to test on", "add photos")
    detail = f"{looks} training{'s'[: looks > 1]} scored on this test part"
    if looks < OFTEN:
        return _verdict("CU402", detail)
    return _verdict(
        "CU402",
        f"{detail}: where models were chosen by its score, the best looks better than it is, by up "
        "to half the width of the interval",
        "choose by cross-validation, and measure the final model once on new photos (--test)",
    )


def _verdict(code: str, detail: str, advice: str = "") -> Check:
    """An issue where there is something to do about it."""
    if advice:
        return Check(code, TITLES[code].issue, CheckState.ISSUE, detail, advice)
    return Check(code, TITLES[code].passed, CheckState.PASSED, detail, "")
