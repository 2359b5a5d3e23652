"""Add a detector's ONNX file: find out what it takes and gives, and check that it is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from closeup.core.config import EngineConfig
from closeup.core.errors import UsageError
from closeup.core.progress import Say, say_nothing
from closeup.core.text import first_of
from closeup.detect.check import Verdict, examine
from closeup.detect.class_lists import class_names, lists_for, literal, named_in
from closeup.detect.detector import CONSTANTS, FAMILIES, Detector, constants
from closeup.detect.forms import Form, forms_of
from closeup.networks import Card, InputOverrides, Network, networks_folder, save
from closeup.networks.cache import measured, refuse_existing
from closeup.networks.card import Family
from closeup.networks.coco import LISTS, class_list
from closeup.networks.engine import Graph, Results, Signature, open_to_try
from closeup.networks.names import check_name
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, InputSpec

_HELP = "docs/detectors.md lists the forms that can be read; most exporters can write one of them"
_TOKENS = frozenset({"last_hidden_state", "pooler_output", "image_embeds"})
_TASKS = ("segment", "pose", "obb", "classify")  # what Ultralytics' networks do besides
_GOOD = 0.7  # mean score in the golden photos from which the usual pixel values are right
_ALIKE = 0.02
_BETTER = 0.1  # by so much others must be better than usual ones
_HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
_PIXELS: tuple[Mapping[str, Any], ...] = tuple(
    {"scale": scale, "color": color, **norm}
    for color in ("rgb", "bgr")
    for scale, norm in (("unit", _PLAIN), ("unit", _IMAGENET), ("byte", _PLAIN), ("unit", _HALF))
)


def add_detector(
    file: Path,
    *,
    name: str,
    family: Family | None = None,
    classes: str | Sequence[str] | None = None,
    overrides: InputOverrides = InputOverrides(),  # noqa: B008 (frozen)
    about: Mapping[str, Any] | None = None,
    replace: bool = False,
    say: Say = say_nothing,
) -> Network:
    """Add a detector's ONNX file to the cache.

    What its outputs mean is found out from their names and shapes and the file's metadata, and
    checked by their values on noise and on the golden photos, see
    :func:`closeup.detect.check.examine`.

    Parameters
    ----------
    family
        Overrules what is found out: one of :data:`closeup.detect.detector.FAMILIES`. With
        `classes` given as well, it is enough that the values can be right.
    classes
        See :func:`class_names`; a sequence is taken as it is. None: as the file's metadata says,
        or COCO's or Objects365's where the golden photos agree with them.
    overrides
        How the input differs from what is usual for such a network; the size is read from the
        graph or its metadata, and must be given where neither says it.
    about
        Further fields of the card: ``licence``, ``source``, ``description``, ``trained_on``.
    replace
        Whether a network of the same name may be replaced.
    say
        Called with each sentence that the user should read: what was found out, what is assumed.

    Raises
    ------
    UsageError
        Where an argument is unknown or missing, the file does not fit them, or its values can only
        be wrong.
    NetworkDamaged
        Where the file is not one whole ONNX file.
    """
    check_name(name)
    refuse_existing(name, replace)
    if family is not None and family not in FAMILIES:
        raise UsageError(f"family {family!r}: expected one of {', '.join(FAMILIES)}")
    graph = open_to_try(file)
    trials = _Trials(file, name, graph, overrides, about or {})
    names = None if classes is None else class_names(classes)
    if names is None:
        names = named_in(graph.signature.metadata)
    forms = trials.forms(family)
    tried = [trials.run(form, given) for form in forms for given in lists_for(form, names)]
    if not tried:
        raise UsageError(_no_names(file, forms, names))
    best = max(tried, key=lambda trial: trial.rank)  # of equals, the first
    if best.verdict.fault:
        raise UsageError(
            f"{file} was read as {best.form.title}, but {best.verdict.fault}; check --family, "
            "--classes and --size, or export the network in another form"
        )
    best, note = trials.with_best_pixels(best)
    agrees = best.verdict.agrees
    if agrees is False and (family is None or classes is None):
        raise UsageError(_disagrees(file, best, guessed=names is None))
    if names is None and not agrees:
        raise UsageError(_no_names(file, forms, None))
    network = save(best.card, file, networks_folder() / name)
    say(f"{file.name} is read as {best.form.title}")
    for sentence in (note, _shift(best, names), _evidence(best)):
        if sentence:
            say(sentence)
    return network


def looks_like_detector(file: Path, overrides: InputOverrides) -> bool:
    """Whether an ONNX file's outputs can be read as boxes; UsageError where it takes no picture."""
    graph = open_to_try(file)
    if _TOKENS & set(graph.outputs):
        return False
    return bool(_Trials(file, "x", graph, overrides, {}).every_form())


