"""Images of clips: which files are some, their order, and how one is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from natsort import natsorted, ns
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from datasets.video.source import Damaged, reason_of

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)


def images_in(folder: Path) -> tuple[Path, ...]:
    """The images of `folder`, in natural order: `2.png` before `10.png`. Hidden ones are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    return natural(path for path in folder.iterdir() if is_image(path))


def is_image(path: Path) -> bool:
    """Whether its name says that `path` is an image, and not a hidden file."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def natural(paths: Iterable[Path]) -> tuple[Path, ...]:
    """`paths` in the order in which people count."""
    return tuple(natsorted(sorted(paths), key=str, alg=ns.PATH))  # 1.png and 01.png tie


def read_image(path: Path) -> Pillow.Image:
    """The image in `path`, turned as the camera was held.

    Raises:
        Damaged: it cannot be read.
    """
    try:
        with Pillow.open(path) as image:
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise Damaged(f"holds {path.name}, which is no image") from error
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise Damaged(f"holds {path.name}, which cannot be read: {reason_of(error)}") from error


def in_eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """`picture` in a mode with 8 bits a channel and no transparency.

    Raises:
        Damaged: its pixels are floating-point numbers.
    """
    if picture.mode.startswith("I"):
        pixels = np.asarray(picture).astype(np.int64).clip(0, 65535)
        return Pillow.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))
    if picture.mode == "F":
        raise Damaged("has floating-point pixels, whose range nothing tells")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    return picture
