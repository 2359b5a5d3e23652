"""Where the parts of a backbone lie: one file, a folder, or a repository of the model hub.

Folders and repositories are read as Hugging Face's ``transformers`` and ``timm`` lay them out:
``config.json``, ``preprocessor_config.json``, and ``onnx/model.onnx`` or ``model.safetensors``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from closeup.core.errors import NetworkDamaged, NetworkError, NetworkMissing, UsageError
from closeup.core.progress import Progress, silent
from closeup.networks.download import (
    HubFile,
    download,
    endpoint,
    failures,
    is_offline,
    page_of,
    why_not,
)
from closeup.networks.names import HUB, on_hub
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, InputOverrides

CONFIG_FILE, PREPROCESSOR_FILE = "config.json", "preprocessor_config.json"
GRAPHS = ("onnx/model.onnx", "model.onnx", "onnx/vision_model.onnx", "vision_model.onnx")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_PATIENCE = 30.0  # seconds without an answer
_LARGEST = 10_000_000  # bytes of a configuration
FILTERS = {"2": "bilinear", "3": "bicubic"}
"""Names of the filters that configurations give by Pillow's numbers."""


@dataclass(frozen=True, slots=True)
class Source:
    """What was found at the place that the user named.

    Attributes
    ----------
    file
        The ONNX file, or else the checkpoint.
    config
        What ``config.json`` says; empty where there is none.
    spec, stated_in
        What a file says of the input, as arguments of an :class:`InputSpec`, and that file's name;
        both empty where none does.
    about
        Fields of the card: ``source``, and ``licence`` where it is stated.
    """

    file: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    config_file: Path | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    stated_in: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_onnx(self) -> bool:
        """Whether it is an ONNX file."""
        return self.file.suffix.lower() == ".onnx"

    @property
    def architecture(self) -> tuple[str, dict[str, Any]] | None:
        """timm's name of the architecture and the arguments for building it, if stated."""
        name, args = self.config.get("architecture"), self.config.get("model_args") or {}
        return (name, args) if isinstance(name, str) and isinstance(args, dict) else None


def locate(source: str | Path, progress: Progress = silent) -> Source:
    """The parts of the backbone at `source`: a file, a folder, or ``hf:OWNER/NAME[@REVISION]``.

    Raises
    ------
    UsageError
        Where there is nothing there, or nothing that a backbone could be made of.
    NetworkError
        Where it cannot be downloaded (NetworkMissing), or a configuration cannot be read
        (NetworkDamaged).
    """
    if str(source).startswith(HUB):
        return _of_hub(str(source), progress)
    place = Path(source)
    if place.is_dir():
        return _of_folder(place)
    if not place.is_file():
        raise UsageError(f"{place} does not exist; check the path, or name a repository as "
                         "hf:OWNER/NAME")  # fmt: skip
    folder = place.parent.parent if place.parent.name == "onnx" else place.parent
    return _source(place, _beside(folder), {"source": place.name})


def _beside(folder: Path) -> Callable[[str], Path | None]:
    return lambda name: file if (file := folder / name).is_file() else None


def _of_folder(folder: Path) -> Source:
    get = _beside(folder)
    main = next(filter(None, map(get, GRAPHS)), None)
    graphs = sorted(path for pattern in ("*.onnx", "onnx/*.onnx") for path in folder.glob(pattern))
    if main is None and len(graphs) == 1:
        main = graphs[0]
    main = main or next(filter(None, map(get, WEIGHTS)), None)
    if main is None and len(graphs) > 1:
        raise UsageError(
            f"{folder} holds several ONNX files ({', '.join(g.name for g in graphs[:5])}): "
            "name the one to add"
        )
    if main is None:
        raise UsageError(
            f"{folder} holds no backbone: expected one of {', '.join((*GRAPHS[:2], *WEIGHTS))}"
        )
    return _source(main, get, {"source": folder.name})


def _of_hub(source: str, progress: Progress) -> Source:
    repo, revision = on_hub(source)
    about: dict[str, Any] = {}
    if is_offline():  # what was downloaded before can still be used
        names = [*GRAPHS, *WEIGHTS, CONFIG_FILE, PREPROCESSOR_FILE]
    else:
        names, revision, licence = _listed(repo, revision)
        about |= {"licence": licence} if licence else {}
    about["source"] = f"{page_of(repo)}/tree/{revision}"

    def get(name: str) -> Path | None:
        if name not in names:
            return None
        try:
            return download(repo, name, revision=revision, progress=progress)
        except NetworkMissing:
            if is_offline():
                return None
            raise

    top = [name for name in names if name.endswith(".onnx") and "/" not in name]
    wanted = (*GRAPHS, *(top if len(top) == 1 else ()), *WEIGHTS)
    main = next(filter(None, map(get, wanted)), None)
    if main is None and is_offline():
        raise NetworkMissing(
            f"{repo} at revision {revision} is not on disk and downloads are switched off: go "
            "online, or add a folder with its files"
        )
    if main is None:
        raise UsageError(
            f"{repo} holds no backbone: expected one of {', '.join((*GRAPHS[:2], *WEIGHTS))}"
        )
    return _source(main, get, about)


