"""The page: complete, escaped, self-contained, bounded."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from closeup.core.types import Box, Crop, CropState, Result
from closeup.evaluate.findings import Findings
from closeup.evaluate.scores import MAX_MISTAKES, Scores, evaluate, worst_mistakes
from closeup.networks import Card, Network
from closeup.photos.thumbnail import thumbnail
from closeup.report.data import MAX_SAMPLES, Mistake, ReportData, Sample, Skipped, pick_samples
from closeup.report.page import (
    MAX_MATRIX,
    MAX_ROWS,
    class_rows,
    confused_pairs,
    duration,
    on_strip,
    percent,
    render_report,
    sentence,
)
from closeup.report.result import Counts, RunResult

VOID = {"meta", "img", "br", "link", "hr", "input"}
LOGISTIC: dict[str, Any] = {
    "kind": "logistic", "c": 0.1, "folds": 5, "iterations": 40, "converged": True,
    "class_weight": "none",
    "table": [{"c": 0.01, "macro_f1": 0.5, "error": 0.02},
              {"c": 0.1, "macro_f1": 0.6, "error": 0.0}],
}  # fmt: skip
MLP: dict[str, Any] = {
    "kind": "mlp", "best_epoch": 2, "train": 80, "validation": 20,
    "table": [{"epoch": e, "loss": 1 / e, "validation_loss": 1.5, "validation_accuracy": 0.5,
               "rate": 0.001} for e in range(1, 51)],
}  # fmt: skip


class Page(HTMLParser):
    """Collects tags, texts and what would be loaded; checks that tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"a script in {name}"
            if name in {"src", "srcset", "poster", "data", "action"}:
                self.loaded.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)  # <line/> and its like in SVG

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).replace("\N{NO-BREAK SPACE}", " ").split())


def scores(truth: list[str], answers: list[str], labels: list[str]) -> Scores:
    probabilities = np.array([[float(label == a) for label in labels] for a in answers])
    n = len(truth)
    return evaluate(truth, probabilities, labels, [str(i) for i in range(n)], [True] * n,
                    resamples=50)  # fmt: skip


def picture(shade: int = 128, size: tuple[int, int] = (40, 30)) -> np.ndarray[Any, Any]:
    return np.full((size[1], size[0], 3), shade, np.uint8)


BARE = RunResult(
    key="",
    scores=scores(["a", "b"], ["a", "b"], ["a", "b"]),
    log=LOGISTIC,
    compared=(),
    trust=None,
    findings=Findings(None, (), None, None, (), {}),
    crop_gain=None,
    results=(),
    networks=(),
    model=Path("model"),
    counts=Counts(2, 2, 0, 0, {"a": 1, "b": 1}, {"a": 1.0, "b": 1.0}),
    checks=(),
    seconds={},
    notes=(),
    report=Path("report.html"),
)


def bare(**changes: Any) -> ReportData:
    """The least that a report can be about."""
    return ReportData("watches", replace(BARE, **changes))


def wrong(count: int) -> tuple[Result, ...]:
    return tuple(Result(f"c{n}", f"p{n}", "a", "b", 0.5, True) for n in range(count))


def full(word: str = "rolex") -> ReportData:
    """Every field filled, with `word` in each text."""
    uri = thumbnail(picture(), Box(5, 5, 30, 25))
    labels = [word, "omega"]
    # Without the checks of a card that is read from a file.
    card = Card.model_construct(kind="detector", name=word, licence=word, sha256="ab" * 32,
                                source=f"https://example.org/{word}")  # fmt: skip
    result = replace(
        BARE,
        scores=scores([word] * 4 + ["omega"] * 4, [word, word, "omega", "omega"] * 2, labels),
        counts=Counts(1951, 1890, 52, 9, {word: 150, "omega": 150}, {word: 0.9, "omega": 1.0}),
        results=wrong(4),
        networks=(Network(card, Path()),),
        notes=(f"{word} is rare",),
        seconds={"photos": 1.5, "embed": 70.0},
    )
    return ReportData(
        title=word,
        result=result,
        samples=[Sample(f"{word}/1.jpg", word, uri, uri)],
        mistakes=[Mistake(f"{word}/2.jpg", word, "omega", 0.87, False, uri, "")],
        skipped=[Skipped(f"{word}/3.jpg", word, f"{word} cannot be read")],
        facts=[(word, word)],
        commands=[("Make this again", f"closeup run {word}")],
        config_toml=f'source = "{word}"',
        made=f"Closeup of {word}",
    )


