"""What a run prints of its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closeup.cli.history import training_lines
from closeup.cli.output import show
from closeup.core.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closeup.evaluate.compare import Compared
    from closeup.report.result import Counts, Reviewed, RunResult


def counts_line(counts: Counts) -> str:
    rejected = f", {counts.rejected} rejected in review" if counts.rejected else ""
    return (
        f"{counts.photos} photos: {counts.cropped} with the object found "
        f"({counts.detection_rate:.1%}), {counts.not_found} without, "
        f"{counts.unreadable} unreadable{rejected}{_objects(counts)}"
    )


def _objects(counts: Counts) -> str:
    """The objects by label, where photos have several."""
    total = sum(counts.objects.values())
    if total <= counts.cropped:
        return ""
    return f"\n{total} objects: {', '.join(f'{name} {n}' for name, n in counts.objects.items())}"


def print_result(result: RunResult) -> None:
    """The counts and scores of a run, for people."""
    print(counts_line(result.counts))
    if len(result.compared) > 1:
        _print_compared(result.compared)
    _print_scores(result)
    if result.training is not None:
        show(*training_lines(result.training))
    for row in result.findings.pads:
        print(f"  pad {row.pad:<7g} {row.mean:.3f} ± {row.error:.3f}   (cross-validation)")
    if result.reviewed is not None:
        print(f"  review      {_decided(result.reviewed)}")
    for check in result.checks:
        if check.state == "issue":
            show(f"{check.title} ({check.code}): {check.detail}")
    if result.findings.curve is not None:
        show(f"more photos: {result.findings.curve.sentence}")
    stages = {stage: s for stage, s in result.seconds.items() if s >= 0.05}
    taken = ", ".join(f"{stage} {duration(s)}" for stage, s in stages.items())
    whole = f"{duration(sum(stages.values()))} ({taken})" if taken else "nothing was left to do"
    print(f"time:    {whole}")
    training = result.training
    still = training.against if training is not None and not training.used else None
    show(
        f"model:   {result.model}{f'   (still of training {still.number})' if still else ''}",
        f"report:  {result.report}",
    )


def _print_scores(result: RunResult) -> None:
    s, trust, gain = result.scores, result.trust, result.crop_gain
    if s is None:
        print("test part: none; there are too few photos to measure the model")
    else:
        print(
            f"test part: {s.n} close-ups{_in_photos(result)} of {len(s.labels)} classes\n"
            f"  macro-F1    {s.macro_f1}   (95 % interval, resampled by group)\n"
            f"  accuracy    {s.accuracy}\n"
            f"  end to end  {s.macro_f1_end_to_end}   "
            "(macro-F1; a missed detection counts as wrong)"
        )
    if (none := result.none) is not None:
        print(
            f"  none        {none.recall:.0%} of {none.support} left alone   (objects that are "
            f"none of the classes; {none.precision:.0%} of all that were left alone)"
        )
    for row in result.attributes:
        tested = f"{row.macro_f1}" if row.macro_f1 else "not tested"
        what = "attribute, macro-F1; " if row.macro_f1 else "attribute; "
        show(f"  {row.name:<11} {tested}   ({what}{len(row.values)} values, "
             f"{row.n} test close-ups)")  # fmt: skip
    if trust is not None:
        print(
            f"  answered    {trust.answered.value:.0%}, with an accuracy of "
            f"{trust.accuracy_answered.value:.3f}   (withheld: {trust.unsure} not confident, "
            f"{trust.out_of_distribution} unlike the training photos)\n"
            f"  calibration {trust.calibration.ece}   (expected calibration error)"
        )
    if gain is not None:
        print(
            f"  whole photo {gain.a:.3f}   (macro-F1 without cropping; close-ups gain "
            f"{gain.delta.value:+.3f}, {gain.delta.low:+.3f} to {gain.delta.high:+.3f})"
        )
    if result.usefulness:
        show(f"in practice: {result.usefulness}")


def _in_photos(result: RunResult) -> str:
    """In how many photos they are, where some hold several."""
    right, photos = result.by_photo
    if photos == len(result.results):
        return ""
    return f" in {photos} photos (all answers right in {right / photos:.0%} of these)"


def _decided(done: Reviewed) -> str:
    decisions = ", ".join(f"{n} {kind.past}" for kind, n in done.kinds.items() if n)
    before = done.before.macro_f1 if done.before else None
    return f"{decisions}   (macro-F1 before: {before})" if before else decisions


def _print_compared(rows: Sequence[Compared]) -> None:
    names = [str(row.candidate) for row in rows]
    width = max(map(len, names))
    print("cross-validation on the training part (macro-F1, mean and standard error of the folds):")
    for name, row in zip(names, rows, strict=True):
        rate = f"{row.rate:.0f}/s" if row.rate else ""  # not measured where embedded in the pass
        speed = f"  {rate:>7}" if any(one.rate for one in rows) else ""
        print(
            f"  {name:<{width}}  {row.mean:.3f} ± {row.error:.3f}  {row.megabytes:6.1f} MB"
            f"{speed}  cost {row.work:5.1f}{'   <- selected' if row.picked else ''}"
        )
    print("  selected: the best, less half a point (0.005) for each doubling of the answer's cost")
