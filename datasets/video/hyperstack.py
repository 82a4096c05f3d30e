"""What a TIFF of a microscope declares: ImageJ and OME store channels and depths as pages too."""

from __future__ import annotations

import math
import re

from PIL import Image as Pillow

from datasets.video.source import Damaged

_DESCRIPTION = 270
"""The tag of a TIFF that holds a text; ImageJ's and OME's describe the pages."""

_DECLARED = {
    "channels": re.compile(r'^channels=(\d+)|\bSizeC="(\d+)"', re.MULTILINE),
    "depths": re.compile(r'^slices=(\d+)|\bSizeZ="(\d+)"', re.MULTILINE),
    "times": re.compile(r'^frames=(\d+)|\bSizeT="(\d+)"', re.MULTILINE),
}


def declared_pages(image: Pillow.Image) -> dict[str, int]:
    """How many channels, depths and times the TIFF `image` declares; none where it says nothing.

    Sources: ImageJ's `ij.io.FileSaver.getDescriptionString`, and the OME-TIFF specification.
    """
    text = str(image.tag_v2.get(_DESCRIPTION, ""))  # type: ignore[attr-defined]
    if not text.startswith("ImageJ=") and "<OME" not in text:
        return {}
    found = {what: pattern.search(text) for what, pattern in _DECLARED.items()}
    sizes = {what: int(it[1] or it[2]) for what, it in found.items() if it}
    if sizes.get("channels") == len(image.getbands()):
        sizes["channels"] = 1  # those of one page
    return sizes


def refuse_hyperstack(image: Pillow.Image, pages: int) -> None:
    """Raise Damaged where not all pages are times, or `pages` are fewer than `image` declares."""
    sizes = declared_pages(image)
    several = [f"{size} {what}" for what, size in sizes.items() if size > 1]
    if len(several) > 1:
        raise Damaged(f"holds {' x '.join(several)} in one row: save the times of one alone")
    if math.prod(sizes.values()) > pages:
        raise Damaged(f"declares {several[0]} and has {pages} of a TIFF's pages: save it anew")