@dataclass(frozen=True, slots=True)
class _Trial:
    form: Form
    card: Card
    verdict: Verdict

    @property
    def rank(self) -> tuple[bool, bool, bool, float]:
        """Higher for what is more likely right."""
        verdict = self.verdict
        return not verdict.fault, verdict.agrees is True, not verdict.unnamed, (
            round(verdict.certainty, 2))  # fmt: skip


class _Trials:
    """One file, looked at in several ways."""

    def __init__(
        self,
        file: Path,
        name: str,
        graph: Graph,
        overrides: InputOverrides,
        about: Mapping[str, Any],
    ) -> None:
        self._file, self._name, self._graph = file, name, graph
        self._overrides = overrides
        self._about = {"source": file.name, **about}
        self._measured = measured(file)
        self._batch, self._input = _input(file, graph.signature, overrides)

    def forms(self, family: Family | None) -> list[Form]:
        """The meanings that the outputs on noise allow, of one family where that is given."""
        forms = self.every_form()
        fitting = [form for form in forms if family in (None, form.family)]
        if not fitting:
            found = ", ".join(f"{key} {value.shape}" for key, value in self._outputs.items())
            could = (
                ""
                if not forms
                else ("; try --family " + " or ".join(dict.fromkeys(form.family for form in forms)))
            )
            of = f"no detector of the family {family}" if family else "no detector that is known"
            raise UsageError(f"{self._file} is {of}: its outputs are {found}{could}. {_HELP}")
        return fitting

    def every_form(self) -> list[Form]:
        """All of them, the most likely first."""
        asks_sizes = CONSTANTS[0] in self._graph.inputs
        width, height = self._input["width"], self._input["height"]
        return forms_of(self._outputs, width, height, asks_sizes=asks_sizes)

    @cached_property
    def _outputs(self) -> Results:
        """What the graph gives for noise."""
        spec, signature = self._overrides.apply(self._input), self._graph.signature
        fixed = constants(signature, spec)
        (picture,) = signature.inputs.keys() - fixed.keys()
        shape = [1, 3, spec.height, spec.width]
        if spec.layout.endswith("hwc"):
            shape = [1, spec.height, spec.width, 3]
        top = 255.0 if spec.scale == "byte" else 1.0
        noise = np.random.default_rng(0).random(shape[-len(spec.layout) :]) * top
        return self._graph.run({picture: noise.astype(spec.dtype), **fixed})

    def run(
        self, form: Form, classes: tuple[str, ...], pixels: Mapping[str, Any] | None = None
    ) -> _Trial:
        """Examine the file in one form, with other pixel values than the form's where given."""
        usual = {**self._input, **form.input, **(pixels or {})}
        if self._input["dtype"] == "uint8":
            usual |= {"scale": "byte", **_PLAIN}
        card = Card(
            name=self._name, kind="detector", family=form.family, **self._measured,
            input=self._overrides.apply(usual), output=form.output, batch=self._batch,
            classes=classes, **self._about,
        )  # fmt: skip
        where = Network(card.model_copy(update={"graph": self._file.name}), self._file.parent)
        detector = Detector(where, EngineConfig(engine="onnxruntime"))
        detector.graph = self._graph
        return _Trial(form, card, examine(detector))

    def with_best_pixels(self, trial: _Trial) -> tuple[_Trial, str]:
        """The same, with the pixel values for which the golden photos' objects are found best."""
        now, settled = trial.verdict.certainty, trial.form.settled
        if trial.verdict.agrees is None or self._input["dtype"] == "uint8":
            return trial, ""
        if settled and trial.verdict.agrees and now >= _GOOD:
            return trial, ""
        others = [self.run(trial.form, trial.card.classes, pixels) for pixels in _PIXELS]
        most = max(one.verdict.certainty for one in [trial, *others])
        # Of those that do about as well, the more common.
        best = next(one for one in [*others, trial] if one.verdict.certainty >= most - _ALIKE)
        if best.verdict.certainty < now + (_BETTER if settled else _ALIKE / 2):
            return trial, ""
        spec = best.card.input
        values = "" if (spec.mean, spec.std) == ((0,) * 3, (1,) * 3) else (
            f", mean {_three(spec.mean)} and std {_three(spec.std)}")  # fmt: skip
        note = (
            f"the golden photos say --scale {spec.scale} --color {spec.color}{values}: objects "
            f"are found with {best.verdict.certainty:.2f} in the mean, with what is usual for "
            f"{trial.form.title} {now:.2f}"
        )
        return best, note


def _shift(trial: _Trial, names: tuple[str, ...] | None) -> str:
    """What to say where the names given were taken to begin with number 1."""
    if names is None or trial.card.classes != ("", *names):
        return ""
    return f"its category number 1 is taken for {names[0]}: 0 is the background"