def test_a_bare_page_is_whole() -> None:
    page = Page(render_report(bare()))
    assert "macro-F1 1.000, accuracy 1.000" in page.words
    assert "None: every answer on the test part was correct." in page.words
    assert "None: every photo could be read" in page.words
    assert "No two classes were confused more than once." in page.words
    assert "img" not in page.tags
    assert len(page.ids) == len(set(page.ids))


def test_a_full_page_tells_all() -> None:
    page = Page(render_report(full()))
    for words in (
        "1,951 photos", "97.3 % of 1,942", "1,890 with the object found",
        "52 without", "9 unreadable",
        "rolex predicted as omega", "87.0 %", "the whole photo was used", "rolex/3.jpg",
        "rolex cannot be read", "rolex is rare", "closeup run rolex", 'source = "rolex"',
        "https://example.org/rolex", "abababababab", "1 min 12 s", "no picture", "C = 0.1",
        "rolex predicted as omega : 2 of 4",
    ):  # fmt: skip
        assert words in page.words, words
    assert page.tags.count("img") == 3


@pytest.mark.parametrize("data", [bare(), full(), full("a"), bare(log=MLP)])
def test_nothing_is_loaded_and_only_the_script_of_the_package_runs(data: ReportData) -> None:
    html = render_report(data)
    page = Page(html)
    assert all(uri.startswith("data:image/webp;base64,") for uri in page.loaded)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    only = files("closeup.report").joinpath("page.js").read_text("utf-8")
    assert page.scripts == [only]
    digest = base64.b64encode(hashlib.sha256(only.encode()).digest()).decode()
    assert html.count("script-src") == html.count(f"script-src 'sha256-{digest}'\"") == 1
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    "word",
    ["<script>alert(1)</script>", "\"><img src=x onerror='alert(1)'>", "{{ 7*7 }}", "]]></style>"],
)
def test_every_text_is_escaped(word: str) -> None:
    page = Page(render_report(full(word)))
    assert page.tags.count("script") == len(page.scripts) == 1
    assert page.tags.count("img") == 3
    assert page.words.count(word) > 12  # it is shown just as it is
    assert "49" not in page.words


def test_no_text_acts_on_a_terminal_that_prints_the_page() -> None:
    html = render_report(full("a\x1b[31mb\u202e"))
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert Page(html).words.count("a\\x1b[31mb\\u202e") > 12


def test_the_head_of_the_post_has_its_epochs() -> None:
    page = Page(render_report(bare(log=MLP)))
    assert "Of 50 epochs, epoch 2 had the lowest validation loss" in page.words
    assert "svg" in page.tags
    assert "learning rate" in page.words


def test_a_log_without_a_table_has_no_chart() -> None:
    page = Page(render_report(bare(log={"kind": "knn"})))
    assert "svg" not in page.tags


def test_a_label_without_test_photos_has_no_score() -> None:
    found = scores(["a", "a"], ["a", "b"], ["a", "b", "c"])
    page = Page(render_report(bare(scores=found)))
    assert page.words.count("not in the test part") == 2


def test_nothing_found_and_nothing_readable() -> None:
    nothing = evaluate(["a"], np.array([[1.0, 0.0]]), ["a", "b"], ["g"], [False], resamples=5)
    page = Page(render_report(bare(scores=nothing, counts=Counts(0, 0, 0, 0, {}, {}))))
    assert "Closeup report · 0 photos" in page.words


def test_a_picture_is_on_the_page_once() -> None:
    uris = [f"data:image/webp;base64,{number:08}" for number in range(48)]
    samples = [Sample(f"{i}.jpg", "a", uris[2 * i], uris[2 * i + 1]) for i in range(24)]
    strip, others = on_strip(samples)
    assert len(strip) == 8
    assert sorted([*strip, *others], key=samples.index) == samples
    html = render_report(replace(bare(), samples=samples))
    assert [html.count(uri) for uri in uris] == [1] * 48


