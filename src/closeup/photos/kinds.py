"""What a file or folder of a collection is: a photo, a side file, or something of the system's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image

# Pillow opens these as well, but they are documents, films or measurements, and some (EPS) run
# another program.
NOT_PHOTOS = frozenset(
    {"BUFR", "EPS", "FITS", "FLI", "FTEX", "GBR", "GRIB", "HDF5", "IPTC", "MCIDAS", "MIC", "MPEG"}
    | {"PALM", "PDF", "SPIDER", "WMF", "XVTHUMB"}
)
# Counted as photos whether they can be decoded or not, so that each gets its row.
_OTHER_PHOTOS = frozenset(
    {".heic", ".heif", ".hif", ".jxl", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw"}
    | {".srf", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".erf"}
    | {".kdc", ".dcr", ".mrw", ".rwl", ".svg", ".xcf"}
)
FILM_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv"}
    | {".3gp", ".flv", ".ts"}
)
# Lists and annotations; documents, programs and numbers; what cameras, phones and browsers write;
# sounds; files without a suffix.
_BESIDE = """
.txt .csv .tsv .parquet .json .jsonl .ndjson .geojson .xml .yaml .yml .toml .ini .cfg .names .data
.cache .xls .xlsx .ods .mat .arrow .feather .record .tfrecord .rtf .tex .bib .srt .vtt
.md .rst .pdf .html .htm .css .js .doc .docx .odt .ppt .pptx .eps .ai .py .pyc .ipynb .sh .bat
.r .m .cpp .c .h .java .log .npy .npz .pt .pth .pkl .h5 .hdf5 .onnx .safetensors .zip .tar .gz .tgz
.bz2 .xz .zst .7z .rar .db .sqlite .sqlite3 .lmdb .mdb .exe .dll .so .bak .lock
.xmp .aae .thm .lrv .dop .pp3 .cos .url .lnk .webloc .ctg .mp3 .wav .m4a .aac .ogg .flac
readme license licence notice changelog authors copying makefile dockerfile citation _success
"""
_SIDE_FILES = FILM_SUFFIXES.union(_BESIDE.split())
_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "@recycle", "#recycle", "#snapshot", "__macosx", "$recycle.bin", "recycler"}
    | {"lost+found", "system volume information", "__pycache__", "_thumbs", "node_modules"}
)
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})

# Those whose beginning is no other file's; others are known by their suffix.
_SNIFFED = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000", "PSD", "QOI")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_FILMS = frozenset({b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  "}
                   | {b"m4v ", b"M4V ", b"M4A ", b"3gp4", b"3gp5", b"dash", b"MSNV"})  # fmt: skip
_BEGINNINGS = (
    (b"\xff\x0a", "a JPEG XL photo"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL photo"),
    (b"FUJIFILMCCD-RAW", "a raw photo (RAF)"),
    (b"IIRO", "a raw photo (ORF)"),
    (b"IIRS", "a raw photo (ORF)"),
    (b"MMOR", "a raw photo (ORF)"),
    (b"IIU\0", "a raw photo (RW2)"),
    (b"FOVb", "a raw photo (X3F)"),
    (b"gimp xcf", "a GIMP drawing"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1aE\xdf\xa3", "a film (Matroska or WebM)"),
    (b"version https://git-lfs", "a Git LFS pointer: `git lfs pull` fetches the photo"),
)


@cache
def photo_suffixes() -> frozenset[str]:
    """Lower-case suffixes (with the dot) of the files in a folder that count as photos.

    All that Pillow registers, except for documents, films and measurements, and those of photos
    that need another reader or have none (HEIC, raw, JPEG XL).
    """
    Image.init()
    known = {s for s, name in Image.registered_extensions().items() if name not in NOT_PHOTOS}
    return frozenset(known | _OTHER_PHOTOS)


def is_side_file(file: Path) -> bool:
    """Whether a file's name says that it is no photo, but something that lies beside photos."""
    return (file.suffix or file.name).lower() in _SIDE_FILES


def is_system_file(name: str) -> bool:
    """Whether a file is hidden, or made by the operating system."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def is_system_folder(name: str) -> bool:
    """Whether a folder is hidden, or made by a server, an archive program or a notebook."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def is_heif(start: bytes) -> bool:
    """Whether a file that begins like this is a HEIC or HEIF photo, and no AVIF."""
    is_one = start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS
    return is_one and b"avif" not in start[:64]


def what_it_is(start: bytes) -> str:
    """What begins like this and cannot be decoded, such as ``"a film (MP4)"``; ``""``: unknown.

    >>> what_it_is(b"%PDF-1.7")
    'a PDF document'
    """
    if is_heif(start):
        return "a HEIC photo"
    if start[4:8] == b"ftyp":
        if start[8:12] == b"crx ":
            return "a raw photo (CR3)"
        return "a film (MP4)" if start[8:12] in _FILMS else ""
    if start.lstrip()[:9].lower() in (b"<!doctype", b"<html>\n<h") or start[:5].lower() == b"<html":
        return "a web page"
    if start.lstrip()[:4].lower() == b"<svg":
        return "an SVG drawing"
    return next((what for begins, what in _BEGINNINGS if start.startswith(begins)), "")


def begins_like_a_photo(start: bytes) -> bool:
    """Whether the first 64 bytes of a file are those of a photo, whatever the file is called.

    >>> begins_like_a_photo(b"\\xff\\xd8\\xff\\xe0"), begins_like_a_photo(b"plain text")
    (True, False)
    """
    Image.init()
    prefix = start[:16].ljust(16, b"\0")
    return "photo" in what_it_is(start) or any(Image.OPEN[name][1](prefix) for name in _SNIFFED)  # type: ignore[misc]