def _evidence(trial: _Trial) -> str:
    """What the golden photos say."""
    verdict, name = trial.verdict, trial.card.name
    if verdict.agrees is None:
        return (
            "its categories are not those of the golden photos, so only the form of its answers "
            f"was checked: look at what `closeup models check {name} PHOTO… --out DIR` draws"
        )
    pairs = [(one.must.category, one.match) for one in verdict.expected if one.must]
    found = [f"the {category} ({match.score:.2f})" for category, match in pairs if match]
    return f"in the golden photos it finds {', '.join(found) or 'nothing that it must find'}"


def _no_names(file: Path, forms: Sequence[Form], names: tuple[str, ...] | None) -> str:
    scored = sorted({form.scored for form in forms if form.scored is not None})
    if names is None:
        many = f"{' or '.join(map(str, scored))} categories" if scored else "categories by number"
        return (
            f"{file} scores {many}, and what they are called cannot be told: give --classes "
            f"({', '.join(LISTS)}, a file with a name per line, or a,b,c)"
        )
    hint = next((f"; --classes {one} has as many" for one in LISTS
                 if len(class_list(one)) in scored), "")  # fmt: skip
    title = forms[0].title
    return (
        f"{file} looks like {title} with {' or '.join(map(str, scored))} categories, but "
        f"{len(names)} names were given ({first_of(n for n in names if n)}): check "
        f"--classes{hint}"
    )


def _disagrees(file: Path, trial: _Trial, guessed: bool) -> str:
    missed = [f"the {one.must.category} in {one.name}" for one in trial.verdict.expected
              if one.match is None and one.must]  # fmt: skip
    found = [f"{one.found[0].category} ({one.found[0].score:.2f})" if one.found else "nothing"
             for one in trial.verdict.expected if one.match is None]  # fmt: skip
    why = "give its --classes" if guessed else "check --classes, --scale, --mean and --color"
    return (
        f"{file} was read as {trial.form.title}, but it does not find {' or '.join(missed)}: its "
        f"best answers are {', '.join(found)}; {why}"
    )


def _input(
    file: Path, signature: Signature, overrides: InputOverrides
) -> tuple[int, dict[str, Any]]:
    """The graph's fixed batch, or 0, and what is certain about its input."""
    pictures = [name for name in signature.inputs if name not in CONSTANTS]
    shape = signature.inputs[pictures[0]] if len(pictures) == 1 else ()
    if len(shape) not in (3, 4):
        raise UsageError(
            f"{file} has the inputs {dict(signature.inputs)}; expected one picture, of shape "
            f"(1, 3, height, width) or (1, height, width, 3), and possibly {', '.join(CONSTANTS)}"
        )
    last = shape[-1] == 3 and shape[-3] != 3
    channels = shape[-1] if last else shape[-3]
    if channels not in (3, None):
        raise UsageError(
            f"{file} takes pictures of shape {shape}, but photos have 3 channels; it is no "
            "detector for colour photos"
        )
    batch = shape[0] if len(shape) == 4 else 1
    if batch not in (1, None):
        raise UsageError(f"{file} takes {batch} pictures at once; export it with a batch of 1")
    dtype = signature.dtypes[pictures[0]].name
    if dtype not in get_args(InputSpec.model_fields["dtype"].annotation):
        raise UsageError(f"{file} takes {dtype} pixels; expected float32, float16 or uint8")
    task = signature.metadata.get("task", "")
    if task in _TASKS:
        raise UsageError(f"{file} is a network for the task {task!r}; export one for 'detect'")
    layout = ("hwc" if last else "chw") if len(shape) == 3 else "nhwc" if last else "nchw"
    height, width = shape[-3:-1] if last else shape[-2:]
    size = _size(file, (width, height), signature.metadata, overrides)
    return batch or 0, {"width": size[0], "height": size[1], "layout": layout, "dtype": dtype}


def _size(
    file: Path,
    fixed: tuple[int | None, int | None],
    metadata: Mapping[str, str],
    overrides: InputOverrides,
) -> tuple[int, int]:
    width, height = fixed
    if width is not None and height is not None:
        if overrides.size not in (None, (width, height)):
            raise UsageError(f"{file} takes {width}x{height} pixels only; omit --size")
        return width, height
    if overrides.size is not None:
        return overrides.size
    stated = literal(metadata.get("imgsz", ""))
    if isinstance(stated, list) and len(stated) == 2 and all(isinstance(n, int) for n in stated):
        return stated[1], stated[0]
    raise UsageError(
        f"{file} does not fix the size of its input: give --size, as its makers state it (640 is "
        "usual for D-FINE, RT-DETR and YOLO)"
    )


def _three(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