def _listed(repo: str, revision: str) -> tuple[list[str], str, str]:
    """The names of a repository's files, its commit, and the licence that it states."""
    from huggingface_hub import HfApi

    try:
        info = HfApi(endpoint=endpoint()).model_info(repo, revision=revision, timeout=_PATIENCE)
    except failures() as err:
        why = why_not(HubFile(repo, "", revision, url=page_of(repo)), err)
        raise NetworkMissing(
            f"the files of {repo} cannot be listed: {why}, or add a folder with them"
        ) from err
    licence = getattr(info.card_data, "license", None)
    names = [one.rfilename for one in info.siblings or ()]
    return names, info.sha or revision, licence if isinstance(licence, str) else ""


def _source(main: Path, get: Callable[[str], Path | None], about: dict[str, Any]) -> Source:
    config_file, other = get(CONFIG_FILE), get(PREPROCESSOR_FILE)
    config = read_json(config_file) if config_file else {}
    spec: dict[str, Any] = {}
    stated_in = ""
    stated = timm_config(config)
    if other is not None:
        spec, stated_in = preprocessor_spec(other), PREPROCESSOR_FILE
    elif stated and config_file:
        spec, stated_in = timm_spec(config_file, stated), CONFIG_FILE
    if isinstance(licence := stated.get("license"), str) and licence:
        about["licence"] = licence
    return Source(main, config, config_file, spec, stated_in, about)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; NetworkDamaged where there is none, NetworkError if unreadable."""
    try:
        if file.stat().st_size > _LARGEST:
            raise NetworkDamaged(f"{file} is larger than {_LARGEST:,} bytes: no configuration")
        found = json.loads(file.read_text(encoding="utf8"))
    except OSError as err:
        raise NetworkError(f"{file} cannot be read: {err.strerror or err}") from err
    except (ValueError, RecursionError) as err:
        raise NetworkDamaged(f"{file} is not JSON: {err}; get it again") from err
    if not isinstance(found, dict):
        raise NetworkDamaged(f"{file} holds no JSON object; get it again")
    return found


def timm_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """timm's configuration of its weights in a ``config.json``; empty where it is not timm's."""
    if "architecture" not in config:
        return {}
    inner = config.get("pretrained_cfg", config)  # older ones keep it at the top
    return inner if isinstance(inner, dict) else {}


def timm_spec(file: Path, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The input that a timm configuration states; NetworkDamaged where it makes no sense."""
    try:
        _, height, width = stated.get("input_size", (3, 224, 224))
    except (TypeError, ValueError) as err:
        raise NetworkDamaged(f"{file}: input_size must be three numbers") from err
    filters = {"bilinear": "bilinear", "bicubic": "bicubic"}
    return _checked(file, {
        "width": width, "height": height,
        "mean": stated.get("mean", IMAGENET_MEAN), "std": stated.get("std", IMAGENET_STD),
        "interpolation": filters.get(str(stated.get("interpolation")), "bicubic"),
    })  # fmt: skip


def preprocessor_spec(file: Path) -> dict[str, Any]:
    """The input that a ``preprocessor_config.json`` states.

    The size is that of the crop, where one is cut, else of the picture. Raises NetworkDamaged where
    a value makes no sense.
    """
    given = read_json(file)
    if isinstance(inner := given.get("image_processor"), dict):
        given = inner
    sizes = [given.get("crop_size")] if given.get("do_center_crop", "crop_size" in given) else []
    side = next((size for size in (*sizes, given.get("size")) if size), 224)
    if isinstance(side, dict):
        edge = side.get("shortest_edge")
        side = (side.get("width", edge), side.get("height", edge))
    width, height = side if isinstance(side, tuple | list) and len(side) == 2 else (side, side)
    spec: dict[str, Any] = {"width": width, "height": height, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    if given.get("do_normalize", True):
        spec["mean"] = given.get("image_mean", IMAGENET_MEAN)
        spec["std"] = given.get("image_std", IMAGENET_STD)
    spec["interpolation"] = FILTERS.get(str(given.get("resample", 2)), "bicubic")
    factor = given.get("rescale_factor", 1 / 255)
    if not isinstance(factor, int | float) or not 1e-6 < factor < 1e6:
        raise NetworkDamaged(f"{file}: rescale_factor must be a number above 0")
    if not given.get("do_rescale", True):
        spec["scale"] = "byte"
    spec = _checked(file, spec)
    if "scale" not in spec and abs(255 * factor - 1) > 0.01:
        # (byte * factor - mean) / std, written as an input's one division
        spec["scale"] = "byte"
        spec |= {key: tuple(value / factor for value in spec[key]) for key in ("mean", "std")}
    return spec


def _checked(file: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """A stated input with each value of its right kind."""
    size = spec["width"], spec["height"]
    given = {key: value for key, value in spec.items() if key not in ("width", "height")}
    try:
        stated = InputOverrides.model_validate({**given, "size": size}).apply({})
        return stated.model_dump(include=set(spec))
    except ValidationError as err:
        first = err.errors()[0]
        raise NetworkDamaged(f"{file}: {first['loc'][0]}: {first['msg']}") from err
    except UsageError as err:
        raise NetworkDamaged(f"{file}: {err}") from err
