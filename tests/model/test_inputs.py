"""Whatever form a photo comes in, the answer is the same; what is no photo has its sentence."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import closeup
from closeup.core.errors import PhotoError, UsageError
from closeup.model.answers import write_csv
from closeup.model.prediction import COLUMNS, Prediction, PredictionList
from closeup.photos.picture import Picture
from tests import tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on tiny networks."""
    folder = tmp_path_factory.mktemp("inputs")
    tiny.make_project(folder)
    return folder


@pytest.fixture(scope="module")
def model(base: Path) -> closeup.Model:
    return closeup.load(base / "out" / "model")


@pytest.fixture(scope="module")
def photo(base: Path) -> Path:
    return base / "photos" / "ash" / "1.png"


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def read_halfway(file: Path) -> io.BufferedReader:
    stream = file.open("rb")
    stream.read(100)
    return stream


def spooled(file: Path) -> tempfile.SpooledTemporaryFile[bytes]:
    stream = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    stream.write(file.read_bytes())
    return stream


class Pipe:
    """What can be read once, and not wound back."""

    def __init__(self, file: Path) -> None:
        self._data = file.read_bytes()

    def seekable(self) -> bool:
        return False

    def seek(self, _: int) -> None:
        raise io.UnsupportedOperation

    def read(self) -> bytes:
        return self._data


class Tensor:
    """A tensor that is on a device and part of a graph, as PyTorch's."""

    def __init__(self, array: np.ndarray, ready: bool = False) -> None:
        self._array, self._ready, self.dtype, self.shape = array, ready, array.dtype, array.shape

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return Tensor(self._array, ready=True)

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        if not self._ready:
            raise TypeError("can't convert a cuda tensor to numpy")
        return self._array


def starlette_upload(file: Path) -> Any:
    from starlette.datastructures import UploadFile

    return UploadFile(file.open("rb"), filename="phone.jpg")


def zipped(file: Path) -> Any:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.write(file, "a.png")
    return zipfile.ZipFile(stream).open("a.png")


def with_alpha(file: Path) -> np.ndarray:
    array = pixels(file)
    return np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])


FORMS: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "path": Path,
    "other path": lambda file: OtherPath(str(file)),
    "bytes": Path.read_bytes,
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "memoryview": lambda file: memoryview(file.read_bytes()),
    "open file": lambda file: file.open("rb"),
    "file that was read already": read_halfway,
    "BytesIO (Streamlit)": lambda file: io.BytesIO(file.read_bytes()),
    "temporary file": spooled,
    "pipe": Pipe,
    "in an archive": zipped,
    "upload of FastAPI": starlette_upload,
    "PIL image": Image.open,
    "picture": lambda file: Picture.of(pixels(file)),
    "uint8 HWC": pixels,
    "uint8 CHW": lambda file: pixels(file).transpose(2, 0, 1),
    "uint8 RGBA": with_alpha,
    "not contiguous": lambda file: np.ascontiguousarray(pixels(file)[:, ::-1])[:, ::-1],
    "float32 HWC": lambda file: pixels(file).astype(np.float32) / 255,
    "float64 CHW": lambda file: pixels(file).transpose(2, 0, 1) / 255,
    "float16 HWC": lambda file: (pixels(file) / 255).astype(np.float16),
    "tensor": lambda file: Tensor(pixels(file).transpose(2, 0, 1) / np.float32(255)),
}


