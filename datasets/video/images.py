"""Images of clips: which files are some, how many pictures each holds, and how they are read."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from datasets.video.files import special
from datasets.video.hyperstack import declared_pages, refuse_hyperstack
from datasets.video.movies import pictures_of_video
from datasets.video.names import printable
from datasets.video.order import Unordered, in_time
from datasets.video.source import Damaged, SourceWrong, reason_of

# Of oddities in files that it can read all the same: those would be lines amid the output.
warnings.filterwarnings("ignore", module=r"PIL\.")

_PAGED = frozenset({".tif", ".tiff", ".gif", ".png", ".apng", ".webp"})
"""Of those that may hold several pictures. A JPEG that does holds previews."""

IMAGE_SUFFIXES = _PAGED | {".jpg", ".jpeg", ".bmp", ".ppm", ".pgm"}

_REDUCED = 254, 1
"""The tag of a TIFF's page, and its bit that says: a smaller copy of another page."""

_DEEP = 4095
"""What 12 bits can hold."""


def ordered(
    folder: Path, images: Iterable[Path]
) -> tuple[tuple[Path, ...], tuple[tuple[int, int], ...]]:
    """The `images` of `folder` in time, and the runs of them that are evenly spaced.

    Raises:
        SourceWrong: their names tell no order.
    """
    try:
        return in_time(images)
    except Unordered as error:
        raise SourceWrong(f"{printable(folder)} {error}") from error


def is_image(path: Path) -> bool:
    """Whether its name says that `path` is an image, and not a hidden file."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def is_stack(path: Path) -> bool:
    """Whether the image in `path` holds several pictures: a clip by itself."""
    if path.suffix.lower() not in _PAGED:
        return False
    try:
        with _opened(path) as image:
            declared = declared_pages(image) if image.format == "TIFF" else {}
            return len(_pages(image)) > 1 or any(size > 1 for size in declared.values())
    except Damaged:  # reported when it is read
        return False


def brightest_if_deep(path: Path) -> int | None:
    """The largest value in an image of 16 bits that would fit in 12 as well; None for others."""
    try:
        with _opened(path) as image:
            if not image.mode.startswith("I"):
                return None
            brightest = int(np.asarray(image).max())
    except Damaged:
        return None
    return brightest if 0 < brightest <= _DEEP else None


def pictures_of_images(paths: Iterable[Path]) -> Iterator[Pillow.Image]:
    """The images in `paths`, in their order, turned as the camera was held.

    Raises:
        Damaged: one of them cannot be read; or grey and colour take turns, as with masks.
    """
    modes = list[str]()
    for path in paths:
        with _opened(path) as image:
            picture = ImageOps.exif_transpose(image)
        modes.append(picture.mode)
        yield picture
    if len(modes) > 3 and all(earlier != later for earlier, later in pairwise(modes)):
        raise Damaged(f"holds images of kind {modes[0]} and {modes[1]} in turns, as of masks")


def pictures_of_stack(path: Path) -> Generator[Pillow.Image, None, tuple[str, ...]]:
    """The pictures in the image file `path`, in their order; one, where it holds no more.

    What is odd about it is returned, as `movies.pictures_of_video` does.

    Raises:
        Damaged: it cannot be read, shows some longer than others, or not all of them are times.
    """
    with _opened(path) as image:
        moving = image.format in ("GIF", "PNG") and getattr(image, "n_frames", 1) > 1
        durations = set[int]()
        pages = [] if moving else _pages(image)
        if image.format == "TIFF":
            refuse_hyperstack(image, len(pages))
        for page in pages:
            image.seek(page)
            image.load()
            durations.add(image.info.get("duration", 0))
            if len(durations) > 1:
                times = f"{min(durations)} and {max(durations)} ms"
                raise Damaged(f"shows some of its pictures longer than others: {times}")
            yield ImageOps.exif_transpose(image)
    return (yield from pictures_of_video(path)) if moving else ()


@contextmanager
def _opened(path: Path) -> Iterator[Pillow.Image]:
    """The image in `path`; whatever goes wrong with it is Damaged."""
    kind = special(path)
    if kind is not None:
        raise Damaged(f"holds {printable(path.name)}, which is {kind}")
    try:
        with Pillow.open(path) as image:
            yield image
    except Damaged:
        raise
    except UnidentifiedImageError as error:
        raise Damaged(
            f"holds {printable(path.name)}, which is no image that Pillow can read"
        ) from error
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        raise Damaged(
            f"holds {printable(path.name)}, which cannot be read: {reason_of(error)}"
        ) from error


def _pages(image: Pillow.Image) -> list[int]:
    """The pictures in `image`, without the smaller copies that a TIFF may hold."""
    pages = range(getattr(image, "n_frames", 1))
    if image.format != "TIFF":
        return list(pages)
    whole = list[int]()
    tag, reduced = _REDUCED
    for page in pages:
        image.seek(page)
        if not image.tag_v2.get(tag, 0) & reduced:  # type: ignore[attr-defined]
            whole.append(page)
    image.seek(0)
    return whole or [0]


def in_eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """`picture` in a mode with 8 bits a channel and no transparency.

    Raises:
        Damaged: its pixels are floating-point numbers, or no 16 bits hold them.
    """
    if picture.mode.startswith("I"):
        pixels = np.asarray(picture).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise Damaged(f"has values from {pixels.min():,} to {pixels.max():,}, beyond 16 bits")
        return Pillow.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))
    if picture.mode == "F":
        raise Damaged("has floating-point pixels, whose range nothing tells")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    return picture