@pytest.mark.parametrize("count", [0, 1, 10, 11, 24])
def test_the_strip_holds_ten_at_most(count: int) -> None:
    samples = [Sample(f"{i}.jpg", "a", "", "") for i in range(count)]
    strip, others = on_strip(samples)
    assert len(strip) <= 10
    assert len(strip) + len(others) == count
    assert bool(strip) == bool(count)


def test_every_link_to_a_section_lies_inside_what_it_opens() -> None:
    html = render_report(full())
    inside = re.findall(r'<details class="section">\n<summary>.*</summary>\n<div class="inside" '
                        r'id="([a-z-]+)">', html)  # fmt: skip
    assert {"scores", "labels", "confusions", "mistakes", "photos", "skipped", "head",
            "made"} <= set(inside)  # fmt: skip
    links = {link[1:] for link in Page(html).links}
    assert links == {*inside, "top"}


def test_a_long_table_can_be_searched_and_a_short_one_cannot() -> None:
    def page(count: int) -> str:
        labels = [f"label {i}" for i in range(count)]
        counts = replace(BARE.counts, labels={}, found_per_label={})
        return render_report(bare(scores=scores(labels, labels, labels), counts=counts))

    assert 'data-search="classes"' not in page(30)
    assert 'data-search="classes"' in page(31)


def test_the_weakest_class_is_first_and_one_that_was_not_tested_last() -> None:
    found = scores(["a", "a", "b"], ["a", "b", "b"], ["a", "b", "c"])
    counts = Counts(9, 9, 0, 0, dict.fromkeys("abcd", 2), dict.fromkeys("abcd", 1.0))
    rows = class_rows(replace(BARE, scores=found, counts=counts))
    assert [row.label for row in rows] == ["a", "b", "c", "d"]
    assert rows[3].score is None
    rows = class_rows(replace(BARE, scores=None, counts=counts))
    assert [(row.label, row.photos) for row in rows] == [(name, 2) for name in "abcd"]


def test_review_is_named_once_however_many_mistakes_there_are() -> None:
    mistakes = [Mistake(f"{i}.jpg", "a", "b", 0.5, True, "", "", review=f"http://127.0.0.1/{i}")
                for i in range(9)]  # fmt: skip
    page = Page(render_report(replace(bare(results=wrong(9)), mistakes=mistakes)))
    assert page.words.count("start closeup review") == 1
    assert [link for link in page.links if "127.0.0.1" in link] == [m.review for m in mistakes]


def test_sentences_of_checks_keep_their_code_and_escape_the_rest() -> None:
    assert sentence("see `a<b` and <c>") == "See <code>a&lt;b</code> and &lt;c&gt;."
    assert sentence("a, b …") == "A, b …"
    assert sentence("") == "."


def test_mistakes_without_pictures_are_counted() -> None:
    page = Page(render_report(bare(results=wrong(3))))
    assert "3 answers were wrong; none is shown." in page.words


def test_big_input_gives_a_bounded_page() -> None:
    labels = [f"label {i}" for i in range(1200)]
    uri = thumbnail(picture())
    whole = full()
    result = replace(
        whole.result,
        scores=scores(labels, labels, labels),
        counts=replace(whole.result.counts, labels=dict.fromkeys(labels, 10),
                       found_per_label=dict.fromkeys(labels, 0.5)),
        results=wrong(5000),
        notes=tuple(f"note {i}" for i in range(1000)),
    )  # fmt: skip
    data = replace(
        whole,
        result=result,
        samples=[Sample(f"{i}.jpg", "a", uri, uri) for i in range(1000)],
        mistakes=[Mistake(f"{i}.jpg", "a", "b", 0.5, True, uri, uri) for i in range(1000)],
        skipped=[Skipped(f"{i}.jpg", "empty", "no bytes") for i in range(10_000)],
    )
    html = render_report(data)
    page = Page(html)
    assert page.tags.count("img") == 2 * (MAX_SAMPLES + MAX_MISTAKES)
    assert f"and {10_000 - MAX_ROWS:,} more files" in page.words
    assert "and 200 more classes" in page.words
    assert f"shown for up to {MAX_MATRIX} classes" in page.words
    assert "The 30 most confident of 5,000 wrong answers." in page.words
    assert len(html) < 600_000