class OtherPath(os.PathLike[str]):
    """A path of another library."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __fspath__(self) -> str:
        return self._name


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # files that the table leaves open
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_photo_gives_one_answer(
    model: closeup.Model, photo: Path, form: str
) -> None:
    source = FORMS[form](photo)
    answer = model.predict(source)
    (of_list,) = model.predict([source])
    (of_many,) = model.predict_many(iter([source]))
    assert answer.objects == model.predict(photo).objects
    assert answer == of_list == of_many
    assert answer.photo == (str(photo) if "path" in form or form == "text" else "")


def test_a_tensor_of_pytorch(model: closeup.Model, photo: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    expected = model.predict(photo).objects
    tensor = torch.from_numpy(pixels(photo).copy()).permute(2, 0, 1)
    assert model.predict(tensor).objects == expected
    assert model.predict((tensor / 255).requires_grad_()).objects == expected
    assert model.predict((tensor / 255).bfloat16()).label == expected[0].label


def test_grey_arrays_are_grey_photos(model: closeup.Model, photo: Path) -> None:
    grey = pixels(photo)[:, :, 1]
    expected = model.predict(np.dstack([grey] * 3)).objects
    for form in (grey, grey[:, :, None], grey[None], grey / np.float32(255)):
        assert model.predict(form).objects == expected


class Upload:
    """An uploaded file that is only read asynchronously."""

    async def read(self) -> bytes:
        return b""


def closed() -> io.BytesIO:
    stream = io.BytesIO(b"x")
    stream.close()
    return stream


RAMP = np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 4, 3).repeat(4, 0).repeat(4, 1)
WRONG: dict[str, tuple[Callable[[], Any], str, str]] = {
    "URL": (lambda: "https://example.org/a.jpg", "unsupported", "a URL, and Closeup opens files"),
    "URL as a path": (lambda: Path("https://example.org/a"), "unsupported", "give its bytes"),
    "object storage": (lambda: "s3://photos/a.jpg", "unsupported", "download or decode it"),
    "data URL": (lambda: "data:image/png;base64,AAAA", "unsupported", "this is a data URL"),
    "missing": (lambda: "gone.jpg", "missing", "gone.jpg: there is no such file"),
    "no bytes": (lambda: b"", "empty", "is empty"),
    "no picture": (lambda: b"hello there", "not_an_image", "not a picture"),
    "None": (lambda: None, "unsupported", "None is not a photo"),
    "dict": (lambda: {"path": "a.jpg"}, "unsupported", "a value of type dict is not a photo"),
    "number": (lambda: 3, "unsupported", "type int is not a photo"),
    "text file": (lambda: io.StringIO("a"), "unsupported", "binary mode ('rb')"),
    "asynchronous": (Upload, "unsupported", "`await file.read()`"),
    "closed file": (closed, "io_error", "closed file"),
    "both ways": (lambda: np.zeros((3, 20, 3), np.uint8), "unsupported", "as well as"),
    "neither way": (lambda: np.zeros((20, 30, 5), np.uint8), "unsupported", "1, 3 or 4 channels"),
    "batch": (lambda: np.zeros((2, 20, 20, 3), np.uint8), "unsupported", "looks like a batch"),
    "row": (lambda: np.zeros(9, np.uint8), "unsupported", "must be (h, w)"),
    "empty": (lambda: np.zeros((0, 9, 3), np.uint8), "empty", "no pixels"),
    "int64": (lambda: np.zeros((9, 9, 3), np.int64), "unsupported", ".astype('uint8')"),
    "uint16": (lambda: np.zeros((9, 9, 3), np.uint16), "unsupported", "uint16 (9, 9, 3) must be"),
    "bool": (lambda: np.zeros((9, 9), bool), "unsupported", "must be uint8"),
    "complex": (lambda: np.zeros((9, 9), complex), "unsupported", "must be uint8"),
    "normalised": (lambda: RAMP * 4 - 2, "unsupported", "floats from -2 to 2, expected 0 to 1"),
    "0 to 255": (lambda: RAMP * 255, "unsupported", "floats up to 255, expected 0 to 1; divide"),
    "not finite": (lambda: RAMP / 0 * 0, "unsupported", "not finite"),
    "tensor": (lambda: Tensor(np.zeros((2, 9, 9, 3))), "unsupported", "looks like a batch"),
}


@pytest.mark.filterwarnings("ignore:.*encountered in divide:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*encountered in multiply:RuntimeWarning")
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_photo_raises_alone_and_is_a_row_among_others(
    model: closeup.Model, photo: Path, kind: str
) -> None:
    make, code, words = WRONG[kind]
    with pytest.raises(PhotoError) as caught:
        model.predict(make())
    assert caught.value.code == code
    assert words in str(caught.value)
    bad, good = model.predict([make(), photo])
    assert good == model.predict(photo)
    assert bad.error is not None
    assert (bad.error.code, str(bad.error), bad.label) == (code, str(caught.value), "")
    assert good.error is None


@pytest.mark.parametrize("form", [str, Path, Path.read_bytes, pixels, Picture.of, io.BytesIO])
def test_many_photos_are_not_one(model: closeup.Model, photo: Path, form: Any) -> None:
    one = form(photo) if form not in (Picture.of, io.BytesIO) else form(pixels(photo))
    with pytest.raises(UsageError, match="takes a list of photos, got one"):
        model.predict_many(one)


def test_a_batch_of_arrays_is_many_photos(model: closeup.Model, photo: Path) -> None:
    batch = np.stack([pixels(photo)] * 2)
    answers = list(model.predict_many(batch))
    assert [one.objects for one in answers] == [model.predict(photo).objects] * 2
    assert list(model.predict(())) == list(model.predict([])) == []


# As tables and in notebooks


@pytest.fixture
def answers(model: closeup.Model, photo: Path) -> PredictionList:
    return model.predict([photo, "gone <b>.jpg", pixels(photo)])


def test_answers_as_dicts_are_those_of_the_command_line(answers: PredictionList) -> None:
    good, bad, _ = answers.to_dict()
    assert good == answers[0].to_dict()
    assert good["objects"][0]["label"] == answers[0].label
    assert bad["error"] == {"code": "missing", "message": answers[1].error_message}


def test_a_data_frame_has_the_rows_of_the_csv_file(answers: PredictionList, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    write_csv(answers, tmp_path / "a.csv")
    frame = answers.to_pandas()
    assert tuple(frame.columns) == COLUMNS
    written = pandas.read_csv(tmp_path / "a.csv", keep_default_na=False, na_values={"x1": "", "y1": "", "x2": "", "y2": "", "confidence": "", "parent_score": ""})  # fmt: skip  # noqa: E501
    pandas.testing.assert_frame_equal(frame, written, check_dtype=False)
    assert len(answers[0].to_pandas()) == 1


def test_without_pandas_a_sentence_says_what_to_install(
    answers: PredictionList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        answers.to_pandas()


def test_a_notebook_shows_small_pictures_and_errors(answers: PredictionList) -> None:
    page = answers._repr_html_()
    assert page.count("<tr>") == 3
    assert page.count("data:image/webp") == 1  # the second is gone, the third was no file
    assert f"<b>{answers[0].label}</b>" in page
    assert "<b>error</b> there is no such file" in page
    assert "1 with an error" in page
    assert "gone &lt;b&gt;.jpg" in page
    assert "<b>.jpg" not in page
    assert len(answers[0]._repr_html_()) < 30_000


def test_a_long_list_shows_its_beginning(answers: PredictionList) -> None:
    many = PredictionList([answers[1]] * 1000)
    assert "and 976 more, 1000 with an error" in many._repr_html_()
    assert len(many._repr_html_()) < 10_000


def strange() -> Iterator[Prediction]:
    yield Prediction("", False, ())
    yield Prediction("a.jpg", False, ())


def test_answers_without_objects_are_shown() -> None:
    assert PredictionList(strange())._repr_html_().count("nothing found") == 2
