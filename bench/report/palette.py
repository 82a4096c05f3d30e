"""Pictures in 256 colours, chosen for each: a third of the bytes, by eye the same."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor
from scipy.spatial import KDTree

COLORS = 255  # beside one for what is clear
ENOUGH_PIXELS = 250_000  # to choose colours by
SHADES = 5  # of a text's colour, from itself to nearly white
_EMBEDDED = re.compile(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=\s]+")

Colors = npt.NDArray[np.uint8]
"""Red, green and blue, uint8 [N,3]."""


def paletted(png: bytes, text: Sequence[str] = ()) -> bytes:
    """The picture `png` in at most 256 colours, one of them for what is clear.

    Text on white in one of the colours `text`, such as "#0072B2", keeps its colour.
    """
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    pixels = np.asarray(image)
    packed = pixels[..., :3].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    values, where = np.unique(packed, return_inverse=True)
    own = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1).astype(np.uint8)
    palette = own if len(own) <= COLORS else _chosen(image.convert("RGB"), _shades(text))
    nearest = KDTree(palette).query(own)[1].astype(np.uint8)
    places = np.where(pixels[..., 3] > 0, nearest[where].reshape(packed.shape), COLORS)
    found = Image.frombytes("P", image.size, places.astype(np.uint8).tobytes())
    found.putpalette(np.pad(palette, ((0, COLORS + 1 - len(palette)), (0, 0))).tobytes())
    out = io.BytesIO()
    clear = {"transparency": COLORS} if (places == COLORS).any() else {}
    found.save(out, format="png", optimize=True, **clear)
    return out.getvalue()


def with_palettes(svg: str) -> str:
    """`svg` with each picture embedded in it `paletted`."""

    def compact(found: re.Match[str]) -> str:
        return base64.b64encode(paletted(base64.b64decode(found[0]))).decode()

    return _EMBEDDED.sub(compact, svg)


def _chosen(image: Image.Image, kept: Colors) -> Colors:
    """The colours that suit `image` best, `kept` among them."""
    step = max(1, math.isqrt(image.width * image.height // ENOUGH_PIXELS))
    sample = image.resize((image.width // step, image.height // step), Image.Resampling.NEAREST)
    count = COLORS - len(kept)
    chosen = sample.quantize(count, Image.Quantize.MEDIANCUT, kmeans=1).getpalette() or []
    return np.concatenate([kept, np.array(chosen[: 3 * count], np.uint8).reshape(-1, 3)])


def _shades(text: Sequence[str]) -> Colors:
    """White, and each colour of `text` in steps towards it, as the edges of letters are drawn."""
    colors = np.array([ImageColor.getrgb(color) for color in text]).reshape(-1, 1, 3)
    share = np.linspace(1, 0, SHADES, endpoint=False)[:, None]
    shades = (255 - (255 - colors) * share).reshape(-1, 3)
    return np.concatenate([[[255, 255, 255]], shades]).round().astype(np.uint8)
