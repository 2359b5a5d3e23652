"""Pascal VOC XML: one file a picture, corners in pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from xml.etree import ElementTree
from xml.parsers import expat

from closeup.core.errors import PhotosError
from closeup.core.types import Box
from closeup.detect.given.box import Given, Row, Unusable, around, corners, each, numbers, size_of

MOST_BYTES = 64 << 20


def parse(data: bytes, where: str) -> ElementTree.Element:
    """The XML of a file. Entities are refused, so nothing grows and nothing else is read.

    Raises PhotosError where it is no XML, or declares entities.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise PhotosError(f"{where} declares XML entities, which are not read; export it again")

    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    try:
        if len(data) > MOST_BYTES:
            raise PhotosError(f"{where} is larger than 64 MB, too large for Pascal VOC XML")
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, AssertionError, ValueError, LookupError) as err:
        raise PhotosError(f"{where} is not readable XML: {err}; export it again") from err


def voc(root: ElementTree.Element, path: str) -> Iterator[Row]:
    """The boxes of one file, which lies at `path` below the folder, without its suffix.

    Tools keep a wrong ``filename``, so the XML's own name is the other one that the photo may have.
    """
    folder = PurePosixPath(path).parent
    named = (root.findtext("filename") or "").strip().replace("\\", "/")
    name = (folder / PurePosixPath(named).name).as_posix() if named else path
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))

    def read(item: ElementTree.Element) -> Iterator[Row]:
        category = (item.findtext("name") or "").strip()
        yield Given("", name, _box(item), category=category, size=size, also=path)

    yield from each(root.findall("object"), lambda n, _: f"{path}.xml, object {n + 1}", read)


def _box(item: ElementTree.Element) -> Box:
    box, polygon = item.find("bndbox"), item.find("polygon")
    if box is not None:
        sides = [box.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")]
        if None in sides:
            raise Unusable("have no box")
        return corners(*numbers(sides, 4))
    if polygon is None:
        raise Unusable("have no box")
    return around(numbers([point.text for point in polygon], len(polygon)))
