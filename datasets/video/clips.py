"""The clips in a folder: videos, arrays, stacks and folders of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path

from datasets.video.arrays import ARRAY_SUFFIXES, clips_of_array, left_out_of_array
from datasets.video.files import folders_under, refuse_special
from datasets.video.images import brightest_if_deep, is_image, is_stack, ordered
from datasets.video.movies import VIDEO_SUFFIXES
from datasets.video.names import folded, printable
from datasets.video.order import natural, numbered
from datasets.video.source import Damaged, Source, SourceWrong

_FILE_SUFFIXES = VIDEO_SUFFIXES | ARRAY_SUFFIXES

_SIDECARS = frozenset(
    {".csv", ".htm", ".html", ".json", ".jsonl", ".log", ".md", ".pdf", ".rst", ".tsv", ".txt"}
    | {".cfg", ".ini", ".md5", ".nfo", ".py", ".sha256", ".toml", ".url", ".xml", ".yaml", ".yml"}
    | {".srt", ".vtt"}
)
_SIDECAR_NAMES = frozenset(
    {"authors", "changelog", "citation", "copying", "licence", "license", "readme", "thumbs"}
)
"""What describes clips and is none, as everybody knows."""

NAMED, NAME_LETTERS = 3, 80
"""How many of those that something is true of are named, and how much of each name."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a folder.

    Attributes:
        sources: its clips.
        left_out: the names of what is none, by the reason, such as "as a single image".
        odd: the names of clips that something is to be said of, by what that is.
    """

    sources: list[Source] = field(default_factory=list)
    left_out: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    odd: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def counted(names: Mapping[str, Sequence[str]]) -> list[str]:
    """What is true of how many, with the first of their names: "2 of other kinds (a.h5, b.mat)"."""
    return [
        f"{len(those):,} {what} ({', '.join(map(_short, those[:NAMED]))}"
        f"{', ...' * (len(those) > NAMED)})"
        for what, those in names.items()
        if those
    ]


def clips_at(place: Path) -> Found:
    """The clips at `place`: a video, an array, a stack of images, a folder of images or of these.

    They come in natural order. A clip is named by its path without the suffix; an array of several
    has a range for each, and so have images whose numbers jump. Hidden files and folders are left
    out, and single images beside clips.

    Raises:
        SourceWrong: two have the same name, a folder is there twice through a link, a file is a
            pipe or a device, or it is not clear which images of a folder make a clip.
        OSError: a folder cannot be read, or there is no `place`.
    """
    found = Found()
    if place.is_dir():
        clips = dict[Path, tuple[Path, ...]]()
        for folder, files in folders_under(place):
            clips |= _in_folder(place, folder, files, found)
    else:
        refuse_special(place)
        clips = {place: (place,)}
    owner = dict[str, tuple[str, Path]]()
    for path in natural(clips):
        source = _source(_name(path, place), path, clips[path], found)
        for name in dict.fromkeys((source.name, *source.clip_names)):
            other, there = owner.setdefault(folded(name), (name, path))
            if there != path:
                alike = "" if other == name else " but for the case or the encoding of letters"
                both = f"{printable(there)} or {printable(path)}"
                raise SourceWrong(f"two clips are named {name}{alike}: rename {both}")
        found.sources.append(source)
    return found


def _in_folder(
    place: Path, folder: Path, files: Sequence[Path], found: Found
) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """The clips among `files` of `folder`: where each is, and of which files it is made."""
    images, others = list[Path](), list[Path]()
    for path in sorted(files):
        suffix = path.suffix.lower()
        if is_image(path) or suffix in _FILE_SUFFIXES:
            refuse_special(path)
            (images if is_image(path) and not is_stack(path) else others).append(path)
        elif suffix not in _SIDECARS and path.stem.lower() not in _SIDECAR_NAMES:
            found.left_out["of other kinds"].append(_inner(path, place))
    if len(images) > 1 and others:
        raise SourceWrong(
            f"{printable(folder)} holds images, such as {printable(images[0].name)}, beside"
            f" {printable(others[0].name)}: put those of a clip into a folder of their own, and"
            " remove others"
        )
    if len(images) == 1:
        found.left_out["as a single image"].append(_inner(images[0], place))
    elif images:
        yield folder, tuple(images)
    yield from ((path, (path,)) for path in others)


def _source(name: str, path: Path, files: tuple[Path, ...], found: Found) -> Source:
    ranges: tuple[tuple[int, int], ...] = ()
    if len(files) > 1:
        files, ranges = ordered(path, files)
        if not numbered(files):
            found.odd["of images without numbers, in the order of their names"].append(name)
        if len(ranges) == 1:
            ranges = ()
        else:
            found.odd["cut where numbers of images are missing"].append(name)
    elif path.suffix.lower() in ARRAY_SUFFIXES:
        ranges = _ranges_of_array(name, path, found)
    if is_image(files[0]):
        brightest = brightest_if_deep(files[0])
        if brightest is not None:
            found.odd["of 16 bits that use 12 at most, dark unless you scale them"].append(name)
    return Source(name, files, ranges=ranges)


def _ranges_of_array(name: str, path: Path, found: Found) -> tuple[tuple[int, int], ...]:
    try:
        frames = clips_of_array(path)
        found.left_out["in an .npz, and no frames"] += [
            f"{name}.npz: {array}" for array in left_out_of_array(path)
        ]
    except Damaged:  # reported when it is read
        return ()
    return tuple(pairwise(accumulate(frames, initial=0))) if len(frames) > 1 else ()


def _name(path: Path, place: Path) -> str:
    if path == place:
        return printable(path.absolute().name if path.is_dir() else path.stem)
    return _inner(path if path.is_dir() else path.with_suffix(""), place)


def _short(name: str) -> str:
    return name if len(name) <= NAME_LETTERS else f"...{name[3 - NAME_LETTERS :]}"


def _inner(path: Path, place: Path) -> str:
    return printable(path.relative_to(place).as_posix())