def test_confused_pairs_are_the_most_frequent() -> None:
    truth = ["a"] * 6 + ["b"] * 4 + ["c"]
    found = scores(truth, ["a", "b", "b", "b", "c", "c", "b", "a", "a", "a", "a"], ["a", "b", "c"])
    pairs = [(p.truth, p.answer, p.count, p.support) for p in confused_pairs(found)]
    assert pairs == [("b", "a", 3, 4), ("a", "b", 3, 6), ("a", "c", 2, 6)]
    assert len(confused_pairs(found, limit=1)) == 1


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.00001, "0.1 %"), (0.99999, "99.9 %"), (0.5, "50.0 %")],
)
def test_percentages_say_all_only_for_all(share: float, text: str) -> None:
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.00 s"), (59.94, "59.9 s"), (120, "2 min 0 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text


def crop(number: int, label: str, state: CropState = CropState.CROPPED) -> Crop:
    box = Box(0, 0, 10, 10)
    return Crop(f"{label}{number}", f"{label}{number}", label, state, "", False, box, box, 10,
                "clock", number / 100, "")  # fmt: skip


def test_no_crops_give_no_samples() -> None:
    assert pick_samples([]) == []
    assert pick_samples([crop(1, "a", CropState.NOT_FOUND)]) == []


def test_samples_are_spread_over_labels_and_scores() -> None:
    crops = [crop(i, label) for label in "abc" for i in range(100)] + [crop(1, "d")]
    chosen = pick_samples(crops)
    assert len(chosen) == len({c.id for c in chosen}) == 6 + 6 + 6 + 1
    of_a = [c.score for c in chosen if c.label == "a"]
    assert of_a == sorted(of_a, reverse=True)
    assert max(of_a) - min(of_a) > 0.7


def test_samples_of_many_labels_stay_few() -> None:
    chosen = pick_samples([crop(i, f"label {n}") for n in range(100) for i in range(3)])
    assert len(chosen) == MAX_SAMPLES
    assert len({c.label for c in chosen}) == MAX_SAMPLES


def test_the_worst_mistakes_are_the_surest() -> None:
    def result(number: int, answer: str, confidence: float) -> Result:
        return Result(f"c{number}", f"p{number}", "a", answer, confidence, True)

    results = [result(1, "a", 0.99), result(2, "b", 0.5), result(3, "c", 0.9), result(4, "b", 0.9)]
    assert [r.crop_id for r in worst_mistakes(results)] == ["c3", "c4", "c2"]
    assert [r.crop_id for r in worst_mistakes(results, limit=1)] == ["c3"]
    assert worst_mistakes([]) == []


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (1, 1)), ((40, 30), (40, 30)), ((800, 400), (320, 160)), ((3, 5000), (1, 320))],
)
def test_thumbnails_shrink_and_never_grow(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert opened(thumbnail(picture(size=size), Box(0, 0, *size))).size == expected


def test_the_box_is_drawn_where_it_is() -> None:
    photo = picture(0, (800, 400))
    drawn = np.asarray(opened(thumbnail(photo, Box(200, 100, 600, 300))).convert("RGB")).astype(int)
    red = drawn[:, :, 0] > 150
    ys, xs = np.nonzero(red)
    assert abs(xs.min() - 80) <= 3
    assert abs(xs.max() - 240) <= 3
    assert abs(ys.min() - 40) <= 3
    assert abs(ys.max() - 120) <= 3
    assert not red[60:100, 100:220].any()


@pytest.mark.parametrize("box", [None, Box(0, 0, 0, 0), Box(30, 20, 10, 5)])
def test_no_box_draws_nothing(box: Box | None) -> None:
    assert thumbnail(picture(), box) == thumbnail(picture())


@pytest.mark.parametrize("box", [Box(-50, -50, 500, 500), Box(39, 29, 40, 30), Box(4, 4, 5, 5)])
def test_boxes_beyond_the_photo_or_tiny_do_no_harm(box: Box) -> None:
    assert opened(thumbnail(picture(), box)).size == (40, 30)
