"""The clips in a folder: videos, arrays, folders of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datasets.video.arrays import clips_of_array
from datasets.video.files import folders_under
from datasets.video.images import images_in, is_image, natural
from datasets.video.movies import VIDEO_SUFFIXES
from datasets.video.source import Damaged, Source, SourceWrong

_FILE_SUFFIXES = VIDEO_SUFFIXES | {".npy"}


def clips_at(place: Path) -> list[Source]:
    """The clips at `place`: a video, an array, a folder of images, or a folder of any of these.

    They come in natural order. A clip is named by its path without the suffix; an array of several
    has a range for each. Hidden files and folders are left out.

    Raises:
        SourceWrong: two have the same name, or a folder is there twice through a link.
        OSError: a folder cannot be read, or there is no `place`.
    """
    paths = dict[str, Path]()
    for path in natural(_in_folder(place)) if place.is_dir() else [place]:
        name = _name(path, place)
        if name in paths:
            raise SourceWrong(f"two clips are named {name}: rename {paths[name]} or {path}")
        paths[name] = path
    return [_source(name, path) for name, path in paths.items()]


def _in_folder(root: Path) -> Iterator[Path]:
    """Videos, arrays, and folders that hold images."""
    for folder, files in folders_under(root):
        if any(map(is_image, files)):
            yield folder
        yield from (path for path in files if path.suffix.lower() in _FILE_SUFFIXES)


def _name(path: Path, place: Path) -> str:
    if path == place:
        return path.absolute().name if path.is_dir() else path.stem
    inner = path.relative_to(place)
    return (inner if path.is_dir() else inner.with_suffix("")).as_posix()


def _source(name: str, path: Path) -> Source:
    if path.is_dir():
        return Source(name, images_in(path))
    if path.suffix.lower() != ".npy":
        return Source(name, (path,))
    try:
        clips, frames = clips_of_array(path)
    except Damaged:  # reported when it is read
        return Source(name, (path,))
    firsts = range(0, clips * frames, frames) if clips > 1 else ()
    return Source(name, (path,), ranges=tuple((first, first + frames) for first in firsts))
